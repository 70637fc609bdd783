package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/contraflow/contraflow/backfill"
	"github.com/contraflow/contraflow/ddl"
	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/ledger"
	"github.com/contraflow/contraflow/internal/pg"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

// Begin resolves the plan, checks it against files, database and flag service, and claims it for the migration: the claim
// comes last, so that a plan that can't run changes nothing.
func (a *Activities) Begin(ctx context.Context, in BeginInput) (Begun, error) {
	defer beat(ctx, nothing)()
	begun, err := a.begin(ctx, in)
	if errors.Is(err, pg.ErrSettings) { // for a person to mend; later it may also be a pooler that was put in between for a while
		return Begun{}, permanent("Database", "%s", text(err))
	}
	// For a person to start another worker. Later it is one of several that was built without it, and another goes on.
	if errors.Is(err, backfill.ErrNoTransform) {
		return Begun{}, permanent("Backfill", "%s", text(err))
	}
	return begun, fail(ctx, err)
}

func (a *Activities) begin(ctx context.Context, in BeginInput) (Begun, error) {
	found, err := a.resolve(in.Input)
	if err != nil {
		return Begun{}, err
	}
	p := found.plan
	schema, files, err := a.Plans.schema(found)
	if err != nil {
		return Begun{}, err
	}
	var sums []plan.FileSum
	if files != nil {
		sums = Sums(files, schema.Highest)
	}
	hash, err := p.Hash(sums)
	if err != nil {
		return Begun{}, err
	}
	o := in.Origin
	o.Plan, o.PlanHash, o.Database = p.Name, hash, p.Database
	if err := checkRehearsal(in.Input.Rehearsal, p, hash); err != nil {
		return Begun{}, err
	}
	begun := Begun{Plan: p, Hash: hash, Schema: schema, Chat: a.Chat != nil}

	db, ok := a.Databases[p.Database]
	if !ok {
		_, err := a.database(ctx, o) // says what is known
		return Begun{}, err
	}
	state, err := a.checkSchema(ctx, db, p, files)
	if err != nil {
		return Begun{}, err
	}
	if err := checkRehearsed(ctx, db, in.Input.Rehearsal, p, files, state); err != nil {
		return Begun{}, err
	}
	from, err := resumeAt(ctx, db, p, files)
	if err != nil {
		return Begun{}, err
	}
	if from, err = a.checkFlags(ctx, db, p, from); err != nil {
		return Begun{}, err
	}
	if err := a.checkRetire(p, from); err != nil {
		return Begun{}, err
	}
	waits, err := a.tryFlags(ctx, db, p, from)
	if err != nil {
		return Begun{}, err
	}
	if err := checkApprovals(p, from, in.Input.StartedBy); err != nil {
		return Begun{}, err
	}
	if err := db.ready(ctx); err != nil { // its functions are part of the statements that are inspected now
		return Begun{}, err
	}
	if err := a.checkBackfills(ctx, db, p, state, from); err != nil {
		return Begun{}, err
	}
	if _, err := begunBefore(ctx, db, p, files, from); err != nil {
		return Begun{}, err
	}
	if err := a.claim(ctx, db, o, p.Owner); err != nil {
		return Begun{}, err
	}
	// Looked at again: an attempt of the run before may have ended meanwhile. Now that the plan is ours none can any more.
	again, err := resumeAt(ctx, db, p, files)
	if err != nil {
		return Begun{}, err
	}
	begun.ResumeAt = max(from, again)
	if begun.Begun, err = begunBefore(ctx, db, p, files, begun.ResumeAt); err != nil {
		return Begun{}, err
	}
	// A first step that nothing undoes may have begun.
	if begun.ResumeAt == 0 && !p.Steps[0].Irreversible() && p.Steps[0].Retire == nil {
		if err := db.ledger.Afresh(ctx, o.Plan, o.holder()); err != nil {
			return Begun{}, err
		}
	}
	for _, wait := range waits {
		if err := audit(ctx, db, o, "flag will wait", wait); err != nil {
			return Begun{}, err
		}
	}
	return begun, audit(ctx, db, o, "started", startedBy(in.Input))
}

