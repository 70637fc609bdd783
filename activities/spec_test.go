package activities

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/backfill"
	"github.com/contraflow/contraflow/plan"
)

func TestTheEnginesSpecIsThePlansBackfill(t *testing.T) {
	t.Parallel()
	none, two := 0, 2
	var a Activities
	s, err := a.spec(nil, Origin{Plan: "p", Step: "s"}, plan.Backfill{
		Table: "t", Key: []string{"a", "b"}, Set: map[string]string{"z": "1", "y": "2"}, Where: "w",
		Lanes: 3, ChunkTime: plan.Duration(time.Second), RowsPerSecond: 4, Vacuum: plan.VacuumInterleaved, MaxRejects: 5,
		Windows: []plan.Window{{Days: []string{"sat", "sun"}, From: "22:00", To: "06:30", Zone: "Europe/Berlin"}},
		Throttles: &plan.Throttles{ReplicaLag: plan.Duration(1500 * time.Millisecond), ArchiveBacklog: &two, LockWaiters: &none, ActiveSessions: &two,
			Queries: []plan.ThrottleQuery{{Name: "queue", Query: "select 1", Max: 7.5}}},
	})
	require.NoError(t, err)
	require.Equal(t, backfill.Spec{
		Plan: "p", Step: "s", Table: "t", Key: []string{"a", "b"}, Where: "w",
		Set:   []backfill.Assignment{{Column: "y", Expr: "2"}, {Column: "z", Expr: "1"}}, // in an order that doesn't change, since it is hashed
		Lanes: 3, ChunkTime: time.Second, RowsPerSecond: 4, Vacuum: true, MaxRejects: 5,
		Windows: []backfill.Window{{Days: []time.Weekday{time.Saturday, time.Sunday}, From: 22 * time.Hour, To: 6*time.Hour + 30*time.Minute, Zone: "Europe/Berlin"}},
		Throttles: []backfill.Throttle{
			{Signal: backfill.ReplicaLag, Max: 1.5}, {Signal: backfill.ArchiveBacklog, Max: 2}, {Signal: backfill.LockWaiters, Max: 0},
			{Signal: backfill.ActiveSessions, Max: 2}, {Name: "queue", Signal: backfill.Query, Query: "select 1", Max: 7.5},
		},
	}, s)

	plain, err := a.spec(nil, Origin{Plan: "p", Step: "s"}, plan.Backfill{Table: "t", Transform: "f", Throttles: &plan.Throttles{}})
	require.NoError(t, err)
	require.Equal(t, backfill.Spec{Plan: "p", Step: "s", Table: "t", Transform: "f"}, plain)

	_, err = a.spec(nil, Origin{Step: "s"}, plan.Backfill{Table: "t", Windows: []plan.Window{{From: "25:00", To: "06:00"}}})
	requirePermanent(t, err, "BadPlan", "step s", "25:00")
}

func TestAProtectedLatencyComesWithAReader(t *testing.T) {
	t.Parallel()
	var a Activities
	pace := func(p plan.Protect) plan.Backfill {
		p.Max = plan.Duration(50 * time.Millisecond)
		return plan.Backfill{Table: "t", Pace: &plan.Pace{Protect: &p}}
	}
	s, err := a.spec(nil, Origin{}, pace(plan.Protect{SQL: &plan.LatencySQL{Query: "select 1"}}))
	require.NoError(t, err)
	require.Equal(t, plan.DefaultLatencyName, s.Protect.Name)
	require.Equal(t, 50*time.Millisecond, s.Protect.Max)
	require.NotNil(t, s.Protect.Read)
	for _, none := range []plan.Protect{{}, {HTTP: &plan.LatencyHTTP{URL: "no url", Field: "f"}}, {Prometheus: &plan.LatencyPrometheus{URL: ":", Query: "q"}}} {
		_, err := a.spec(nil, Origin{}, pace(none))
		requirePermanent(t, err, "BadPlan", "pace.protect")
	}
}
