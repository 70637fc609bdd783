package ddl

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/golang-migrate/migrate/v4/database"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/contraflow/contraflow/internal/pg"
)

// versionTable is golang-migrate's default.
const versionTable = "schema_migrations"

const (
	// lockPoll is how often the migration lock is tried. A blocking pg_advisory_lock would hold a snapshot, for which
	// CREATE INDEX CONCURRENTLY waits: a deadlock.
	lockPoll = 100 * time.Millisecond
	// longestPause is what such pauses double up to: a second more is nothing to who waits for minutes.
	longestPause = time.Second
	// farewell bounds the polite end of a session whose context is done; the server ends it anyway.
	farewell = 2 * time.Second
	// idleInTransaction is how long a process that stands still (stopped, swapped out, its machine suspended) may hold its
	// locks: nothing of ours takes seconds between two statements, and Temporal has given the attempt up by then.
	idleInTransaction = 10 * time.Second
	// idleOutside is the same for the migration lock, outside a transaction: longer, because there the application needs nothing
	// of ours, and people are told of waits between two statements. Neither counts while a statement runs, however long.
	idleOutside = 30 * time.Second
)

// session is one connection, used for one attempt and then closed: that surely frees the advisory locks and whatever a
// file has SET.
type session struct {
	conn   *pgx.Conn
	schema string   // holds the version table
	locks  []string // ids of the advisory locks
	// lockTimeout as the connection has it.
	lockTimeout time.Duration
	// observer of the attempt.
	observer *observer
}

// dial opens a connection for one attempt, with the pool's parameters and a lock_timeout of its own.
func dial(ctx context.Context, pool *pgxpool.Pool, lockTimeout time.Duration) (*session, error) {
	return connect(ctx, pool, lockTimeout, idleOutside)
}

// connect opens a connection that Postgres ends after idle outside a transaction; 0 is never.
func connect(ctx context.Context, pool *pgxpool.Pool, lockTimeout, idle time.Duration) (*session, error) {
	config := pool.Config().ConnConfig.Copy()
	if before := pool.Config().BeforeConnect; before != nil { // passwords that rotate
		if err := before(ctx, config); err != nil {
			return nil, fmt.Errorf("connect to the target database: %w", err)
		}
	}
	milliseconds := func(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
	pg.Watch(config.RuntimeParams)
	config.RuntimeParams["lock_timeout"] = milliseconds(lockTimeout)
	config.RuntimeParams["idle_in_transaction_session_timeout"] = milliseconds(idleInTransaction)
	config.RuntimeParams["idle_session_timeout"] = milliseconds(idle)
	// A statement_timeout of the role's would end a long rewrite again and again, each time under its lock. A file may set one.
	config.RuntimeParams["statement_timeout"] = "0"
	// A file may run DEALLOCATE ALL or change what a prepared statement meant.
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, withoutAddress(err)
	}
	s := &session{conn: conn, lockTimeout: lockTimeout}
	if err = pg.CheckSettings(ctx, conn); err == nil {
		s.schema, s.locks, err = place(ctx, conn)
	}
	if err == nil {
		err = s.settle(ctx)
	}
	if err != nil {
		s.close(ctx)
		return nil, err
	}
	return s, nil
}

// reset ends what a file has SET.
func (s *session) reset(ctx context.Context) error {
	if _, err := s.conn.Exec(ctx, "set session authorization default; reset all", pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("reset the session's settings: %w", err)
	}
	return s.settle(ctx)
}

// settle sets what can't travel as a connection parameter. A transaction_timeout of the role's (Postgres ≥ 17) would end a long build
// again and again.
func (s *session) settle(ctx context.Context) error {
	_, err := s.conn.Exec(ctx, "select set_config(name, '0', false) from pg_settings where name = 'transaction_timeout'")
	if err != nil {
		return fmt.Errorf("lift transaction_timeout: %w", err)
	}
	return s.leaveOurSchema(ctx)
}

// leaveOurSchema takes schema contraflow off the search_path. It gets there by itself when the role is called
// contraflow too ("$user"), and a file's tables would land in it.
func (s *session) leaveOurSchema(ctx context.Context) error {
	_, err := s.conn.Exec(ctx, `select set_config('search_path', string_agg(quote_ident(name), ', ' order by nr), false)
		from unnest(current_schemas(false)) with ordinality path (name, nr)
		where name <> $1 and $1 = any(current_schemas(false)) having count(*) > 0`, pg.Schema)
	if err != nil {
		return fmt.Errorf("set search_path: %w", err)
	}
	return nil
}