func startedBy(in signals.Input) string {
	if in.StartedBy == "" {
		return ""
	}
	return "by " + in.StartedBy
}

func (a *Activities) resolve(in signals.Input) (stored, error) {
	if in.Name != "" {
		return a.Plans.find(in.Name)
	}
	whole, err := plan.Decode("input", in.Document)
	if err != nil {
		return stored{}, err
	}
	return a.Plans.place(whole), nil
}

// checkSchema finds the files that will run: each version to come must have its file, and its way back unless the step is
// irreversible.
func (a *Activities) checkSchema(ctx context.Context, db *Database, p *plan.Plan, files *ddl.Files) (ddl.State, error) {
	if files == nil {
		return ddl.State{}, nil
	}
	state, err := ddl.New(db.pool, files, ddl.Options{Plan: p.Name}).State(ctx)
	if err != nil {
		return state, err
	}
	if state.Dirty {
		return state, fmt.Errorf("%w at %s: run contraflow repair PLAN, then start again", ddl.ErrDirty, state)
	}
	at := state
	for _, s := range p.Steps {
		if s.Migrate == nil {
			continue
		}
		versions, err := files.Between(at, s.Migrate.To)
		if err != nil {
			return state, fmt.Errorf("step %s: %w", s.Name, err)
		}
		for _, v := range versions {
			if err := files.Check(v, ddl.Up); err != nil {
				return state, fmt.Errorf("step %s: %w", s.Name, err)
			}
			if err := files.Check(v, ddl.Down); err != nil && !s.Irreversible() {
				return state, fmt.Errorf("step %s can't be undone: %w; write the file, or mark the step irreversible", s.Name, err)
			}
			at = ddl.State{Version: v, Exists: true}
		}
	}
	return state, nil
}

// checkFlags looks whether the plan's flags can be changed. It returns the step to begin with: an archived flag is no obstacle
// to a run behind the point of no return, and one that this plan has archived itself shows that it was retiring its flags.
func (a *Activities) checkFlags(ctx context.Context, db *Database, p *plan.Plan, from int) (int, error) {
	if len(p.FlagKeys()) == 0 {
		return from, nil
	}
	provider, err := a.provider(*p.Flags)
	if err != nil {
		return 0, err
	}
	ours, err := db.ledger.Archived(ctx, p.Name)
	if err != nil {
		return 0, err
	}
	var archived []string
	for _, key := range p.FlagKeys() {
		state, err := provider.Get(ctx, key)
		if errors.Is(err, flags.ErrNotFound) {
			if slices.Contains(ours, key) { // and somebody has deleted it since
				archived = append(archived, key)
				continue
			}
			made, cannot := mayMake(p, from, key, provider)
			if cannot != nil {
				return 0, cannot
			}
			if made || !needsFrom(p, from, key) {
				continue
			}
		}
		if err != nil {
			return 0, err
		}
		if state.Archived {
			archived = append(archived, key)
		}
	}
	if len(archived) == 0 {
		return from, nil
	}
	retiring := false
	for i, s := range p.Steps {
		if s.Retire != nil && slices.ContainsFunc(s.Retire.Flags, func(key string) bool {
			return slices.Contains(archived, key) && slices.Contains(ours, key)
		}) {
			from, retiring = max(from, i), true
		}
	}
	if from == 0 && !retiring {
		return 0, permanent("Flag", "flag %s is archived: unarchive it, or name another", archived[0])
	}
	return from, nil
}

