package lint

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	tree "github.com/pganalyze/pg_query_go/v6"

	"github.com/contraflow/contraflow/plan"
)

var contractRules = []planRule{
	{Rule{
		ID: "contract-before-read", Severity: Error, Title: "Dropped or renamed before everybody reads the new shape",
		Why:     "Until the read flag is on for all, instances of the application still read what goes away here: their queries fail, and turning the flag back no longer helps.",
		Sources: []string{"contraflow"},
	}, (*check).contractBeforeRead},
	{Rule{
		ID: "contract-without-flag", Severity: Warning, Title: "Dropped or renamed without a flag that stops its use",
		Why:     "Nothing in the plan says that the application has stopped using it: whoever approves the step has to know.",
		Sources: []string{"contraflow"},
	}, (*check).contractWithoutFlag},
	{Rule{
		ID: "irreversible-without-proof", Severity: Warning, Title: "Thrown away without a proof that reads it",
		Why:     "A verify has to compare the old data with what takes its place: afterwards there is nothing left to compare with.",
		Sources: []string{"contraflow"},
	}, (*check).irreversibleWithoutProof},
}

// contraction is something an older version of the application uses, that a statement takes away.
type contraction struct {
	what string // "drops column address of customers"
	// table and column that are dropped, of which something could be proven; empty for others and for what is renamed.
	table, column string
}

// contractions of a statement: what the plan itself has made doesn't count.
func (c *check) contractions(node *tree.Node) (all []contraction) {
	switch n := node.GetNode().(type) {
	case *tree.Node_AlterTableStmt:
		t := c.now.table(n.AlterTableStmt.GetRelation())
		for _, node := range n.AlterTableStmt.GetCmds() {
			cmd := node.GetAlterTableCmd()
			if cmd.GetSubtype() == tree.AlterTableType_AT_DropColumn && oldColumn(t, cmd.GetName(), cmd.GetMissingOk()) {
				all = append(all, contraction{fmt.Sprintf("drops column %s of %s", cmd.GetName(), t.name), t.name, cmd.GetName()})
			}
		}
	case *tree.Node_DropStmt:
		for _, o := range n.DropStmt.GetObjects() {
			name := objectName(o)
			switch kind := n.DropStmt.GetRemoveType(); kind {
			case tree.ObjectType_OBJECT_TABLE:
				if c.now.named(name).step == history {
					all = append(all, contraction{"drops table " + name, name, ""})
				}
			case tree.ObjectType_OBJECT_VIEW, tree.ObjectType_OBJECT_MATVIEW, tree.ObjectType_OBJECT_SCHEMA:
				if c.oldOther(kinds[kind], name) {
					all = append(all, contraction{what: "drops " + kinds[kind] + " " + name})
				}
			}
		}
	case *tree.Node_RenameStmt:
		name := relationName(n.RenameStmt.GetRelation())
		t := c.now.named(name)
		switch kind := n.RenameStmt.GetRenameType(); kind {
		case tree.ObjectType_OBJECT_COLUMN:
			if oldColumn(t, n.RenameStmt.GetSubname(), false) {
				all = append(all, contraction{what: fmt.Sprintf("renames column %s of %s", n.RenameStmt.GetSubname(), name)})
			}
		case tree.ObjectType_OBJECT_TABLE:
			if t.step == history {
				all = append(all, contraction{what: "renames table " + name})
			}
		case tree.ObjectType_OBJECT_VIEW, tree.ObjectType_OBJECT_MATVIEW:
			if c.oldOther(kinds[kind], name) {
				all = append(all, contraction{what: "renames " + kinds[kind] + " " + name})
			}
		}
	}
	return all
}

// oldColumn tells that the application may have used the column before the plan.
func oldColumn(t *table, name string, missingOK bool) bool {
	column := t.column(name)
	if column == nil {
		return !t.known || !missingOK
	}
	return column.step == history
}

// oldOther tells that an object was there before the plan.
func (c *check) oldOther(kind, name string) bool {
	key := kind + " " + name
	_, now := c.now.others[key]
	_, old := c.at[0].others[key]
	return old || !now
}

