package rehearse

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/contraflow/contraflow/backfill"
	"github.com/contraflow/contraflow/internal/pg"
	"github.com/contraflow/contraflow/plan"
)

// Kinds of trials.
const (
	KindBackfill = "backfill"
	KindSync     = "sync"
	KindVerify   = "verify"
	KindCheck    = "check"
	KindThrottle = "throttle"
	KindProtect  = "protect"
	KindSample   = "sample"
)

// try explains the step's own SQL on r.conn, with the schema at r.at.
func (r *run) try(ctx context.Context, step plan.Step) error {
	switch {
	case step.Verify != nil:
		return r.tryNumber(ctx, Trial{Step: step.Name, Kind: KindVerify}, step.Verify.Query)
	case step.Backfill != nil:
		return r.tryBackfill(ctx, step)
	}
	return nil
}

// tryChecks explains the checks of the guard that are watched once step r.step has run. A check that a later version breaks would
// pause the migration behind that version.
func (r *run) tryChecks(ctx context.Context) error {
	if r.Plan.Guard == nil {
		return nil
	}
	for _, c := range r.Plan.Guard.Checks {
		if c.SQL == nil || r.Plan.StepIndex(c.From) > r.step {
			continue
		}
		if err := r.tryNumber(ctx, Trial{Kind: KindCheck, Name: c.Name}, c.SQL.Query); err != nil {
			return err
		}
	}
	return nil
}

// tried records a trial at r.at; one that ended the same way at another version is the same trial.
func (r *run) tried(t Trial, err error) error {
	if t.Problem = problem(err); t.Problem == "" && err != nil {
		return err
	}
	for i := range r.report.Trials {
		same := &r.report.Trials[i]
		if same.Step == t.Step && same.Kind == t.Kind && same.Name == t.Name && same.Problem == t.Problem {
			if !slices.Contains(same.At, r.at) {
				same.At = append(same.At, r.at)
			}
			return nil
		}
	}
	t.At = []uint{r.at}
	r.report.Trials = append(r.report.Trials, t)
	return nil
}

// errShape is a query that can't return what is asked of it.
type errShape string

func (e errShape) Error() string { return string(e) }

// problem is what is wrong with the plan's SQL, without what was being done; "" for errors that tell nothing of it.
func problem(err error) string {
	if shape, ok := errors.AsType[errShape](err); ok {
		return string(shape)
	}
	if server, ok := errors.AsType[*pgconn.PgError](err); ok && of(server.Code) {
		return server.Message
	}
	if statement, ok := errors.AsType[*backfill.StatementError](err); ok && of(statement.Code) {
		if statement.Message != "" {
			return statement.Message
		}
		return statement.Error()
	}
	if err != nil && (backfill.Permanent(err) || errors.Is(err, backfill.ErrSync)) {
		return err.Error()
	}
	return ""
}

// of tells whether a SQLSTATE is about the statement, and not about the server or the connection.
func of(code string) bool {
	return !slices.Contains([]string{"08", "53", "57", "58", "XX"}, code[:min(2, len(code))])
}

// numeric are the types that a query for one number may return.
var numeric = []uint32{pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID, pgtype.Float4OID, pgtype.Float8OID, pgtype.NumericOID}

// tryNumber explains a query that shall return one number. It is parsed on its own first, so that it can't be two statements.
func (r *run) tryNumber(ctx context.Context, t Trial, query string) error {
	return r.tried(t, r.explain(ctx, query))
}

func (r *run) explain(ctx context.Context, query string) error {
	parsed, err := r.conn.Prepare(ctx, "", query)
	switch {
	case err != nil:
		return err
	case len(parsed.ParamOIDs) > 0:
		return errShape("the query holds a parameter ($1), for which nothing is given: write the value itself")
	case len(parsed.Fields) != 1:
		return errShape(fmt.Sprintf("the query returns %d columns: it must return one number", len(parsed.Fields)))
	case !slices.Contains(numeric, parsed.Fields[0].DataTypeOID):
		return errShape("the query's column is not numeric: it must return one number")
	}
	_, err = r.conn.Exec(ctx, "explain "+query, pgx.QueryExecModeDescribeExec) // columns come and go: nothing is cached
	return err
}

