package lint

import (
	"fmt"
	"slices"
	"strings"

	tree "github.com/pganalyze/pg_query_go/v6"
)

var dropRules = []statementRule{
	rule(Rule{
		ID: "ban-drop-column", Severity: Error, Title: "Column dropped in a step that could be taken back",
		Why:     "The values are gone, and a version of the application that reads or writes the column fails. A step that says irreversible: true stands behind a verify and an approve.",
		Sources: []string{"squawk: ban-drop-column", "strong_migrations: remove_column"},
	}, droppingColumn),
	rule(Rule{
		ID: "ban-drop-table", Severity: Error, Title: "Table dropped in a step that could be taken back",
		Why:     "The rows are gone, and a version of the application that uses the table fails. A step that says irreversible: true stands behind a verify and an approve.",
		Sources: []string{"squawk: ban-drop-table", "strong_migrations: create_table (force)"},
	}, droppingTable),
	rule(Rule{
		ID: "ban-drop-object", Severity: Error, Title: "View, function, type or schema dropped in a step that could be taken back",
		Why:     "A version of the application that uses it fails. A step that says irreversible: true stands behind a verify and an approve.",
		Sources: []string{"squawk: ban-drop-view", "squawk: ban-drop-function", "squawk: ban-drop-type", "squawk: ban-drop-domain", "squawk: ban-drop-sequence", "squawk: ban-drop-schema", "squawk: ban-drop-extension"},
	}, droppingObject),
	rule(Rule{
		ID: "ban-drop-constraint", Severity: Warning, Title: "Rule about the rows that holds no longer",
		Why:     "One version of the application writes rows that the other has never met; and the constraint comes back only if none of them breaks it.",
		Sources: []string{"squawk: ban-drop-constraint", "squawk: ban-detach-inheritance"},
	}, droppingConstraint),
	rule(Rule{
		ID: "drop-cascade", Severity: Error, Title: "Objects dropped that the file doesn't name",
		Why:     "CASCADE takes views, foreign keys and functions with it, whatever they are on the day, and no down file brings them back.",
		Sources: []string{"Postgres: Dependency Tracking"},
	}, droppingCascade),
}

// irreversibleStep is how a plan drops something for good: the statement alone, with its version behind a proof. What else
// stands in the file can be taken back, and keeps a version of its own.
func (g glance) irreversibleStep(what, proof string) string {
	if n := g.st.Node; len(g.s.statements) > 1 || len(n.GetAlterTableStmt().GetCmds()) > 1 || len(n.GetDropStmt().GetObjects()) > 1 {
		return ""
	}
	return fmt.Sprintf("- name: %s\n  verify: {query: %s, max: 0}\n- name: %s\n  approve: {by: [alice], within: 72h}\n- name: %s\n  migrate: {to: %d, irreversible: true}\n",
		stepName("prove", what), yamlQuoted(proof), stepName("agree", what), stepName("drop", what), g.s.Version)
}

func droppingColumn(g glance) {
	for t, cmd := range g.alters(tree.AlterTableType_AT_DropColumn) {
		c := t.column(cmd.GetName())
		if g.down() && c != nil && c.step != history {
			continue
		}
		if (c == nil || !c.fresh) && !g.declared() {
			g.hit(g.irreversibleStep(cmd.GetName(), fmt.Sprintf("select count(*) from %s where %s is not null", tableName(t.name), name(cmd.GetName()))), "column %s of %s is dropped, with its values", cmd.GetName(), t.name)
		}
	}
}

func droppingTable(g glance) {
	n := g.st.Node.GetDropStmt()
	if n.GetRemoveType() != tree.ObjectType_OBJECT_TABLE && n.GetRemoveType() != tree.ObjectType_OBJECT_FOREIGN_TABLE || g.declared() {
		return
	}
	for _, o := range n.GetObjects() {
		if t := g.now.named(objectName(o)); !t.fresh && !(g.down() && t.step != history) {
			g.hit(g.irreversibleStep(bare(t.name), fmt.Sprintf("select count(*) from %s", tableName(t.name))), "table %s is dropped, with its rows", t.name)
		}
	}
}

