package activities

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"go.temporal.io/sdk/activity"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/ledger"
)

// flagRecord is the ledger's record in the provider's terms: the flag as it was found, and the states that this step may have
// left it in: the one before its latest change and the one after, since a crash can come between them.
type flagRecord struct {
	known  bool // this step has begun with the flag
	before flags.State
	ours   []flags.State
	// shown is a stranger's state that people were asked about; nil for none. Force is of that one alone: what a stranger does
	// while people think about it is shown, too.
	shown *flags.State
	// showing is the activity that asked. Its own later attempts don't take force for the answer: people were not asked yet.
	showing string
	// others are what the plan's other steps may have left it in, the latest last: a run before this one may have got further.
	others []flags.State
	// presses of the kill switch. What they leave is nobody else's doing.
	presses presses
	// mark is another one behind every write of the record; "" while there is none.
	mark string
	// resumed is the latest press that people had resumed from when this run last wrote a record of the flag.
	resumed int64
	// out is how many of the contexts that the stage names the kill switch keeps out of it.
	out int
}

// keptState is one entry of the ledger's record.
type keptState struct {
	flags.State
	Shown   bool   `json:"shown,omitempty"`
	Showing string `json:"showing,omitempty"`
}

// begun tells whether the plan has begun with the flag, so that who changes it now is a stranger.
func (r flagRecord) begun() bool { return r.known || len(r.others) > 0 }

// isOurs tells whether the plan may have left the flag like this. As it was before is right, too: somebody put it back.
func (r flagRecord) isOurs(s flags.State) bool {
	ours := slices.Concat(r.ours, r.others)
	if r.known {
		ours = append(ours, r.before)
	}
	return slices.ContainsFunc(r.presses.leave(ours), s.Equal)
}

// forced tells whether people were shown this state and said to go on from it.
func (r flagRecord) forced(ctx context.Context, in FlagInput, s flags.State) bool {
	return in.Force && !s.Archived && r.shown != nil && s.Equal(*r.shown) && r.showing != asker(ctx)
}

type askerKey struct{}

// asking names the activity, the same in all its attempts.
func asking(ctx context.Context) context.Context {
	info := activity.GetInfo(ctx)
	name := fmt.Sprintf("%s/%s/%d", info.WorkflowExecution.RunID, info.ActivityID, info.ScheduledTime.UnixNano())
	return context.WithValue(ctx, askerKey{}, name)
}

func asker(ctx context.Context) string {
	name, _ := ctx.Value(askerKey{}).(string)
	return name
}

// left is the state that the plan's steps have left the flag in, as far as it knows.
func (r flagRecord) left() flags.State {
	if len(r.ours) > 0 {
		return r.ours[len(r.ours)-1]
	}
	return r.others[len(r.others)-1]
}

func (a *Activities) record(ctx context.Context, db *Database, in FlagInput) (r flagRecord, err error) {
	if r.presses, err = pressed(ctx, db, in.Origin.Plan); err != nil {
		return r, err
	}
	all, err := db.ledger.Records(ctx, in.Origin.Plan, in.Key)
	if err != nil {
		return r, err
	}
	for _, stored := range all {
		states, shown, showing, err := recorded(in.Key, stored.Ours)
		var before flags.State
		if err == nil {
			err = json.Unmarshal(stored.Before, &before)
		}
		if err != nil {
			return r, fmt.Errorf("read the record of flag %s: %w", in.Key, err)
		}
		if stored.FirstRun == in.Origin.FirstRun {
			r.resumed = max(r.resumed, stored.Kills)
		}
		switch {
		case stored.Step == in.Origin.Step:
			r.known, r.mark, r.before, r.ours, r.shown, r.showing = true, stored.Mark, before, slices.Clone(states), shown, showing
		case r.known: // a later step's rollback may have put that back, and have been cut off
			states = slices.Insert(states, 0, before)
		}
		// Versions rise, so that they tell which step was the last; of each the last state counts as its latest.
		at := len(r.others)
		if n := len(states); n > 0 && at > 0 && states[n-1].Version < r.others[at-1].Version {
			at = 0
		}
		r.others = slices.Insert(r.others, at, states...)
	}
	return r, nil
}

func recorded(key string, raw json.RawMessage) (ours []flags.State, shown *flags.State, showing string, err error) {
	var kept []keptState
	if err := json.Unmarshal(raw, &kept); err != nil {
		return nil, nil, "", fmt.Errorf("read the record of flag %s: %w", key, err)
	}
	for _, k := range kept {
		if k.Shown {
			shown, showing = &k.State, k.Showing
		} else {
			ours = append(ours, k.State)
		}
	}
	return ours, shown, showing, nil
}

// keep writes the record over the one that this attempt has read, while the run holds the plan: one of an attempt that comes too late
// would mislead those that go on.
func (a *Activities) keep(ctx context.Context, db *Database, in FlagInput, r flagRecord, undoing bool) (flagRecord, error) {
	if err := flags.Late(ctx); err != nil {
		return r, err
	}
	before, err := json.Marshal(r.before)
	if err != nil {
		return r, err
	}
	var kept []keptState
	for _, s := range r.ours {
		kept = append(kept, keptState{State: s})
	}
	if r.shown != nil {
		kept = append(kept, keptState{*r.shown, true, r.showing})
	}
	ours, err := json.Marshal(kept)
	if err != nil {
		return r, err
	}
	r.mark, err = db.ledger.KeepFlag(ctx, in.Origin.Plan, in.Origin.holder(), in.scope(), in.Key,
		ledger.Record{Step: in.Origin.Step, Before: before, Ours: ours, Kills: in.Kills, Mark: r.mark}, undoing)
	return r, tooLate(in, err)
}

// forget drops the record of a flag that has been put back.
func (a *Activities) forget(ctx context.Context, db *Database, in FlagInput, r flagRecord, back flags.State) error {
	left, err := json.Marshal(back)
	if err != nil {
		return err
	}
	return tooLate(in, db.ledger.ForgetFlag(ctx, in.Origin.Plan, in.Origin.holder(), in.Key, ledger.Record{Step: in.Origin.Step, Mark: r.mark}, left))
}

func (in FlagInput) scope() ledger.Scope {
	return ledger.Scope{Project: in.Scope.Project, Environment: in.Scope.Environment}
}
