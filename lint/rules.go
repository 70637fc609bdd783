package lint

import (
	"fmt"
	"iter"
	"slices"

	tree "github.com/pganalyze/pg_query_go/v6"

	"github.com/contraflow/contraflow/internal/sqltree"
)

// statementRules look at every statement of the plan's up files, one by one.
var statementRules = slices.Concat(columnRules, rewriteRules, constraintRules, partitionRules, indexRules, outsideRules, dropRules, renameRules,
	objectRules, lockRules, rowRules, sessionRules, typeRules, habitRules)

// glance is one look of a rule at one statement.
type glance struct {
	*check
	s    *script
	st   sqltree.Statement
	rule Rule
}

// rule makes a statement rule of a function that reports through its glance.
func rule(r Rule, look func(glance)) statementRule {
	return statementRule{r, func(c *check, s *script, st sqltree.Statement) { look(glance{c, s, st, r}) }}
}

// hit reports the statement.
func (g glance) hit(safe, format string, args ...any) {
	if g.down() {
		safe = downForm(safe)
	}
	g.found(g.rule, g.s, g.st.Start, fmt.Sprintf(format, args...), safe)
}

// as looks with another severity: what the rule is about is milder or worse here.
func (g glance) as(s Severity) glance {
	g.rule.Severity = s
	return g
}

// alters goes through the commands of ALTER TABLE, of the kinds asked for, on a table that others can use already.
func (g glance) alters(kinds ...tree.AlterTableType) iter.Seq2[*table, *tree.AlterTableCmd] {
	return func(yield func(*table, *tree.AlterTableCmd) bool) {
		n := g.st.Node.GetAlterTableStmt()
		if !tableLike(n) {
			return
		}
		t := g.now.table(n.GetRelation())
		if t.fresh {
			return
		}
		for _, c := range n.GetCmds() {
			if cmd := c.GetAlterTableCmd(); slices.Contains(kinds, cmd.GetSubtype()) && !yield(t, cmd) {
				return
			}
		}
	}
}

// tableLike tells that ALTER TABLE is about a table, of this server or of another: not about a view, an index, a sequence or a type.
func tableLike(n *tree.AlterTableStmt) bool {
	return n.GetObjtype() == tree.ObjectType_OBJECT_TABLE || n.GetObjtype() == tree.ObjectType_OBJECT_FOREIGN_TABLE
}

// added goes through the columns that ALTER TABLE adds to a table that others can use already.
func (g glance) added() iter.Seq2[*table, *tree.ColumnDef] {
	return func(yield func(*table, *tree.ColumnDef) bool) {
		for t, cmd := range g.alters(tree.AlterTableType_AT_AddColumn) {
			if !yield(t, cmd.GetDef().GetColumnDef()) {
				return
			}
		}
	}
}

// constrained goes through the constraints that ALTER TABLE adds to such a table, those of new columns too: then with the
// column. What comes with a rewrite is left to the rule about that.
func (g glance) constrained(kind tree.ConstrType) iter.Seq2[*tree.Constraint, *tree.ColumnDef] {
	return func(yield func(*tree.Constraint, *tree.ColumnDef) bool) {
		for _, cmd := range g.alters(tree.AlterTableType_AT_AddConstraint) {
			if k := cmd.GetDef().GetConstraint(); k.GetContype() == kind && !yield(k, nil) {
				return
			}
		}
		for _, d := range g.added() {
			if k := inline(d, kind); k != nil && !rewriting(d) && !yield(k, d) {
				return
			}
		}
	}
}

// target of ALTER TABLE.
func (g glance) target() *table { return g.now.table(g.st.Node.GetAlterTableStmt().GetRelation()) }

// inline is a column's own constraint of a kind; nil if it has none.
func inline(d *tree.ColumnDef, kind tree.ConstrType) *tree.Constraint {
	for _, n := range d.GetConstraints() {
		if k := n.GetConstraint(); k.GetContype() == kind {
			return k
		}
	}
	return nil
}

// earlier goes through the statements of the same file that stand above.
func (g glance) earlier() iter.Seq[*tree.Node] {
	return func(yield func(*tree.Node) bool) {
		for _, st := range g.s.statements {
			if st.Start >= g.st.Start || !yield(st.Node) {
				return
			}
		}
	}
}

// later goes through the statements of the same file that stand below.
func (g glance) later() iter.Seq[*tree.Node] {
	return func(yield func(*tree.Node) bool) {
		for _, st := range g.s.statements {
			if st.Start > g.st.Start && !yield(st.Node) {
				return
			}
		}
	}
}

// past goes through all statements that ran before this one, those of older files too.
func (g glance) past() iter.Seq[*tree.Node] {
	return func(yield func(*tree.Node) bool) {
		for i := range g.all {
			if g.all[i].Version > g.s.Version || g.all[i].Version == g.s.Version && !g.down() {
				break
			}
			for _, st := range g.all[i].statements {
				if !yield(st.Node) {
					return
				}
			}
		}
		for n := range g.earlier() {
			if !yield(n) {
				return
			}
		}
	}
}

// declared tells that the plan says of this file's step that nothing undoes it: then proof and approval stand in front of it.
func (g glance) declared() bool {
	return g.s.step >= 0 && g.s.step < len(g.in.Plan.Steps) && g.in.Plan.Steps[g.s.step].Irreversible()
}
