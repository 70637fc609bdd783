package lint

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	tree "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
)

var rowRules = []statementRule{
	rule(Rule{
		ID: "backfill-in-ddl", Severity: Error, Title: "Rows changed by the thousand in one transaction",
		Why:     "Every changed row stays locked until the file's transaction ends, whoever wants to write it waits, and the table grows by all of them. A backfill step goes in small transactions, at a pace, and goes on where it was after a crash.",
		Sources: []string{"strong_migrations: backfilling data", "strong_migrations: change_column_null (with a default)"},
	}, changingRows),
	rule(Rule{
		ID: "ban-duplicate-column-assignments", Severity: Error, Title: "Column assigned twice",
		Why:     "Postgres refuses the statement: the step would fail, and the migration roll back.",
		Sources: []string{"squawk: ban-duplicate-column-assignments"},
	}, assigningTwice),
	rule(Rule{
		ID: "ban-truncate", Severity: Error, Title: "All rows of a table thrown away",
		Why:     "It takes ACCESS EXCLUSIVE, both versions of the application find the table empty, and no down file brings the rows back.",
		Sources: []string{"squawk: ban-truncate-cascade"},
	}, truncating),
	rule(Rule{
		ID: "ban-truncate-cascade", Severity: Error, Title: "Rows of tables thrown away that the file doesn't name",
		Why:     "CASCADE empties every table with a foreign key to this one, and every table with a key to those.",
		Sources: []string{"squawk: ban-truncate-cascade"},
	}, truncatingCascade),
	rule(Rule{
		ID: "opaque", Severity: Warning, Title: "Statement that nobody can see through",
		Why:     "What a DO block, a procedure or a function does, which locks it takes and which rows it reads, isn't written in the file. A rehearsal shows it.",
		Sources: []string{"strong_migrations: execute", "strong_migrations: change_table"},
	}, opaqueStatement),
}

// written is the table whose rows the statement changes; nil for none.
func written(n *tree.Node) *tree.RangeVar {
	switch n := n.GetNode().(type) {
	case *tree.Node_UpdateStmt:
		return n.UpdateStmt.GetRelation()
	case *tree.Node_DeleteStmt:
		return n.DeleteStmt.GetRelation()
	case *tree.Node_InsertStmt:
		return n.InsertStmt.GetRelation()
	case *tree.Node_MergeStmt:
		return n.MergeStmt.GetRelation()
	case *tree.Node_CopyStmt:
		if n.CopyStmt.GetIsFrom() {
			return n.CopyStmt.GetRelation()
		}
	}
	return nil
}

func changingRows(g glance) {
	seen := map[string]bool{} // tables of which is said already that their rows are changed
	look := func(n *tree.Node) {
		r := written(n)
		if r == nil || listed(n) {
			return
		}
		t := g.now.table(r)
		if seen[t.name] {
			return
		}
		seen[t.name] = true
		switch {
		case t.fresh && len(g.used(n)) == 0:
		case t.fresh:
			g.as(g.copying(n)).hit("", "rows of %s are copied to %s in one transaction: a long one keeps vacuum from its work, and rows written meanwhile are missed", strings.Join(g.used(n), ", "), t.name)
		case g.pinned(n):
			g.as(Note).hit("", "the rows of %s that the statement names stay locked until the file's transaction ends", t.name)
		default:
			g.hit(backfillStep(n), "rows of %s are changed in the file's own transaction", t.name)
		}
	}
	n := executed(g.st.Node)
	look(n)
	inspect(n, func(m proto.Message) {
		if c, ok := m.(*tree.CommonTableExpr); ok {
			look(c.GetCtequery())
		}
	})
	if q := n.GetSelectStmt(); len(q.GetLockingClause()) > 0 && !(len(q.GetFromClause()) == 1 && g.keyed(q.GetFromClause()[0].GetRangeVar(), q.GetWhereClause(), true)) {
		if tables := g.used(n); len(tables) > 0 {
			g.hit("", "rows of %s are locked in the file's own transaction: whoever wants to write them waits to its end", together(tables))
		}
	}
}

// executed is the statement itself, or the one that EXPLAIN ANALYZE runs.
func executed(n *tree.Node) *tree.Node {
	if e := n.GetExplainStmt(); e != nil && option(e.GetOptions(), "analyze") {
		return e.GetQuery()
	}
	return n
}

