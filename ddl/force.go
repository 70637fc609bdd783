package ddl

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/contraflow/contraflow/internal/pg"
)

// Record is what the version table holds, as it stands there.
type Record struct {
	Schema string // where the table is, or would be
	Exists bool   // false: there is no such table
	Rows   []Row  // one at most, unless somebody wrote it by hand
}

// Row of the version table.
type Row struct {
	Version int64 `json:"version"` // -1: the first version's down file was begun
	Dirty   bool  `json:"dirty"`
	// Unset says that dirty is null, as only a hand can write it; it counts as dirty.
	Unset bool `json:"dirtyIsNull,omitempty"`
}

// String is for people.
func (r Row) String() string {
	text := fmt.Sprintf("version %d", r.Version)
	if r.Version < 0 {
		text = "no version"
	}
	if r.Unset {
		return text + ", dirty (its mark is null)"
	}
	if r.Dirty {
		return text + ", dirty"
	}
	return text + ", clean"
}

// ReadRecord reads the version table where q's search_path has it.
func ReadRecord(ctx context.Context, q pg.Querier) (Record, error) {
	schema, _, err := place(ctx, q)
	if err != nil {
		return Record{}, err
	}
	r := Record{Schema: schema}
	if r.Exists, err = exists(ctx, q, table(schema)); err != nil || !r.Exists {
		return r, err
	}
	rows, err := q.Query(ctx, "select version, coalesce(dirty, true), dirty is null from "+table(schema)+" order by version")
	if err == nil {
		r.Rows, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Row])
	}
	if err != nil {
		return Record{}, fmt.Errorf("read %s: %w", versionTable, withoutAddress(err))
	}
	return r, nil
}

func exists(ctx context.Context, q querier, relation string) (yes bool, err error) {
	err = q.QueryRow(ctx, "select to_regclass($1) is not null", relation).Scan(&yes)
	return yes, err
}

// Holders of the migration lock: who changes the schema right now, be it golang-migrate or contraflow.
func (e *Engine) Holders(ctx context.Context) ([]Blocker, error) {
	_, locks, err := place(ctx, e.pool)
	if err != nil {
		return nil, err
	}
	return e.holders(ctx, locks), nil
}

// holders counts who holds both locks once.
func (e *Engine) holders(ctx context.Context, locks []string) []Blocker {
	w, _ := e.look(ctx, holdersOf, locks)
	return slices.CompactFunc(w.Blockers, func(a, b Blocker) bool { return a.PID == b.PID })
}

// leaving is how often the migration lock is asked for again, a second in all: whoever has just gone holds it until the server
// has noticed.
const leaving = 10

// BusyError says that somebody changes the schema right now.
type BusyError struct{ Holders []Blocker }

func (e *BusyError) Error() string {
	text := "somebody holds the migration lock and may still be changing the schema: try again when that is over"
	for i, h := range e.Holders {
		if i == 0 {
			text += "; it is held by "
		} else {
			text += "; "
		}
		text += h.String()
	}
	return text
}

// Forced is what a person lets be written over a version.
type Forced struct {
	// To is where the schema stands afterwards, clean.
	To State
	// Version whose file was half way: what was begun of it outside a transaction is forgotten.
	Version uint
	// SQL runs first, in the same transaction; File is where it comes from, and has it on the same lines. Empty runs nothing.
	File, SQL string
	// Plan, By (a person) and Detail (what he lets be done) are written to contraflow.audit, if there is one.
	Plan, By, Detail string
}

// Decide looks at the database in the transaction in which its answer is carried out.
type Decide func(ctx context.Context, tx pgx.Tx, r Record) (Forced, error)

// Force writes a version over what the version table holds, after a look, under the migration lock and in one transaction.
// Where the SQL loses against another's lock it is rolled back and begins afresh, from the look on, until ctx is done.
// Errors: *BusyError after a second where somebody holds the migration lock, ErrScript, *StatementError, those of decide, ctx's.
func (e *Engine) Force(ctx context.Context, decide Decide) error {
	backoff, o := e.options.LockTimeout, &observer{engine: e}
	for {
		o.next()
		err := e.force(ctx, o, decide)
		if err == nil || ctx.Err() != nil || !gaveWay(err) {
			return err
		}
		o.gaveWay(backoff)
		if paused := pause(ctx, backoff); paused != nil {
			return errors.Join(paused, err)
		}
		backoff = min(backoff*backoffGrowth, e.options.LockTimeout*backoffCeiling)
	}
}

func (e *Engine) force(ctx context.Context, o *observer, decide Decide) error {
	s, err := dial(ctx, e.pool, e.options.LockTimeout)
	if err != nil {
		return err
	}
	defer s.close(ctx)
	for tries := leaving; ; tries-- {
		held, err := s.tryLock(ctx)
		if err != nil {
			return err
		}
		if held {
			break
		}
		if tries == 0 {
			return &BusyError{e.holders(ctx, s.locks)}
		}
		if err := pause(ctx, lockPoll); err != nil {
			return err
		}
	}
	stop := o.watch(ctx, s)
	err = s.transaction(ctx, func(tx pgx.Tx) error { return s.overwrite(ctx, tx, decide) })
	stop()
	return errors.Join(err, s.unlock(ctx)) // at once: a closed connection's lock lasts until the server has noticed
}

