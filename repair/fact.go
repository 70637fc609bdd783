package repair

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"
	tree "github.com/pganalyze/pg_query_go/v6"

	"github.com/contraflow/contraflow/internal/sqltree"
)

// fact is one thing that a statement makes so, and how the catalog tells whether it is so.
type fact struct {
	key    string   // the object or the property of it, the same for all statements of a file
	within []string // the keys of what it lives in: gone or renamed with them
	gone   bool     // the statement takes the object away
	// property of an object: it had another value before, or the same
	property bool
	// lesser facts alone prove nothing, since it may have been so before.
	lesser bool
	// repeats says that the statement does no harm where it is so already.
	repeats bool
	// optional says that the statement does nothing where what the object lives in is missing.
	optional bool
	what     string // for people: "column customers.street"
	want     string // for people, of a property: "not null"
	look     look
	// same proves that what is there is the statement's; nil where the name and the place say all.
	same proof
}

// look tells whether the object is there, or the property as wanted; nil where that has no answer, for the reason in note.
type look func(ctx context.Context, tx pgx.Tx) (is *bool, note string, err error)

// ask asks the catalog for a boolean; null is no answer.
func ask(sql string, args ...any) look {
	return func(ctx context.Context, tx pgx.Tx) (is *bool, note string, err error) {
		err = tx.QueryRow(ctx, sql, args...).Scan(&is)
		return is, note, err
	}
}

// name of an object.
type name struct {
	schema, local string
	implied       bool // the file doesn't write the schema
}

func named(r *tree.RangeVar) name { return name{schema: r.GetSchemaname(), local: r.GetRelname()} }

// listed is a name that the grammar gives as a list of its parts.
func listed(parts []*tree.Node) name {
	var words []string
	for _, p := range parts {
		words = append(words, p.GetString_().GetSval())
	}
	switch len(words) {
	case 0:
		return name{}
	case 1:
		return name{local: words[0]}
	}
	return name{schema: words[len(words)-2], local: words[len(words)-1]}
}

// listedNode is listed for a list in a node, or for a node that is the one part.
func listedNode(n *tree.Node) name {
	if list := n.GetList(); list != nil {
		return listed(list.GetItems())
	}
	if t := n.GetTypeName(); t != nil {
		return listed(t.GetNames())
	}
	return listed([]*tree.Node{n})
}

// String is for people: as the file has it.
func (n name) String() string {
	if n.schema == "" || n.implied {
		return n.local
	}
	return n.schema + "." + n.local
}

// quoted is for to_regclass and the like.
func (n name) quoted() string {
	if n.schema == "" {
		return pgx.Identifier{n.local}.Sanitize()
	}
	return pgx.Identifier{n.schema, n.local}.Sanitize()
}

// of returns a part of the object: a column, a constraint, a trigger.
func (n name) of(part string) string { return n.String() + "." + part }

// in gives an unqualified name a schema.
func (n name) in(schema string) name {
	if n.schema == "" {
		n.schema, n.implied = schema, true
	}
	return n
}

func key(kind string, parts ...string) string { return kind + "\x00" + strings.Join(parts, "\x00") }

// reader turns the statements of a file into facts, in their order.
type reader struct {
	schema string // where Postgres makes what the file gives no schema
	// made are the unqualified names that the file has made so far: they live in schema, whatever else the search_path holds.
	made map[string]bool
	// temporary are the temporary relations that the file has made so far.
	temporary map[string]bool
	// built are the statements of the file's indexes, by their keys.
	built map[string]*tree.IndexStmt
	// taken are the indexes that some statement of the file turns into a constraint, by their keys, with their new names.
	taken map[string]string
}

func newReader(schema string) reader {
	return reader{schema: schema, made: map[string]bool{}, temporary: map[string]bool{}, built: map[string]*tree.IndexStmt{}, taken: map[string]string{}}
}

// foresee looks through the file for what gives an index another name.
func (r reader) foresee(file []sqltree.Statement) {
	for _, s := range file {
		table := named(s.Node.GetAlterTableStmt().GetRelation())
		for _, c := range s.Node.GetAlterTableStmt().GetCmds() {
			if c := c.GetAlterTableCmd().GetDef().GetConstraint(); c.GetIndexname() != "" {
				r.taken[r.relationKey(name{schema: table.schema, local: c.GetIndexname()})] = constraintName(c)
			}
		}
	}
}

// makes is the name of something that a statement creates: Postgres looks nowhere else for where to put it.
func (r reader) makes(n name) name {
	if n = n.in(r.schema); n.implied {
		r.made[n.local] = true
	}
	return n
}

// meant is the name of something that a statement finds by the search_path, as Postgres does.
func (r reader) meant(n name) name {
	if r.made[n.local] {
		return n.in(r.schema)
	}
	return n
}

func (r reader) named(v *tree.RangeVar) name { return r.meant(named(v)) }

func (r reader) schemaKey(schema string) string { return key("schema", schema) }