// copying tells how bad it is that rows are copied into a new table: where that takes the other one's place in the same file,
// what was written meanwhile is gone.
func (g glance) copying(n *tree.Node) Severity {
	for _, from := range g.used(n) {
		if g.takenOver(from) {
			return Error
		}
	}
	return Warning
}

// listed tells that the rows to insert stand in the statement itself: however it computes them, there are as many as anybody
// can count in it.
func listed(n *tree.Node) bool {
	i := n.GetInsertStmt()
	return i != nil && i.GetWithClause() == nil && countable(i.GetSelectStmt().GetSelectStmt())
}

// countable tells that a query gives as many rows as stand in it.
func countable(q *tree.SelectStmt) bool {
	switch {
	case q == nil: // DEFAULT VALUES
		return true
	case q.GetWithClause() != nil:
		return false
	case q.GetLarg() != nil || q.GetRarg() != nil:
		return countable(q.GetLarg()) && countable(q.GetRarg())
	}
	for _, from := range q.GetFromClause() {
		if sub := from.GetRangeSubselect(); sub != nil && countable(sub.GetSubquery().GetSelectStmt()) {
			continue
		}
		if !elements(from) {
			return false
		}
	}
	for _, target := range q.GetTargetList() {
		if f := target.GetResTarget().GetVal().GetFuncCall(); f != nil && elements(target.GetResTarget().GetVal()) {
			continue
		}
		few := true
		inspect(target, func(m proto.Message) {
			if f, ok := m.(*tree.FuncCall); ok {
				called := bare(listName(f.GetFuncname()))
				few = few && (steady(called) || slices.Contains(volatiles, called) || slices.Contains(harmless, called))
			}
		})
		if !few {
			return false
		}
	}
	return true
}

// elements tells of a function that gives rows that they stand in its arguments, as those of unnest(array['a', 'b']) do.
func elements(n *tree.Node) bool {
	f := n.GetFuncCall()
	if r := n.GetRangeFunction(); len(r.GetFunctions()) == 1 {
		f = r.GetFunctions()[0].GetList().GetItems()[0].GetFuncCall()
	}
	called := bare(listName(f.GetFuncname()))
	_, known := slices.BinarySearch(setFunctions, called)
	return known && called != "generate_series" && !slices.ContainsFunc(f.GetArgs(), func(arg *tree.Node) bool { return !fixed(arg) })
}

// pinned tells that the statement's WHERE leaves one row of the table, or as many as it lists: those of a primary key's values.
func (g glance) pinned(n *tree.Node) bool {
	var where *tree.Node
	var others []*tree.Node // tables that are joined to it
	switch n := n.GetNode().(type) {
	case *tree.Node_UpdateStmt:
		where, others = n.UpdateStmt.GetWhereClause(), n.UpdateStmt.GetFromClause()
	case *tree.Node_DeleteStmt:
		where, others = n.DeleteStmt.GetWhereClause(), n.DeleteStmt.GetUsingClause()
	case *tree.Node_InsertStmt:
		return listed(&tree.Node{Node: n})
	default:
		return false
	}
	return g.keyed(written(n), where, len(others) == 0)
}

// keyed tells that a condition leaves rows of a table by their primary key.
func (g glance) keyed(target *tree.RangeVar, where *tree.Node, alone bool) bool {
	key := find(g.now.table(target).constraints, func(k *constraint) bool { return k.kind == primaryKey })
	if key == nil || len(key.columns) == 0 {
		return false
	}
	called := cmp.Or(target.GetAlias().GetAliasname(), target.GetRelname())
	return !slices.ContainsFunc(key.columns, func(c string) bool { return !pins(where, called, c, alone) })
}

// pins tells that a condition fixes a table's column to values that stand in it. The table is called so in the statement; only
// if it is alone there, a column without a table's name is its own.
func pins(n *tree.Node, table, column string, alone bool) bool {
	if b := n.GetBoolExpr(); b.GetBoolop() == tree.BoolExprType_AND_EXPR {
		return slices.ContainsFunc(b.GetArgs(), func(arg *tree.Node) bool { return pins(arg, table, column, alone) })
	}
	e := n.GetAExpr()
	kinds := []tree.A_Expr_Kind{tree.A_Expr_Kind_AEXPR_OP, tree.A_Expr_Kind_AEXPR_IN, tree.A_Expr_Kind_AEXPR_OP_ANY}
	if len(e.GetName()) == 0 || texts(e.GetName())[0] != "=" || !slices.Contains(kinds, e.GetKind()) {
		return false
	}
	fields := texts(e.GetLexpr().GetColumnRef().GetFields())
	last := len(fields) - 1
	return last >= 0 && fields[last] == column && (last == 0 && alone || last > 0 && fields[last-1] == table) && fixed(e.GetRexpr())
}