// checkApprovals refuses a step on which too few people may decide: who starts a migration has no say in it.
func checkApprovals(p *plan.Plan, from int, startedBy string) error {
	for _, s := range p.Steps[from:] {
		if s.Approve == nil {
			continue
		}
		quorum := max(s.Approve.Quorum, plan.DefaultQuorum)
		others := len(s.Approve.By)
		if slices.Contains(s.Approve.By, startedBy) {
			others--
		}
		if others < quorum {
			return permanent("BadPlan", "step %s wants %d approvals, and without %s, who starts the migration and so may not decide, %d can give one: "+
				"let somebody else start it, or name more people", s.Name, quorum, startedBy, others)
		}
	}
	return nil
}

// checkBackfills inspects what can be inspected now: what an earlier step of the plan still has to create is inspected when
// its turn comes.
func (a *Activities) checkBackfills(ctx context.Context, db *Database, p *plan.Plan, state ddl.State, from int) error {
	pending := false
	for _, s := range p.Steps[from:] {
		if s.Migrate != nil && (!state.Exists || s.Migrate.To > state.Version) {
			pending = true
		}
		if s.Backfill == nil {
			continue
		}
		err := a.inspect(ctx, db, Origin{Plan: p.Name, Step: s.Name}, *s.Backfill)
		var statement *backfill.StatementError
		var server *pgconn.PgError
		unknown := errors.As(err, &server) && slices.Contains(undefined, server.Code)
		toCome := pending && (is(err, backfill.ErrNoTable, backfill.ErrNoKey, backfill.ErrNoColumn) || errors.As(err, &statement) || unknown)
		if err != nil && !toCome {
			return fmt.Errorf("step %s: %w", s.Name, err)
		}
	}
	return nil
}

func (a *Activities) inspect(ctx context.Context, db *Database, o Origin, b plan.Backfill) error {
	if b.Manual {
		return a.engine(db.backfill).InspectManual(ctx, manual(o, b))
	}
	spec, err := a.spec(db, o, b)
	if err != nil {
		return err
	}
	if b.Pace != nil && b.Pace.Protect != nil && b.Pace.Protect.SQL != nil {
		if err := explain(ctx, db, b.Pace.Protect.SQL.Query); err != nil {
			return fmt.Errorf("the query of pace.protect: %w", err)
		}
	}
	if b.Sync != "" {
		return a.engine(db.backfill).InspectSync(ctx, spec)
	}
	_, err = a.engine(db.backfill).Inspect(ctx, spec)
	return err
}

// explain has Postgres plan a query without running it. The transaction is for one that begins with ANALYZE.
func explain(ctx context.Context, db *Database, query string) error {
	return pgx.BeginTxFunc(ctx, db.pool, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, "explain "+query, pgx.QueryExecModeDescribeExec)
		if err != nil {
			return err
		}
		rows.Close()
		return rows.Err()
	})
}

// Finish closes the migration's claim.
func (a *Activities) Finish(ctx context.Context, in FinishInput) error {
	defer beat(ctx, nothing)()
	db, err := a.database(ctx, in.Origin)
	if err != nil {
		return fail(ctx, err)
	}
	if err := audit(ctx, db, in.Origin, string(in.Outcome), in.Detail); err != nil {
		return fail(ctx, err)
	}
	return fail(ctx, db.ledger.Close(ctx, in.Origin.Plan, in.Origin.holder(), string(in.Outcome), in.Outcome != signals.Failed))
}

// Audit records what people said.
func (a *Activities) Audit(ctx context.Context, in AuditInput) error {
	db, err := a.database(ctx, in.Origin)
	if err != nil {
		return fail(ctx, err)
	}
	var events []ledger.Event
	for _, e := range in.Events {
		events = append(events, ledger.Event{Key: e.Key, At: e.At, Migration: in.Origin.Migration, FirstRun: in.Origin.FirstRun,
			Plan: in.Origin.Plan, PlanHash: in.Origin.PlanHash, Step: e.Step, Event: e.Event, Actor: e.Actor, Detail: e.Detail})
	}
	return fail(ctx, db.ledger.Audit(ctx, events...))
}
