package ledger_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/internal/ledger"
	"github.com/contraflow/contraflow/internal/pg"
)

// attest is what an application in any language does.
func attest(ctx context.Context, pool *pgxpool.Pool, instance, seen string) (n int, err error) {
	err = pool.QueryRow(ctx, "select contraflow.attest($1, $2)", instance, seen).Scan(&n)
	return n, err
}

func requireAttests(t *testing.T, pool *pgxpool.Pool, instance, seen string) {
	t.Helper()
	_, err := attest(t.Context(), pool, instance, seen)
	require.NoError(t, err)
}

// attested lists "instance version value" of the flag.
func attested(t *testing.T, l *ledger.Ledger, key string, within time.Duration) (all []string) {
	t.Helper()
	list, err := l.Attestations(t.Context(), key, within, time.Time{})
	require.NoError(t, err)
	for _, a := range list {
		if a.Silent { // the server may have just begun
			continue
		}
		require.GreaterOrEqual(t, a.Age, time.Duration(0))
		require.LessOrEqual(t, a.Age, within)
		all = append(all, strings.TrimSpace(fmt.Sprintf("%s %d %s", a.Instance, a.Version, a.Value)))
	}
	return all
}

func TestTheLatestReportOfEachInstanceCounts(t *testing.T) {
	t.Parallel()
	l, pool := setup(t)
	require.Empty(t, attested(t, l, "a", time.Minute))
	n, err := attest(t.Context(), pool, "shop-2", `{"a": {"version": 1, "value": "false"}, "b": {"version": 7}}`)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	requireAttests(t, pool, "shop-1", `{"a": {"version": 2, "value": true}}`)
	require.Equal(t, []string{"shop-1 2 true", "shop-2 1 false"}, attested(t, l, "a", time.Minute))
	require.Equal(t, []string{"shop-2 7"}, attested(t, l, "b", time.Minute))

	requireAttests(t, pool, "shop-2", `{"a": {"version": 2, "value": null}, "b": {"version": 0}}`)
	require.Equal(t, []string{"shop-1 2 true", "shop-2 2"}, attested(t, l, "a", time.Minute))
	require.Equal(t, []string{"shop-2 0"}, attested(t, l, "b", time.Minute))

	n, err = attest(t.Context(), pool, "shop-2", `{}`)
	require.NoError(t, err)
	require.Zero(t, n)
	require.Equal(t, []string{"shop-1 2 true"}, attested(t, l, "a", time.Minute), "who has said goodbye is not waited for")
	require.Empty(t, attested(t, l, "b", time.Minute))
}

func TestAnInstanceThatFallsSilentIsNotAlive(t *testing.T) {
	t.Parallel()
	l, pool := setup(t)
	requireAttests(t, pool, "gone", `{"a": {"version": 1}}`)
	_, err := pool.Exec(t.Context(), "update contraflow.attestation set at = at - interval '31 s'")
	require.NoError(t, err)
	requireAttests(t, pool, "alive", `{"a": {"version": 1}}`)
	require.Equal(t, []string{"alive 1"}, attested(t, l, "a", 30*time.Second))
	require.Equal(t, []string{"alive 1", "gone 1"}, attested(t, l, "a", time.Minute))
	requireAttests(t, pool, "gone", `{"a": {"version": 1}}`)
	require.Equal(t, []string{"alive 1", "gone 1"}, attested(t, l, "a", 30*time.Second), "it is back")

	_, err = pool.Exec(t.Context(), "update contraflow.attestation set at = at - interval '25 h' where instance = 'gone'")
	require.NoError(t, err)
	requireAttests(t, pool, "alive", `{"a": {"version": 2}}`)
	require.Equal(t, 2, one[int](t, pool, "select count(*) from contraflow.attestation"), "heartbeats clear nothing away")
	requireAttests(t, pool, "another", `{"b": {"version": 2}}`)
	require.Equal(t, []string{"alive 2"}, attested(t, l, "a", 1000*time.Hour), "a new instance does, of any flag")
	require.Equal(t, 2, one[int](t, pool, "select count(*) from contraflow.attestation"))
}

