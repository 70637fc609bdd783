package kill

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/ledger"
	"github.com/contraflow/contraflow/plan"
)

// turned is a flag that is off.
type turned struct {
	ledger.Used
	provider flags.Provider
	change   flags.Change
	found    flags.State // before the change; state where it was off already
	state    flags.State
	gone     error // why it is not there; found and state are empty then
}

// turnOff turns the flags off one after the other.
func (p *press) turnOff(ctx context.Context) error {
	var all []turned
	for i, used := range p.found.flags {
		t, became, err := p.turn(ctx, used)
		p.report.Flags = append(p.report.Flags, became)
		if err != nil {
			for _, left := range p.found.flags[i+1:] {
				p.report.Flags = append(p.report.Flags, Flag{Key: left.Key, Outcome: Left, Why: used.Key + " must be off before it"})
				p.order.Tell("%s is left as it is: %s must be off before it", left.Key, used.Key)
			}
			return fmt.Errorf("%w: %w", ErrNotOff, err)
		}
		p.made(ctx, i, t)
		all = append(all, t)
	}
	err := p.lookAgain(ctx, all)
	p.takeBack(ctx, all)
	if there := func(f Flag) bool { return f.Outcome != Gone }; err == nil && !slices.ContainsFunc(p.report.Flags, there) {
		err = fmt.Errorf("%w: none of them is there, by this configuration: %w", ErrNotOff, all[0].gone)
	}
	return err
}

// takeBack deletes what steps have asked people for: approved later, it would turn the flags on again. A step that goes on asks
// anew.
func (p *press) takeBack(ctx context.Context, all []turned) {
	for _, t := range all {
		asking, ok := t.provider.(flags.Withdrawer)
		for _, step := range t.Steps {
			if !ok || t.gone != nil {
				break
			}
			bounded, cancel := p.order.within(ctx, lookTimeout)
			err := asking.Withdraw(bounded, t.Key, ledger.StepNote(p.order.Migration, step, plan.ShortHash(p.found.PlanHash)))
			cancel()
			if err != nil {
				p.order.Tell("%s: take back what step %s has asked for there, or it turns the flag on again once it is approved: %s", t.Key, step, err)
			}
		}
	}
}

// turn turns one flag off. Whether it was made is what the service holds, and not whether the call came to its end. One that is not
// there (a step is about to make it, a person has deleted or archived it) can't serve the new shape, and is no reason to leave the
// others on.
func (p *press) turn(ctx context.Context, used ledger.Used) (t turned, became Flag, err error) {
	began := time.Now()
	became = Flag{Key: used.Key}
	t.Used = used
	if t.provider, err = p.order.Provider(plan.FlagScope{Project: used.Scope.Project, Environment: used.Scope.Environment}); err != nil {
		became.Outcome, became.Why = Failed, err.Error()
		return t, became, err
	}
	bounded, cancel := p.order.within(flags.Telling(flags.Urgent(ctx), func(waiting string) {
		if waiting != "" {
			p.order.Tell("%s: %s", used.Key, waiting)
		}
	}), flagTimeout)
	defer cancel()
	touched := false
	still := func(_ context.Context, found flags.State) error {
		touched, became.Was, t.found = true, found.Summary, found
		return nil
	}
	for _, t.change = range p.changes() {
		// A migration flag knows stages and no percentages.
		if t.state, err = t.provider.Apply(bounded, used.Key, t.change, p.note(), still); err == nil || touched ||
			!errors.Is(err, flags.ErrNotBoolean) && !errors.Is(err, flags.ErrInvalid) {
			break
		}
	}
	switch {
	case err == nil && touched:
		became.Outcome = Off
	case err == nil:
		became.Outcome, became.Was, t.found = Already, t.state.Summary, t.state
	case errors.Is(err, flags.ErrNotFound) || errors.Is(err, flags.ErrArchived):
		t.state, t.gone = flags.State{}, err
		became.Outcome, became.Why = Gone, err.Error()
	default:
		now, made := p.look(ctx, t)
		if !made {
			became.Outcome, became.Why = Failed, err.Error()
			p.order.Tell("%s is NOT OFF: %s", used.Key, err)
			return t, became, err
		}
		if !touched { // it was off before
			became.Was, t.found = now.Summary, now
		}
		t.state, became.Outcome, became.Why = now, Unseen, err.Error()
	}
	became.Now, became.Milliseconds = t.state.Summary, time.Since(began).Milliseconds()
	p.order.Tell("%s", became.told())
	return t, became, nil
}

