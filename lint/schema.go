package lint

import (
	"maps"
	"slices"

	tree "github.com/pganalyze/pg_query_go/v6"
)

// schema is what the database looks like, as far as the SQL files tell: it is built from all of them, oldest first. The
// plan's database may hold tables that no file has made: those are unknown, and nothing is taken for granted of them.
type schema struct {
	tables map[string]*table // by qualified name, folded as Postgres does; schema "public" is left out
	types  map[string]*enum
	// others are objects of kinds that only have a name: views, functions, sequences, extensions, …, as "kind name", triggers,
	// policies and rules as "kind name on table". False where a file perhaps only replaced what was there.
	others map[string]bool
	// gone are the objects, as "kind name", that files took away and no file had made: they were there before.
	gone map[string]bool
	// absent are the tables that a file has taken away: CREATE TABLE IF NOT EXISTS makes them.
	absent map[string]bool
	// opaque says that a file did something that can't be seen from outside, or changed what names mean: what is not listed may
	// be there.
	opaque bool
	// step of the plan whose files are being applied; history before them.
	step int
}

type table struct {
	name        string
	known       bool // made by a file: what is not listed isn't there
	fresh       bool // made by the file that is looked at: nobody else can use it yet
	step        int  // of the plan, that made it; history for what was there before
	partitioned bool
	parent      string // of which it is a partition or a child
	columns     []*column
	constraints []*constraint
	indexes     []*index
}

type column struct {
	name      string
	typ       string // as format_type writes it, such as "character varying(20)"
	notNull   bool
	standard  string // its default expression, or what it is generated from, deparsed; "" for none
	identity  bool
	generated bool
	fresh     bool // added by the file that is looked at
	step      int  // of the plan, that added it; history for what was there before
}

type constraint struct {
	name       string
	kind       constraintKind
	columns    []string
	references string // of a foreign key: the other table
	check      string // of a check: its expression, deparsed
	validated  bool
	fresh      bool
	notNull    []string // columns that can't be null where a check holds
	definition string   // all it says but its name, deparsed
}

type constraintKind string

const (
	checkConstraint     constraintKind = "check"
	foreignKey          constraintKind = "foreign key"
	uniqueConstraint    constraintKind = "unique"
	primaryKey          constraintKind = "primary key"
	exclusionConstraint constraintKind = "exclude"
	notNullConstraint   constraintKind = "not null"
)

type index struct {
	name    string
	columns []string // expressions are deparsed
	unique  bool
	where   string // of a partial index, deparsed
	fresh   bool
	// definition is the statement that makes it, deparsed, for a table t and without a name; empty for a constraint's index.
	definition string
}

type enum struct {
	name   string
	values []string
}

func newSchema() *schema {
	return &schema{tables: map[string]*table{}, types: map[string]*enum{}, others: map[string]bool{}, gone: map[string]bool{}, absent: map[string]bool{}, step: history}
}

// table that a statement names; one that no file made comes as a stand-in of which nothing is known, never nil.
func (s *schema) table(r *tree.RangeVar) *table { return s.named(relationName(r)) }

// named is table for a name that relationName has made.
func (s *schema) named(name string) *table {
	if t, ok := s.tables[name]; ok {
		return t
	}
	return &table{name: name, step: history}
}

// index by its qualified name, with its table; nil and nil for one that no file made.
func (s *schema) index(name string) (*table, *index) {
	for _, t := range s.tables {
		if schemaOf(t.name) != schemaOf(name) {
			continue
		}
		if i := t.index(bare(name)); i != nil {
			return t, i
		}
	}
	return nil, nil
}

// column by its name; nil if no file made it.
func (t *table) column(name string) *column {
	return find(t.columns, func(c *column) bool { return c.name == name })
}

// constraint by its name; nil if no file made it.
func (t *table) constraint(name string) *constraint {
	return find(t.constraints, func(c *constraint) bool { return c.name == name })
}

// index by its name; nil if no file made it.
func (t *table) index(name string) *index {
	return find(t.indexes, func(i *index) bool { return i.name == name })
}

// ledBy tells whether an index over all rows begins with these columns, in any order.
func (t *table) ledBy(columns ...string) bool {
	return slices.ContainsFunc(t.indexes, func(i *index) bool {
		if i.where != "" || len(i.columns) < len(columns) {
			return false
		}
		for _, c := range columns {
			if !slices.Contains(i.columns[:len(columns)], c) {
				return false
			}
		}
		return true
	})
}

// provesNotNull tells that a validated check says that the column is not null, with which SET NOT NULL needs no scan.
func (t *table) provesNotNull(column string) bool {
	return slices.ContainsFunc(t.constraints, func(k *constraint) bool {
		return k.validated && slices.Contains(k.notNull, column)
	})
}

// find returns the first that fits; nil if there is none.
func find[T any](all []*T, fits func(*T) bool) *T {
	if i := slices.IndexFunc(all, fits); i >= 0 {
		return all[i]
	}
	return nil
}

// settle makes everything old: a new file begins.
func (s *schema) settle() {
	for _, t := range s.tables {
		t.fresh = false
		for _, c := range t.columns {
			c.fresh = false
		}
		for _, c := range t.constraints {
			c.fresh = false
		}
		for _, i := range t.indexes {
			i.fresh = false
		}
	}
}

func (s *schema) clone() *schema {
	c := &schema{tables: make(map[string]*table, len(s.tables)), types: make(map[string]*enum, len(s.types)), others: maps.Clone(s.others), gone: maps.Clone(s.gone), absent: maps.Clone(s.absent), step: s.step, opaque: s.opaque}
	for name, t := range s.tables {
		c.tables[name] = t.clone()
	}
	for name, e := range s.types {
		c.types[name] = &enum{e.name, slices.Clone(e.values)}
	}
	return c
}

func (t *table) clone() *table {
	c := *t
	c.columns, c.constraints, c.indexes = copies(t.columns), copies(t.constraints), copies(t.indexes)
	for _, k := range c.constraints {
		k.columns, k.notNull = slices.Clone(k.columns), slices.Clone(k.notNull)
	}
	for _, i := range c.indexes {
		i.columns = slices.Clone(i.columns)
	}
	return &c
}

func copies[T any](all []*T) []*T {
	c := make([]*T, len(all))
	for i, v := range all {
		c[i] = new(*v)
	}
	return c
}
