package activities

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/plan"
)

func changeTo(percent int) flags.Change { return flags.Change{Percent: percent} }

var errCrash = errors.New("the worker died here")

// mortal is a provider whose worker dies before or behind one of its calls: what the call did stays, its answer is lost.
type mortal struct {
	flags.Provider
	before, behind string // names of methods
}

func (m *mortal) at(method string, call func() error) error {
	if m.before == method {
		m.before = ""
		return errCrash
	}
	err := call()
	if m.behind == method {
		m.behind = ""
		return errors.Join(err, errCrash)
	}
	return err
}

func (m *mortal) Preview(ctx context.Context, key string, c flags.Change) (s flags.State, err error) {
	err = m.at("Preview", func() error { s, err = m.Provider.Preview(ctx, key, c); return err })
	return s, err
}

func (m *mortal) Apply(ctx context.Context, key string, c flags.Change, note string, still flags.Still) (s flags.State, err error) {
	err = m.at("Apply", func() error { s, err = m.Provider.Apply(ctx, key, c, note, still); return err })
	return s, err
}

func (m *mortal) Restore(ctx context.Context, key string, before, ours flags.State, note string, still flags.Still) (s flags.State, err error) {
	err = m.at("Restore", func() error { s, err = m.Provider.Restore(ctx, key, before, ours, note, still); return err })
	return s, err
}

func (m *mortal) Archive(ctx context.Context, key, note string) error {
	return m.at("Archive", func() error { return m.Provider.Archive(ctx, key, note) })
}

// mortal puts one between the activities and their provider.
func (b *bundle) mortal(t *testing.T) *mortal {
	t.Helper()
	provider, err := b.acts.Flags(scope)
	require.NoError(t, err)
	m := &mortal{Provider: provider}
	b.acts.Flags = func(plan.FlagScope) (flags.Provider, error) { return m, nil }
	return m
}

func TestACrashAtAnyStageIsRestoredExactly(t *testing.T) {
	t.Parallel()
	for _, found := range []int{-1, 5} { // off, or on for some
		for stage, percent := range []int{10, 50, 100} {
			for _, crash := range []mortal{{before: "Preview"}, {behind: "Preview"}, {before: "Apply"}, {behind: "Apply"}} {
				for _, goesOn := range []bool{true, false} {
					t.Run(fmt.Sprintf("found at %d, before %s or behind %s at %d, goes on %t", found, crash.before, crash.behind, percent, goesOn), func(t *testing.T) {
						t.Parallel()
						b, begun := begunShop(t)
						if found > 0 {
							b.serve(t, writeNew, found)
						}
						before := b.configuration(t, writeNew)
						m := b.mortal(t)
						for _, earlier := range []int{10, 50, 100}[:stage] {
							_, err := b.apply(t, begun.flag("write-new", writeNew, earlier))
							require.NoError(t, err)
						}
						m.before, m.behind = crash.before, crash.behind
						_, err := b.apply(t, begun.flag("write-new", writeNew, percent))
						requireRetryable(t, err, errCrash.Error())
						if goesOn {
							_, err = b.apply(t, begun.flag("write-new", writeNew, percent))
							require.NoError(t, err)
							require.Equal(t, percent, b.percent(t, writeNew))
						}
						_, err = b.restore(t, begun.flag("write-new", writeNew, 0))
						require.NoError(t, err)
						require.Equal(t, before, b.configuration(t, writeNew))
					})
				}
			}
		}
	}
}

func TestACrashDuringTheRestoreIsRestoredExactly(t *testing.T) {
	t.Parallel()
	for _, crash := range []mortal{{before: "Restore"}, {behind: "Restore"}} {
		t.Run(crash.before+crash.behind, func(t *testing.T) {
			t.Parallel()
			b, begun := begunShop(t)
			before := b.configuration(t, writeNew)
			m := b.mortal(t)
			_, err := b.apply(t, begun.flag("write-new", writeNew, 50))
			require.NoError(t, err)
			m.before, m.behind = crash.before, crash.behind
			_, err = b.restore(t, begun.flag("write-new", writeNew, 0))
			requireRetryable(t, err, errCrash.Error())
			_, err = b.restore(t, begun.flag("write-new", writeNew, 0))
			require.NoError(t, err)
			require.Equal(t, before, b.configuration(t, writeNew))
			require.Zero(t, one[int](t, b, "select count(*)::int from contraflow.flag_record"))
		})
	}
}

func TestACrashBehindTheArchiveIsGoneOnWith(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	m := b.mortal(t)
	b.serve(t, writeNew, 100)
	m.behind = "Archive"
	requireRetryable(t, b.retire(t, begun.flag("retire", writeNew, 0)), errCrash.Error())
	archived, err := b.acts.Databases["shop"].ledger.Archived(t.Context(), shopPlan)
	require.NoError(t, err)
	require.Equal(t, []string{writeNew}, archived, "a run that is cut off here is known to have been retiring")
	require.NoError(t, b.retire(t, begun.flag("retire", writeNew, 0)))
	require.Equal(t, 1, one[int](t, b, "select count(*)::int from contraflow.audit where event = 'flag archived'"))
}

func TestAFlagServiceThatRefusesIsTriedAgainOrNot(t *testing.T) {
	t.Parallel()
	t.Run("it limits the rate", func(t *testing.T) {
		t.Parallel()
		b, begun := begunShop(t)
		b.flagd.Inject(http.StatusTooManyRequests, 50)
		_, err := b.apply(t, begun.flag("write-new", writeNew, 10))
		require.Positive(t, requireRetryable(t, err, "rate limited"), "it says when to come back")
		require.Equal(t, -1, b.percent(t, writeNew))
	})
	t.Run("it is ill", func(t *testing.T) {
		t.Parallel()
		b, begun := begunShop(t)
		b.flagd.Inject(http.StatusServiceUnavailable, 50)
		_, err := b.apply(t, begun.flag("write-new", writeNew, 10))
		requireRetryable(t, err, "503")
	})
	t.Run("the token is revoked", func(t *testing.T) {
		t.Parallel()
		b, begun := begunShop(t)
		b.flagd.Inject(http.StatusUnauthorized, 1)
		_, err := b.apply(t, begun.flag("write-new", writeNew, 10))
		requirePermanent(t, err, "Flag", "renew the API token")
	})
}
