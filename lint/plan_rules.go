package lint

import (
	"slices"

	"github.com/contraflow/contraflow/internal/sqltree"
	"github.com/contraflow/contraflow/plan"
)

// planRule looks at the plan as a whole: the order of its steps, and what their SQL needs of the schema.
type planRule struct {
	Rule
	look func(c *check, r Rule)
}

var planRules = slices.Concat(contractRules, newColumnRules, flagRules, queryRules)

func (c *check) steps() {
	c.plannedSyntax()
	for _, r := range planRules {
		r.look(c, r.Rule)
	}
}

// met is a statement of the plan, with what the plan's rules need of the schema in front of it: a copy of all of it for each
// statement would be too much.
type met struct {
	*script
	st           sqltree.Statement
	contractions []contraction
	young        []young
}

// meet keeps what a statement is about to do to the schema.
func (c *check) meet(s *script, st sqltree.Statement) {
	c.met = append(c.met, met{s, st, c.contractions(st.Node), c.young(s.step, st.Node)})
}

// here reports the statement.
func (c *check) here(r Rule, m met, message, safe string) {
	c.found(r, m.script, m.st.Start, message, safe)
}

// as is the rule where what it is about is milder.
func (r Rule) as(s Severity) Rule {
	r.Severity = s
	return r
}

// stepName of a step, as messages call it.
func (c *check) stepName(i int) string { return c.in.Plan.Steps[i].Name }

// flagSteps lists the steps that turn a flag.
func (c *check) flagSteps() (all []int) {
	for i, step := range c.in.Plan.Steps {
		if step.Flag != nil {
			all = append(all, i)
		}
	}
	return all
}

// backfilled is the table that a backfill names, as the schema calls it; empty if it can't be read.
func backfilled(b *plan.Backfill) string {
	parsed, err := sqltree.Parse("select from " + b.Table)
	if err != nil || len(parsed) != 1 {
		return ""
	}
	from := parsed[0].Node.GetSelectStmt().GetFromClause()
	if len(from) != 1 || from[0].GetRangeVar() == nil {
		return ""
	}
	return relationName(from[0].GetRangeVar())
}

// mayFill tells whether a backfill may fill a column: a transform's and people's columns are not written in the plan.
func mayFill(b *plan.Backfill, table, column string) bool {
	if b == nil || backfilled(b) != table {
		return false
	}
	_, named := b.Set[column]
	return b.Set == nil || named
}
