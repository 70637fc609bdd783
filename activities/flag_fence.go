package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/ledger"
)

// errMeanwhile says that a flag was changed, or the kill switch pressed, between our look and our change; looked at again it is
// known whose doing that is.
var errMeanwhile = fmt.Errorf("it was changed at this very moment: %w", flags.ErrSuperseded)

// errTooLate says that another attempt has kept a record since. For the one that was frozen it is the end; the other may meet it,
// too, if the frozen one was the last to write, and is tried again.
var errTooLate = fmt.Errorf("this attempt came too late: %w", flags.ErrSuperseded)

// errPressing says that what the kill switch is going to leave is not known yet.
var errPressing = fmt.Errorf("somebody is pressing the kill switch, and it is looked at again: %w", flags.ErrSuperseded)

func tooLate(in FlagInput, err error) error {
	if errors.Is(err, ledger.ErrAltered) {
		return fmt.Errorf("flag %s is left alone: %w", in.Key, errTooLate)
	}
	return err
}

// holds fails where the plan is not this run's any more, or its rollback has begun and undoing is false.
func holds(ctx context.Context, db *Database, o Origin, undoing bool) error {
	err := db.ledger.Holds(ctx, o.Plan, o.holder(), undoing)
	if errors.Is(err, ledger.ErrSuperseded) {
		err = fmt.Errorf("%w: %w", err, flags.ErrSuperseded) // no provider need try again
	}
	return err
}

// fence is asked right before anything changes outside. An attempt may have been frozen for any time since it read or kept r: the plan
// must still be its run's, the record the very one that it knows, and nobody have pressed the kill switch since.
func (a *Activities) fence(ctx context.Context, db *Database, in FlagInput, r flagRecord, undoing bool) error {
	if err := flags.Late(ctx); err != nil {
		return err
	}
	if err := holds(ctx, db, in.Origin, undoing); err != nil {
		return err
	}
	now, err := a.record(ctx, db, in)
	switch {
	case err != nil:
		return err
	case now.mark != r.mark:
		return tooLate(in, ledger.ErrAltered)
	case !now.presses.same(r.presses, in.Key):
		return fmt.Errorf("flag %s: %w", in.Key, errMeanwhile)
	}
	return nil
}

// still is the fence of a stage, which has also reckoned with what the flag is.
func (a *Activities) still(db *Database, in FlagInput, kept flagRecord) flags.Still {
	return func(ctx context.Context, found flags.State) error {
		err := a.fence(ctx, db, in, kept, false)
		if err == nil && !slices.ContainsFunc(kept.ours, found.Equal) {
			err = fmt.Errorf("flag %s: %w", in.Key, errMeanwhile)
		}
		return err
	}
}

// stillBack is the fence of a rollback, which has told its provider what the flag is.
func (a *Activities) stillBack(db *Database, in FlagInput, read flagRecord) flags.Still {
	return func(ctx context.Context, _ flags.State) error { return a.fence(ctx, db, in, read, true) }
}
