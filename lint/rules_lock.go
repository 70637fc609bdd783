package lint

import (
	"slices"
	"strings"

	tree "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"

	"github.com/contraflow/contraflow/internal/sqltree"
)

var lockRules = []statementRule{
	rule(Rule{
		ID: "several-tables-in-one-file", Severity: Warning, Title: "Second table locked while the first still is",
		Why:     "A file is one transaction: it holds every lock to its end, and while it waits for the next table nobody gets at those it has. Transactions that take the tables in another order deadlock with it.",
		Sources: []string{"Postgres: Explicit Locking, Deadlocks"},
	}, severalTables),
	rule(Rule{
		ID: "slow-statement-under-lock", Severity: Error, Title: "Rows read or written while a table is locked",
		Why:     "A file is one transaction: the lock that a statement above took is held until this one is through with all its rows.",
		Sources: []string{"strong_migrations: backfilling data", "strong_migrations: validate_check_constraint", "strong_migrations: validate_foreign_key"},
	}, slowUnderLock),
	rule(Rule{
		ID: "lock-table", Severity: Warning, Title: "Table locked by hand",
		Why:     "From SHARE on the lock stops writes, and it is held to the end of the file; each statement takes the lock it needs anyway.",
		Sources: []string{"Postgres: LOCK"},
	}, lockingTable),
}

// gentle are the commands of ALTER TABLE that reads and writes pass.
var gentle = []tree.AlterTableType{
	tree.AlterTableType_AT_SetStatistics, tree.AlterTableType_AT_SetOptions, tree.AlterTableType_AT_ResetOptions, tree.AlterTableType_AT_ValidateConstraint,
	tree.AlterTableType_AT_ClusterOn, tree.AlterTableType_AT_DropCluster, tree.AlterTableType_AT_SetRelOptions, tree.AlterTableType_AT_ResetRelOptions,
	tree.AlterTableType_AT_AttachPartition, tree.AlterTableType_AT_DetachPartitionFinalize,
}

// shareLock is the first of Postgres's lock modes, in their order of strength, that stops writes.
const shareLock = 5

// strong lists the tables that others use already and that a statement locks against writers, or against everybody.
func (g glance) strong(n *tree.Node) []string {
	var all []string
	lock := func(tables ...*tree.RangeVar) {
		for _, r := range tables {
			if r.GetRelname() != "" && !g.now.table(r).fresh && !slices.Contains(all, relationName(r)) {
				all = append(all, relationName(r))
			}
		}
	}
	named := func(table string) {
		if !g.now.named(table).fresh && !slices.Contains(all, table) {
			all = append(all, table)
		}
	}
	switch n := n.GetNode().(type) {
	case *tree.Node_AlterTableStmt:
		if !tableLike(n.AlterTableStmt) {
			return nil
		}
		for _, c := range n.AlterTableStmt.GetCmds() {
			cmd := c.GetAlterTableCmd()
			part := cmd.GetDef().GetPartitionCmd()
			if !slices.Contains(gentle, cmd.GetSubtype()) && !part.GetConcurrent() {
				lock(n.AlterTableStmt.GetRelation())
			}
			if !part.GetConcurrent() {
				lock(part.GetName())
			}
		}
	case *tree.Node_RenameStmt:
		lock(n.RenameStmt.GetRelation())
	case *tree.Node_AlterObjectSchemaStmt:
		lock(n.AlterObjectSchemaStmt.GetRelation())
	case *tree.Node_TruncateStmt:
		for _, r := range n.TruncateStmt.GetRelations() {
			lock(r.GetRangeVar())
		}
	case *tree.Node_LockStmt:
		for _, r := range n.LockStmt.GetRelations() {
			if n.LockStmt.GetMode() >= shareLock {
				lock(r.GetRangeVar())
			}
		}
	case *tree.Node_CreateTrigStmt:
		lock(n.CreateTrigStmt.GetRelation())
	case *tree.Node_RuleStmt:
		lock(n.RuleStmt.GetRelation())
	case *tree.Node_CreatePolicyStmt:
		lock(n.CreatePolicyStmt.GetTable())
	case *tree.Node_AlterPolicyStmt:
		lock(n.AlterPolicyStmt.GetTable())
	case *tree.Node_ClusterStmt:
		lock(n.ClusterStmt.GetRelation())
	case *tree.Node_IndexStmt:
		if !n.IndexStmt.GetConcurrent() {
			lock(n.IndexStmt.GetRelation())
		}
	case *tree.Node_RefreshMatViewStmt:
		if !n.RefreshMatViewStmt.GetConcurrent() {
			lock(n.RefreshMatViewStmt.GetRelation())
		}
	case *tree.Node_ReindexStmt:
		if option(n.ReindexStmt.GetParams(), "concurrently") {
			break
		}
		if t, _ := g.now.index(relationName(n.ReindexStmt.GetRelation())); t != nil {
			named(t.name)
		} else {
			lock(n.ReindexStmt.GetRelation())
		}
	case *tree.Node_CreateStmt:
		if n.CreateStmt.GetPartbound() != nil {
			lock(n.CreateStmt.GetInhRelations()[0].GetRangeVar())
		}
	case *tree.Node_DropStmt:
		for _, o := range n.DropStmt.GetObjects() {
			switch parts := texts(o.GetList().GetItems()); n.DropStmt.GetRemoveType() {
			case tree.ObjectType_OBJECT_TABLE, tree.ObjectType_OBJECT_MATVIEW:
				named(objectName(o))
			case tree.ObjectType_OBJECT_TRIGGER, tree.ObjectType_OBJECT_POLICY, tree.ObjectType_OBJECT_RULE:
				named(listName(o.GetList().GetItems()[:len(parts)-1]))
			case tree.ObjectType_OBJECT_INDEX:
				if t, _ := g.now.index(objectName(o)); !n.DropStmt.GetConcurrent() && t != nil {
					named(t.name)
				}
			}
		}
	}
	return all
}

