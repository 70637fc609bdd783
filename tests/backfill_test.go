package tests

import (
	"time"

	"github.com/stretchr/testify/require"
)

// slowRows makes each row that a backfill changes take half a millisecond, inside the chunk's transaction; a chunk of
// slowChunk is then some thirty rows. The row where it shall stop waits, which a shared lock tells.
const (
	slowRows = `
create table stop as select null::bigint as id;
create function slow_row() returns trigger language plpgsql as $$
begin
	perform pg_sleep(0.0005);
	while new.id >= (select id from stop) loop
		perform pg_advisory_xact_lock_shared(78, id::int) from stop;
		perform pg_sleep(0.01);
	end loop;
	return new;
end $$;
create trigger slow_row before update on customers for each row
	when (current_setting('application_name') = 'contraflow backfill') execute function slow_row()`
	slowChunk = 20 * time.Millisecond
)

// stopAt lets a slow backfill come to that share of the rows and no farther: it waits there in the middle of a chunk, for as long
// as the test wants to do something to it. 1 lets it go on to its end.
func (b *bundle) stopAt(share float64) {
	b.t.Helper()
	b.eventually("the backfill is told where to stop", func() bool { // which may take a second call where Postgres was away
		_, err := b.pool.Exec(b.t.Context(), `update stop set id = $1`, int64(share*float64(b.rows))+1)
		return err == nil
	})
}

// stopped waits until the backfill has come to where it was told to stop, so that what happens next happens in the middle of a
// transaction.
func (b *bundle) stopped() {
	b.t.Helper()
	b.eventually("the backfill has come far enough", func() bool {
		var held bool
		err := b.pool.QueryRow(b.t.Context(), `select exists (select from pg_locks, stop where locktype = 'advisory' and classid = 78
			and objid::bigint = id and database = (select oid from pg_database where datname = current_database()))`).Scan(&held)
		return err == nil && held
	})
}

// share of the backfill that its own checkpoints tell, 0 to 1.
func (b *bundle) share() (share float64) {
	b.t.Helper()
	require.NoError(b.t, b.pool.QueryRow(b.t.Context(), `select coalesce(sum(scanned) / nullif(sum(total), 0), 0)::float8
		from contraflow.backfill_lane`).Scan(&share))
	return share
}
