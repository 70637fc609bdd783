package lint

import (
	"fmt"
	"slices"
	"strings"

	tree "github.com/pganalyze/pg_query_go/v6"
)

var renameRules = []statementRule{
	rule(Rule{
		ID: "renaming-column", Severity: Error, Title: "Column renamed",
		Why:     "From one moment to the next the version of the application that knows the old name fails, and before that the one that knows the new name.",
		Sources: []string{"squawk: renaming-column", "strong_migrations: rename_column"},
	}, renamingColumn),
	rule(Rule{
		ID: "renaming-table", Severity: Error, Title: "Table renamed or moved",
		Why:     "From one moment to the next the version of the application that knows the old name fails, unless a view of that name stands in for it in the same transaction.",
		Sources: []string{"squawk: renaming-table", "squawk: ban-set-schema", "strong_migrations: rename_table"},
	}, renamingTable),
	rule(Rule{
		ID: "renaming-object", Severity: Error, Title: "View, function, type, enum value or schema renamed",
		Why:     "From one moment to the next the version of the application that knows the old name fails.",
		Sources: []string{"squawk: renaming-object", "squawk: ban-set-schema", "strong_migrations: rename_schema", "strong_migrations: rename_enum_value"},
	}, renamingObject),
}

func renamingColumn(g glance) {
	n := g.st.Node.GetRenameStmt()
	if n.GetRenameType() != tree.ObjectType_OBJECT_COLUMN {
		return
	}
	t := g.now.table(n.GetRelation())
	c := t.column(n.GetSubname())
	if t.fresh || c != nil && c.fresh {
		return
	}
	safe := ""
	if c != nil && n.GetRelationType() == tree.ObjectType_OBJECT_TABLE {
		safe = g.replace(t, c.name, n.GetNewname(), fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s %s;", tableName(t.name), name(n.GetNewname()), typeSQL(c.typ)), name(c.name))
	}
	g.hit(safe, "column %s of %s is called %s from now on: the running version fails", n.GetSubname(), t.name, n.GetNewname())
}

func renamingTable(g glance) {
	n := g.st.Node.GetRenameStmt()
	moved := g.st.Node.GetAlterObjectSchemaStmt()
	r, to := n.GetRelation(), ""
	switch {
	case n.GetRenameType() == tree.ObjectType_OBJECT_TABLE:
		to = name(r.GetSchemaname(), n.GetNewname())
	case moved.GetObjectType() == tree.ObjectType_OBJECT_TABLE:
		r = moved.GetRelation()
		to = name(moved.GetNewschema(), r.GetRelname())
	default:
		return
	}
	from := relationName(r)
	if g.now.table(r).fresh || g.madeBelow(func(m *tree.Node) bool { return relationName(m.GetViewStmt().GetView()) == from }) ||
		g.takenOver(from) {
		return
	}
	g.hit(fmt.Sprintf("%s\nCREATE VIEW %s AS SELECT * FROM %s;", sql(g.st.Node), relation(r), to), "%s is called %s from now on: the running version fails", from, to)
}

// takenOver tells that a statement below gives another table the name.
func (g glance) takenOver(called string) bool {
	return g.madeBelow(func(m *tree.Node) bool {
		n := m.GetRenameStmt()
		return n.GetRenameType() == tree.ObjectType_OBJECT_TABLE && qualified(n.GetRelation().GetSchemaname(), n.GetNewname()) == called
	})
}

// renamable are the kinds of objects that an application uses by name, besides tables and columns.
var renamable = []tree.ObjectType{
	tree.ObjectType_OBJECT_VIEW, tree.ObjectType_OBJECT_MATVIEW, tree.ObjectType_OBJECT_FUNCTION, tree.ObjectType_OBJECT_PROCEDURE, tree.ObjectType_OBJECT_ROUTINE,
	tree.ObjectType_OBJECT_SEQUENCE, tree.ObjectType_OBJECT_TYPE, tree.ObjectType_OBJECT_DOMAIN, tree.ObjectType_OBJECT_SCHEMA, tree.ObjectType_OBJECT_ATTRIBUTE,
	tree.ObjectType_OBJECT_AGGREGATE, tree.ObjectType_OBJECT_ROLE, tree.ObjectType_OBJECT_DATABASE,
}

func renamingObject(g glance) {
	if e := g.st.Node.GetAlterEnumStmt(); e.GetOldVal() != "" {
		g.hit(fmt.Sprintf("-- rows keep the old value until a backfill step has changed them\nALTER TYPE %s ADD VALUE '%s' AFTER '%s';", tableName(listName(e.GetTypeName())),
			strings.ReplaceAll(e.GetNewVal(), "'", "''"), strings.ReplaceAll(e.GetOldVal(), "'", "''")), "value %s of %s is called %s from now on, in every row: the running version doesn't know it", e.GetOldVal(), listName(e.GetTypeName()), e.GetNewVal())
		return
	}
	n, moved := g.st.Node.GetRenameStmt(), g.st.Node.GetAlterObjectSchemaStmt()
	kind, from, to := n.GetRenameType(), "", "is called "+n.GetNewname()
	switch {
	case n != nil:
		from = renamedObject(n)
	case moved != nil:
		kind, to = moved.GetObjectType(), "is in schema "+moved.GetNewschema()
		if from = objectName(moved.GetObject()); moved.GetRelation() != nil {
			from = relationName(moved.GetRelation())
		}
	}
	same := func(m *tree.Node) bool { return makes(m) == from }
	if !slices.Contains(renamable, kind) || g.madeHere(same) || kind == tree.ObjectType_OBJECT_TYPE && g.madeBelow(same) {
		return
	}
	g.hit("", "%s %s from now on: the running version fails", from, to)
}

func renamedObject(n *tree.RenameStmt) string {
	switch {
	case n.GetRelation() != nil && n.GetSubname() != "":
		return relationName(n.GetRelation()) + "." + n.GetSubname()
	case n.GetRelation() != nil:
		return relationName(n.GetRelation())
	case n.GetObject() != nil:
		return objectName(n.GetObject())
	}
	return n.GetSubname()
}