// changes that turn a flag off: the first one that fits its kind.
func (p *press) changes() []flags.Change {
	if p.order.Context != nil {
		return []flags.Change{{Exclude: p.order.Context}}
	}
	return []flags.Change{{Percent: 0}, {Stage: flags.StageOff}}
}

// note goes into the service's own audit.
func (p *press) note() string {
	text := fmt.Sprintf("%s: pressed by %s", ledger.KillNote(p.order.Migration), p.order.By)
	if p.order.Reason != "" {
		text += ": " + p.order.Reason
	}
	return text
}

// look tells whether the change stands in the service.
func (p *press) look(ctx context.Context, t turned) (now flags.State, made bool) {
	ctx, cancel := p.order.within(ctx, lookTimeout)
	defer cancel()
	now, err := t.provider.Get(ctx, t.Key)
	if err != nil {
		return now, false
	}
	want, err := t.provider.Preview(ctx, t.Key, t.change)
	return now, err == nil && now.Equal(want)
}

// lookAgain turns off once more what a step in flight has put on meanwhile: it had looked for presses just before this one was
// recorded. A flag that can't be looked at was proven off before, or is still not there.
func (p *press) lookAgain(ctx context.Context, all []turned) error {
	for i, t := range all {
		now, made := p.look(ctx, t)
		if made || now.Key == "" || now.Archived {
			continue
		}
		p.order.Tell("%s was put on again meanwhile (%s): once more", t.Key, now.Summary)
		again, became, err := p.turn(ctx, t.Used)
		became.Was = cmp.Or(p.report.Flags[i].Was, became.Was)
		p.report.Flags[i] = became
		if err != nil {
			return fmt.Errorf("%w: %w", ErrNotOff, err)
		}
		p.made(ctx, i, again)
	}
	return nil
}

// made records that a flag is off, and what it was before, beside the next one's turn.
func (p *press) made(ctx context.Context, i int, t turned) {
	if p.ids == nil {
		return
	}
	p.recording.Go(func() {
		ctx, cancel := p.order.within(ctx, auditTimeout)
		defer cancel()
		found, err := written(t.found)
		var state []byte
		if err == nil {
			state, err = written(t.state)
		}
		if err == nil {
			err = p.found.ledger.Found(ctx, p.ids[i], found)
		}
		if err == nil {
			err = p.found.ledger.Killed(ctx, p.ids[i], state)
		}
		if err != nil {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.unwritten = errors.Join(p.unwritten, err)
		}
	})
}

// written is a state as the record keeps it: none of a flag that is not there.
func written(s flags.State) (json.RawMessage, error) {
	if s.Key == "" {
		return nil, nil
	}
	return json.Marshal(s)
}

// told is what people read of a flag that is off.
func (f Flag) told() string {
	switch f.Outcome {
	case Gone:
		return fmt.Sprintf("%s is not there, so applications are served the fallback in their own code: %s", f.Key, f.Why)
	case Already:
		return fmt.Sprintf("%s was %s already, %d ms", f.Key, f.Now, f.Milliseconds)
	case Unseen:
		return fmt.Sprintf("%s is %s in the flag service (was %s), %d ms; that applications see it is not proven: %s", f.Key, f.Now, f.Was, f.Milliseconds, f.Why)
	}
	return fmt.Sprintf("%s is %s (was %s), %d ms", f.Key, f.Now, f.Was, f.Milliseconds)
}
