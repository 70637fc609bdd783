package pgattest_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/attest"
	"github.com/contraflow/contraflow/flags/attest/pgattest"
	"github.com/contraflow/contraflow/flags/pgflags"
	"github.com/contraflow/contraflow/flags/postgres"
	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/internal/ledger"
	"github.com/contraflow/contraflow/internal/pg"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const (
	key      = "customers-write-new"
	patience = 30 * time.Second
	look     = 5 * time.Millisecond
	// never is an interval that no test lives to see: what is reported was a change.
	never = time.Hour
)

// bundle is an application with the rights that the documentation names, and the owner's view of its database.
type bundle struct {
	owner  *pgxpool.Pool
	ledger *ledger.Ledger
	reader *pgflags.Reader
}

func setup(t *testing.T) bundle {
	t.Helper()
	db := pgtest.New(t)
	owner, err := pg.Open(t.Context(), db.DSN, pg.Settings{})
	require.NoError(t, err)
	t.Cleanup(owner.Close)
	require.NoError(t, pg.EnsureSchema(t.Context(), owner))
	role := "app_" + db.Name
	require.NoError(t, pgtest.Cluster(t).CreateRole(t.Context(), role))
	b := bundle{owner: owner, ledger: ledger.New(owner)}
	b.exec(t, "grant usage on schema contraflow to "+role)
	b.exec(t, "grant execute on function contraflow.flag_list, contraflow.attest to "+role)
	b.exec(t, "insert into contraflow.flag (key) values ($1)", key)

	pool, err := pgxpool.New(t.Context(), pgtest.Cluster(t).DSN(role, db.Name))
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	reader, source, err := pgattest.Open(t.Context(), pgflags.Pool(pool), pgflags.Options{Poll: never})
	require.NoError(t, err)
	t.Cleanup(func() { _ = reader.Close() })
	b.reader = reader
	a, err := attest.Start(t.Context(), attest.Options{
		Instance: "shop-1", Flags: []string{key, "unknown"}, Source: source, Every: never,
		Exec: func(ctx context.Context, sql string, args ...any) error {
			_, err := pool.Exec(ctx, sql, args...)
			return err
		},
		OnError: func(err error) { t.Error(err) },
	})
	require.NoError(t, err)
	t.Cleanup(a.Stop)
	return b
}

func (b bundle) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	_, err := b.owner.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}

func (b bundle) reported(t *testing.T, key string) string {
	all, err := b.ledger.Attestations(t.Context(), key, never, time.Time{})
	require.NoError(t, err)
	if len(all) == 0 {
		return "nothing"
	}
	require.Len(t, all, 1)
	return fmt.Sprintf("%d %s", all[0].Version, all[0].Value)
}

func (b bundle) await(t *testing.T, version int, value string) {
	t.Helper()
	want := fmt.Sprintf("%d %s", version, value)
	require.Eventually(t, func() bool { return b.reported(t, key) == want }, patience, look, "want %s", want)
}

func TestAnApplicationOnTheTableAttestsWhatTheStepComparesWith(t *testing.T) {
	t.Parallel()
	b := setup(t)
	provider, err := postgres.Open(t.Context(), b.owner.Config().ConnString())
	require.NoError(t, err)
	t.Cleanup(func() { _ = provider.Close() })
	b.await(t, 1, "false")
	before, err := provider.Get(t.Context(), key)
	require.NoError(t, err)
	ours := before
	for _, c := range []struct {
		percent int
		value   string
	}{{1, ""}, {50, ""}, {100, "true"}} {
		ours, err = provider.Apply(t.Context(), key, flags.Change{Percent: c.percent}, "test", nil)
		require.NoError(t, err)
		b.await(t, ours.SeenAs(), c.value)
	}
	restored, err := provider.Restore(t.Context(), key, before, ours, "test", nil)
	require.NoError(t, err)
	b.await(t, restored.SeenAs(), "false")
	require.Equal(t, "0 ", b.reported(t, "unknown"))
	require.Zero(t, b.count(t, "select count(*) from contraflow.flag_seen"), "to attest is no evaluation")
}

func (b bundle) count(t *testing.T, sql string) (n int) {
	t.Helper()
	require.NoError(t, b.owner.QueryRow(t.Context(), sql).Scan(&n))
	return n
}

func TestAValueIsWhatNobodyIsExemptFrom(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.await(t, 1, "false")
	version := 1
	for _, c := range []struct{ set, value string }{
		{`is_on = true, percent = 100`, "true"},
		{`targets = '{"user": {"true": ["a"]}}'`, "true"},
		{`targets = '{"user": {"true": ["a"]}, "account": {"false": ["b"]}}'`, ""},
		{`percent = 0`, ""},
		{`targets = '{"account": {"false": ["b"]}}'`, "false"},
		{`percent = 50`, ""},
		{`is_on = false`, "false"},
	} {
		b.exec(t, "update contraflow.flag set "+c.set)
		version++
		b.await(t, version, c.value)
	}
	b.exec(t, "update contraflow.flag set archived = true")
	b.await(t, 0, "")
}

func TestTheReadersOwnChangesAreHeardAsBefore(t *testing.T) {
	t.Parallel()
	b := setup(t)
	heard := make(chan []string, 1)
	reader, _, err := pgattest.Open(t.Context(), pgflags.Pool(b.owner), pgflags.Options{Poll: never, Changed: func(keys []string) { heard <- keys }})
	require.NoError(t, err)
	t.Cleanup(func() { _ = reader.Close() })
	b.exec(t, "update contraflow.flag set is_on = true")
	require.NoError(t, reader.Refresh(t.Context()))
	require.Equal(t, []string{key}, <-heard)
}

// What one look costs; the reader is asked in memory.
func BenchmarkSee(b *testing.B) {
	_, source, err := pgattest.Open(b.Context(), two{}, pgflags.Options{Poll: never})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if len(source.See([]string{"a", "b"})) != 2 {
			b.Fatal("not seen")
		}
	}
}

type two struct{}

func (two) Text(context.Context, string, ...any) (string, error) {
	return `[{"key": "a", "version": 3, "on": true, "weight": 100000}, {"key": "b", "version": 4}]`, nil
}