func (s *session) transaction(ctx context.Context, do func(pgx.Tx) error) error {
	tx, err := s.conn.Begin(ctx)
	if err != nil {
		return fmt.Errorf("begin the transaction of the repair: %w", err)
	}
	if err := do(tx); err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
		defer cancel()
		_ = tx.Rollback(ctx) // a connection that can't is closed, which rolls back
		return err
	}
	if err := tx.Commit(ctx); err != nil { // deferred constraints speak here
		return statementError(versionTable, script{}, 0, err)
	}
	return nil
}

func (s *session) overwrite(ctx context.Context, tx pgx.Tx, decide Decide) error {
	r, err := ReadRecord(ctx, tx)
	if err != nil {
		return err
	}
	if r.Exists { // also against those who write it by hand
		if _, err := tx.Exec(ctx, "lock table "+table(s.schema)+" in share row exclusive mode"); err != nil {
			return statementError(versionTable, script{}, 0, err)
		}
		if r, err = ReadRecord(ctx, tx); err != nil {
			return err
		}
	}
	f, err := decide(ctx, tx, r)
	if err != nil {
		return err
	}
	if err := s.run(ctx, f); err != nil {
		return err
	}
	return s.write(ctx, tx, f)
}

func (s *session) run(ctx context.Context, f Forced) error {
	if strings.TrimSpace(f.SQL) == "" {
		return nil
	}
	parsed, err := parseScript(f.SQL)
	if err != nil {
		return fmt.Errorf("%s: %w", f.File, err)
	}
	done, err := execute(ctx, s.conn, parsed.text)
	if err != nil {
		return statementError(f.File, parsed, done, err)
	}
	if s.conn.PgConn().TxStatus() != 'T' { // parseScript refuses what could end it: a guard against its errors
		return fmt.Errorf("%s: %w: it ended the transaction it runs in, so the version was not written; look at what it has changed", f.File, ErrInspect)
	}
	return nil
}

// write also mends contraflow's own books, where there are any; it never makes them only for this.
func (s *session) write(ctx context.Context, tx pgx.Tx, f Forced) error {
	at := int64(-1)
	if f.To.Exists {
		at = int64(f.To.Version)
	}
	batch := []struct {
		table, sql string
		args       []any
	}{
		{table(s.schema), "delete from " + table(s.schema), nil},
		{table(s.schema), "insert into " + table(s.schema) + " (version, dirty) select $1::bigint, false where $1::bigint >= 0", []any{at}},
		{"contraflow.ddl_version", "delete from contraflow.ddl_version where schema_name = $1 and version > $2", []any{s.schema, at}},
		{"contraflow.ddl_intent", "delete from contraflow.ddl_intent where schema_name = $1 and version = $2", []any{s.schema, int64(f.Version)}},
		{"contraflow.audit", `insert into contraflow.audit (event_key, migration, run_id, plan, plan_hash, event, actor, detail)
			values ('repair/' || gen_random_uuid(), '', '', $1, '', 'repaired', $2, $3)`, []any{f.Plan, f.By, f.Detail}},
	}
	for _, w := range batch {
		there, err := exists(ctx, tx, w.table)
		if err == nil && there {
			_, err = tx.Exec(ctx, w.sql, w.args...)
		}
		if failed, ok := errors.AsType[*pgconn.PgError](err); ok {
			return fmt.Errorf("write %s: %s (SQLSTATE %s)", w.table, failed.Message, failed.Code)
		}
		if err != nil {
			return fmt.Errorf("write %s: %w", w.table, err)
		}
	}
	return nil
}

// Resumes says what the next attempt does about a statement outside a transaction whose end nobody has seen; sha is that of the
// statement as it was begun.
func (f *Files) Resumes(version uint, direction Direction, sha string) string {
	const asks = "the next attempt asks a person"
	found := f.find(version, direction)
	if found == nil {
		return "its file is not in this folder"
	}
	s, err := parseScript(string(found.body))
	switch {
	case err != nil || !s.noTransaction:
		return asks
	case sha != s.sha256():
		return "its file was changed since: " + asks + " where the catalog doesn't settle it"
	}
	switch op := s.operation().(type) {
	case *build:
		return "the next attempt takes a valid index as done, and drops and rebuilds an invalid one"
	case repeatable, *reindex:
		return "the next attempt runs it again, which does no harm"
	case unknown:
		if left, _ := op.resume(nil, true); left == ask { // it looks at nothing but the statement
			return asks
		}
		return "the next attempt runs it again, which does no harm"
	}
	return "the next attempt sees in the catalog whether it is done, and runs it if not"
}
