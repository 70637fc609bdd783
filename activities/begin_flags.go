package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/plan"
)

// tryFlags lets the flag service try what the steps from there on will ask of it, and changes nothing: what it would refuse
// fails the plan before anything is done. It returns what will have to wait for people there.
func (a *Activities) tryFlags(ctx context.Context, db *Database, p *plan.Plan, from int) (waits []string, err error) {
	touched, err := db.ledger.Touched(ctx, p.Name)
	if err != nil {
		return nil, err
	}
	var tried []string
	missing := map[string]*newFlag{}
	for _, s := range p.Steps[from:] {
		if s.Flag == nil {
			continue
		}
		for _, key := range s.Flag.All() {
			provider, err := a.provider(*p.Flags)
			if err != nil {
				return nil, err
			}
			again := slices.Contains(tried, key)
			tried = append(tried, key)
			if !again {
				if missing[key], err = findNew(ctx, provider, p, from, key); err != nil {
					return nil, err
				}
			}
			if !again && missing[key] == nil && !slices.Contains(touched, key) { // else its step asks, and knows what was done before
				if err := canReach(ctx, provider, key, *s.Flag); err != nil {
					return nil, err
				}
			}
			if made := missing[key]; made != nil {
				err = made.try(ctx, *s.Flag)
			} else {
				err = tryFlag(ctx, provider, key, *s.Flag, again)
			}
			if required, ok := errors.AsType[*flags.ApprovalRequired](err); ok {
				if !again {
					waits = append(waits, required.Error())
				}
			} else if err != nil {
				return nil, fmt.Errorf("step %s: %w", s.Name, err)
			}
		}
	}
	return waits, nil
}

// canReach refuses a flag as its first stage would: one that even at its last leaves somebody out.
func canReach(ctx context.Context, provider flags.Provider, key string, f plan.Flag) error {
	now, err := provider.Get(ctx, key)
	if errors.Is(err, flags.ErrNotFound) || err == nil && now.Archived { // which checkFlags has judged
		return nil
	}
	if err != nil {
		return err
	}
	const then = "start the plan again"
	last := f.Moves()[len(f.Moves())-1]
	in := FlagInput{Key: key, Percent: last.Percent, Stage: last.Stage, Targets: f.Targets, Segments: f.Segments}
	full, err := provider.Preview(ctx, key, in.full())
	switch {
	case err != nil:
		return err
	case in.split(now):
		return in.takesFromSome(now, then)
	}
	if leftOut := in.leftOut(full); leftOut != "" {
		return permanent("Flag", "%s", leftOut+then)
	}
	return nil
}

// tryFlag tries the first stage that would change the flag, and the last. A later step on the same flag finds it as an earlier
// one has left it, and not as it is now: there only a change for everybody is tried, which goes with whatever stands.
func tryFlag(ctx context.Context, provider flags.Provider, key string, f plan.Flag, again bool) error {
	now, err := provider.Get(ctx, key)
	if errors.Is(err, flags.ErrNotFound) || err == nil && now.Archived { // which checkFlags has judged
		return nil
	}
	if err != nil {
		return err
	}
	var changes []flags.Change
	for _, in := range stagesOf(key, f) {
		if again {
			changes = []flags.Change{in.full()}
			break
		}
		if change, needed := in.wanted(now); needed {
			changes = append(changes, change)
		}
	}
	if len(changes) > 2 {
		changes = []flags.Change{changes[0], changes[len(changes)-1]}
	}
	for _, change := range changes {
		if service, ok := provider.(flags.Rehearser); ok {
			err = service.Rehearse(ctx, key, change)
		} else {
			_, err = provider.Preview(ctx, key, change)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// stagesOf a step, for one of its flags.
func stagesOf(key string, f plan.Flag) []FlagInput {
	var out []FlagInput
	for _, move := range f.Moves() {
		out = append(out, FlagInput{Key: key, Percent: move.Percent, Stage: move.Stage,
			ContextKind: f.ContextKind, Targets: f.Targets, Segments: f.Segments, Create: f.Create})
	}
	return out
}

// newFlag is one that is missing, and that the plan makes.
type newFlag struct {
	key     string
	service flags.Creator
	flag    flags.NewFlag
	changes []flags.Change // of the steps that were tried
	now     flags.State    // what it serves behind them
}

// findNew is nil for a flag that is there, or that the steps from there on don't make.
func findNew(ctx context.Context, provider flags.Provider, p *plan.Plan, from int, key string) (*newFlag, error) {
	if _, err := provider.Get(ctx, key); !errors.Is(err, flags.ErrNotFound) {
		return nil, err
	}
	made, err := mayMake(p, from, key, provider)
	if err != nil || !made {
		return nil, err
	}
	first := slices.IndexFunc(p.Steps, func(s plan.Step) bool { return s.Flag != nil && slices.Contains(s.Flag.All(), key) })
	service, _ := provider.(flags.Creator) // mayMake has seen to it
	return &newFlag{key: key, service: service, flag: stagesOf(key, *p.Steps[first].Flag)[0].newFlag(p.Name)}, nil
}

// try lets the flag service say whether it would make the flag, and take all changes up to this step.
func (n *newFlag) try(ctx context.Context, f plan.Flag) error {
	for _, in := range stagesOf(n.key, f) {
		c, needed := in.wanted(n.now)
		if !needed {
			continue
		}
		n.changes = append(n.changes, c)
		n.now.On, n.now.Percent, n.now.Stage = true, float64(c.Percent), c.Stage
	}
	return n.service.RehearseCreate(ctx, n.key, n.flag, n.changes)
}

// mayMake tells whether a step from there on makes a flag that is missing: the first that names it. A service that can't is an
// error.
func mayMake(p *plan.Plan, from int, key string, provider flags.Provider) (bool, error) {
	first := slices.IndexFunc(p.Steps, func(s plan.Step) bool {
		return s.Flag != nil && slices.Contains(s.Flag.All(), key) || s.Retire != nil && slices.Contains(s.Retire.Flags, key)
	})
	if first < from || p.Steps[first].Flag == nil || p.Steps[first].Flag.Create == nil {
		return false, nil
	}
	if _, ok := provider.(flags.Creator); !ok {
		return false, noCreator(key)
	}
	return true, nil
}

// needsFrom tells whether a step from there on needs the flag.
func needsFrom(p *plan.Plan, from int, key string) bool {
	return slices.ContainsFunc(p.Steps[from:], func(s plan.Step) bool {
		return s.Flag != nil && slices.Contains(s.Flag.All(), key) || s.Retire != nil && slices.Contains(s.Retire.Flags, key)
	})
}
