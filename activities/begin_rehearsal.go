package activities

import (
	"context"
	"slices"

	"github.com/contraflow/contraflow/ddl"
	"github.com/contraflow/contraflow/internal/pg"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

// checkRehearsal refuses what was found about something else: people would decide by it.
func checkRehearsal(r *signals.Rehearsal, p *plan.Plan, hash string) error {
	switch {
	case r == nil:
		return nil
	case r.PlanHash != hash:
		return permanent("BadInput", "the rehearsal is of plan hash %s, and here the plan and its SQL files have %s: rehearse what the worker has, or start without a rehearsal",
			plan.ShortHash(r.PlanHash), plan.ShortHash(hash))
	case r.Database != p.Database:
		return permanent("BadInput", "the rehearsal is of database %q, and the plan changes %q: rehearse it there, or start without a rehearsal", r.Database, p.Database)
	}
	return nil
}

// checkRehearsed refuses what was found on another database of the name, or on another schema than stands there now.
func checkRehearsed(ctx context.Context, db *Database, r *signals.Rehearsal, p *plan.Plan, files *ddl.Files, state ddl.State) error {
	if r == nil {
		return nil
	}
	here, err := pg.ReadIdentity(ctx, db.pool)
	if err != nil {
		return err
	}
	if here.Differs(pg.Identity{Cluster: r.Cluster, OID: r.DatabaseOID}) {
		return permanent("BadInput", "the rehearsal is of another database that is called %q too: rehearse again with the connection that the worker has, or start without a rehearsal",
			r.Database)
	}
	if files == nil { // neither has looked at a version
		return nil
	}
	applied, err := ddl.New(db.pool, files, ddl.Options{Plan: p.Name}).Applied(ctx)
	if err != nil {
		return err
	}
	if !leadsTo(r.From, state, files, applied) {
		return permanent("BadInput", "the rehearsal began at %s, and the database now stands at %s: rehearse again, or start without a rehearsal",
			ddl.State{Version: r.From, Exists: r.From > 0}, state)
	}
	return nil
}

// leadsTo tells that nobody but the plan has changed the schema since version from, 0 for none: an earlier run of it may have gone on.
func leadsTo(from uint, state ddl.State, files *ddl.Files, applied []uint) bool {
	if state.Version <= from {
		return state.Version == from
	}
	strange := func(v uint) bool { return v > from && v <= state.Version && !slices.Contains(applied, v) }
	return !slices.ContainsFunc(append(files.Versions(), state.Version), strange)
}
