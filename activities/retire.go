package activities

import (
	"context"
	"errors"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/ledger"
)

// RetireFlag archives a flag that serves one value to everybody, or, with Force, one of which a person has seen what is in the way.
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
	now, err := provider.Get(ctx, in.Key)
	if in.Force && errors.Is(err, flags.ErrNotFound) {
		return retired(ctx, db, in, "flag gone")
	}
	if err != nil {
		return err
	}
	if !now.Archived {
		if !in.Force { // MayRetire has looked, and somebody may have changed it since
			several, err := servesSeveral(ctx, provider, now)
			if err != nil {
				return err
			}
			if several != "" {
				return permanent("Flag", "%s", several)
			}
		}
		// First the intent: a run that is cut off behind the archiving is known by it, and goes on here when it is started again.
		if err := audit(ctx, db, in.Origin, "archiving flag", in.Key); err != nil {
			return err
		}
		if err := provider.Archive(ctx, in.Key, note(in.Origin)); err != nil {
			return err
		}
	}
	return retired(ctx, db, in, "flag archived")
}

// retired comes behind the archiving: cut off in between, it is written when the flag is found archived.
func retired(ctx context.Context, db *Database, in FlagInput, event string) error {
	if err := db.ledger.FlagRetired(ctx, ledger.Scope{Project: in.Scope.Project, Environment: in.Scope.Environment}, in.Key); err != nil {
		return err
	}
	return audit(ctx, db, in.Origin, event, in.Key)
}
