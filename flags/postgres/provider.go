// Package postgres is the flags.Provider of the table contraflow.flag in a Postgres database, for applications without a
// flag service. Applications read it with the SQL function contraflow.flag_is_on, or in Go with package pgflags.
//
// A change, its row in contraflow.audit and the notification of readers are one transaction, in which the flag's row is
// locked before anything is decided. So there is no moment in which another's change could be overwritten.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/pg"
)

// Name is the Provider of every State this package returns.
const Name = "postgres"

const (
	// lockTimeout bounds the wait for a flag's row: a change takes milliseconds, so whoever holds it for longer is a person
	// with an open transaction, and it is better to say so and try again.
	lockTimeout = 5 * time.Second
	// idleTimeout ends the transaction of a worker that was frozen in it, so that another can put the flag back.
	idleTimeout = 10 * time.Second
	// openTimeout bounds Open, which is a few short statements; a worker that can't reach the database tries again later.
	openTimeout = 10 * time.Second
	// maxConns suffice: steps change one flag at a time. The pool is the provider's own, because a change that asks Still holds
	// a connection while the caller looks into the same database.
	maxConns = 4
)

// Provider of one database's flags. Several providers, also in several processes, may share the table.
type Provider struct{ pool *pgxpool.Pool }

var _ flags.Provider = (*Provider)(nil)

// Open connects to the database and creates schema contraflow where it is missing. Errors never hold the dsn.
func Open(ctx context.Context, dsn string) (*Provider, error) {
	pool, err := pg.Open(ctx, dsn, pg.Settings{ApplicationName: "contraflow flags", LockTimeout: lockTimeout, MaxConns: maxConns})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	if err := pg.EnsureSchema(ctx, pool); err != nil {
		pool.Close()
		return nil, fmt.Errorf("open the table of flags: %w", err)
	}
	return &Provider{pool}, nil
}

// Close ends the connections.
func (p *Provider) Close() error {
	p.pool.Close()
	return nil
}

// Get reads the flag's row.
func (p *Provider) Get(ctx context.Context, key string) (flags.State, error) {
	f, err := read(ctx, p.pool, key, "")
	if err != nil {
		return flags.State{}, err
	}
	return f.state()
}

// Preview changes nothing.
func (p *Provider) Preview(ctx context.Context, key string, c flags.Change) (flags.State, error) {
	f, err := read(ctx, p.pool, key, "")
	if err != nil {
		return flags.State{}, err
	}
	if f.config, err = f.want(c); err != nil {
		return flags.State{}, err
	}
	return f.state()
}

// Apply changes the row, unless the flag serves c already. The table is where applications read, so that there is nothing
// to wait for behind the commit; a reader with a copy has the change as soon as it is notified, at the latest after its poll.
func (p *Provider) Apply(ctx context.Context, key string, c flags.Change, note string, still flags.Still) (flags.State, error) {
	return p.change(ctx, key, note, still, func(f flag) (flag, error) {
		var err error
		f.config, err = f.want(c)
		return f, err
	})
}

// Restore changes the row, unless the flag is as before already.
func (p *Provider) Restore(ctx context.Context, key string, before, ours flags.State, note string, still flags.Still) (flags.State, error) {
	return p.change(ctx, key, note, still, func(f flag) (flag, error) {
		var err error
		f.config, err = f.restoration(before, ours)
		return f, err
	})
}

// Archive makes readers serve the application's own fallback.
func (p *Provider) Archive(ctx context.Context, key, note string) error {
	_, err := p.change(ctx, key, note, nil, func(f flag) (flag, error) {
		f.archived = true
		return f, nil
	})
	return err
}

// change decides and writes under the lock of the flag's row.
func (p *Provider) change(
	ctx context.Context, key, note string, still flags.Still, decide func(flag) (flag, error),
) (state flags.State, err error) {
	tx, err := p.begin(ctx, key, note)
	if err != nil {
		return flags.State{}, err
	}
	defer rollback(ctx, tx)
	now, err := read(ctx, tx, key, "for no key update")
	if err != nil {
		return flags.State{}, err
	}
	want, err := decide(now)
	if err != nil {
		return flags.State{}, err
	}
	if want.equal(now) {
		return now.state()
	}
	found, err := now.state()
	if err != nil {
		return flags.State{}, err
	}
	if err := still.Ask(ctx, found); err != nil {
		return flags.State{}, err
	}
	if err := flags.Late(ctx); err != nil {
		return flags.State{}, fmt.Errorf("flag %q is left as it is: %w", key, err)
	}
	if want.version, err = write(ctx, tx, want); err != nil {
		return flags.State{}, err
	}
	if err := tx.Commit(ctx); err != nil {
		return flags.State{}, told(err, "change", key)
	}
	return want.state()
}

