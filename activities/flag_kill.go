package activities

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/ledger"
)

// killedError refuses a change because of the kill switch.
type killedError struct{ text string }

func (e *killedError) Error() string { return e.text }

// Is makes it permanent for providers, which would try the change again.
func (e *killedError) Is(target error) bool { return target == flags.ErrSuperseded }

// presses of the kill switch since the plan last ended, on any of its flags and by whichever run, in their order.
type presses []ledger.Kill

func pressed(ctx context.Context, db *Database, plan string) (presses, error) {
	return db.ledger.Pressed(ctx, plan)
}

// forbid refuses to move any flag while one of this run is off for everybody and nobody has resumed from that: the guard pauses
// the migration, but an attempt can be faster than its next look.
func (ps presses) forbid(in FlagInput) error {
	unseen := ps.unseen(in)
	if len(unseen) == 0 {
		return nil
	}
	return &killedError{fmt.Sprintf("flag %s is left alone: %s", in.Key, killed(unseen).Reading)}
}

// unseen are the presses for everybody of which this run's people have not been told.
func (ps presses) unseen(in FlagInput) presses {
	return slices.DeleteFunc(slices.Clone(ps), func(k ledger.Kill) bool {
		return k.FirstRun != in.Origin.FirstRun || k.ID <= in.Kills || !k.Everybody()
	})
}

// leave are those of ours, and behind them, the latest last, what presses have made of them: what a stranger has made of the flag
// before a press stays a stranger's, off or not.
func (ps presses) leave(ours []flags.State) []flags.State {
	ours = slices.Clone(ours)
	for _, k := range ps {
		if found, state, ok := bothSides(k); ok && slices.ContainsFunc(ours, found.Equal) {
			ours = append(ours, state)
		}
	}
	return ours
}

// bothSides is the flag before a press and behind it, where that is known.
func bothSides(k ledger.Kill) (found, state flags.State, ok bool) {
	ok = json.Unmarshal(k.Found, &found) == nil && json.Unmarshal(k.State, &state) == nil
	return found, state, ok
}

// earlier is the press by which the flag is off for everybody since an earlier run, or since another plan moved it; "" for none. Who
// starts a plan need not know of it, so the run asks before it turns the flag on.
func earlier(ctx context.Context, db *Database, in FlagInput, ps presses, now flags.State) (string, error) {
	if lit(now) {
		return "", nil
	}
	last := -1
	for i, k := range ps {
		if k.Key == in.Key && k.Everybody() {
			last = i
		}
	}
	if last >= 0 && ps[last].FirstRun != in.Origin.FirstRun {
		return "an earlier run of this plan: " + killed(ps[last:last+1]).Reading, nil
	}
	others, err := db.ledger.PressedElsewhere(ctx, in.Origin.Plan, in.scope(), in.Key)
	if err != nil || len(others) == 0 {
		return "", err
	}
	return fmt.Sprintf("plan %s has moved it: %s", others[0].Plan, killed(others[:1]).Reading), nil
}

// lit tells whether the flag serves anybody anything but off.
func lit(s flags.State) bool { return s.On && s.Stage != flags.StageOff }

// excluded tells whether the flag is off for one context by name.
func (ps presses) excluded(key string) bool {
	return slices.ContainsFunc(ps, func(k ledger.Kill) bool { return k.Key == key && !k.Everybody() })
}

// pressing tells whether somebody is at it right now.
func pressing(k ledger.Kill) bool { return k.FirstRun != "" && k.Done == nil && k.Age < killSettles }

// settled fails while somebody is pressing the switch for the flag.
func (ps presses) settled(key string) error {
	if slices.ContainsFunc(ps, func(k ledger.Kill) bool { return k.Key == key && pressing(k) }) {
		return fmt.Errorf("flag %s: %w", key, errPressing)
	}
	return nil
}

// same tells whether no press has come since, on any flag of the plan, and none of this flag been made.
func (ps presses) same(read presses, key string) bool {
	return slices.EqualFunc(ps, read, func(a, b ledger.Kill) bool {
		return a.ID == b.ID && (a.Key != key || (a.Done == nil) == (b.Done == nil))
	})
}

// made marks a press as made by ourselves.
func (ps presses) made(id int64) {
	at := slices.IndexFunc(ps, func(k ledger.Kill) bool { return k.ID == id })
	ps[at].Done = new(time.Time)
}

// start is what the flag was before the plan, or this run's people by the kill switch, first changed it.
func (ps presses) start(in FlagInput, now flags.State) flags.State {
	for _, k := range ps {
		var found flags.State
		if k.Key != in.Key || k.FirstRun != in.Origin.FirstRun || json.Unmarshal(k.Found, &found) != nil {
			continue
		}
		if slices.ContainsFunc(ps.leave([]flags.State{found})[1:], now.Equal) {
			return found
		}
		break
	}
	return now
}

// staysKilled looks again behind a change: services that know no compare-and-set may have got it just behind a press, and would
// serve it though somebody has turned the flag off.
func (a *Activities) staysKilled(ctx context.Context, db *Database, provider flags.Provider, in FlagInput, kept flagRecord) error {
	all, err := pressed(ctx, db, in.Origin.Plan)
	if err != nil {
		return err
	}
	// Also where this flag is not among those that were turned off: whoever pressed did not know of it yet.
	if refusal := all.forbid(in); refusal != nil {
		kept.presses = all
		return a.turnOff(ctx, db, provider, in, kept, refusal)
	}
	late, err := db.ledger.KeepOut(ctx, in.Origin.Plan, in.Origin.holder(), in.Key)
	if err == nil && late {
		err = fmt.Errorf("flag %s: %w", in.Key, errMeanwhile)
	}
	return err
}

// attested waits for the application's instances, and no longer once somebody turns the flag off: then they never come.
func attested(ctx context.Context, db *Database, in FlagInput, now flags.State) error {
	if in.Attest == nil {
		return nil
	}
	ctx, stop := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer stop(nil)
	watching.Go(func() {
		ticker := time.NewTicker(killLook)
		defer ticker.Stop()
		for {
			if unseen, err := db.ledger.Kills(ctx, in.Origin.FirstRun, in.Kills); err == nil {
				if refusal := presses(unseen).forbid(in); refusal != nil {
					stop(refusal)
					return
				}
			}
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	})
	err := awaitAttested(ctx, db, in, now)
	if refusal, ok := context.Cause(ctx).(*killedError); ok && err != nil {
		return refusal
	}
	return err
}