func TestAnInstanceThatIsSilentMayBeAliveUntilTheWaitAndTheServerAreThatOld(t *testing.T) {
	t.Parallel()
	l, pool := setup(t)
	up := one[time.Duration](t, pool, "select clock_timestamp() - pg_postmaster_start_time()")
	now := one[time.Time](t, pool, "select clock_timestamp()")
	silence := up + 2*time.Hour
	requireAttests(t, pool, "shop-1", `{"a": {"version": 1}}`)
	silent := func(within time.Duration, since time.Time) bool {
		t.Helper()
		list, err := l.Attestations(t.Context(), "a", within, since)
		require.NoError(t, err)
		for _, a := range list {
			require.True(t, a.Silent)
			require.Greater(t, a.Age, silence)
		}
		return len(list) > 0
	}
	_, err := pool.Exec(t.Context(), "update contraflow.attestation set at = at - $1::interval", silence)
	require.NoError(t, err)
	require.True(t, silent(up+time.Hour, now.Add(-up-2*time.Hour)), "the server is young")
	require.True(t, silent(up/2, now.Add(time.Hour)), "the wait is young")
	require.False(t, silent(up/2, now.Add(-up)), "neither is")
	_, err = pool.Exec(t.Context(), "update contraflow.attestation set at = at - interval '24 h'")
	require.NoError(t, err)
	require.False(t, silent(up/2, now.Add(time.Hour)), "a day later it is dead")

	requireAttests(t, pool, "shop-1", `{"a": {"version": 1}}`)
	list, err := l.Attestations(t.Context(), "a", time.Hour, now)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.False(t, list[0].Silent)
}

func TestAWaitBeginsOnce(t *testing.T) {
	t.Parallel()
	l, pool := setup(t)
	e := ledger.Event{Key: "write-new/waits/a version 2", FirstRun: "run", Migration: "m", Plan: "p", PlanHash: "h", Event: "waits"}
	since, err := l.Awaiting(t.Context(), e)
	require.NoError(t, err)
	require.Equal(t, one[time.Time](t, pool, "select at from contraflow.audit"), since)
	again, err := l.Awaiting(t.Context(), e)
	require.NoError(t, err)
	require.Equal(t, since, again)
	e.Key = "write-new/waits/a version 3"
	later, err := l.Awaiting(t.Context(), e)
	require.NoError(t, err)
	require.True(t, later.After(since))
}

func TestAWrongReportIsRefusedWhole(t *testing.T) {
	t.Parallel()
	_, pool := setup(t)
	many := func(n int) string {
		var keys []string
		for i := range n {
			keys = append(keys, fmt.Sprintf(`"flag-%d": {"version": 1}`, i))
		}
		return "{" + strings.Join(keys, ",") + "}"
	}
	for seen, says := range map[string]string{
		`[]`:   "no JSON object",
		`null`: "no JSON object",
		`{"ok": {"version": 1}, "": {"version": 1}}`:                                                 "1 to 256 characters",
		`{"ok": {"version": 1}, "` + strings.Repeat("x", 257) + `": {"version": 1}}`:                 "1 to 256 characters",
		`{"ok": {"version": 1}, "bad": 12}`:                                                          `flag "bad" has no version that is a whole number from 0`,
		`{"ok": {"version": 1}, "bad": {}}`:                                                          `flag "bad" has no version`,
		`{"ok": {"version": 1}, "bad": {"version": "12"}}`:                                           `flag "bad" has no version`,
		`{"ok": {"version": 1}, "bad": {"version": null}}`:                                           `flag "bad" has no version`,
		`{"ok": {"version": 1}, "bad": {"version": -1}}`:                                             `flag "bad" has no version`,
		`{"ok": {"version": 1}, "bad": {"version": 1.5}}`:                                            `flag "bad" has no version`,
		`{"ok": {"version": 1}, "bad": {"version": 1e30}}`:                                           `flag "bad" has no version`,
		`{"ok": {"version": 1}, "bad": {"version": 1, "value": 3}}`:                                  `the value of flag "bad"`,
		`{"ok": {"version": 1}, "bad": {"version": 1, "value": {"a": 1}}}`:                           `the value of flag "bad"`,
		`{"ok": {"version": 1}, "bad": {"version": 1, "value": "` + strings.Repeat("x", 257) + `"}}`: `the value of flag "bad"`,
		`{"ok": {"version": 1}, "bad": {"version": 1, "value": "a\u001b[2J"}}`:                       `without control characters`,
		many(201): "more than 200 flags",
	} {
		_, err := attest(t.Context(), pool, "shop-1", seen)
		require.ErrorContains(t, err, says, seen)
		server, ok := err.(*pgconn.PgError)
		require.True(t, ok)
		require.Contains(t, []string{"22023", "54000"}, server.Code)
	}
	for _, instance := range []string{"", strings.Repeat("x", 201), "shop\n1"} {
		_, err := attest(t.Context(), pool, instance, `{"ok": {"version": 1}}`)
		require.ErrorContains(t, err, "an instance needs a name", instance)
	}
	_, err := pool.Exec(t.Context(), "select contraflow.attest(null, '{}')")
	require.ErrorContains(t, err, "an instance needs a name")
	_, err = pool.Exec(t.Context(), "select contraflow.attest('shop-1', null)")
	require.ErrorContains(t, err, "no JSON object")
	require.Zero(t, one[int](t, pool, "select count(*) from contraflow.attestation"))

	requireAttests(t, pool, strings.Repeat("x", 200), many(200))
	require.Equal(t, 200, one[int](t, pool, "select count(*) from contraflow.attestation"))
}

