package lint

import (
	"fmt"
	"slices"
	"strings"

	tree "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
)

var objectRules = []statementRule{
	rule(Rule{
		ID: "ban-disable-trigger", Severity: Warning, Title: "Trigger or rule turned off",
		Why:     "Rows that either version writes from now on go without it: foreign keys, audit, or columns kept in step.",
		Sources: []string{"squawk: ban-disable-trigger"},
	}, disablingTrigger),
	rule(Rule{
		ID: "enabling-row-security", Severity: Warning, Title: "Row level security switched",
		Why:     "From one moment to the next a role that no policy allows sees no rows, or sees them all where it is turned off.",
		Sources: []string{"squawk: ban-alter-row-level-security"},
	}, switchingRowSecurity),
	rule(Rule{
		ID: "creating-rule", Severity: Warning, Title: "Rewrite rule on a table in use",
		Why:     "It takes ACCESS EXCLUSIVE for a moment, and changes what statements of both versions do from then on.",
		Sources: []string{"Postgres: CREATE RULE"},
	}, creatingRule),
	rule(Rule{
		ID: "changing-owner", Severity: Warning, Title: "Other owner",
		Why:     "The old owner loses the rights that came with it, and with them perhaps the running version, or the next migration.",
		Sources: []string{"Postgres: ALTER TABLE, OWNER TO"},
	}, changingOwner),
	rule(Rule{
		ID: "ban-replica-identity", Severity: Warning, Title: "Other replica identity",
		Why:     "Subscribers find rows by it: with NOTHING updates of a published table fail, with FULL every old row goes into the log.",
		Sources: []string{"squawk: ban-replica-identity"},
	}, changingReplicaIdentity),
	rule(Rule{
		ID: "ban-replace-view-function", Severity: Note, Title: "View or function replaced",
		Why:     "Both versions of the application meet the new body from this moment on.",
		Sources: []string{"squawk: ban-replace-view-function"},
	}, replacing),
	rule(Rule{
		ID: "altering-composite-type", Severity: Error, Title: "Composite type changed",
		Why:     "Both versions of the application read and write its values by position; tables that use the type are locked, and Postgres refuses to change an attribute's type while one does.",
		Sources: []string{"squawk: ban-add-composite-attribute"},
	}, alteringComposite),
	rule(Rule{
		ID: "require-enum-value-ordering", Severity: Note, Title: "Enum value added without its place",
		Why:     "It sorts behind all others, for good: values can't be moved. BEFORE or AFTER says that this is meant.",
		Sources: []string{"squawk: require-enum-value-ordering"},
	}, addingEnumValue),
	rule(Rule{
		ID: "enum-value-used-at-once", Severity: Error, Title: "New enum value used in the transaction that adds it",
		Why:     "Postgres refuses the value until the transaction that added it has committed: the step would fail.",
		Sources: []string{"Postgres: ALTER TYPE, ADD VALUE"},
	}, usingNewEnumValue),
	rule(Rule{
		ID: "restarting-sequence", Severity: Warning, Title: "Sequence set to another number",
		Why:     "Where it goes back, numbers come twice: inserts fail at the primary key, or rows that were never meant to be one become so. It isn't taken back with the transaction.",
		Sources: []string{"squawk: ban-alter-sequence-values"},
	}, restartingSequence),
}

func restartingSequence(g glance) {
	restarts := func(options []*tree.Node) bool {
		return slices.ContainsFunc(options, func(n *tree.Node) bool { return n.GetDefElem().GetDefname() == "restart" })
	}
	if n := g.st.Node.GetAlterSeqStmt(); restarts(n.GetOptions()) {
		called := relationName(n.GetSequence())
		if !g.madeHere(func(m *tree.Node) bool { return makes(m) == called }) {
			g.hit("", "sequence %s begins again: make sure that no row has the numbers that come", called)
		}
	}
	for t, cmd := range g.alters(tree.AlterTableType_AT_SetIdentity) {
		if c := t.column(cmd.GetName()); restarts(cmd.GetDef().GetList().GetItems()) && (c == nil || !c.fresh) {
			g.hit("", "column %s of %s is numbered anew: make sure that no row has the numbers that come", cmd.GetName(), t.name)
		}
	}
	inspect(g.st.Node, func(m proto.Message) {
		f, ok := m.(*tree.FuncCall)
		if !ok || bare(listName(f.GetFuncname())) != "setval" || len(f.GetArgs()) < 2 {
			return
		}
		called := constant(f.GetArgs()[0])
		if !highest(f.GetArgs()[1]) && !g.madeHere(func(m *tree.Node) bool { return makes(m) == called }) {
			g.hit("", "sequence %s is set to a number of the file's: make sure that no row has the numbers that come", called)
		}
	})
}

// highest tells that an expression looks up the highest number there is, as setval is meant to be used.
func highest(n *tree.Node) (found bool) {
	inspect(n, func(m proto.Message) {
		f, ok := m.(*tree.FuncCall)
		found = found || ok && bare(listName(f.GetFuncname())) == "max"
	})
	return found
}

// off are the commands that take a trigger or rule out of work.
var off = []tree.AlterTableType{tree.AlterTableType_AT_DisableTrig, tree.AlterTableType_AT_DisableTrigAll, tree.AlterTableType_AT_DisableTrigUser, tree.AlterTableType_AT_DisableRule}

