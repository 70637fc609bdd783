package activities

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
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
	return slices.ContainsFunc(ours, s.Equal) || r.presses.left(s, ours)
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

// left is the state that the plan has left the flag in, as far as it knows.
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
	left, err := db.ledger.Left(ctx, in.Origin.Plan, in.Key)
	if err != nil {
		return r, err
	}
	for _, raw := range left {
		states, _, _, err := recorded(in.Key, raw)
		if err != nil {
			return r, err
		}
		// Versions rise, so that they tell which step was the last; of each the last state counts as its latest.
		at := len(r.others)
		if n := len(states); n > 0 && at > 0 && states[n-1].Version < r.others[at-1].Version {
			at = 0
		}
		r.others = slices.Insert(r.others, at, states...)
	}
	stored, known, err := db.ledger.Flag(ctx, in.Origin.Plan, in.Origin.Step, in.Key)
	if err != nil || !known {
		return r, err
	}
	r.known = true
	if err := json.Unmarshal(stored.Before, &r.before); err != nil {
		return r, fmt.Errorf("read the record of flag %s: %w", in.Key, err)
	}
	r.ours, r.shown, r.showing, err = recorded(in.Key, stored.Ours)
	return r, err
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

// keep writes the record while the run holds the plan: one of an attempt that comes too late would mislead the plan's next run.
func (a *Activities) keep(ctx context.Context, db *Database, in FlagInput, r flagRecord, undoing bool) error {
	if err := flags.Late(ctx); err != nil {
		return err
	}
	before, err := json.Marshal(r.before)
	if err != nil {
		return err
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
		return err
	}
	// The ledger's connections are others than this one's, so that attempts can't wait for each other's.
	return pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		if err := ledger.Hold(ctx, tx.Conn(), in.Origin.Plan, in.Origin.holder(), undoing); err != nil {
			return err
		}
		return db.ledger.RecordFlag(ctx, in.Origin.Plan, in.Origin.Step, in.Key, before, ours)
	})
}

// holds fails where the plan is not this run's any more, or its rollback has begun and undoing is false.
func holds(ctx context.Context, db *Database, o Origin, undoing bool) error {
	conn, err := db.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	err = ledger.Hold(ctx, conn.Conn(), o.Plan, o.holder(), undoing)
	if errors.Is(err, ledger.ErrSuperseded) {
		err = fmt.Errorf("%w: %w", err, flags.ErrSuperseded) // no provider need try again
	}
	return err
}

// errMeanwhile says that a flag was changed between our look and our change; looked at again it is somebody's, or ours.
var errMeanwhile = fmt.Errorf("it was changed at this very moment: %w", flags.ErrSuperseded)

// errTooLate says that another attempt has kept a record since. For the one that was frozen it is the end; the other may meet it,
// too, if the frozen one was the last to write, and is tried again.
var errTooLate = fmt.Errorf("this attempt came too late: %w", flags.ErrSuperseded)

// still fences an attempt that was frozen since it kept its record: the plan must be its run's, nobody have pressed the kill
// switch, the record be its own, and the flag one of the two that it reckoned with.
func (a *Activities) still(db *Database, in FlagInput, kept flagRecord) flags.Still {
	current := a.current(db, in, kept)
	return func(ctx context.Context, found flags.State) error {
		all, err := pressed(ctx, db, in.Origin.Plan)
		if err == nil {
			err = all.forbid(in)
		}
		if err != nil {
			return err
		}
		return current(ctx, found)
	}
}

// current is still without the kill switch.
func (a *Activities) current(db *Database, in FlagInput, kept flagRecord) flags.Still {
	return func(ctx context.Context, found flags.State) error {
		if err := holds(ctx, db, in.Origin, false); err != nil {
			return err
		}
		now, err := a.record(ctx, db, in)
		switch {
		case err != nil:
			return err
		case !now.same(kept):
			return fmt.Errorf("flag %s is left alone: %w", in.Key, errTooLate)
		case !slices.ContainsFunc(kept.ours, found.Equal):
			return fmt.Errorf("flag %s: %w", in.Key, errMeanwhile)
		}
		return nil
	}
}

// stillBack fences an attempt to restore that was frozen while another has ended the rollback, and perhaps the plan's next run has
// brought the flag to the same state again: the plan must be its run's, and the record the one that it has read.
func (a *Activities) stillBack(db *Database, in FlagInput, kept flagRecord) flags.Still {
	return func(ctx context.Context, _ flags.State) error {
		if err := holds(ctx, db, in.Origin, true); err != nil {
			return err
		}
		now, err := a.record(ctx, db, in)
		if err == nil && !now.same(kept) {
			err = fmt.Errorf("flag %s is left alone: %w", in.Key, errTooLate)
		}
		return err
	}
}

func (r flagRecord) same(kept flagRecord) bool {
	return r.known && slices.EqualFunc(r.ours, kept.ours, flags.State.Equal)
}

// replace keeps another record if the present one is what this attempt has kept.
func (a *Activities) replace(ctx context.Context, db *Database, in FlagInput, kept, by flagRecord) error {
	now, err := a.record(ctx, db, in)
	if err == nil && !now.same(kept) {
		err = fmt.Errorf("flag %s is left alone: %w", in.Key, errTooLate)
	}
	if err != nil {
		return err
	}
	return a.keep(ctx, db, in, by, false)
}