// crowded is a database in which 10,000 instances report a flag, silent for so long.
func crowded(t *testing.T, silence time.Duration) (*ledger.Ledger, *pgxpool.Pool) {
	t.Helper()
	l, pool := setup(t)
	_, err := pool.Exec(t.Context(), `insert into contraflow.attestation (flag_key, instance, version, at)
		select 'a', 'shop-' || i, 1, clock_timestamp() - $1 * interval '1 us' - i * interval '1 ms' from generate_series(1, 10000) i`, silence.Microseconds())
	require.NoError(t, err)
	return l, pool
}

func TestInstancesThatAreSilentMakeRoomForThoseThatAreAlive(t *testing.T) {
	t.Parallel()
	l, pool := crowded(t, 2*time.Hour)
	n, err := attest(t.Context(), pool, "new-1", `{"b": {"version": 1}, "a": {"version": 1}}`)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	requireAttests(t, pool, "new-2", `{"a": {"version": 2}}`)
	require.Equal(t, []string{"new-1 1", "new-2 2"}, attested(t, l, "a", time.Minute))
	require.Equal(t, 10000, one[int](t, pool, "select count(*) from contraflow.attestation where flag_key = 'a'"))
	require.Zero(t, one[int](t, pool, "select count(*) from contraflow.attestation where instance in ('shop-9999', 'shop-10000')"), "the longest silent ones")
}

func TestInstancesThatFindNoRoomAreWaitedFor(t *testing.T) {
	t.Parallel()
	l, pool := crowded(t, 0)
	alive := func() []string { return attested(t, l, "a", 30*time.Minute) }
	require.Len(t, alive(), 10000)
	for range 2 {
		n, err := attest(t.Context(), pool, "one-more", `{"b": {"version": 1}, "a": {"version": 1}}`)
		require.NoError(t, err)
		require.Equal(t, 1, n, "of b alone")
		require.Len(t, alive(), 10001)
		require.Equal(t, "those beyond 10000 (do they keep their names, and say goodbye?) 0", alive()[10000], "nothing that a step takes for a yes")
	}
	require.Equal(t, []string{"one-more 1"}, attested(t, l, "b", time.Minute))
	requireAttests(t, pool, "shop-7", `{"a": {"version": 2}}`)
	require.Len(t, alive(), 10001, "who is known is heard")

	requireAttests(t, pool, "shop-7", `{}`)
	n, err := attest(t.Context(), pool, "one-more", `{"a": {"version": 1}}`)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	_, err = pool.Exec(t.Context(), "update contraflow.attestation set at = at - interval '1 h' where instance like 'those %'")
	require.NoError(t, err)
	require.Len(t, alive(), 10000)
	require.Contains(t, alive(), "one-more 1")
}

func TestAnInstanceThatMakesUpFlagsFillsNothing(t *testing.T) {
	t.Parallel()
	_, pool := setup(t)
	report := func(from, to int) string {
		var keys []string
		for i := from; i < to; i++ {
			keys = append(keys, fmt.Sprintf(`"flag-%d": {"version": 1}`, i))
		}
		return "{" + strings.Join(keys, ",") + "}"
	}
	requireAttests(t, pool, "shop-1", report(0, 150))
	_, err := attest(t.Context(), pool, "shop-1", report(100, 201))
	require.ErrorContains(t, err, `instance "shop-1" has reported 200 flags within a day already`)
	requireAttests(t, pool, "shop-1", report(100, 200))
	requireAttests(t, pool, "shop-2", report(150, 250))
	_, err = pool.Exec(t.Context(), "update contraflow.attestation set at = at - interval '25 h' where instance = 'shop-1'")
	require.NoError(t, err)
	requireAttests(t, pool, "shop-1", report(300, 500))
	require.Equal(t, 300, one[int](t, pool, "select count(*) from contraflow.attestation"), "old ones are forgotten, of whichever flag")
}

