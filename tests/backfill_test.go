package tests

import (
	"time"
)

// slowRows makes each row that a backfill changes take half a millisecond, inside the chunk's transaction; a chunk of
// slowChunk is then some thirty rows.
const (
	slowRows = `
create function slow_row() returns trigger language plpgsql as $$
begin
	perform pg_sleep(0.0005);
	return new;
end $$;
create trigger slow_row before update on customers for each row
	when (current_setting('application_name') = 'contraflow backfill') execute function slow_row()`
	slowChunk = 20 * time.Millisecond
)

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

// inChunk waits until a chunk is being written, so that what happens next happens in the middle of a transaction.
func (b *bundle) inChunk() {
	b.t.Helper()
	b.eventually("a chunk is under way", func() bool {
		return b.count(`select count(*) from pg_stat_activity where datname = current_database()
			and application_name = 'contraflow backfill' and backend_xid is not null`) > 0
	})
}
