package activities

import (
	"context"
	"errors"
	"fmt"

	"github.com/contraflow/contraflow/internal/ledger"
)

// claim takes the plan; from a migration that is no longer running it passes over.
func (a *Activities) claim(ctx context.Context, db *Database, o Origin) error {
	me := o.holder()
	err := db.ledger.Claim(ctx, o.Plan, o.PlanHash, me, ledger.Holder{})
	var held *ledger.HeldError
	if !errors.As(err, &held) {
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