// relationKey is one for all kinds of relations: they share their names.
func (r reader) relationKey(n name) string {
	n = n.in(r.schema)
	return key("relation", n.schema, n.local)
}

func (r reader) withinRelation(n name) []string {
	return []string{r.relationKey(n), r.schemaKey(n.in(r.schema).schema)}
}

// kinds of relations, as pg_class.relkind has them.
const (
	tables    = "rpf"
	views     = "v"
	matviews  = "m"
	indexes   = "iI"
	sequences = "S"
	anyKind   = tables + views + matviews + indexes + sequences
)

func (r reader) relation(word, kinds string, n name) fact {
	return fact{
		key: r.relationKey(n), within: []string{r.schemaKey(n.in(r.schema).schema)}, what: word + " " + n.String(),
		look: ask("select exists (select from pg_class where oid = to_regclass($1) and strpos($2::text, relkind::text) > 0)", n.quoted(), kinds),
	}
}

// goes marks what a statement takes away. What the search_path then finds elsewhere is another object of the name, or the one
// that Postgres would have taken: the catalog can't tell.
func (r reader) goes(f fact, n name, of func(name) fact) fact {
	f = f.away(true)
	if n.schema != "" {
		return f
	}
	here, anywhere := of(n.in(r.schema)).look, f.look
	f.look = func(ctx context.Context, tx pgx.Tx) (*bool, string, error) {
		is, note, err := here(ctx, tx)
		if err != nil || is == nil || *is {
			return is, note, err
		}
		if is, note, err = anywhere(ctx, tx); err == nil && is != nil && *is {
			return nil, f.what + " is there, in another schema than " + r.schema + ": it may be another", nil
		}
		return is, note, err
	}
	return f
}

// part is something that a table has: its catalog table keeps the table's oid and the name.
func (r reader) part(word, catalog, tableColumn, nameColumn string, table name, part string) fact {
	return fact{
		key: key(word, r.relationKey(table), part), within: r.withinRelation(table), what: word + " " + table.of(part),
		look: ask("select case when to_regclass($1) is not null then exists (select from "+catalog+" where "+tableColumn+" = to_regclass($1) and "+nameColumn+" = $2::text::name) end",
			table.quoted(), part),
	}
}

func (r reader) constraint(table name, part string) fact {
	return r.part("constraint", "pg_constraint", "conrelid", "conname", table, part)
}

func (r reader) trigger(table name, part string) fact {
	return r.part("trigger", "pg_trigger", "tgrelid", "tgname", table, part)
}

func (r reader) policy(table name, part string) fact {
	return r.part("policy", "pg_policy", "polrelid", "polname", table, part)
}

func (r reader) rule(table name, part string) fact {
	return r.part("rule", "pg_rewrite", "ev_class", "rulename", table, part)
}

func (r reader) columnKey(table name, column string) string {
	return key("column", r.relationKey(table), column)
}

func (r reader) column(table name, column string) fact {
	f := r.part("column", "pg_attribute", "not attisdropped and attnum > 0 and attrelid", "attname", table, column)
	f.key = r.columnKey(table, column)
	return f
}

// columnProperty asks about a = pg_attribute of the column.
func (r reader) columnProperty(property, want, sql string, table name, column string, args ...any) fact {
	return fact{
		key: key(property, r.relationKey(table), column), within: append(r.withinRelation(table), r.columnKey(table, column)),
		property: true, lesser: true, repeats: true, what: "column " + table.of(column), want: want,
		look: ask("select ("+sql+") from (values (1)) one left join pg_attribute a on a.attrelid = to_regclass($1) and a.attname = $2::text::name and not a.attisdropped",
			append([]any{table.quoted(), column}, args...)...),
	}
}

// relationProperty asks about c = pg_class of the relation.
func (r reader) relationProperty(property, want, sql string, n name, args ...any) fact {
	return fact{
		key: key(property, r.relationKey(n)), within: r.withinRelation(n), property: true, lesser: true, repeats: true,
		what: n.String(), want: want,
		look: ask("select ("+sql+") from (values (1)) one left join pg_class c on c.oid = to_regclass($1)", append([]any{n.quoted()}, args...)...),
	}
}

func (f fact) away(gone bool) fact { f.gone = gone; return f }

// by is the fact with what proves it.
func (f fact) by(same proof) fact { f.same = same; return f }

// ifNot marks IF EXISTS and IF NOT EXISTS.
func (f fact) ifNot(conditional bool) fact {
	if conditional {
		f.lesser, f.repeats = true, true
	}
	return f
}

// ifTable marks ALTER TABLE IF EXISTS.
func (f fact) ifTable(conditional bool) fact { f.optional = conditional; return f }

// says tells people how the catalog has it.
func (f fact) says(is bool) string {
	switch {
	case f.property && is:
		return f.what + " is " + f.want
	case f.property:
		return f.what + " is not " + f.want
	case is:
		return f.what + " is there"
	}
	return "there is no " + f.what
}