// pointed lists the tables that a statement locks against writers because a foreign key that it makes or drops points to them.
func (g glance) pointed(n *tree.Node) (all []string) {
	lock := func(table string) {
		if table != "" && !g.now.named(table).fresh {
			all = append(all, table)
		}
	}
	dropped := func(table, constraint string) {
		for _, k := range g.now.named(table).constraints {
			if k.kind == foreignKey && (constraint == "" || k.name == constraint) {
				lock(k.references)
			}
		}
	}
	if n.GetCreateStmt() != nil || n.GetAlterTableStmt() != nil {
		inspect(n, func(m proto.Message) {
			if k, ok := m.(*tree.Constraint); ok && k.GetPktable() != nil {
				lock(relationName(k.GetPktable()))
			}
		})
	}
	if a := n.GetAlterTableStmt(); a != nil {
		for _, c := range a.GetCmds() {
			if cmd := c.GetAlterTableCmd(); cmd.GetSubtype() == tree.AlterTableType_AT_DropConstraint {
				dropped(relationName(a.GetRelation()), cmd.GetName())
			}
		}
	}
	if d := n.GetDropStmt(); d.GetRemoveType() == tree.ObjectType_OBJECT_TABLE {
		for _, o := range d.GetObjects() {
			dropped(objectName(o), "")
		}
	}
	return all
}

// locks are what the statements of a file have taken so far: a file of thousands of statements is gone through once.
type locks struct {
	held    []string // tables that are locked against writers, or against everybody, in the order in which they were
	pointed []string // those that are because a foreign key points to them
	several bool     // a finding has told that there is more than one
}

// take adds what the statement locks.
func (c *check) take(s *script, st sqltree.Statement) {
	g := glance{check: c, s: s, st: st}
	c.locks.held = union(c.locks.held, g.missed())
	c.locks.pointed = union(c.locks.pointed, g.pointed(st.Node))
}

// missed are the tables that the statement locks and somebody needs: in a rollback, not those that the plan has made.
func (g glance) missed() []string {
	return slices.DeleteFunc(g.strong(g.st.Node), func(t string) bool { return g.down() && g.now.named(t).step != history })
}

func union(all, more []string) []string {
	for _, one := range more {
		if !slices.Contains(all, one) {
			all = append(all, one)
		}
	}
	return all
}

func severalTables(g glance) {
	if len(g.locks.held) == 0 || g.locks.several {
		return // once a file is enough
	}
	for _, t := range g.missed() {
		if !slices.Contains(g.locks.held, t) {
			g.locks.several = true
			g.hit("", "%s is locked while %s still %s: give each table a file of its own", t, together(g.locks.held), are(g.locks.held))
			return
		}
	}
}

