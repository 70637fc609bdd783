package activities

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/ledger"
)

// RetireFlag archives a flag that serves one value to everybody, or, with Force, one of which a person has seen what is in the way.
// It fails with the type "InUse" where somebody has changed the flag since MayRetire has looked, and with "Killed" behind a press
// of the kill switch that is newer than in.Kills: off, too, is one value for everybody.
func (a *Activities) RetireFlag(ctx context.Context, in FlagInput) error {
	told := waitingFlag(in)
	defer beat(ctx, told.details)()
	_, err := whenApproved(ctx, told, func(ctx context.Context) (FlagNow, error) { return FlagNow{}, a.retireFlag(ctx, in) })
	return fail(ctx, err)
}

func (a *Activities) retireFlag(ctx context.Context, in FlagInput) error {
	db, provider, err := a.forFlag(ctx, in)
	if err != nil {
		return err
	}
	if err := holds(ctx, db, in.Origin, false); err != nil {
		return err
	}
	now, err := provider.Get(ctx, in.Key)
	gone := errors.Is(err, flags.ErrNotFound)
	if err != nil && !gone {
		return err
	}
	if gone && !in.Force {
		if ours, failed := archivedByPlan(ctx, db, in.Origin, in.Key); failed != nil || !ours {
			return errors.Join(failed, err)
		}
	}
	if !gone && !now.Archived && !in.Force { // MayRetire has looked, and somebody may have changed it since
		several, err := servesSeveral(ctx, provider, now)
		if err != nil {
			return err
		}
		if several != "" {
			return permanent("InUse", "%s", several)
		}
	}
	kills := in.Kills
	if now.Archived { // what is archived can't be put back: it is only noted
		kills = math.MaxInt64
	}
	if err := pastRetiring(ctx, db, in, kills); err != nil {
		return err
	}
	if now.Archived {
		return retired(ctx, db, in, "flag archived")
	}
	// First the intent: a run that is cut off behind the archiving is known by it, and goes on here when it is started again.
	if err := audit(ctx, db, in.Origin, "archiving flag", in.Key); err != nil {
		return err
	}
	if gone {
		return retired(ctx, db, in, "flag gone")
	}
	if err := stillRetiring(ctx, db, provider, in, now); err != nil {
		return err
	}
	if err := provider.Archive(ctx, in.Key, note(in.Origin)); err != nil {
		return err
	}
	return retired(ctx, db, in, "flag archived")
}

// pastRetiring marks that a flag is about to be archived, which nothing undoes: from then on the kill switch is not pressed lightly.
func pastRetiring(ctx context.Context, db *Database, in FlagInput, kills int64) error {
	err := db.ledger.PastReturn(ctx, in.Origin.Plan, in.Origin.holder(), kills)
	if errors.Is(err, ledger.ErrKilled) {
		return permanent("Killed", "%v: flag %s is not archived; resume puts the flags back and goes on", err, in.Key)
	}
	return err
}

// stillRetiring fences an attempt that was frozen since it looked at the flag: the plan must still be its run's, and the flag what it was.
func stillRetiring(ctx context.Context, db *Database, provider flags.Provider, in FlagInput, looked flags.State) error {
	now, err := provider.Get(ctx, in.Key)
	switch {
	case errors.Is(err, flags.ErrNotFound), err == nil && !now.Equal(looked):
		return fmt.Errorf("flag %s: %w", in.Key, errMeanwhile)
	case err != nil:
		return err
	}
	return holds(ctx, db, in.Origin, false)
}

// archivedByPlan tells whether a run of the plan has begun to archive the flag: then it has done its work, though somebody has
// deleted it since.
func archivedByPlan(ctx context.Context, db *Database, o Origin, key string) (bool, error) {
	ours, err := db.ledger.Archived(ctx, o.Plan)
	return slices.Contains(ours, key), err
}

// retired comes behind the archiving: cut off in between, it is written when the flag is found archived.
func retired(ctx context.Context, db *Database, in FlagInput, event string) error {
	if err := db.ledger.FlagRetired(ctx, in.scope(), in.Key); err != nil {
		return err
	}
	return audit(ctx, db, in.Origin, event, in.Key)
}