// withoutAddress keeps the class of a failed connection and drops its text, which quotes parts of the DSN.
func withoutAddress(err error) error {
	var (
		failed *pgconn.ConnectError
		pgErr  *pgconn.PgError
	)
	if !errors.As(err, &failed) {
		return err
	}
	if refused := pg.Refused(err); errors.Is(refused, pg.ErrSettings) {
		return refused
	}
	if errors.As(err, &pgErr) && strings.HasPrefix(pgErr.Code, classDataException) { // a setting that its platform doesn't know
		return fmt.Errorf("connect to the target database: refused by the server: %s (SQLSTATE %s)", pgErr.Message, pgErr.Code)
	}
	if errors.As(err, &pgErr) {
		return fmt.Errorf("connect to the target database: refused by the server (SQLSTATE %s)", pgErr.Code)
	}
	for _, cause := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, cause) {
			return fmt.Errorf("connect to the target database: %w", cause)
		}
	}
	return errors.New("connect to the target database: it can't be reached; check address and credentials in the worker's configuration")
}

type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// place finds where stock golang-migrate would keep the version, if schema contraflow weren't there, and what it would lock. Its
// library, given a connection, hashes the database's name; its command line, given a URL, hashes the URL's path, "/name". We take both.
func place(ctx context.Context, q querier) (schema string, locks []string, err error) {
	var name string
	if err := q.QueryRow(ctx, `select current_database(), coalesce((select name from unnest(current_schemas(false)) with ordinality path (name, nr)
		where name <> $1 order by nr limit 1), '')`, pg.Schema).Scan(&name, &schema); err != nil {
		return "", nil, fmt.Errorf("look up the current schema: %w", withoutAddress(err))
	}
	if schema == "" {
		return "", nil, errors.New("the connection's search_path names no schema that exists: create it, or set search_path in the connection string")
	}
	for _, name := range []string{name, "/" + name} {
		id, err := database.GenerateAdvisoryLockId(name, schema, versionTable)
		if err != nil {
			return "", nil, err
		}
		locks = append(locks, id)
	}
	return schema, locks, nil
}

func (s *session) pid() uint32 { return s.conn.PgConn().PID() }

func (s *session) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	_ = s.conn.Close(ctx)
}

// lock polls until it holds the migration lock or ctx is done; waiting is called once for each refusal.
// Like Postgres's own, the lock counts: each lock needs its unlock.
func (s *session) lock(ctx context.Context, waiting func()) error {
	for poll := lockPoll; ; poll = min(2*poll, longestPause) {
		held, err := s.tryLock(ctx)
		if err != nil || held {
			return err
		}
		waiting()
		if err := pause(ctx, poll); err != nil {
			return err
		}
	}
}

func (s *session) tryLock(ctx context.Context) (bool, error) {
	for i, id := range s.locks {
		var held bool
		if err := s.conn.QueryRow(ctx, "select pg_try_advisory_lock($1::bigint)", id).Scan(&held); err != nil {
			return false, fmt.Errorf("take the migration lock: %w", err)
		}
		if !held {
			return false, s.free(ctx, s.locks[:i])
		}
	}
	return true, nil
}

// unlock works on a cancelled context too; a closed connection holds no lock.
func (s *session) unlock(ctx context.Context) error {
	if s.conn.IsClosed() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	return s.free(ctx, s.locks)
}

func (s *session) free(ctx context.Context, locks []string) error {
	for _, id := range locks {
		if _, err := s.conn.Exec(ctx, "select pg_advisory_unlock($1::bigint)", id); err != nil {
			return fmt.Errorf("free the migration lock: %w", err)
		}
	}
	return nil
}

// table is the qualified, quoted version table, since a file may change search_path.
func table(schema string) string { return pgx.Identifier{schema, versionTable}.Sanitize() }

// readState takes a missing table for no version, as the stock driver does.
func readState(ctx context.Context, q querier, schema string) (State, error) {
	var (
		version int64
		dirty   bool
		pgErr   *pgconn.PgError
	)
	err := q.QueryRow(ctx, "select version, dirty from "+table(schema)+" limit 1").Scan(&version, &dirty)
	switch {
	case errors.Is(err, pgx.ErrNoRows), errors.As(err, &pgErr) && pgErr.Code == stateUndefinedTable:
		return State{}, nil
	case err != nil:
		return State{}, fmt.Errorf("read %s: %w", versionTable, err)
	case version < 0: // stock golang-migrate failed in the first version's down file
		return State{Dirty: dirty}, nil
	}
	return State{Version: uint(version), Exists: true, Dirty: dirty}, nil
}

// pause waits between d/2 and d, so that two who collided don't collide again.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d/2 + rand.N(d/2+1))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