// droppable are the kinds of objects that an application may use by name.
var droppable = []tree.ObjectType{
	tree.ObjectType_OBJECT_VIEW, tree.ObjectType_OBJECT_MATVIEW, tree.ObjectType_OBJECT_FUNCTION, tree.ObjectType_OBJECT_PROCEDURE, tree.ObjectType_OBJECT_ROUTINE,
	tree.ObjectType_OBJECT_AGGREGATE, tree.ObjectType_OBJECT_SEQUENCE, tree.ObjectType_OBJECT_TYPE, tree.ObjectType_OBJECT_DOMAIN, tree.ObjectType_OBJECT_SCHEMA,
	tree.ObjectType_OBJECT_EXTENSION, tree.ObjectType_OBJECT_OPERATOR, tree.ObjectType_OBJECT_PUBLICATION,
}

// replaceable are the kinds of objects that hold nothing of their own: one of the same name below can take the place. A new
// sequence begins at 1, a new type has no columns, a new schema is empty.
var replaceable = []tree.ObjectType{
	tree.ObjectType_OBJECT_VIEW, tree.ObjectType_OBJECT_MATVIEW, tree.ObjectType_OBJECT_FUNCTION, tree.ObjectType_OBJECT_PROCEDURE, tree.ObjectType_OBJECT_ROUTINE,
	tree.ObjectType_OBJECT_AGGREGATE, tree.ObjectType_OBJECT_OPERATOR,
}

func droppingObject(g glance) {
	n := g.st.Node.GetDropStmt()
	if !slices.Contains(droppable, n.GetRemoveType()) || g.declared() {
		return
	}
	kind := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(n.GetRemoveType().String(), "OBJECT_")), "matview", "materialized view")
	for _, o := range n.GetObjects() {
		called := objectName(o)
		again := func(m *tree.Node) bool { return makes(m) == called }
		renamed := func(m *tree.Node) bool { // it was taken over by another of its old name
			r := m.GetRenameStmt()
			return r.GetRenameType() == n.GetRemoveType() && r.GetNewname() == bare(called)
		}
		if g.madeHere(again) || g.madeHere(renamed) || g.down() && g.planned(again) {
			continue
		}
		if slices.Contains(replaceable, n.GetRemoveType()) && g.madeBelow(again) {
			g.as(Warning).hit("", "%s %s is made anew: if its columns or arguments are others, the running version fails", kind, called)
			continue
		}
		g.hit("", "%s %s is dropped", kind, called)
	}
}

// makes names the view, function, type, sequence or the like that a statement makes; "" for others.
func makes(n *tree.Node) string {
	switch n := n.GetNode().(type) {
	case *tree.Node_ViewStmt:
		return relationName(n.ViewStmt.GetView())
	case *tree.Node_CreateTableAsStmt:
		return relationName(n.CreateTableAsStmt.GetInto().GetRel())
	case *tree.Node_CreateStmt:
		return relationName(n.CreateStmt.GetRelation())
	case *tree.Node_CreateFunctionStmt:
		return listName(n.CreateFunctionStmt.GetFuncname())
	case *tree.Node_CreateSeqStmt:
		return relationName(n.CreateSeqStmt.GetSequence())
	case *tree.Node_CreateEnumStmt:
		return listName(n.CreateEnumStmt.GetTypeName())
	case *tree.Node_CompositeTypeStmt:
		return relationName(n.CompositeTypeStmt.GetTypevar())
	case *tree.Node_CreateRangeStmt:
		return listName(n.CreateRangeStmt.GetTypeName())
	case *tree.Node_CreateDomainStmt:
		return listName(n.CreateDomainStmt.GetDomainname())
	case *tree.Node_CreateSchemaStmt:
		return n.CreateSchemaStmt.GetSchemaname()
	case *tree.Node_CreateExtensionStmt:
		return n.CreateExtensionStmt.GetExtname()
	case *tree.Node_CreatePublicationStmt:
		return n.CreatePublicationStmt.GetPubname()
	case *tree.Node_DefineStmt: // an aggregate or an operator
		return listName(n.DefineStmt.GetDefnames())
	}
	return ""
}

