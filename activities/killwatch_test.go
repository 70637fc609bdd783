package activities

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/pgproxy"
	"github.com/contraflow/contraflow/internal/ledger"
	"github.com/contraflow/contraflow/internal/pg"
	"github.com/contraflow/contraflow/plan"
)

// pressed writes a press of the switch for that run; those of keys in done are made.
func (b *bundle) pressed(t *testing.T, firstRun, context string, keys ...string) (ids []int64) {
	t.Helper()
	l := b.acts.Databases["shop"].ledger
	var kills []ledger.Kill
	for _, key := range keys {
		k := ledger.Kill{Plan: "p", Migration: "m", FirstRun: firstRun, Key: key, Actor: "alice", Reason: "orders fail"}
		if context != "" {
			k.ContextKind, k.ContextKey = context, "S3CRET-acme"
		}
		kills = append(kills, k)
	}
	ids, err := l.Press(t.Context(), kills, false)
	require.NoError(t, err)
	return ids
}

func (b *bundle) made(t *testing.T, ids ...int64) {
	t.Helper()
	for _, id := range ids {
		require.NoError(t, b.acts.Databases["shop"].ledger.Killed(t.Context(), id, json.RawMessage(`{}`)))
	}
}

// guards runs the guard of run r in the background.
func (b *bundle) guards(t *testing.T, kills int64, c call, checks ...plan.Check) chan GuardVerdict {
	t.Helper()
	require.NoError(t, pg.EnsureSchema(t.Context(), b.acts.Databases["shop"].pool))
	verdicts := make(chan GuardVerdict, 1)
	go func() {
		verdict, err := run[GuardVerdict](t, b, b.acts.WatchHealth,
			WatchInput{Origin: Origin{Database: "shop", FirstRun: "r"}, Interval: plan.Duration(look), Checks: checks, Kills: kills}, c)
		if err != nil {
			verdict.Reading = err.Error()
		}
		verdicts <- verdict
	}()
	return verdicts
}

// clocks of this process and of a database on the same machine agree this well.
const clocks = time.Second

func soon[T any](t *testing.T, from <-chan T) (value T) {
	t.Helper()
	select {
	case value = <-from:
	case <-time.After(patience):
		require.Fail(t, "nothing came")
	}
	return value
}

func TestTheGuardTellsOfTheKillSwitchWithAndWithoutChecks(t *testing.T) {
	t.Parallel()
	page := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(page.Close)
	for title, checks := range map[string][]plan.Check{
		"none": nil, "one that passes": {{Name: "page", HTTP: &plan.HTTPProbe{URL: page.URL}}},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			beating := make(chan struct{}, 1)
			verdicts := b.guards(t, 0, call{onAir: func(json.RawMessage) {
				select {
				case beating <- struct{}{}:
				default:
				}
			}}, checks...)
			soon(t, beating)
			b.made(t, b.pressed(t, "another run", "", writeNew)...)
			since := time.Now()
			ids := b.pressed(t, "r", "", readNew, writeNew)
			b.made(t, ids...)
			verdict := soon(t, verdicts)
			require.WithinRange(t, verdict.Since, since.Add(-clocks), time.Now().Add(clocks))
			verdict.Since = time.Time{}
			require.Equal(t, GuardVerdict{Outcome: Killed, Kill: ids[1], KilledFlags: []string{readNew, writeNew},
				Reading: "kill switch pressed by alice (orders fail): " + readNew + ", " + writeNew + " off for everybody"}, verdict)
		})
	}
}

func TestTheGuardTellsOfALaterPressOnly(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.NoError(t, pg.EnsureSchema(t.Context(), b.acts.Databases["shop"].pool))
	known := b.pressed(t, "r", "", writeNew)
	b.made(t, known...)
	ids := b.pressed(t, "r", "account", readNew)
	b.made(t, ids...)
	require.Equal(t, GuardVerdict{Outcome: Killed, Kill: ids[0], Alone: true,
		Reading: "kill switch pressed by alice (orders fail): " + readNew + " off for one account"},
		soon(t, b.guards(t, known[0], call{})), "and whose account it is stays in the database")
}

func TestAPressThatWasCutOffIsToldAllTheSame(t *testing.T) {
	t.Parallel()
	b := setup(t)
	verdicts := b.guards(t, 0, call{})
	ids := b.pressed(t, "r", "", readNew, writeNew)
	b.made(t, ids[0])
	verdict := soon(t, verdicts)
	require.Equal(t, []string{readNew, writeNew}, verdict.KilledFlags, "what may be off is put back by resume as well")
	require.Contains(t, verdict.Reading, writeNew+" perhaps not off for everybody")
	require.True(t, one[bool](t, b, "select clock_timestamp() - min(at) > $1 from contraflow.flag_kill", killSettles), "not before it had its time")
}

func TestACheckThatFailsBecauseFlagsAreOffIsNoVerdict(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.NoError(t, pg.EnsureSchema(t.Context(), b.acts.Databases["shop"].pool))
	// The check fails in the moment at which the press is recorded, long before the next look for one.
	b.exec(t, "create view off as select count(*) n from contraflow.flag_kill")
	verdicts := b.guards(t, 0, call{}, plan.Check{Name: "flags are on", SQL: &plan.SQLProbe{Query: "select n from off", Max: ptr(0.0)}})
	ids := b.pressed(t, "r", "", readNew)
	b.made(t, ids...)
	verdict := soon(t, verdicts)
	require.Equal(t, Killed, verdict.Outcome, verdict.Reading)
	require.Equal(t, []string{readNew}, verdict.KilledFlags)
}

func TestADatabaseThatDoesNotAnswerIsNoPressOfTheSwitch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.NoError(t, pg.EnsureSchema(t.Context(), b.acts.Databases["shop"].pool))
	ids := b.pressed(t, "r", "", readNew)
	b.made(t, ids...)
	proxy := pgproxy.Start(t, b.db.DSN)
	b.acts.Databases["shop"] = b.open(t, proxy.DSN())
	const cuts = 3
	cut := make(chan struct{}, cuts)
	proxy.OnStatement(func(s pgproxy.Statement) {
		if !strings.Contains(s.SQL, "contraflow.flag_kill") {
			return
		}
		select {
		case cut <- struct{}{}:
			proxy.CutAt(s.N, pgproxy.Cut{Hard: true})
		default: // it answers again
		}
	})
	verdict := soon(t, b.guards(t, 0, call{}))
	require.Len(t, cut, cuts)
	require.Equal(t, ids[0], verdict.Kill)
}

func TestTheGuardWithoutChecksEndsWithItsWorker(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stop := make(chan struct{})
	close(stop)
	require.Contains(t, soon(t, b.guards(t, 0, call{stop: stop})).Reading, errStopping.Error())
}
