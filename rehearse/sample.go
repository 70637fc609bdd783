package rehearse

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/contraflow/contraflow/backfill"
	"github.com/contraflow/contraflow/internal/pg"
	"github.com/contraflow/contraflow/plan"
)

const (
	// sampleTimeout bounds each look at the target: a sample is worth no more of its time.
	sampleTimeout = "30s"
	// maxSampledPages bounds what a sample reads of a table that is far larger: 32 MB, which the target hardly notices.
	maxSampledPages = 4_000
	// spare is how many more rows than asked for are aimed at, so that chance seldom yields too few.
	spare = 1.2
)

// sample copies rows from r.target to r.conn and tries the step's backfill on them. Afterwards the scratch table is empty again.
// What keeps rows from being copied is noted: the rest of the rehearsal goes on without them.
func (r *run) sample(ctx context.Context, step plan.Step) error {
	b := step.Backfill
	if len(b.Set) == 0 {
		return nil // a transform is noted where it is tried; people's work has no expressions
	}
	r.say("step %s: trying it on %d rows of %s", step.Name, r.Sample, b.Table)
	s := sampling{run: r, step: step}
	why, err := s.look(ctx)
	if err != nil || why != "" {
		r.unsampled(step, why)
		return err
	}
	if err := s.fill(ctx); err != nil {
		return s.refused(err)
	}
	if err := r.withEngine(ctx, func(e *backfill.Engine) error { return s.backfill(ctx, e) }); err != nil {
		return err
	}
	return s.clear(ctx)
}

func (r *run) unsampled(step plan.Step, why string) {
	if why != "" {
		r.note("step %s: no rows were sampled: %s", step.Name, why)
	}
}

// sampling is one step's table, at both ends.
type sampling struct {
	*run
	step plan.Step

	here, there string // the table on the scratch database and on the target, quoted
	columns     string // that both have and that take values, quoted
	where       string // the step's condition if the target can evaluate it, else true
	pages       float64
	share       float64 // of the rows on these pages
	copied      int64
}

// look finds what can be copied; why says in words that nothing can.
func (s *sampling) look(ctx context.Context) (why string, err error) {
	name, err := pg.ParseName(s.step.Backfill.Table)
	if err != nil {
		return "", nil // the trial tells
	}
	here, err := pg.ReadRelation(ctx, s.conn, name)
	if errors.Is(err, pg.ErrNoRelation) {
		return "", nil // the trial tells
	}
	if err != nil {
		return "", fmt.Errorf("look up table %s on the scratch database: %w", name.Sanitize(), err)
	}
	s.here = here.Identifier().Sanitize()
	return s.onTarget(ctx, func(tx pgx.Tx) error {
		there, err := pg.ReadRelation(ctx, tx, name)
		if err != nil {
			return err
		}
		s.there = there.Identifier().Sanitize()
		var both []string
		for _, c := range here.Columns {
			if _, ok := there.Column(c.Name); ok && !c.Generated {
				both = append(both, pgx.Identifier{c.Name}.Sanitize())
			}
		}
		s.columns = strings.Join(both, ", ")
		return s.spread(ctx, tx, there)
	})
}

// spread chooses the pages to read: as many as rows are asked for, so that the sample comes from all over the table.
func (s *sampling) spread(ctx context.Context, tx pgx.Tx, there pg.Relation) error {
	var rows, pages float64
	if err := tx.QueryRow(ctx, `select coalesce(sum(greatest(reltuples, 0)), 0)::float8, coalesce(sum(relpages), 0)::float8 from pg_class
		where oid = $1 or oid in (select relid from pg_partition_tree($1))`, there.OID).Scan(&rows, &pages); err != nil {
		return err
	}
	wanted := float64(s.Sample) * spare
	s.pages, s.share = 100, 1
	if rows > wanted {
		read := math.Min(math.Min(pages, maxSampledPages), math.Max(wanted, 1))
		read = math.Max(read, wanted*pages/rows)
		s.pages = math.Min(100*read/pages, 100)
		s.share = math.Min(wanted/(rows*read/pages), 1)
	}
	s.where = "true"
	condition := s.step.Backfill.Where
	if condition == "" {
		return nil
	}
	// Rows that the step would change are better ones, but it mostly asks for columns that are still to come.
	err := pgx.BeginFunc(ctx, tx, func(inner pgx.Tx) error {
		_, err := inner.Exec(ctx, "explain select from "+s.there+" where (\n"+condition+"\n)", pgx.QueryExecModeDescribeExec)
		return err
	})
	if server, ok := errors.AsType[*pgconn.PgError](err); ok && strings.HasPrefix(server.Code, "42") {
		return nil
	}
	s.where = "(\n" + condition + "\n)"
	return err
}