// tryBackfill lets the engine judge what it would run.
func (r *run) tryBackfill(ctx context.Context, step plan.Step) error {
	b := step.Backfill
	if b.Transform != "" {
		r.note("step %s: its transform %q is Go code of the worker, which a rehearsal does not have", step.Name, b.Transform)
		return nil
	}
	return r.withEngine(ctx, func(e *backfill.Engine) error {
		t := Trial{Step: step.Name, Kind: KindBackfill}
		if b.Manual {
			return r.tried(t, e.InspectManual(ctx, backfill.Manual{Plan: r.Plan.Name, Step: step.Name, Table: b.Table, Where: b.Where}))
		}
		spec := r.spec(step)
		_, err := e.Inspect(ctx, spec)
		if err != nil {
			return r.tried(t, err) // what rests on it would fail in the same way
		}
		if err := r.tried(t, nil); err != nil {
			return err
		}
		if b.Sync == plan.SyncTrigger {
			t.Kind = KindSync
			if err := r.tried(t, e.InspectSync(ctx, spec)); err != nil {
				return err
			}
		}
		return r.tryPace(ctx, step, e)
	})
}

// tryPace tries the queries that hold a backfill or slow it down.
func (r *run) tryPace(ctx context.Context, step plan.Step, e *backfill.Engine) error {
	b := step.Backfill
	if b.Throttles != nil {
		for _, q := range b.Throttles.Queries {
			spec := r.spec(step)
			spec.Throttles = []backfill.Throttle{{Name: q.Name, Signal: backfill.Query, Query: q.Query, Max: q.Max}}
			_, err := e.Inspect(ctx, spec)
			if err := r.tried(Trial{Step: step.Name, Kind: KindThrottle, Name: q.Name}, err); err != nil {
				return err
			}
		}
	}
	if b.Pace == nil || b.Pace.Protect == nil || b.Pace.Protect.SQL == nil {
		return nil
	}
	return r.tryNumber(ctx, Trial{Step: step.Name, Kind: KindProtect, Name: b.Pace.Protect.Name}, b.Pace.Protect.SQL.Query)
}

// spec is what the step does to the rows, in the engine's terms: how fast it goes does not matter here.
func (r *run) spec(step plan.Step) backfill.Spec {
	b := step.Backfill
	s := backfill.Spec{Plan: r.Plan.Name, Step: step.Name, Table: b.Table, Key: b.Key, Where: b.Where}
	for _, column := range slices.Sorted(maps.Keys(b.Set)) {
		s.Set = append(s.Set, backfill.Assignment{Column: column, Expr: b.Set[column]})
	}
	return s
}

// withEngine runs do with the backfill's own engine on the scratch database, as the role that the files run as.
func (r *run) withEngine(ctx context.Context, do func(*backfill.Engine) error) error {
	pool, err := poolOf(ctx, r.conn.Config())
	if err != nil {
		return err
	}
	defer pool.Close()
	if r.scratch.server == nil {
		err = pg.EnsureSchema(ctx, pool)
	} else {
		err = r.installOwn(ctx)
	}
	if err != nil {
		return fmt.Errorf("prepare the scratch database: %w", err)
	}
	return do(backfill.New(pool))
}

// installOwn makes contraflow's own tables for the role: whether it may on the target, its health check tells.
func (r *run) installOwn(ctx context.Context) error {
	pool, err := poolOf(ctx, r.scratch.keeper)
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := pg.EnsureSchema(ctx, pool); err != nil {
		return err
	}
	if _, err := pool.Exec(ctx, r.scratch.admit()); err != nil {
		return err
	}
	_, err = pool.Exec(ctx, strings.NewReplacer("{schema}", pg.Schema, "{role}", ident(r.conn.Config().User)).Replace(`grant usage, create on schema {schema} to {role};
		grant all on all tables in schema {schema} to {role}; grant all on all sequences in schema {schema} to {role}`), pgx.QueryExecModeSimpleProtocol)
	return err
}

func poolOf(ctx context.Context, to *pgx.ConnConfig) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(to.ConnString())
	if err != nil {
		return nil, errors.New("the scratch server's connection string can't be read again (its text is withheld: it may hold a password)")
	}
	config.ConnConfig = to.Copy()
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect to the scratch database: %w", err)
	}
	return pool, nil
}