func disablingTrigger(g glance) {
	for t, cmd := range g.alters(off...) {
		switch {
		case cmd.GetSubtype() == tree.AlterTableType_AT_DisableRule:
			g.hit("", "rule %s of %s doesn't work any more, for either version", cmd.GetName(), t.name)
		case cmd.GetName() != "":
			g.hit("", "trigger %s of %s doesn't run any more, for either version", cmd.GetName(), t.name)
		default:
			g.hit("", "triggers of %s don't run any more, for either version", t.name)
		}
	}
}

func switchingRowSecurity(g glance) {
	for t, cmd := range g.alters(tree.AlterTableType_AT_EnableRowSecurity, tree.AlterTableType_AT_ForceRowSecurity, tree.AlterTableType_AT_DisableRowSecurity) {
		if cmd.GetSubtype() == tree.AlterTableType_AT_DisableRowSecurity {
			g.hit("", "policies of %s hide no rows any more", t.name)
		} else {
			g.hit("", "%s shows no rows to roles that no policy allows: make the policies before, in the same file", t.name)
		}
	}
}

func creatingRule(g glance) {
	if n := g.st.Node.GetRuleStmt(); n != nil && !g.now.table(n.GetRelation()).fresh {
		g.hit("", "statements on %s are rewritten by rule %s from now on: a trigger is easier to foresee", relationName(n.GetRelation()), n.GetRulename())
	}
}

func changingOwner(g glance) {
	for t, cmd := range g.alters(tree.AlterTableType_AT_ChangeOwner) {
		g.hit("", "%s belongs to %s from now on", t.name, cmd.GetNewowner().GetRolename())
	}
	if n := g.st.Node.GetReassignOwnedStmt(); n != nil {
		g.hit("", "whatever the roles own belongs to %s from now on", n.GetNewrole().GetRolename())
	}
}

func changingReplicaIdentity(g glance) {
	for t, cmd := range g.alters(tree.AlterTableType_AT_ReplicaIdentity) {
		if kind := cmd.GetDef().GetReplicaIdentityStmt().GetIdentityType(); kind == "f" || kind == "n" {
			g.hit("", "rows of %s are found otherwise by subscribers from now on", t.name)
		}
	}
}

func replacing(g glance) {
	kind, called := "", ""
	if v := g.st.Node.GetViewStmt(); v.GetReplace() {
		kind, called = "view", relationName(v.GetView())
	}
	if f := g.st.Node.GetCreateFunctionStmt(); f.GetReplace() {
		kind, called = "function", listName(f.GetFuncname())
	}
	if kind == "" || g.madeHere(func(n *tree.Node) bool { return makes(n) == called }) {
		return
	}
	for n := range g.past() {
		if makes(n) == called {
			g.hit("", "%s %s gets another body for both versions", kind, called)
			return
		}
	}
}

func alteringComposite(g glance) {
	n := g.st.Node.GetAlterTableStmt()
	if n.GetObjtype() != tree.ObjectType_OBJECT_TYPE {
		return
	}
	called := relationName(n.GetRelation())
	if g.madeHere(func(m *tree.Node) bool { return makes(m) == called }) {
		return
	}
	for _, c := range n.GetCmds() {
		switch cmd := c.GetAlterTableCmd(); cmd.GetSubtype() {
		case tree.AlterTableType_AT_AddColumn:
			g.as(Warning).hit("", "values of %s get one more attribute, %s", called, cmd.GetDef().GetColumnDef().GetColname())
		case tree.AlterTableType_AT_DropColumn, tree.AlterTableType_AT_AlterColumnType:
			g.hit("", "attribute %s of %s changes under both versions: make a new type beside it", cmd.GetName(), called)
		}
	}
}

func addingEnumValue(g glance) {
	n := g.st.Node.GetAlterEnumStmt()
	if n.GetNewVal() == "" || n.GetOldVal() != "" || n.GetNewValNeighbor() != "" {
		return
	}
	e := g.now.types[listName(n.GetTypeName())]
	if e == nil || len(e.values) == 0 {
		g.hit("", "%s stands last in %s for good", n.GetNewVal(), listName(n.GetTypeName()))
		return
	}
	placed := proto.CloneOf(n)
	placed.NewValNeighbor, placed.NewValIsAfter = e.values[len(e.values)-1], true
	g.hit(sql(&tree.Node{Node: &tree.Node_AlterEnumStmt{AlterEnumStmt: placed}}), "%s stands last in %s for good", n.GetNewVal(), e.name)
}

func usingNewEnumValue(g glance) {
	n := g.st.Node.GetAlterEnumStmt()
	if n.GetNewVal() == "" || n.GetOldVal() != "" || g.madeHere(func(m *tree.Node) bool { return makes(m) == listName(n.GetTypeName()) }) {
		return
	}
	literal := "'" + strings.ReplaceAll(n.GetNewVal(), "'", "''") + "'"
	for _, st := range g.s.statements {
		if st.Start > g.st.Start && strings.Contains(st.Text, literal) && st.Node.GetCommentStmt() == nil {
			line := st.Line
			g.hit("", "%s", fmt.Sprintf("value %s is used in line %d, in the same transaction: give that statement a later file", literal, line))
			return
		}
	}
}
