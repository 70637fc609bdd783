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
		// A later step finds the flag as an earlier one has left it, not as it is now.
		if s.Flag == nil || slices.Contains(tried, s.Flag.Key) {
			continue
		}
		tried = append(tried, s.Flag.Key)
		provider, err := a.provider(*p.Flags)
		if err != nil {
			return nil, err
		}
		err = tryFlag(ctx, provider, *s.Flag)
		if required, ok := errors.AsType[*flags.ApprovalRequired](err); ok {
			waits = append(waits, required.Error())
		} else if err != nil {
			return nil, fmt.Errorf("step %s: %w", s.Name, err)
		}
	}
	return waits, nil
}

// tryFlag tries the first stage that would change the flag, and the last.
func tryFlag(ctx context.Context, provider flags.Provider, f plan.Flag) error {
	now, err := provider.Get(ctx, f.Key)
	if err != nil || now.Archived { // which checkFlags has judged
		return err
	}
	stages := slices.DeleteFunc(slices.Clone(f.Rollout), func(percent int) bool { return now.On && now.Percent > float64(percent) })
	if len(f.Rollout) == 0 {
		stages = []int{100}
	}
	if len(stages) > 2 {
		stages = []int{stages[0], stages[len(stages)-1]}
	}
	for _, percent := range stages {
		change := flags.Change{Percent: percent, ContextKind: f.ContextKind}
		if service, ok := provider.(flags.Rehearser); ok {
			err = service.Rehearse(ctx, f.Key, change)
		} else {
			_, err = provider.Preview(ctx, f.Key, change)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
