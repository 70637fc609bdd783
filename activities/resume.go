package activities

import (
	"context"
	"slices"
	"strings"

	"github.com/contraflow/contraflow/ddl"
	"github.com/contraflow/contraflow/internal/ledger"
	"github.com/contraflow/contraflow/plan"
)

// resumeAt is the step to begin with because an earlier run of this plan, which was cut off, has passed the point of no
// return: the last irreversible step of which it has begun anything, or the one behind if that is complete. All before it was
// done then, and some of it can't even be looked at any more. 0 for a plan that starts at its beginning.
// A schema that stands behind such a step by somebody else's doing is refused: nothing says that the steps before were done.
func resumeAt(ctx context.Context, db *Database, p *plan.Plan, files *ddl.Files) (int, error) {
	if files == nil {
		return 0, nil
	}
	engine := ddl.New(db.pool, files, ddl.Options{Plan: p.Name})
	applied, begun, err := ours(ctx, engine)
	if err != nil {
		return 0, err
	}
	state, err := engine.State(ctx)
	if err != nil {
		return 0, err
	}
	at, taken := 0, true
	var last string
	eachMigrate(p, func(i int, s plan.Step, floor uint) {
		switch {
		case !s.Irreversible():
		case state.Exists && state.Version >= s.Migrate.To:
			at, taken, last = i+1, slices.Contains(applied, s.Migrate.To), s.Name
		case within(floor, s.Migrate.To, applied, begun):
			at, taken = i, true
		}
	})
	if !taken {
		return 0, permanent("SchemaVersion", "the schema is at version %d, behind the irreversible step %s, and no unfinished run of this plan took it there: "+
			"either the plan is completed, or somebody else migrated", state.Version, last)
	}
	return at, nil
}

// begunBefore finds the steps that an earlier run has begun and not undone. Without them a run that fails early would take the
// schema from under a flag that the earlier one has turned on. Behind the point of no return nothing is undone, but sync triggers
// are still to be removed. A plan that has moved to another environment would find neither what was done there nor what it was before.
func begunBefore(ctx context.Context, db *Database, p *plan.Plan, files *ddl.Files, from int) ([]int, error) {
	synced, err := syncedBefore(ctx, db, p)
	if err != nil {
		return nil, err
	}
	flagged, filled, err := db.ledger.Begun(ctx, p.Name)
	if err != nil {
		return nil, err
	}
	for _, f := range flagged {
		if there := f.Scope; there != nil && p.Flags != nil && *there != (ledger.Scope{Project: p.Flags.Project, Environment: p.Flags.Environment}) {
			return nil, permanent("BadPlan", "an earlier run of plan %s has changed flag %s in environment %s of project %s, and the plan's flags now say environment %s of project %s: "+
				"put that back, so that the flag can be undone", p.Name, f.Key, there.Environment, there.Project, p.Flags.Environment, p.Flags.Project)
		}
	}
	if from > 0 {
		return nil, nil
	}
	var steps []int
	for _, f := range flagged {
		i := p.StepIndex(f.Step)
		if i < 0 || p.Steps[i].Flag == nil {
			return nil, permanent("BadPlan", "an earlier run of plan %s has changed a flag in its step %s, and the plan has no such step any more: put the step back, so that it can be undone", p.Name, f.Step)
		}
		if !slices.Contains(p.Steps[i].Flag.All(), f.Key) {
			return nil, permanent("BadPlan", "an earlier run of plan %s has changed flag %s in its step %s, which now names %s: put the key back, so that the flag can be undone", p.Name, f.Key, f.Step, named(p.Steps[i].Flag.All()))
		}
		steps = append(steps, i)
	}
	for _, name := range filled {
		i := p.StepIndex(name)
		if i < 0 || p.Steps[i].Backfill == nil {
			return nil, permanent("BadPlan", "an earlier run of plan %s has begun the backfill of its step %s, and the plan has no such backfill any more: put the step back, so that it can be undone", p.Name, name)
		}
		steps = append(steps, i)
	}
	steps = append(steps, synced...)
	if files != nil {
		applied, begun, err := ours(ctx, ddl.New(db.pool, files, ddl.Options{Plan: p.Name}))
		if err != nil {
			return nil, err
		}
		eachMigrate(p, func(i int, s plan.Step, floor uint) {
			if !s.Irreversible() && within(floor, s.Migrate.To, applied, begun) {
				steps = append(steps, i)
			}
		})
	}
	slices.Sort(steps)
	return slices.Compact(steps), nil
}

func named(keys []string) string {
	if len(keys) == 1 {
		return "flag " + keys[0]
	}
	return "flags " + strings.Join(keys, " and ")
}

// ours are the versions that the plan has applied, and those whose statement it has begun outside a transaction.
func ours(ctx context.Context, engine *ddl.Engine) (applied, begun []uint, err error) {
	// In this order: a statement that ends in between is found in either.
	if begun, err = engine.Begun(ctx); err != nil {
		return nil, nil, err
	}
	applied, err = engine.Applied(ctx)
	return applied, begun, err
}

// eachMigrate visits the steps that change the schema, with the version that the one before goes to.
func eachMigrate(p *plan.Plan, visit func(index int, s plan.Step, floor uint)) {
	var floor uint
	for i, s := range p.Steps {
		if s.Migrate != nil {
			visit(i, s, floor)
			floor = s.Migrate.To
		}
	}
}

// within tells whether any of the versions lies in (floor, to].
func within(floor, to uint, lists ...[]uint) bool {
	return slices.ContainsFunc(slices.Concat(lists...), func(v uint) bool { return v > floor && v <= to })
}