func TestReportsAtTheSameMomentDoNotDeadlock(t *testing.T) {
	t.Parallel()
	_, pool := setup(t)
	const rounds = 60
	group, ctx := errgroup.WithContext(t.Context())
	for worker := range 8 {
		group.Go(func() error {
			for i := range rounds {
				// Two instances, each reported by four at once, in any order of keys; some say goodbye, and some find old rows.
				seen := `{"a": {"version": 1}, "b": {"version": 1}, "c": {"version": 1}}`
				if (i+worker)%3 == 0 {
					seen = `{}`
				}
				if (i+worker)%5 == 0 {
					if _, err := pool.Exec(ctx, `update contraflow.attestation set at = at - interval '25 h' where (flag_key, instance) =
						(select flag_key, instance from contraflow.attestation limit 1 for update skip locked)`); err != nil {
						return err
					}
				}
				if _, err := attest(ctx, pool, fmt.Sprintf("shop-%d", (worker+i/7)%2), seen); err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
}

// holding is a transaction that holds shop-1's row of flag b, which it has just changed.
func holding(t *testing.T, pool *pgxpool.Pool) (letGo func()) {
	t.Helper()
	requireAttests(t, pool, "shop-1", `{"b": {"version": 1}}`)
	tx, err := pool.Begin(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
	_, err = tx.Exec(t.Context(), "update contraflow.attestation set version = 2 where flag_key = 'b'")
	require.NoError(t, err)
	return func() { require.NoError(t, tx.Commit(t.Context())) }
}

// waiting makes a report of shop-1 that has to wait, as n then do.
func waiting(t *testing.T, pool *pgxpool.Pool, group *errgroup.Group, n int, seen string) {
	t.Helper()
	group.Go(func() error {
		_, err := attest(t.Context(), pool, "shop-1", seen)
		return err
	})
	require.Eventually(t, func() bool {
		return one[int](t, pool, `select count(distinct pid)::int from pg_locks join pg_stat_activity using (pid)
			where datname = current_database() and not granted`) == n
	}, time.Minute, 10*time.Millisecond)
}

// A goodbye takes the rows that it has found, not one that was reported while it waited: another report may hold that one, and
// wait for the next.
func TestAGoodbyeDoesNotDeadlockWithAFlagThatIsReportedMeanwhile(t *testing.T) {
	t.Parallel()
	_, pool := setup(t)
	letGo := holding(t, pool)
	var group errgroup.Group
	waiting(t, pool, &group, 1, `{}`)
	requireAttests(t, pool, "shop-1", `{"a": {"version": 1}}`)
	waiting(t, pool, &group, 2, `{"a": {"version": 2}, "b": {"version": 2}}`)
	letGo()
	require.NoError(t, group.Wait())
}

func TestAGoodbyeTakesARowThatIsChangedMeanwhile(t *testing.T) {
	t.Parallel()
	_, pool := setup(t)
	letGo := holding(t, pool)
	var group errgroup.Group
	waiting(t, pool, &group, 1, `{}`)
	letGo()
	require.NoError(t, group.Wait())
	require.Zero(t, one[int](t, pool, "select count(*)::int from contraflow.attestation"))
}

func TestAnApplicationNeedsTwoRightsAndNoTable(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	owner, err := pg.Open(t.Context(), db.DSN, pg.Settings{})
	require.NoError(t, err)
	t.Cleanup(owner.Close)
	require.NoError(t, pg.EnsureSchema(t.Context(), owner))
	role := "app_" + db.Name
	require.NoError(t, pgtest.Cluster(t).CreateRole(t.Context(), role))
	pool, err := pgxpool.New(t.Context(), pgtest.Cluster(t).DSN(role, db.Name))
	require.NoError(t, err)
	t.Cleanup(pool.Close)

	_, err = attest(t.Context(), pool, "shop-1", `{"a": {"version": 1}}`)
	require.ErrorContains(t, err, "permission denied for schema")
	_, err = owner.Exec(t.Context(), "grant usage on schema contraflow to "+role)
	require.NoError(t, err)
	_, err = attest(t.Context(), pool, "shop-1", `{"a": {"version": 1}}`)
	require.ErrorContains(t, err, "permission denied for function")
	_, err = owner.Exec(t.Context(), "grant execute on function contraflow.attest to "+role)
	require.NoError(t, err)

	// What stands in the search path of whoever calls is not what the function uses.
	_, err = pool.Exec(t.Context(), `create temp table attestation (flag_key text);
		create function pg_temp.length(text) returns integer language sql as 'select 1/0'`)
	require.NoError(t, err)
	requireAttests(t, pool, "shop-1", `{"a": {"version": 1}}`)
	require.Equal(t, []string{"shop-1 1"}, attested(t, ledger.New(owner), "a", time.Minute))
	_, err = pool.Exec(t.Context(), "select from contraflow.attestation")
	require.ErrorContains(t, err, "permission denied for table")
}
