package lint

import (
	"fmt"
	"maps"
	"slices"

	tree "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
)

// named gives constraints the names that Postgres would, those that have none. What the same statement drops is gone by then.
func (g glance) named(all ...*tree.Constraint) {
	t := g.target().clone()
	t.constraints = slices.DeleteFunc(t.constraints, func(k *constraint) bool { return g.drops(k.name) })
	t.indexes = slices.DeleteFunc(t.indexes, func(i *index) bool { return g.drops(i.name) })
	s := newSchema()
	s.tables = maps.Clone(g.now.tables)
	s.tables[t.name] = t
	for _, k := range all {
		if s.addConstraint(t, k); k.GetConname() == "" {
			k.Conname = t.constraints[len(t.constraints)-1].name
		}
	}
}

// unproven is the constraint for new rows alone.
func unproven(k *tree.Constraint) *tree.Constraint {
	later := proto.CloneOf(k)
	later.SkipValidation, later.InitiallyValid = true, false
	return later
}

// validated is the file that proves a constraint beside the traffic.
func (g glance) validated(k *tree.Constraint) file {
	return file{title("validate", k.GetConname()), true, fmt.Sprintf("ALTER TABLE %s VALIDATE CONSTRAINT %s;", tableName(g.target().name), name(k.GetConname()))}
}

// indexed is the file that builds the index of a constraint beside the traffic, and the command that makes it the constraint's.
func (g glance) indexed(k *tree.Constraint) (file, *tree.AlterTableCmd) {
	t, index := g.target(), k.GetConname()
	if _, taken := g.now.index(qualified(schemaOf(t.name), index)); taken != nil { // which the same statement drops
		index = g.now.free(t, "", index)
	}
	elements := func(columns []*tree.Node) (all []*tree.Node) {
		for _, c := range texts(columns) {
			all = append(all, &tree.Node{Node: &tree.Node_IndexElem{IndexElem: &tree.IndexElem{Name: c, Ordering: tree.SortByDir_SORTBY_DEFAULT, NullsOrdering: tree.SortByNulls_SORTBY_NULLS_DEFAULT}}})
		}
		return all
	}
	build := &tree.IndexStmt{
		Idxname: index, Relation: &tree.RangeVar{Schemaname: schemaOf(t.name), Relname: bare(t.name), Inh: true, Relpersistence: "p"}, AccessMethod: "btree",
		TableSpace: k.GetIndexspace(), IndexParams: elements(k.GetKeys()), IndexIncludingParams: elements(k.GetIncluding()), Options: k.GetOptions(),
		Unique: true, NullsNotDistinct: k.GetNullsNotDistinct(), Concurrent: true,
	}
	return file{title("build", index), true, sql(&tree.Node{Node: &tree.Node_IndexStmt{IndexStmt: build}})},
		adding(&tree.Constraint{Contype: k.GetContype(), Conname: k.GetConname(), Indexname: index, Deferrable: k.GetDeferrable(), Initdeferred: k.GetInitdeferred()})
}

// provenLater are the files that add a constraint without proof, and prove it.
func (g glance) provenLater(k *tree.Constraint, d *tree.ColumnDef) string {
	if g.target().partitioned && k.GetContype() == tree.ConstrType_CONSTR_FOREIGN {
		return "" // Postgres below 18 takes no NOT VALID there
	}
	if d != nil {
		return g.column(d)
	}
	later := unproven(k)
	g.named(later)
	return g.files(file{title("add", later.GetConname()), false, g.instead(k, adding(later))}, g.validated(later))
}

// indexFirst are the files that build the index beside the traffic, and then make it the constraint's.
func (g glance) indexFirst(k *tree.Constraint, d *tree.ColumnDef) string {
	t := g.target()
	switch {
	case t.partitioned:
		return "" // CONCURRENTLY goes partition by partition
	case d != nil:
		return g.column(d)
	}
	k, original := proto.CloneOf(k), k
	g.named(k)
	build, add := g.indexed(k)
	last := file{title("add", k.GetConname()), false, g.instead(original, add)}
	var all []file
	if k.GetContype() == tree.ConstrType_CONSTR_PRIMARY {
		for _, c := range texts(k.GetKeys()) {
			if !g.never(t, c) {
				all = append(all, g.prove(t, c)...)
			}
		}
	}
	return g.files(append(all, build, last)...)
}

// apart is a file for one command of the statement; what the statement does besides stays in its place.
func (g glance) apart(cmd *tree.AlterTableCmd, f file) string {
	if rest := g.instead(cmd); rest != "" {
		return g.files(file{title("alter", bare(g.target().name)), false, rest}, f)
	}
	return g.files(f)
}