// fixed tells that an expression is made of constants alone.
func fixed(n *tree.Node) bool {
	constant := true
	inspect(n, func(m proto.Message) {
		switch m.(type) {
		case *tree.ColumnRef, *tree.SubLink, *tree.FuncCall:
			constant = false
		}
	})
	return constant
}

// backfillStep is the step of the plan that does what an UPDATE would; "" for what none does.
func backfillStep(n *tree.Node) string {
	u := n.GetUpdateStmt()
	if u == nil || len(u.GetFromClause()) > 0 || u.GetWithClause() != nil || u.GetRelation().GetAlias() != nil {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "- name: %s\n  backfill:\n    table: %s\n    set:\n", stepName("fill", u.GetRelation().GetRelname()), yamlText(tableName(relationName(u.GetRelation()))))
	for _, target := range u.GetTargetList() {
		t := target.GetResTarget()
		if t.GetVal().GetMultiAssignRef() != nil || len(t.GetIndirection()) > 0 {
			return ""
		}
		fmt.Fprintf(&b, "      %s: %s\n", yamlText(name(t.GetName())), yamlQuoted(expression(t.GetVal())))
	}
	if where := u.GetWhereClause(); where != nil {
		fmt.Fprintf(&b, "    where: %s\n", yamlQuoted(expression(where)))
	} else {
		first := u.GetTargetList()[0].GetResTarget()
		fmt.Fprintf(&b, "    where: %s\n", yamlQuoted(fmt.Sprintf("%s IS DISTINCT FROM (%s)", name(first.GetName()), expression(first.GetVal()))))
	}
	return b.String()
}

func assigningTwice(g glance) {
	look := func(targets []*tree.Node) {
		var seen []string
		for _, t := range targets {
			r := t.GetResTarget()
			if len(r.GetIndirection()) > 0 { // of arrays and composites, parts may be
				continue
			}
			if slices.Contains(seen, r.GetName()) {
				g.hit("", "column %s is assigned twice", r.GetName())
			}
			seen = append(seen, r.GetName())
		}
	}
	inspect(g.st.Node, func(m proto.Message) {
		switch m := m.(type) {
		case *tree.UpdateStmt:
			look(m.GetTargetList())
		case *tree.InsertStmt:
			look(m.GetCols())
			look(m.GetOnConflictClause().GetTargetList())
		}
	})
}

func truncating(g glance) {
	for _, r := range g.st.Node.GetTruncateStmt().GetRelations() {
		if t := g.now.table(r.GetRangeVar()); !t.fresh && !g.declared() && !(g.down() && t.step != history) {
			g.hit("", "all rows of %s are thrown away", t.name)
		}
	}
}

func truncatingCascade(g glance) {
	n := g.st.Node.GetTruncateStmt()
	if n.GetBehavior() == tree.DropBehavior_DROP_CASCADE {
		g.hit("", "tables that point to %s are emptied too, whatever they are: name each that shall be", relationName(n.GetRelations()[0].GetRangeVar()))
	}
}

// harmless functions are called for their effect on nobody else's rows.
var harmless = []string{"setval", "nextval", "currval", "set_config", "pg_notify", "pg_sleep", "count", "sum", "min", "max", "avg"}

func opaqueStatement(g glance) {
	switch n := g.st.Node.GetNode().(type) {
	case *tree.Node_DoStmt:
		g.hit("", "nobody can tell what the DO block does: write its statements down, or rehearse it")
	case *tree.Node_CallStmt:
		g.hit("", "nobody can tell what %s does: write its statements down, or rehearse it", listName(n.CallStmt.GetFunccall().GetFuncname()))
	case *tree.Node_ExecuteStmt:
		g.hit("", "nobody can tell what %s does: write its statement down, or rehearse it", n.ExecuteStmt.GetName())
	case *tree.Node_SelectStmt:
		inspect(n.SelectStmt, func(m proto.Message) {
			f, ok := m.(*tree.FuncCall)
			if !ok {
				return
			}
			called := bare(listName(f.GetFuncname()))
			_, known := slices.BinarySearch(setFunctions, called)
			if !slices.Contains(harmless, called) && !steady(called) && !known && !slices.Contains(volatiles, called) {
				g.hit("", "nobody can tell what %s does: write its statements down, or rehearse it", listName(f.GetFuncname()))
			}
		})
	}
}