func whats(all []contraction) string {
	words := make([]string, len(all))
	for i, one := range all {
		words[i] = one.what
	}
	return strings.Join(words, ", ")
}

func (c *check) contractBeforeRead(r Rule) {
	flags := c.flagSteps()
	for _, m := range c.met {
		all := m.contractions
		if len(flags) == 0 || len(all) == 0 {
			continue
		}
		last := flags[len(flags)-1]
		before := 0
		for _, i := range flags {
			if i < m.step {
				before++
			}
		}
		flag := c.in.Plan.Steps[last].Flag
		safe := fmt.Sprintf("put step %s behind step %s, with an approve between them", c.stepName(m.step), c.stepName(last))
		switch full := lastStage(flag); {
		case last < m.step && full < wholeRollout:
			c.here(r, m, fmt.Sprintf("%s, while step %s leaves flag %s at %d %%: the others still use it", whats(all), c.stepName(last), flag.Key, full),
				fmt.Sprintf("- name: %s\n  flag: {key: %s, rollout: [%d, %d]}", c.stepName(last), flag.Key, full, wholeRollout))
		case last < m.step:
		case before < leastFlags:
			c.here(r, m, fmt.Sprintf("%s, and step %s turns flag %s on only later", whats(all), c.stepName(last), flag.Key), safe)
		default: // two flags before it may be all that concerns it
			c.here(r.as(Warning), m, fmt.Sprintf("%s, and step %s turns flag %s on only later: is it another change's?", whats(all), c.stepName(last), flag.Key), safe)
		}
	}
}

const (
	wholeRollout = 100 // percent
	leastFlags   = 2   // of one change: one to write the new shape, one to read it
)

func lastStage(f *plan.Flag) int {
	if len(f.Rollout) == 0 {
		return wholeRollout
	}
	return f.Rollout[len(f.Rollout)-1]
}

func (c *check) contractWithoutFlag(r Rule) {
	if len(c.flagSteps()) > 0 {
		return
	}
	for _, m := range c.met {
		if all := m.contractions; len(all) > 0 {
			name := c.stepName(m.step)
			c.here(r, m, fmt.Sprintf("%s, and no flag of the plan stops its use", whats(all)),
				fmt.Sprintf("- name: read-new\n  flag: {key: KEY, rollout: [1, 25, 100]}\n- name: %s", name))
		}
	}
}

func (c *check) irreversibleWithoutProof(r Rule) {
	for _, m := range c.met {
		if !c.in.Plan.Steps[m.step].Irreversible() {
			continue
		}
		for _, one := range m.contractions {
			name := one.column
			if name == "" {
				name = bare(one.table)
			}
			if name == "" || c.verified(m.step, name) {
				continue
			}
			c.here(r, m, fmt.Sprintf("%s, and no verify before it reads it", one.what), c.proof(one))
		}
	}
}

// verified tells whether a verify in front of a step reads a column or table.
func (c *check) verified(step int, name string) bool {
	for _, before := range c.in.Plan.Steps[:step] {
		if before.Verify != nil && mentions(before.Verify.Query, name) {
			return true
		}
	}
	return false
}

// proof is a verify step that compares a dropped column with what the plan's backfill makes of it.
func (c *check) proof(one contraction) string {
	for _, step := range c.in.Plan.Steps {
		if step.Backfill == nil || one.column == "" || backfilled(step.Backfill) != one.table {
			continue
		}
		var differs []string
		for _, column := range slices.Sorted(maps.Keys(step.Backfill.Set)) {
			if expr := step.Backfill.Set[column]; mentions(expr, one.column) {
				differs = append(differs, fmt.Sprintf("%s is distinct from (%s)", quoted(column), expr))
			}
		}
		if len(differs) > 0 {
			return fmt.Sprintf("- name: prove\n  verify:\n    query: >-\n      select count(*) from %s\n      where %s\n    max: 0", step.Backfill.Table, strings.Join(differs, "\n         or "))
		}
	}
	return ""
}
