package activities

import (
	"cmp"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/contraflow/contraflow/backfill"
	"github.com/contraflow/contraflow/plan"
)

// engine runs backfills over one of a database's pools.
func (a *Activities) engine(pool *pgxpool.Pool) *backfill.Engine {
	return backfill.New(pool, backfill.WithTransforms(a.Transforms))
}

// spec is the plan's backfill in the engine's terms.
func (a *Activities) spec(db *Database, o Origin, b plan.Backfill) (backfill.Spec, error) {
	s := backfill.Spec{Plan: o.Plan, Step: o.Step, Table: b.Table, Key: b.Key, Transform: b.Transform, Where: b.Where,
		Lanes: b.Lanes, ChunkTime: b.ChunkTime.Std(), RowsPerSecond: b.RowsPerSecond,
		Vacuum: b.Vacuum == plan.VacuumInterleaved, MaxRejects: b.MaxRejects, Throttles: throttles(b.Throttles)}
	for _, column := range slices.Sorted(maps.Keys(b.Set)) {
		s.Set = append(s.Set, backfill.Assignment{Column: column, Expr: b.Set[column]})
	}
	var err error
	if s.Windows, err = windows(b.Windows); err != nil {
		return s, permanent("BadPlan", "step %s: windows: %v", o.Step, err)
	}
	if b.Pace == nil || b.Pace.Protect == nil {
		return s, nil
	}
	p := b.Pace.Protect
	s.Protect = &backfill.Protect{Name: cmp.Or(p.Name, plan.DefaultLatencyName), Max: p.Max.Std()}
	s.Protect.Read, err = a.latency(db, *p)
	return s, err
}

func windows(all []plan.Window) ([]backfill.Window, error) {
	var ws []backfill.Window
	for _, w := range all {
		from, to, err := w.Clock()
		if err != nil {
			return nil, err
		}
		days, err := w.Weekdays()
		if err != nil {
			return nil, err
		}
		ws = append(ws, backfill.Window{Days: days, From: from, To: to, Zone: w.Zone})
	}
	return ws, nil
}

// throttles are the plan's bounds, each in the unit of its signal.
func throttles(t *plan.Throttles) []backfill.Throttle {
	if t == nil {
		return nil
	}
	var all []backfill.Throttle
	if t.ReplicaLag > 0 {
		all = append(all, backfill.Throttle{Signal: backfill.ReplicaLag, Max: t.ReplicaLag.Std().Seconds()})
	}
	count := func(signal backfill.Signal, limit *int) {
		if limit != nil {
			all = append(all, backfill.Throttle{Signal: signal, Max: float64(*limit)})
		}
	}
	count(backfill.ArchiveBacklog, t.ArchiveBacklog)
	count(backfill.LockWaiters, t.LockWaiters)
	count(backfill.ActiveSessions, t.ActiveSessions)
	for _, q := range t.Queries {
		all = append(all, backfill.Throttle{Name: q.Name, Signal: backfill.Query, Query: q.Query, Max: q.Max})
	}
	return all
}
