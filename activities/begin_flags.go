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
func (a *Activities) tryFlags(ctx context.Context, p *plan.Plan, from int) (waits []string, err error) {
	var tried []string
	for _, s := range p.Steps[from:] {
		if s.Flag == nil {
			continue
		}
		for _, key := range s.Flag.All() {
			// A later step finds the flag as an earlier one has left it, not as it is now.
			if slices.Contains(tried, key) {
				continue
			}
			tried = append(tried, key)
			provider, err := a.provider(*p.Flags)
			if err != nil {
				return nil, err
			}
			err = tryFlag(ctx, provider, key, *s.Flag)
			if required, ok := errors.AsType[*flags.ApprovalRequired](err); ok {
				waits = append(waits, required.Error())
			} else if err != nil {
				return nil, fmt.Errorf("step %s: %w", s.Name, err)
			}
		}
	}
	return waits, nil
}

// tryFlag tries the first stage that would change the flag, and the last.
func tryFlag(ctx context.Context, provider flags.Provider, key string, f plan.Flag) error {
	now, err := provider.Get(ctx, key)
	if err != nil || now.Archived { // which checkFlags has judged
		return err
	}
	moves := slices.DeleteFunc(f.Moves(), func(m plan.Move) bool { return m.Stage == "" && now.On && now.Percent > float64(m.Percent) })
	if len(moves) > 2 {
		moves = []plan.Move{moves[0], moves[len(moves)-1]}
	}
	for _, move := range moves {
		change := flags.Change{
			Percent: move.Percent, Stage: flags.Stage(move.Stage), ContextKind: f.ContextKind, Targets: f.Targets, Segments: f.Segments,
		}
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