// together is a list in English: a, b and c.
func together(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " and " + words[last]
}

// are is the verb that follows a list.
func are(words []string) string {
	if len(words) == 1 {
		return "is"
	}
	return "are"
}

func slowUnderLock(g glance) {
	held := g.locks.held
	n := g.st.Node.GetAlterTableStmt()
	if n == nil && len(held) == 0 && len(g.locks.pointed) == 0 {
		return
	}
	what := g.reads()
	if what == "" {
		return
	}
	held = union(slices.Clone(held), g.locks.pointed)
	if n != nil {
		held = union(held, g.strong(g.st.Node)) // VALIDATE among other commands
	}
	if len(held) == 0 {
		return
	}
	safe := ""
	if n != nil {
		for _, c := range n.GetCmds() {
			if cmd := c.GetAlterTableCmd(); cmd.GetSubtype() == tree.AlterTableType_AT_ValidateConstraint {
				safe = g.apart(cmd, file{title("validate", cmd.GetName()), true, g.alter(cmd)})
			}
		}
	}
	slices.Sort(held)
	g.hit(safe, "%s while %s %s locked: give the statement a file of its own, in a later step if it changes rows", what, together(held), are(held))
}

// reads says in a few words that the statement goes through the rows of tables that others use already; "" if not. What has a
// rule of its own for that, such as SET NOT NULL, is left to it.
func (g glance) reads() string {
	node := executed(g.st.Node)
	switch n := node.GetNode().(type) {
	case *tree.Node_AlterTableStmt:
		for t, cmd := range g.alters(tree.AlterTableType_AT_ValidateConstraint) {
			if k := t.constraint(cmd.GetName()); k == nil || !k.validated && !k.fresh {
				return "constraint " + cmd.GetName() + " is proven"
			}
		}
	case *tree.Node_UpdateStmt, *tree.Node_DeleteStmt, *tree.Node_InsertStmt, *tree.Node_MergeStmt:
		if target := written(node); g.pinned(node) || len(g.used(node)) == 0 {
			return ""
		} else if target != nil {
			return "rows of " + relationName(target) + " are changed"
		}
	case *tree.Node_CopyStmt:
		return "rows of " + relationName(n.CopyStmt.GetRelation()) + " are copied"
	case *tree.Node_SelectStmt, *tree.Node_CreateTableAsStmt:
		if c := node.GetCreateTableAsStmt(); c.GetInto().GetSkipData() {
			return ""
		}
		if calls(node, "pg_sleep") {
			return "the session sleeps"
		}
		if tables := g.used(node); len(tables) > 0 {
			return "rows of " + strings.Join(tables, ", ") + " are read"
		}
	case *tree.Node_RefreshMatViewStmt:
		if n.RefreshMatViewStmt.GetConcurrent() {
			return relationName(n.RefreshMatViewStmt.GetRelation()) + " is computed"
		}
	}
	return ""
}

// calls tells that a statement calls a function.
func calls(n *tree.Node, function string) (found bool) {
	inspect(n, func(m proto.Message) {
		f, ok := m.(*tree.FuncCall)
		found = found || ok && bare(listName(f.GetFuncname())) == function
	})
	return found
}

// used are the tables in a query that others use already.
func (g glance) used(n *tree.Node) []string {
	var all, own []string
	inspect(n, func(m proto.Message) {
		switch m := m.(type) {
		case *tree.CommonTableExpr:
			own = append(own, m.GetCtename())
		case *tree.RangeVar:
			if t := g.now.table(m); !t.fresh && !slices.Contains(all, t.name) {
				all = append(all, t.name)
			}
		}
	})
	if into := n.GetCreateTableAsStmt().GetInto().GetRel(); into != nil {
		own = append(own, relationName(into))
	}
	return slices.DeleteFunc(all, func(t string) bool { return slices.Contains(own, t) })
}

func lockingTable(g glance) {
	n := g.st.Node.GetLockStmt()
	if n.GetMode() < shareLock {
		return
	}
	for _, t := range g.strong(g.st.Node) {
		g.hit("", "%s is locked to the end of the file", t)
	}
}
