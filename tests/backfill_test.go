package tests

import (
	"time"

	"github.com/contraflow/contraflow/plan"
)

// slowly makes the backfill of 2,000 rows take some seconds in many chunks, so that there is a middle of it to meet.
func slowly(p *plan.Plan) {
	fill := p.Steps[p.StepIndex("fill")].Backfill
	fill.RowsPerSecond, fill.ChunkTime = 700, plan.Duration(20*time.Millisecond)
}

// share of the backfill that its own checkpoints tell, 0 to 1; done when every lane is.
func (b *bundle) share() (share float64, done bool) {
	var installed bool
	err := b.pool.QueryRow(b.t.Context(), `select to_regclass('contraflow.backfill_lane') is not null`).Scan(&installed)
	if err == nil && installed {
		err = b.pool.QueryRow(b.t.Context(), `select coalesce(sum(scanned) / nullif(sum(total), 0), 0)::float8,
			coalesce(bool_and(done_at is not null), false) from contraflow.backfill_lane`).Scan(&share, &done)
	}
	return share, err == nil && done
}

// walked waits until that share of the table has been walked over, and not all of it.
func (b *bundle) walked(share float64) {
	b.t.Helper()
	done := false
	b.eventually("the backfill has come far enough", func() bool {
		var now float64
		now, done = b.share()
		return done || now >= share
	})
	if done {
		b.t.Fatal("the backfill was over before anything could happen to it")
	}
}
