// Package ddl changes the schema of a live database: golang-migrate's files, version table and locks, over a database
// driver of our own that writes the version in the transaction of the change, waits for locks briefly and says for whom.
// Stock golang-migrate works on the same database before, meanwhile and after.
package ddl

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/golang-migrate/migrate/v4"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// DefaultLockTimeout is how long the application's own queries may queue behind a waiting change: half a second is
	// felt, and survives any client's time-out. For autovacuum, which gives way only later, see autovacuum.go.
	DefaultLockTimeout = 500 * time.Millisecond
	// The pause after a lock time-out begins at one lock_timeout, so that what has queued behind us drains, and doubles
	// up to thirty: behind a reader that stays, the application is then held up for a thirtieth of the time.
	backoffGrowth  = 2
	backoffCeiling = 30
)

// Options of an Engine.
type Options struct {
	// Plan owns the versions this engine applies; only they are taken down again.
	Plan string
	// Claim is the first run of the migration that changes the schema, as contraflow.migration has it: a change doesn't commit
	// once another run holds the plan. Defaults to nobody's, which is not checked.
	Claim string
	// LockTimeout bounds what an attempt waits for locks in a transaction, and each wait of a statement that waits for several; at least
	// 1 ms. Defaults to DefaultLockTimeout.
	LockTimeout time.Duration
	// KillIdleAfter is how long a session that stands in the way must have done nothing inside a transaction to be ended.
	// Others are never ended. Defaults to ending nobody.
	KillIdleAfter time.Duration
	// OnEnd is told of a session before it is ended, with its time idle as it was seen; an error spares the session. The session may
	// also wake up or go by itself in between. Defaults to ending without a word.
	OnEnd func(context.Context, Ended) error
	// OnWait is told what a change waits for and how an index build comes on: whenever that changes, after each lock time-out,
	// and when the wait is over. It is called from one goroutine at a time and must return soon. Defaults to telling nobody.
	OnWait func(Waiting)
}

func (o Options) onWait(w Waiting) {
	if o.OnWait != nil {
		o.OnWait(w)
	}
}

// State of the database's schema.
type State struct {
	Version uint
	Exists  bool // false: no version has been applied, and Version says nothing
	Dirty   bool // stock golang-migrate failed half way
}

func (s State) String() string {
	if !s.Exists {
		return "no version"
	}
	return fmt.Sprintf("version %d", s.Version)
}

// Engine applies one version at a time. Safe for concurrent use; changes wait for each other, across processes too.
type Engine struct {
	pool    *pgxpool.Pool
	files   *Files
	options Options
	// old is the age of a transaction that is waited for before a statement begins: oldTransaction.
	old time.Duration

	mu  sync.Mutex
	own map[uint32]int // pids of our sessions
	// announced are the sessions that Options.OnEnd was told of: a session lingers after it was ended, and may not be ended at all.
	announced map[standstill]bool
}

// New makes an engine for the database and the schema (search_path) pool connects to. Changes run on connections of
// their own, with the pool's parameters; the pool itself only reads. The caller has called pg.EnsureSchema.
func New(pool *pgxpool.Pool, files *Files, o Options) *Engine {
	if o.LockTimeout <= 0 {
		o.LockTimeout = DefaultLockTimeout
	}
	o.LockTimeout = max(o.LockTimeout, time.Millisecond) // Postgres counts in milliseconds, and its 0 means forever
	return &Engine{pool: pool, files: files, options: o, old: oldTransaction, own: map[uint32]int{}, announced: map[standstill]bool{}}
}

// State reads schema_migrations; no such table is no version.
func (e *Engine) State(ctx context.Context) (State, error) {
	schema, _, err := place(ctx, e.pool)
	if err != nil {
		return State{}, err
	}
	return readState(ctx, e.pool, schema)
}

// Applied lists, ascending, the versions this plan applied and that still stand.
func (e *Engine) Applied(ctx context.Context) ([]uint, error) {
	return e.ours(ctx, "select version from contraflow.ddl_version where schema_name = $1 and plan = $2 and version <= $3 order by version")
}

// Begun lists, ascending, the versions that don't stand although this plan has begun their statement: it runs outside a
// transaction, and nobody has seen its end. It may have done its work, a part of it, or nothing.
func (e *Engine) Begun(ctx context.Context) ([]uint, error) {
	return e.ours(ctx, "select version from contraflow.ddl_intent where schema_name = $1 and plan = $2 and version > $3 and direction = 'up' order by version")
}

// ours lists versions of this plan; none where contraflow's own tables don't exist yet. The query's $3 is where the schema
// stands, -1 for no version.
func (e *Engine) ours(ctx context.Context, sql string) ([]uint, error) {
	schema, _, err := place(ctx, e.pool)
	if err != nil {
		return nil, err
	}
	state, err := readState(ctx, e.pool, schema)
	if err != nil {
		return nil, err
	}
	at := int64(-1)
	if state.Exists {
		at = int64(state.Version)
	}
	rows, err := e.pool.Query(ctx, sql, schema, e.options.Plan, at)
	var versions []uint
	if err == nil {
		versions, err = pgx.CollectRows(rows, pgx.RowTo[uint])
	}
	var pgErr *pgconn.PgError
	switch {
	case errors.As(err, &pgErr) && pgErr.Code == stateUndefinedTable:
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read the versions of plan %q: %w", e.options.Plan, err)
	}
	return versions, nil
}

