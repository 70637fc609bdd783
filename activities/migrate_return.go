package activities

import (
	"context"
	"errors"

	"github.com/contraflow/contraflow/health"
	"github.com/contraflow/contraflow/internal/ledger"
)

// pastReturn marks that the old shape is about to go: from here on the kill switch is not pressed lightly. It refuses where the
// application lives in the old shape by a press of it, and where rows that were written under an earlier press lack the new one.
func (a *Activities) pastReturn(ctx context.Context, in MigrateInput) error {
	db, err := a.database(ctx, in.Origin)
	if err != nil {
		return err
	}
	if err := proveAgain(ctx, db, in.Proofs); err != nil {
		return err
	}
	err = db.ledger.PastReturn(ctx, in.Origin.Plan, in.Origin.holder(), in.Kills)
	if errors.Is(err, ledger.ErrKilled) {
		return permanent("Killed", "%v: the old shape stays as long as the application may need it; resume puts the flags back and goes on", err)
	}
	return err
}

// proveAgain asks earlier verifications once more: while flags were off the application wrote the old shape alone, and nothing has
// filled the new one since.
func proveAgain(ctx context.Context, db *Database, proofs []Proof) error {
	for _, p := range proofs {
		m, err := health.Measure(ctx, db.pool, health.SQLProbe{Query: p.Verify.Query, Max: p.Verify.Max, Min: p.Verify.Min, Timeout: proofTimeout})
		if err != nil {
			return err
		}
		if !m.Pass {
			return permanent("NotProven", "what step %s has proved does not hold any more: its query returned %s. Rows were written while the kill switch had "+
				"turned flags off, and lack the new shape; before anything is dropped they must be filled", p.Step, m.Text)
		}
	}
	return nil
}
