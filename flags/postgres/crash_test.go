package postgres_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/postgres"
	"github.com/contraflow/contraflow/internal/devstack/pgproxy"
)

// requireWhole checks that the flag is in one of the states, and that each of its versions stands in the audit once.
func requireWhole(t *testing.T, b bundle, key string, states ...flags.State) flags.State {
	t.Helper()
	now, err := b.provider.Get(t.Context(), key)
	require.NoError(t, err)
	var matches bool
	for _, s := range states {
		matches = matches || now.Equal(s)
	}
	require.True(t, matches, "%s is %s", key, now.Summary)
	require.Equal(t, now.Version, one[int](t, b, `select count(*)::int from contraflow.audit where detail like $1 || ' version %'`, key))
	return now
}

func TestACrashBetweenAnyTwoStatementsLeavesTheFlagWhole(t *testing.T) {
	t.Parallel()
	for _, when := range []pgproxy.When{pgproxy.Before, pgproxy.Unanswered} {
		t.Run(when.String(), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			proxy := pgproxy.Start(t, b.db.DSN)
			crashing := open(t, proxy.DSN())
			cuts := 0
			// attempt calls the provider with its n-th statement cut off; false when it has fewer.
			attempt := func(key string, n int, call func(*postgres.Provider) error) bool {
				_, err := crashing.Get(t.Context(), key) // a connection that stands
				require.NoError(t, err)
				at := proxy.Statements() + n
				proxy.CutAt(at, pgproxy.Cut{When: when})
				err = call(crashing)
				if proxy.Statements() < at {
					require.NoError(t, err)
					return false
				}
				require.Error(t, err)
				require.False(t, flags.Permanent(err), "%v", err)
				cuts++
				return true
			}
			for n := 1; ; n++ {
				key := fmt.Sprintf("flag-%d", n)
				b.furnish(t, key)
				before, err := b.provider.Get(t.Context(), key)
				require.NoError(t, err)
				change := flags.Change{Percent: 50}
				want, err := b.provider.Preview(t.Context(), key, change)
				require.NoError(t, err)

				if !attempt(key, n, func(p *postgres.Provider) error {
					_, err := p.Apply(t.Context(), key, change, "", nil)
					return err
				}) {
					break
				}
				requireWhole(t, b, key, before, want)
				ours, err := crashing.Apply(t.Context(), key, change, "", nil)
				require.NoError(t, err)
				require.True(t, ours.Equal(want))
				require.Equal(t, 2, requireWhole(t, b, key, want).Version, "one change, however often it was tried")

				require.True(t, attempt(key, n, func(p *postgres.Provider) error {
					_, err := p.Restore(t.Context(), key, before, ours, "", nil)
					return err
				}))
				requireWhole(t, b, key, before, want)
				_, err = crashing.Restore(t.Context(), key, before, ours, "", nil)
				require.NoError(t, err)
				require.Equal(t, 3, requireWhole(t, b, key, before).Version)
			}
			require.GreaterOrEqual(t, cuts, 2*5, "begin, note, lock, change, commit")
		})
	}
}

// A worker that is frozen while it asks whether its change is still wanted keeps the row locked: whoever puts the flag back
// meanwhile waits, and finds the change.
func TestNothingComesBetweenTheQuestionAndTheChange(t *testing.T) {
	t.Parallel()
	b := setup(t)
	before, err := b.provider.Get(t.Context(), plain)
	require.NoError(t, err)
	want, err := b.provider.Preview(t.Context(), plain, flags.Change{Percent: 100})
	require.NoError(t, err)
	other := open(t, b.db.DSN)
	restored := make(chan error, 1)
	still := func(ctx context.Context, _ flags.State) error {
		go func() {
			restored <- insisting(func() error {
				_, err := other.Restore(t.Context(), plain, before, want, "compensation", nil)
				return err
			})
		}()
		require.Eventually(t, func() bool {
			return one[int](t, b, `select count(*)::int from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`) == 1
		}, 30*time.Second, time.Millisecond)
		return nil
	}
	_, err = b.provider.Apply(t.Context(), plain, flags.Change{Percent: 100}, "", still)
	require.NoError(t, err)
	require.NoError(t, <-restored)
	after, err := b.provider.Get(t.Context(), plain)
	require.NoError(t, err)
	require.True(t, after.Equal(before))
	require.Equal(t, 3, after.Version, "there and back")
}

func TestAFrozenWorkerIsCutOffAndChangesNothingAnyMore(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other := open(t, b.db.DSN)
	still := func(ctx context.Context, _ flags.State) error { // frozen until another has got through
		require.Eventually(t, func() bool {
			_, err := other.Apply(ctx, plain, flags.Change{Percent: 7}, "", nil)
			return err == nil
		}, time.Minute, time.Millisecond)
		return nil
	}
	_, err := b.provider.Apply(t.Context(), plain, flags.Change{Percent: 100}, "", still)
	require.Error(t, err)
	require.False(t, flags.Permanent(err))
	now, err := b.provider.Get(t.Context(), plain)
	require.NoError(t, err)
	require.InDelta(t, 7, now.Percent, 0)
}

func TestARowThatSomebodyHoldsIsAConflict(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tx, err := b.pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `update contraflow.flag set is_on = true`)
	require.NoError(t, err)
	_, err = b.provider.Apply(t.Context(), plain, flags.Change{Percent: 30}, "", nil)
	require.ErrorIs(t, err, flags.ErrConflict)
	require.False(t, flags.Permanent(err))
	require.NoError(t, tx.Rollback(t.Context()))
	_, err = b.provider.Apply(t.Context(), plain, flags.Change{Percent: 30}, "", nil)
	require.NoError(t, err)
}

func TestALateCallerChangesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	before, err := b.provider.Get(t.Context(), plain)
	require.NoError(t, err)
	_, err = b.provider.Apply(frozen{t.Context()}, plain, flags.Change{Percent: 30}, "", nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	after, err := b.provider.Get(t.Context(), plain)
	require.NoError(t, err)
	require.Equal(t, before, after)
}

// frozen is the context of a process that was stopped and goes on before its timers do.
type frozen struct{ context.Context }

func (frozen) Deadline() (time.Time, bool) { return time.Now().Add(-time.Second), true }