// Up applies exactly version, if the database stands at the version before it; if it stands at version or above, there
// is nothing to do. An empty sha accepts any content. It tries until it succeeds, fails or ctx is done.
// Errors: ErrMissing, ErrChanged, ErrScript, ErrDirty, ErrOrder, ErrInspect, ErrSuperseded, *StatementError, ctx's.
func (e *Engine) Up(ctx context.Context, version uint, sha string) error {
	f, err := e.files.runnable(version, Up, sha)
	if err != nil {
		return err
	}
	return e.apply(ctx, f, func(_ context.Context, _ *session, at State) (bool, error) {
		if at.Exists && at.Version >= version {
			return false, nil
		}
		if before := e.files.before(version); at != before {
			return false, fmt.Errorf("%w: version %d follows %s, and the database stands at %s: apply what lies between first", ErrOrder, version, before, at)
		}
		return true, nil
	})
}

// Down takes exactly version down, if the database stands there and this plan applied it; if it stands below, there is
// nothing to do. An empty sha accepts any content. It tries until it succeeds, fails or ctx is done.
// Errors: ErrNotOurs (to a compensation: nothing of ours to undo), *StrangerError, ErrMissing, ErrChanged, ErrScript,
// ErrDirty, ErrInspect, ErrSuperseded, *StatementError, ctx's.
func (e *Engine) Down(ctx context.Context, version uint, sha string) error {
	f, err := e.files.runnable(version, Down, sha)
	if err != nil {
		return err
	}
	return e.apply(ctx, f, func(ctx context.Context, s *session, at State) (bool, error) {
		if !at.Exists || at.Version < version {
			return false, nil
		}
		owner, err := s.owner(ctx, version)
		if err != nil {
			return false, err
		}
		if owner != e.options.Plan {
			return false, fmt.Errorf("%w: version %d stays as it is; plan %q may only take down what it applied", ErrNotOurs, version, e.options.Plan)
		}
		if at.Version == version {
			return true, nil
		}
		owner, err = s.owner(ctx, at.Version)
		if err != nil {
			return false, err
		}
		return false, &StrangerError{Version: version, Found: at.Version, Owner: owner}
	})
}

// owner is the plan that applied a version; empty if contraflow didn't.
func (s *session) owner(ctx context.Context, version uint) (plan string, err error) {
	err = s.conn.QueryRow(ctx, "select plan from contraflow.ddl_version where schema_name = $1 and version = $2", s.schema, int64(version)).Scan(&plan)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return "", fmt.Errorf("read who applied version %d: %w", version, err)
	}
	return plan, nil
}

// decision tells, under the migration lock, whether there is something to do.
type decision func(ctx context.Context, s *session, at State) (bool, error)

// apply takes one step through golang-migrate if it is due.
func (e *Engine) apply(ctx context.Context, f *file, due decision) error {
	return e.untilDone(ctx, f, func(ctx context.Context, s *session, at State) error {
		if needed, err := due(ctx, s, at); err != nil || !needed {
			return err
		}
		return e.migrate(ctx, s, f)
	})
}

// work is done under the migration lock, with the schema as it stands.
type work func(ctx context.Context, s *session, at State) error

// untilDone makes attempts until one doesn't lose against somebody else's lock. Each begins afresh, with no lock held in
// the pause between: what another has done meanwhile counts.
func (e *Engine) untilDone(ctx context.Context, f *file, work work) error {
	backoff, o := e.options.LockTimeout, &observer{engine: e}
	for {
		o.next()
		err := e.attempt(ctx, work, o)
		if ctx.Err() == nil && gaveWay(err) {
			o.gaveWay(backoff)
			err = pause(ctx, backoff)
			backoff = min(backoff*backoffGrowth, e.options.LockTimeout*backoffCeiling)
			if err == nil {
				continue
			}
		}
		if err != nil && ctx.Err() != nil {
			return e.interrupted(ctx, f, o.last)
		}
		if err == nil {
			o.over("")
		}
		return err
	}
}

// interrupted says what an attempt was waiting for when its time was over.
func (e *Engine) interrupted(ctx context.Context, f *file, last Waiting) error {
	if !last.Waits() {
		return fmt.Errorf("%s: interrupted: %w", f.name, context.Cause(ctx))
	}
	return fmt.Errorf("%s: interrupted while it waited for %s: %w", f.name, last, context.Cause(ctx))
}

func (e *Engine) attempt(ctx context.Context, work work, o *observer) error {
	s, err := dial(ctx, e.pool, e.options.LockTimeout)
	if err != nil {
		return err
	}
	defer s.close(ctx)
	defer e.hold(s)()
	s.observer = o
	if err := s.lock(ctx, func() { o.refused(ctx, s) }); err != nil {
		return err
	}
	defer func() { _ = s.unlock(ctx) }() // at once: a closed connection's lock lasts until the server has noticed
	o.over(migrationLock)
	at, err := readState(ctx, s.conn, s.schema)
	if err != nil {
		return err
	}
	if at.Dirty {
		return fmt.Errorf("%w at %s: run contraflow repair PLAN, which tells what of the failed file stands and puts the version right", ErrDirty, at)
	}
	stop := o.watch(ctx, s)
	defer stop()
	return work(ctx, s, at)
}

func (e *Engine) driver(ctx context.Context, s *session, f *file) *driver {
	return &driver{ctx: ctx, session: s, plan: e.options.Plan, claim: e.options.Claim, file: f}
}

// migrate takes one step through golang-migrate. It locks once more, which counts and so is granted at once.
func (e *Engine) migrate(ctx context.Context, s *session, f *file) error {
	m, err := migrate.NewWithInstance("files", e.files.Source(), "contraflow", e.driver(ctx, s, f))
	if err != nil {
		return err
	}
	m.LockTimeout = math.MaxInt64 // ctx decides; golang-migrate's own time-out would leave a goroutine on our connection
	if f.direction == Down {
		return m.Steps(-1)
	}
	return m.Steps(1)
}