// query selects the sample; where chance has yielded too few rows, the first others make up for them.
func (s *sampling) query() string {
	return fmt.Sprintf(`with contraflow_sample as materialized (select tableoid as contraflow_table, ctid as contraflow_row, %[1]s
	from %[2]s tablesample system (%[4]g) where random() < %[5]g and %[3]s limit %[6]d)
select %[1]s from contraflow_sample union all (select %[1]s from %[2]s where %[3]s
	and (tableoid, ctid) not in (select contraflow_table, contraflow_row from contraflow_sample)
	limit greatest(%[6]d - (select count(*) from contraflow_sample), 0))`,
		s.columns, s.there, s.where, s.pages, s.share, s.Sample)
}

// onTarget reads the target in a transaction that can't change it, and that ends before anybody has to wait for it.
func (s *sampling) onTarget(ctx context.Context, do func(pgx.Tx) error) (why string, err error) {
	g := guard{config: s.target.Config(), end: "pg_cancel_backend"}
	err = g.over(ctx, s.target.PgConn().PID(), func(context.Context) error { return s.reading(ctx, do) })
	if gaveWay, ok := errors.AsType[inTheWay](err); ok {
		return gaveWay.Error(), nil
	}
	return s.unreadable(err)
}

func (s *sampling) reading(ctx context.Context, do func(pgx.Tx) error) error {
	return pgx.BeginTxFunc(ctx, s.target, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		// Formats that the other end reads back as they were, whatever the role's own are.
		if _, err := tx.Exec(ctx, `select set_config('row_security', 'off', true), set_config('statement_timeout', $1, true), set_config('datestyle', 'ISO', true),
			set_config('intervalstyle', 'iso_8601', true), set_config('extra_float_digits', '1', true)`, sampleTimeout); err != nil {
			return err
		}
		return do(tx)
	})
}

// unreadable tells what keeps the role from reading rows from what keeps the rehearsal from going on.
func (s *sampling) unreadable(err error) (why string, _ error) {
	server, ok := errors.AsType[*pgconn.PgError](err)
	switch {
	case err == nil:
		return "", nil
	case errors.Is(err, pg.ErrNoRelation):
		return fmt.Sprintf("the target has no table %s yet", s.step.Backfill.Table), nil
	case ok && pg.HidesRows(server):
		return "row-level security would hide some of them: use a role with BYPASSRLS, or exempt it from the table's policies", nil
	case ok && of(server.Code):
		return "the target refuses to give them: " + told(server), nil
	case ok && server.Code == "57014":
		return "the target did not yield them within " + sampleTimeout, nil
	case ok:
		return "", fmt.Errorf("sample %s on the target: %s", s.step.Backfill.Table, told(server))
	}
	return "", fmt.Errorf("sample %s on the target: %w", s.step.Backfill.Table, err)
}

// told is what Postgres says without values: only the primary messages of these classes are free of them.
func told(e *pgconn.PgError) string {
	if strings.HasPrefix(e.Code, "42") || strings.HasPrefix(e.Code, "23") {
		return fmt.Sprintf("SQLSTATE %s: %s", e.Code, e.Message)
	}
	return "SQLSTATE " + e.Code
}

// replica is the setting that switches triggers off.
const replica = "session_replication_role"

// silence is for sessions in which rows are copied: without triggers, neither the application's nor those of foreign keys, whose other
// tables are empty here, and with nothing in the server's log, where what Postgres says would show values.
var silence = map[string]string{replica: "replica", "log_min_messages": "panic", "log_min_error_statement": "panic"}

// silenced connects as who may write every table.
func (s *sampling) silenced(ctx context.Context) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, s.scratch.sampler)
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok && refused.Code == stateInsufficientPrivilege {
		return nil, errNoReplica
	}
	if err != nil {
		return nil, fmt.Errorf("connect to the scratch database: %w", withoutAddress(err))
	}
	return conn, nil
}

