package backfill_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/backfill"
)

func TestSyncIsInstalledOnceAndReplacedWhenItChanges(t *testing.T) {
	t.Parallel()
	b := setup(t, customers(3), "create table elsewhere (like customers including all)")
	stamp := func() string {
		return scalar[string](t, b, `select string_agg(concat_ws(' ', t.tgrelid::regclass, t.oid, t.xmin, p.oid, p.xmin), '/' order by tgname)
			from pg_trigger t join pg_proc p on p.oid = t.tgfoid where tgname ~ 'contraflow'`)
	}
	b.install(t, splitting())
	first := stamp()
	b.install(t, splitting())
	require.Equal(t, first, stamp(), "nothing to do")

	b.exec(t, "alter table customers disable trigger all")
	b.install(t, splitting())
	second := stamp()
	require.NotEqual(t, first, second, "disabled ones are made anew")

	changed := splitting()
	changed.Set[1].Expr = "upper(address)"
	b.install(t, changed)
	require.NotEqual(t, second, stamp())
	b.exec(t, "update customers set address = '9 x' where id = 2")
	require.Equal(t, "9 X", scalar[string](t, b, "select street from customers where id = 2"))
	b.exec(t, "alter table customers drop street cascade; alter table customers add street text")
	b.install(t, changed)
	b.exec(t, "insert into customers (id, address) values (1, '9 y')")
	require.Equal(t, "9 Y", scalar[string](t, b, "select street from customers where id = 1"))

	changed.Table = "elsewhere"
	b.install(t, changed)
	require.Regexp(t, "^elsewhere [^c]*$", stamp(), "one table only")
	other := splitting()
	other.Step = "another step"
	b.install(t, other)
	b.exec(t, "drop table elsewhere")
	require.NoError(t, b.RemoveSync(t.Context(), "split", "fill", backfill.SyncOptions{}), "the table is gone")
	require.Equal(t, 3, b.traces(t), "the other step's function and triggers stay")
	require.NoError(t, b.RemoveSync(t.Context(), "split", "another step", backfill.SyncOptions{}))
	b.remove(t)
	b.remove(t)
}

func TestWaitingForTheTableNeverHoldsTheApplicationUp(t *testing.T) {
	t.Parallel()
	b := setup(t, customers(3))
	bounded := func(ctx context.Context, conn *pgx.Conn) error {
		var longest string
		err := conn.QueryRow(ctx, "show lock_timeout").Scan(&longest)
		if longest != "500ms" {
			t.Errorf("a try may wait for %s", longest)
		}
		return err
	}
	for _, c := range []struct {
		blocks, app string
		change      func(backfill.SyncOptions) error
	}{
		{"update customers set name = 'held' where id = 2", "update customers set name = 'app' where id = 4",
			func(o backfill.SyncOptions) error { return b.InstallSync(t.Context(), splitting(), o) }},
		{"select from customers", "select from customers where id = 4",
			func(o backfill.SyncOptions) error { return b.RemoveSync(t.Context(), "split", "fill", o) }},
	} {
		holder, app := b.Connect(t), b.Connect(t)
		_, err := holder.Exec(t.Context(), "set application_name = 'the long report'; begin; "+c.blocks)
		require.NoError(t, err)
		// The holder stays for as long as the application asks. A try that did not end by itself would hold the application up until
		// its own timeout, which is far above what a busy machine takes to end one.
		_, err = app.Exec(t.Context(), "set lock_timeout = '15s'")
		require.NoError(t, err)
		began, waits, ended := time.Now(), make(chan string, 100), make(chan error, 1)
		go func() {
			ended <- c.change(backfill.SyncOptions{Claim: bounded, OnWait: func(reason string) { waits <- reason }})
		}()
		heard := 0
		for heard < 3 || time.Since(began) < 2*time.Second {
			_, err := app.Exec(t.Context(), c.app)
			require.NoError(t, err)
			select {
			case reason := <-waits:
				heard++
				require.Regexp(t, `lock timeout|statement timeout`, reason)
				require.Regexp(t, `in the way: .*pid \d+ \(the long report\), idle in transaction for \d+s`, reason)
				require.NotContains(t, reason, "update customers")
			case err := <-ended:
				require.FailNow(t, "it did not wait", "%v", err)
			default:
			}
			require.Less(t, time.Since(began), soon)
		}
		_, err = holder.Exec(t.Context(), "commit")
		require.NoError(t, err)
		require.NoError(t, receive(t, ended))
	}
	require.Zero(t, b.traces(t))
}

func TestWaitingForTheTableEndsWithItsContext(t *testing.T) {
	t.Parallel()
	b := setup(t, customers(3))
	holder := b.Connect(t)
	_, err := holder.Exec(t.Context(), "begin; lock table customers in row exclusive mode")
	require.NoError(t, err)
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := context.DeadlineExceeded
	err = b.InstallSync(ctx, splitting(), backfill.SyncOptions{OnWait: func(string) { cancel(cause) }})
	require.ErrorIs(t, err, cause)
	require.Zero(t, b.traces(t))
}

func TestSeveralMayInstallAndRemoveAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t, customers(3))
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() {
			var err error
			if i%2 == 0 {
				err = b.InstallSync(t.Context(), splitting(), backfill.SyncOptions{})
			} else {
				err = b.RemoveSync(t.Context(), "split", "fill", backfill.SyncOptions{})
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	require.Contains(t, []int{0, 3}, b.traces(t), "all or nothing")
	b.install(t, splitting())
	require.Equal(t, 3, b.traces(t))
}

func TestCutConnectionsLeaveAllOrNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, customers(3))
	admin := b.Connect(t)
	random := rand.New(rand.NewPCG(5, 6))
	cuts := 0
	for round := range 60 {
		ended := make(chan error, 1)
		go func() {
			if round%2 == 0 {
				ended <- b.InstallSync(t.Context(), splitting(), backfill.SyncOptions{})
			} else {
				ended <- b.RemoveSync(t.Context(), "split", "fill", backfill.SyncOptions{})
			}
		}()
		<-time.After(time.Duration(random.IntN(30_000)) * time.Microsecond)
		_, err := admin.Exec(t.Context(), "select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = 'contraflow backfill' and datname = current_database()")
		require.NoError(t, err)
		if err := receive(t, ended); err != nil {
			cuts++
			require.False(t, backfill.Permanent(err), "%v", err)
		}
		var traces int
		require.NoError(t, admin.QueryRow(t.Context(), `select (select count(*) from pg_proc where pronamespace = 'contraflow'::regnamespace and proname ~ '^sync_')
			+ (select count(*) from pg_trigger where tgname ~ 'contraflow')`).Scan(&traces))
		require.Contains(t, []int{0, 3}, traces, "all or nothing")
	}
	require.Greater(t, cuts, 5, "the cuts came too late to prove anything")
	require.Eventually(t, func() bool { return b.InstallSync(t.Context(), splitting(), backfill.SyncOptions{}) == nil }, soon, tick)
	require.Equal(t, 3, b.traces(t))
	require.Eventually(t, func() bool { return b.RemoveSync(t.Context(), "split", "fill", backfill.SyncOptions{}) == nil }, soon, tick)
	require.Zero(t, b.traces(t))
}
