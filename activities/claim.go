package activities

import (
	"context"
	"errors"
	"fmt"

	"github.com/contraflow/contraflow/internal/ledger"
)

// Home is the Temporal that a migration runs on.
type Home = ledger.Home

// claim takes the plan; from a migration that is no longer running it passes over. Of one that runs on another Temporal nobody
// here can tell: that is for a person.
func (a *Activities) claim(ctx context.Context, db *Database, o Origin, owner string) error {
	me := o.holder()
	me.Owner = owner
	if a.Home != nil {
		var err error
		if me.Home, err = a.Home(ctx); err != nil {
			return fmt.Errorf("ask which Temporal this is: %w", err)
		}
	}
	err := db.ledger.Claim(ctx, o.Plan, o.PlanHash, me, ledger.Holder{})
	var held *ledger.HeldError
	if !errors.As(err, &held) || held.Elsewhere {
		return err
	}
	alive, asking := a.Alive(ctx, held.Holder.Migration, held.Holder.FirstRun)
	if asking != nil {
		return fmt.Errorf("ask whether migration %s still runs: %w", held.Holder.Migration, asking)
	}
	if alive {
		return err
	}
	return db.ledger.Claim(ctx, o.Plan, o.PlanHash, me, held.Holder)
}

// holder is the migration as the ledger knows it.
func (o Origin) holder() ledger.Holder {
	return ledger.Holder{Migration: o.Migration, FirstRun: o.FirstRun}
}