// madeBelow tells whether a statement below in the same file fits.
func (g glance) madeBelow(fits func(*tree.Node) bool) bool {
	for n := range g.later() {
		if fits(n) {
			return true
		}
	}
	return false
}

func droppingConstraint(g glance) {
	for t, cmd := range g.alters(tree.AlterTableType_AT_DropConstraint) {
		k := t.constraint(cmd.GetName())
		switch {
		case g.takesBack(func(before *schema) bool { return k == nil || before.named(t.name).constraint(k.name) != nil }):
		case g.declared() || k != nil && (k.fresh || !k.validated):
		case k != nil && k.kind == checkConstraint && len(k.notNull) > 0 && !slices.ContainsFunc(k.notNull, func(c string) bool { return t.column(c) == nil || !t.column(c).notNull }):
			// what it said the columns say by now
		case g.madeBelow(func(n *tree.Node) bool { return adds(n, t.name, cmd.GetName()) }):
		default:
			g.hit("", "constraint %s of %s is dropped: both versions of the application meet rows that break it", cmd.GetName(), t.name)
		}
	}
	if n := g.st.Node.GetDropStmt(); n.GetRemoveType() == tree.ObjectType_OBJECT_INDEX && !g.declared() {
		for _, o := range n.GetObjects() {
			called := objectName(o)
			t, i := g.now.index(called)
			if g.takesBack(func(before *schema) bool { _, old := before.index(called); return old != nil }) {
				continue
			}
			if i == nil || !i.unique || i.fresh || g.madeBelow(func(m *tree.Node) bool {
				return m.GetIndexStmt().GetUnique() && m.GetIndexStmt().GetIdxname() == i.name
			}) {
				continue
			}
			twin := slices.ContainsFunc(t.indexes, func(other *index) bool {
				return other != i && other.unique && other.where == i.where && slices.Equal(other.columns, i.columns)
			})
			if !twin {
				g.hit("", "index %s, which keeps %s of %s unique, is dropped: rows come twice, and ON CONFLICT (%s) fails", called, together(i.columns), t.name, strings.Join(i.columns, ", "))
			}
		}
	}
	for t, cmd := range g.alters(tree.AlterTableType_AT_DropInherit) {
		if g.down() {
			continue
		}
		g.hit("", "rows of %s are no longer found in %s", t.name, relationName(cmd.GetDef().GetRangeVar()))
	}
}

// adds tells whether a statement adds a constraint of that name.
func adds(n *tree.Node, table, constraint string) bool {
	a := n.GetAlterTableStmt()
	return a != nil && relationName(a.GetRelation()) == table && slices.ContainsFunc(a.GetCmds(), func(c *tree.Node) bool {
		return c.GetAlterTableCmd().GetDef().GetConstraint().GetConname() == constraint
	})
}

func droppingCascade(g glance) {
	if g.down() {
		g = g.as(Warning) // it takes what came after the up file along, and that has to go anyway
	}
	n := g.st.Node.GetDropStmt()
	if n.GetBehavior() == tree.DropBehavior_DROP_CASCADE {
		for _, o := range n.GetObjects() {
			called := objectName(o)
			if !g.now.named(called).fresh && !g.madeHere(func(m *tree.Node) bool { return makes(m) == called }) {
				g.hit("", "whatever depends on %s goes with it: drop each by name, and leave CASCADE out", called)
			}
		}
	}
	if n := g.st.Node.GetDropOwnedStmt(); n != nil {
		g.hit("", "whatever the role owns goes: drop each by name")
	}
	for t, cmd := range g.alters(tree.AlterTableType_AT_DropColumn, tree.AlterTableType_AT_DropConstraint) {
		if cmd.GetBehavior() == tree.DropBehavior_DROP_CASCADE {
			g.hit("", "whatever depends on %s of %s goes with it: drop each by name, and leave CASCADE out", cmd.GetName(), t.name)
		}
	}
}