// begin is for the caller to commit or roll back.
func (p *Provider) begin(ctx context.Context, key, note string) (pgx.Tx, error) {
	tx, err := p.pool.Begin(ctx)
	if err != nil {
		return nil, told(err, "change", key)
	}
	if _, err := tx.Exec(ctx, `select set_config('idle_in_transaction_session_timeout', $1, true), set_config('contraflow.note', $2, true)`,
		fmt.Sprint(idleTimeout.Milliseconds()), storable(note)); err != nil {
		rollback(ctx, tx)
		return nil, told(err, "change", key)
	}
	return tx, nil
}

// rollback does nothing after a commit. Its own context: a transaction must not stay open because the caller's has ended.
func rollback(ctx context.Context, tx pgx.Tx) { _ = tx.Rollback(context.WithoutCancel(ctx)) }

type querier interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func read(ctx context.Context, q querier, key, lock string) (flag, error) {
	f := flag{key: key}
	err := pgx.ErrNoRows
	if keepable(key) {
		err = q.QueryRow(ctx, `select version, archived, is_on, (percent * 1000)::integer, context_kind, targets, salt
		from contraflow.flag where key = $1 `+lock, key).
			Scan(&f.version, &f.archived, &f.On, &f.Weight, &f.ContextKind, &f.Targets, &f.Salt)
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return flag{}, fmt.Errorf("flag %q is not in contraflow.flag: insert it, or correct its key: %w", key, flags.ErrNotFound)
	}
	f.Targets = f.Targets.normal()
	return f, told(err, "read", key)
}

// write compares and sets: the version is the one that was decided on.
func write(ctx context.Context, tx pgx.Tx, f flag) (version int, err error) {
	err = tx.QueryRow(ctx, `update contraflow.flag set archived = $3, is_on = $4, percent = $5::numeric / 1000, context_kind = $6,
		targets = $7, salt = $8 where key = $1 and version = $2 returning version`,
		f.key, f.version, f.archived, f.On, f.Weight, f.ContextKind, f.Targets, f.Salt).Scan(&version)
	return version, told(err, "change", f.key)
}

// SQLSTATEs with a meaning here.
const (
	insufficientPrivilege = "42501"
	lockNotAvailable      = "55P03"
	idleInTransaction     = "25P03"
	undefinedTable        = "42P01"
	checkViolation        = "23514"
	unknownCharacter      = "22P05"
	wrongBytes            = "22021"
)

func told(err error, doing, key string) error {
	if err == nil {
		return nil
	}
	server, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return fmt.Errorf("%s flag %q: %w", doing, key, err)
	}
	switch server.Code {
	case insufficientPrivilege:
		return lacksRight(doing, key)
	case lockNotAvailable, idleInTransaction:
		return fmt.Errorf("%s flag %q: another transaction holds its row (or this one took too long): end it: %w", doing, key, flags.ErrConflict)
	case undefinedTable:
		return fmt.Errorf("%s flag %q: contraflow's own tables are gone from the database: start the worker anew: %w", doing, key, err)
	case checkViolation:
		return fmt.Errorf("%s flag %q: keys are up to 256 letters, digits, '.', '_' or '-': %w", doing, key, flags.ErrInvalid)
	case unknownCharacter, wrongBytes: // the server's own words hold the bytes
		return fmt.Errorf("%s flag %q: the database's encoding lacks a character of a key: %w", doing, key, flags.ErrInvalid)
	}
	return fmt.Errorf("%s flag %q: %w", doing, key, err)
}

func lacksRight(doing, key string) error {
	return fmt.Errorf("%s flag %q: the worker's role lacks a right on contraflow.flag: make it a member of the schema's owner: %w",
		doing, key, flags.ErrUnauthorized)
}