// fill copies the rows, while checks that hold for new rows only are gone. Foreign keys stay switched off until clear.
func (s *sampling) fill(ctx context.Context) error {
	quiet, err := s.silenced(ctx)
	if err != nil {
		return err
	}
	defer closeConn(ctx, quiet)
	keep, err := s.scratch.keep(ctx)
	if err != nil {
		return err
	}
	defer closeConn(ctx, keep)
	var unchecked []uncheckedConstraint
	if err := pgx.BeginFunc(ctx, keep, func(tx pgx.Tx) (err error) {
		if err := s.switchForeignKeys(ctx, tx, "disable"); err != nil {
			return err
		}
		if unchecked, err = s.unchecked(ctx, tx); err != nil {
			return err
		}
		for _, c := range unchecked {
			if _, err := tx.Exec(ctx, c.drop); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	refused := s.copy(ctx, quiet)
	return errors.Join(refused, pgx.BeginFunc(ctx, keep, func(tx pgx.Tx) error {
		for _, c := range unchecked {
			if _, err := tx.Exec(ctx, c.add); err != nil {
				return err
			}
		}
		if refused != nil {
			return s.switchForeignKeys(ctx, tx, "enable")
		}
		return nil
	}))
}

type uncheckedConstraint struct{ drop, add string }

// unchecked are the checks that were added NOT VALID: rows of before need not hold to them, and copied ones are such rows.
func (s *sampling) unchecked(ctx context.Context, tx pgx.Tx) ([]uncheckedConstraint, error) {
	rows, err := tx.Query(ctx, `select 'alter table ' || conrelid::regclass || ' drop constraint ' || quote_ident(conname),
			'alter table ' || conrelid::regclass || ' add constraint ' || quote_ident(conname) || ' ' || pg_get_constraintdef(oid)
		from pg_constraint where conrelid = $1::regclass and contype = 'c' and not convalidated and coninhcount = 0`, s.here)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (c uncheckedConstraint, err error) {
		return c, row.Scan(&c.drop, &c.add)
	})
}

// switchForeignKeys disables or enables the triggers of the foreign keys that the table and its partitions are part of.
func (s *sampling) switchForeignKeys(ctx context.Context, tx pgx.Tx, way string) error {
	rows, err := tx.Query(ctx, `select 'alter table ' || tgrelid::regclass || ' `+way+` trigger ' || quote_ident(tgname) from pg_trigger
		where tgisinternal and (tgrelid = $1::regclass or tgrelid in (select relid from pg_partition_tree($1::regclass)))
		and tgconstraint in (select oid from pg_constraint where contype = 'f')`, s.here)
	if err != nil {
		return err
	}
	statements, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, sql := range statements {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

// backfill runs the step on the copied rows as a worker would, and lets it set aside every row that is refused.
func (s *sampling) backfill(ctx context.Context, e *backfill.Engine) error {
	spec := s.spec(s.step)
	spec.Lanes, spec.MaxRejects = 1, s.Sample
	proof, err := s.walk(ctx, e, spec)
	if backfill.Permanent(err) {
		if errors.Is(err, backfill.ErrRemaining) {
			return s.tried(Trial{Step: s.step.Name, Kind: KindSample}, errShape(err.Error()))
		}
		return nil // true of no row in particular: the trial tells
	}
	if err != nil {
		return err
	}
	rejects, err := e.Rejects(ctx, spec.Plan, spec.Step)
	if err != nil {
		return err
	}
	tried := Sample{Step: s.step.Name, Table: s.step.Backfill.Table, Rows: s.copied, Filled: proof.Rows, Refused: proof.Rejects}
	for _, r := range rejects {
		tried.Failures = append(tried.Failures, Failure{Key: r.Key, Code: r.Code, Message: r.Message})
	}
	s.report.Samples = append(s.report.Samples, tried)
	return nil
}

func (s *sampling) walk(ctx context.Context, e *backfill.Engine, spec backfill.Spec) (backfill.Proof, error) {
	run, err := e.Prepare(ctx, spec)
	if err != nil {
		return backfill.Proof{}, err
	}
	for _, l := range run.Lanes {
		if _, err := e.RunLane(ctx, spec, l.Lane, backfill.LaneOptions{}); err != nil {
			return backfill.Proof{}, err
		}
	}
	return e.Finish(ctx, spec, backfill.LaneOptions{})
}

// clear empties the table, so that later statements of the plan meet none of the rows.
func (s *sampling) clear(ctx context.Context) error {
	quiet, err := s.silenced(ctx)
	if err != nil {
		return err
	}
	defer closeConn(ctx, quiet)
	keep, err := s.scratch.keep(ctx)
	if err != nil {
		return err
	}
	defer closeConn(ctx, keep)
	if _, err = quiet.Exec(ctx, "delete from "+s.here); err == nil {
		err = pgx.BeginFunc(ctx, keep, func(tx pgx.Tx) error { return s.switchForeignKeys(ctx, tx, "enable") })
	}
	if err != nil {
		return fmt.Errorf("empty %s on the scratch database", s.here)
	}
	return nil
}
