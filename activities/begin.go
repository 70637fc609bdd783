package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/contraflow/contraflow/backfill"
	"github.com/contraflow/contraflow/ddl"
	"github.com/contraflow/contraflow/internal/ledger"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

// Begin resolves the plan, checks it against files, database and flag service, and claims it for the migration: the claim
// comes last, so that a plan that can't run changes nothing.
func (a *Activities) Begin(ctx context.Context, in BeginInput) (Begun, error) {
	begun, err := a.begin(ctx, in)
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
	if begun.ResumeAt, err = a.resumeAt(ctx, db, p, files, state); err != nil {
		return Begun{}, err
	}
	if err := a.checkFlags(ctx, p, begun.ResumeAt); err != nil {
		return Begun{}, err
	}
	if err := db.ready(ctx); err != nil { // its functions are part of the statements that are inspected now
		return Begun{}, err
	}
	if err := a.checkBackfills(ctx, db, p, state, begun.ResumeAt); err != nil {
		return Begun{}, err
	}
	if err := a.claim(ctx, db, o); err != nil {
		return Begun{}, err
	}
	if begun.ResumeAt == 0 { // behind the point of no return nothing is undone
		if begun.Begun, err = begunBefore(ctx, db, p, files); err != nil {
			return Begun{}, err
		}
	}
	return begun, audit(ctx, db, o, "started", startedBy(in.Input))
}

// begunBefore finds the steps that an earlier run has begun and not undone. Without them a run that fails early would take the
// schema from under a flag that the earlier one has turned on.
func begunBefore(ctx context.Context, db *Database, p *plan.Plan, files *ddl.Files) ([]int, error) {
	flagged, filled, err := db.ledger.Begun(ctx, p.Name)
	if err != nil {
		return nil, err
	}
	for _, name := range flagged {
		if i := p.StepIndex(name); i < 0 || p.Steps[i].Flag == nil {
			return nil, permanent("BadPlan", "an earlier run of plan %s has changed a flag in its step %s, and the plan has no such step any more: put the step back, so that it can be undone", p.Name, name)
		}
	}
	var applied []uint
	if files != nil {
		if applied, err = ddl.New(db.pool, files, ddl.Options{Plan: p.Name}).Applied(ctx); err != nil {
			return nil, err
		}
	}
	var begun []int
	var floor uint
	for i, s := range p.Steps {
		switch s.Verb() {
		case plan.VerbFlag:
			if slices.Contains(flagged, s.Name) {
				begun = append(begun, i)
			}
		case plan.VerbBackfill:
			if slices.Contains(filled, s.Name) {
				begun = append(begun, i)
			}
		case plan.VerbMigrate:
			if slices.ContainsFunc(applied, func(v uint) bool { return v > floor && v <= s.Migrate.To }) {
				begun = append(begun, i)
			}
			floor = s.Migrate.To
		}
	}
	return begun, nil
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
		return state, fmt.Errorf("%w at version %d: repair it first, then start again", ddl.ErrDirty, state.Version)
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

func (a *Activities) checkFlags(ctx context.Context, p *plan.Plan, from int) error {
	if len(p.FlagKeys()) == 0 {
		return nil
	}
	provider, err := a.provider(*p.Flags)
	if err != nil {
		return err
	}
	for _, key := range p.FlagKeys() {
		state, err := provider.Get(ctx, key)
		if err != nil {
			return err
		}
		if state.Archived && from == 0 { // a run behind the point of no return may have archived some itself
			return permanent("Flag", "flag %s is archived: unarchive it, or name another", key)
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
		_, err := backfill.New(db.backfill).Inspect(ctx, spec(Origin{Plan: p.Name, Step: s.Name}, *s.Backfill))
		var statement *backfill.StatementError
		toCome := pending && (is(err, backfill.ErrNoTable, backfill.ErrNoKey, backfill.ErrNoColumn) || errors.As(err, &statement))
		if err != nil && !toCome {
			return fmt.Errorf("step %s: %w", s.Name, err)
		}
	}
	return nil
}

// claim takes the plan; from a migration that is no longer running it passes over.
func (a *Activities) claim(ctx context.Context, db *Database, o Origin) error {
	me := ledger.Holder{Migration: o.Migration, FirstRun: o.FirstRun}
	err := db.ledger.Claim(ctx, o.Plan, o.PlanHash, me, ledger.Holder{})
	var held *ledger.HeldError
	if !errors.As(err, &held) {
		return err
	}
	alive, asking := a.Alive(ctx, held.Holder.Migration, held.Holder.FirstRun)
	if asking != nil {
		return fmt.Errorf("ask whether migration %s still runs: %w", held.Holder.Migration, asking)
	}
	if alive {
		return err
	}
	return db.ledger.Claim(ctx, o.Plan, o.PlanHash, me, held.Holder)
}

// resumeAt is the step behind the last irreversible one that this plan has already taken in a run that was cut off: all
// before it was done then, and some of it can't even be looked at any more. 0 for a plan that starts at its beginning.
// A schema that stands there by somebody else's doing is refused: nothing says that the steps before were done.
func (a *Activities) resumeAt(ctx context.Context, db *Database, p *plan.Plan, files *ddl.Files, state ddl.State) (int, error) {
	at := 0
	for i, s := range p.Steps {
		if s.Irreversible() && state.Exists && state.Version >= s.Migrate.To {
			at = i + 1
		}
	}
	if at == 0 {
		return 0, nil
	}
	taken := p.Steps[at-1]
	if err := db.ready(ctx); err != nil { // who applied what stands in our own tables
		return 0, err
	}
	applied, err := ddl.New(db.pool, files, ddl.Options{Plan: p.Name}).Applied(ctx)
	if err != nil {
		return 0, err
	}
	if !slices.Contains(applied, taken.Migrate.To) {
		return 0, permanent("SchemaVersion", "the schema is at version %d, behind the irreversible step %s, and no unfinished run of this plan took it there: "+
			"either the plan is completed, or somebody else migrated", state.Version, taken.Name)
	}
	return at, nil
}

// Finish closes the migration's claim.
func (a *Activities) Finish(ctx context.Context, in FinishInput) error {
	db, err := a.database(ctx, in.Origin)
	if err != nil {
		return fail(ctx, err)
	}
	if err := audit(ctx, db, in.Origin, string(in.Outcome), in.Detail); err != nil {
		return fail(ctx, err)
	}
	me := ledger.Holder{Migration: in.Origin.Migration, FirstRun: in.Origin.FirstRun}
	return fail(ctx, db.ledger.Close(ctx, in.Origin.Plan, me, string(in.Outcome), in.Outcome != signals.Failed))
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
