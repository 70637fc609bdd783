package pgflags_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/open-feature/go-sdk/openfeature"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/attest"
	pgopenfeature "github.com/contraflow/contraflow/flags/openfeature"
	"github.com/contraflow/contraflow/flags/pgflags"
	"github.com/contraflow/contraflow/flags/postgres"
	"github.com/contraflow/contraflow/internal/ledger"
)

const key = "customers-write-new"

// attesting is an application with the rights that the documentation names, which attests what a source of its own evaluates.
// No test lives to see its second regular report: what is reported was a change.
func attesting(t *testing.T, source func(pgflags.Source) attest.Watcher) bundle {
	t.Helper()
	b := setup(t)
	b.exec(t, "insert into contraflow.flag (key) values ($1)", key)
	app := pool(t, b.application(t, "grant usage on schema contraflow", "grant execute on function contraflow.flag_list, contraflow.attest"))
	a, err := attest.Start(t.Context(), attest.Options{
		Instance: "shop-1", Flags: []string{key, "unknown"}, Source: source(pgflags.Pool(app)), Every: never,
		Exec: func(ctx context.Context, sql string, args ...any) error {
			_, err := app.Exec(context.WithoutCancel(ctx), sql, args...)
			return err
		},
		OnError: func(err error) { t.Error(err) },
	})
	require.NoError(t, err)
	t.Cleanup(a.Stop)
	return b
}

// reader is the application's own copy.
func reader(t *testing.T) func(pgflags.Source) attest.Watcher {
	return func(s pgflags.Source) attest.Watcher { return open(t, s, pgflags.Options{Poll: never}) }
}

// provider is that of an application on OpenFeature.
func provider(t *testing.T) func(pgflags.Source) attest.Watcher {
	return func(s pgflags.Source) attest.Watcher {
		p := pgopenfeature.New(s, pgflags.Options{Poll: never})
		require.NoError(t, p.InitWithContext(t.Context(), openfeature.EvaluationContext{}))
		t.Cleanup(p.Shutdown)
		return p
	}
}

func (b bundle) reported(t *testing.T, key string) string {
	t.Helper()
	all, err := ledger.New(b.pool).Attestations(t.Context(), key, never, time.Time{})
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
	require.Eventually(t, func() bool { return b.reported(t, key) == want }, patience, tick, "want %s", want)
}

func TestAnApplicationAttestsTheCopyThatItEvaluates(t *testing.T) {
	t.Parallel()
	for name, source := range map[string]func(*testing.T) func(pgflags.Source) attest.Watcher{"a reader": reader, "OpenFeature": provider} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := attesting(t, source(t))
			service, err := postgres.Open(t.Context(), b.db.DSN)
			require.NoError(t, err)
			t.Cleanup(func() { _ = service.Close() })
			b.await(t, 1, "false")
			super := bundle{b.db, pool(t, b.db.SuperDSN)} // who sees what other roles do
			require.Eventually(t, super.listening(t, 1), patience, tick)
			before, err := service.Get(t.Context(), key)
			require.NoError(t, err)
			ours := before
			for _, c := range []struct {
				percent int
				value   string
			}{{1, ""}, {50, ""}, {100, "true"}} {
				ours, err = service.Apply(t.Context(), key, flags.Change{Percent: c.percent}, "test", nil)
				require.NoError(t, err)
				b.await(t, ours.SeenAs(), c.value)
			}
			restored, err := service.Restore(t.Context(), key, before, ours, "test", nil)
			require.NoError(t, err)
			b.await(t, restored.SeenAs(), "false")
			require.Equal(t, "0 ", b.reported(t, "unknown"))
			require.True(t, super.listening(t, 1)(), "one copy, which is the one that is evaluated")
			var evaluations int
			require.NoError(t, b.pool.QueryRow(t.Context(), "select count(*) from contraflow.flag_seen").Scan(&evaluations))
			require.Zero(t, evaluations, "to attest is no evaluation")
		})
	}
}

func TestAValueIsWhatNobodyIsExemptFrom(t *testing.T) {
	t.Parallel()
	b := attesting(t, reader(t))
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

// A provider serves fallbacks before its initialization and behind its shutdown.
func TestAProviderAttestsNothingWhileItServesFallbacks(t *testing.T) {
	t.Parallel()
	var p *pgopenfeature.Provider
	b := attesting(t, func(s pgflags.Source) attest.Watcher {
		p = pgopenfeature.New(s, pgflags.Options{Poll: never})
		return p
	})
	for range 2 {
		b.await(t, 0, "")
		require.NoError(t, p.InitWithContext(t.Context(), openfeature.EvaluationContext{}))
		b.await(t, 1, "false")
		p.Shutdown()
	}
	b.await(t, 0, "")
}

// What one look costs; the reader is asked in memory.
func BenchmarkSee(b *testing.B) {
	r, err := pgflags.Open(b.Context(), two{}, pgflags.Options{Poll: never})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if len(r.See([]string{"a", "b"})) != 2 {
			b.Fatal("not seen")
		}
	}
}

type two struct{}

func (two) Text(context.Context, string, ...any) (string, error) {
	return `[{"key": "a", "version": 3, "on": true, "weight": 100000}, {"key": "b", "version": 4}]`, nil
}
