package lint

import (
	"fmt"
	"slices"

	"github.com/contraflow/contraflow/plan"
)

var flagRules = []planRule{
	{Rule{
		ID: "flag-unused", Severity: Warning, Title: "The plan speaks of a flag that it doesn't turn",
		Why:     "Either a flag step is missing, and the application never goes over to the new shape, or the plan names what it doesn't need.",
		Sources: []string{"contraflow"},
	}, (*check).flagUnused},
	{Rule{
		ID: "flag-not-retired", Severity: Note, Title: "A flag stays behind",
		Why:     "Nobody knows later whether it may be turned back. Behind the contract it may not: the old shape is gone.",
		Sources: []string{"contraflow"},
	}, (*check).flagNotRetired},
	{Rule{
		ID: "backfill-before-write", Severity: Error, Title: "A backfill before the application writes the new shape",
		Why:     "Rows that the application writes behind the backfill lack the new columns, and nothing fills them any more.",
		Sources: []string{"contraflow"},
	}, (*check).backfillBeforeWrite},
}

func (c *check) retired() (keys []string) {
	for _, step := range c.in.Plan.Steps {
		if step.Retire != nil {
			keys = append(keys, step.Retire.Flags...)
		}
	}
	return keys
}

func (c *check) flagUnused(r Rule) {
	flags := c.flagSteps()
	if c.in.Plan.Flags != nil && len(flags) == 0 && len(c.retired()) == 0 {
		line, column := plan.Position(c.in.Document, "flags")
		c.add(r, c.in.File, line, column, "the plan says where its flags live, and has no flag step", "- name: write-new\n  flag: {key: KEY, rollout: [10, 50, 100]}")
	}
	for i, step := range c.in.Plan.Steps {
		if step.Retire == nil {
			continue
		}
		for n, key := range step.Retire.Flags {
			if !slices.ContainsFunc(flags, func(f int) bool { return f < i && slices.Contains(c.in.Plan.Steps[f].Flag.All(), key) }) {
				c.step(r, i, []any{"retire", "flags", n}, fmt.Sprintf("flag %s is retired, and no step before turns it on", key), "")
			}
		}
	}
}

func (c *check) flagNotRetired(r Rule) {
	retired := c.retired()
	for _, i := range c.flagSteps() {
		for n, key := range c.in.Plan.Steps[i].Flag.All() {
			if slices.Contains(retired, key) {
				continue
			}
			at := []any{"flag", "key"}
			if c.in.Plan.Steps[i].Flag.Key == "" {
				at = []any{"flag", "keys", n}
			}
			c.step(r, i, at, fmt.Sprintf("flag %s is turned on and never retired", key), fmt.Sprintf("- name: retire\n  retire: {flags: [%s]}", key))
			retired = append(retired, key) // once
		}
	}
}

func (c *check) backfillBeforeWrite(r Rule) {
	flags := c.flagSteps()
	for i, step := range c.in.Plan.Steps {
		b := step.Backfill
		switch {
		case b == nil || b.Sync == plan.SyncTrigger || len(flags) > 0 && flags[0] < i:
		case len(flags) > 0:
			first := flags[0]
			c.step(r, i, []any{"backfill"}, fmt.Sprintf("step %s, the first to turn a flag, comes only behind it", c.stepName(first)),
				fmt.Sprintf("put step %s in front of step %s", c.stepName(first), step.Name))
		case c.fillsNew(i):
			c.step(r.as(Note), i, []any{"backfill"}, fmt.Sprintf("no flag makes the application fill the new columns of %s, and no trigger does: it has to do so already", b.Table), "")
		}
	}
}

// fillsNew tells that a backfill is for columns that the plan has added.
func (c *check) fillsNew(step int) bool {
	b := c.in.Plan.Steps[step].Backfill
	name := backfilled(b)
	return slices.ContainsFunc(c.at[step].named(name).columns, func(column *column) bool {
		return column.step != history && mayFill(b, name, column.name)
	})
}
