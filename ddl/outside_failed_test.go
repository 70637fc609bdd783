package ddl

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// A row that comes while the build scans makes it fail, and what is left of it would refuse the application's rows for ever.
func TestAFailedUniqueBuildRefusesNoWritesAfterwards(t *testing.T) {
	t.Parallel()
	for title, behind := range map[string]string{"nobody in the way": "", "behind a reader": "begin; select from a"} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			b := setup(t, map[string]string{
				"1_a.up.sql": `create table a (n int); insert into a select generate_series(1, 100); create function slow(n int) returns int
					immutable language plpgsql as $$ begin
						while not pg_try_advisory_lock_shared(7) loop perform pg_sleep(0.01); end loop;
						perform pg_advisory_unlock_shared(7); return n; end $$;`,
				"2_b.up.sql": noTransactionHeader + "\ncreate unique index concurrently a_n on a (slow(n))"})
			require.NoError(t, b.engine("p").Up(t.Context(), 1, ""))
			b.exec(t, "select pg_advisory_lock(7)") // the build scans no further until the test lets go
			result := make(chan error, 1)
			go func() { result <- b.unafraid(Options{Plan: "p", LockTimeout: brief}).Up(t.Context(), 2, "") }()
			require.Eventually(t, func() bool {
				return one[bool](t, b, "select exists (select from pg_stat_progress_create_index where phase like 'building%' and datname = current_database())")
			}, patience, look)
			b.exec(t, "insert into a values (7)")
			var other *pgx.Conn
			if behind != "" {
				other = b.db.Connect(t)
				_, err := other.Exec(t.Context(), behind)
				require.NoError(t, err)
			}
			b.exec(t, "select pg_advisory_unlock(7)")
			if behind != "" {
				require.Eventually(t, func() bool {
					return one[bool](t, b, "select exists (select from pg_stat_activity where datname = current_database() and query ilike 'drop index%' and wait_event_type = 'Lock')")
				}, patience, look)
				_, err := other.Exec(t.Context(), "commit")
				require.NoError(t, err)
			}
			err := <-result
			var failed *StatementError
			require.ErrorAs(t, err, &failed)
			require.Equal(t, "23505", failed.SQLState)
			require.ErrorContains(t, err, "the invalid index that it had left was dropped")
			require.False(t, b.has(t, "a_n"))
			b.requireNothingBegun(t) // so an irreversible step isn't taken for begun
			b.exec(t, "insert into a values (8)")
		})
	}
}

func TestAFailedUniqueRebuildLeavesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{
		"1_a.up.sql": `create table a (n int); create function once(n int) returns int immutable language sql as 'select n'; insert into a values (1), (2);
			create unique index a_n on a (once(n)); create or replace function once(n int) returns int immutable language sql as 'select 1';`,
		"2_b.up.sql": noTransactionHeader + "\nreindex index concurrently a_n"})
	require.NoError(t, b.engine("p").Up(t.Context(), 1, ""))
	var failed *StatementError
	require.ErrorAs(t, b.engine("p").Up(t.Context(), 2, ""), &failed)
	require.Equal(t, "23505", failed.SQLState)
	require.Equal(t, 1, one[int](t, b, "select count(*)::int from pg_index where indrelid = 'a'::regclass"))
	b.requireNothingBegun(t)
}
