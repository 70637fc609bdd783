package pgflags

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Source asks the database whose table contraflow.flag is read.
type Source interface {
	// Text returns the one text of a query with one row and one column.
	Text(ctx context.Context, query string, args ...any) (string, error)
}

// Listener is a Source that hears of changes at once; without, a Reader only polls.
type Listener interface {
	Source
	// Listen calls told when it listens to the channel, and at each notification. It returns when ctx ends or the
	// connection is lost.
	Listen(ctx context.Context, channel string, told func()) error
}

// Pool is the Listener of a pgx pool, which stays the caller's to close. Listening takes one connection out of the pool for
// itself, beyond the pool's maximum. Behind a pooler in transaction mode nothing is heard: use Polling.
func Pool(pool *pgxpool.Pool) Listener { return poolSource{pollSource{pool}} }

// Polling is the Source of a pgx pool that doesn't listen, for poolers in transaction mode: they would be left with a server
// connection that goes on listening, for nobody.
func Polling(pool *pgxpool.Pool) Source { return pollSource{pool} }

type pollSource struct{ pool *pgxpool.Pool }

// Text leaves no prepared statement behind, which a pooler would hand to somebody else.
func (s pollSource) Text(ctx context.Context, query string, args ...any) (text string, err error) {
	err = s.pool.QueryRow(ctx, query, append([]any{pgx.QueryExecModeExec}, args...)...).Scan(&text)
	return text, err
}

type poolSource struct{ pollSource }

func (s poolSource) Listen(ctx context.Context, channel string, told func()) error {
	pooled, err := s.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect to listen for flags: %w", err)
	}
	conn := pooled.Hijack()
	// Its own context: the goodbye must reach the server also when ctx has ended, and nobody waits for a server that is gone.
	defer func() {
		goodbye, cancel := context.WithTimeout(context.WithoutCancel(ctx), queryTimeout)
		defer cancel()
		_ = conn.Close(goodbye)
	}()
	if _, err := conn.Exec(ctx, "listen "+pgx.Identifier{channel}.Sanitize()); err != nil {
		return fmt.Errorf("listen for flags: %w", err)
	}
	for {
		told()
		if _, err := conn.WaitForNotification(ctx); err != nil {
			return fmt.Errorf("listen for flags: %w", err)
		}
	}
}

// DB is the Source of a database/sql handle with any Postgres driver, which stays the caller's to close.
func DB(db *sql.DB) Source { return dbSource{db} }

type dbSource struct{ db *sql.DB }

func (s dbSource) Text(ctx context.Context, query string, args ...any) (text string, err error) {
	err = s.db.QueryRowContext(ctx, query, args...).Scan(&text)
	return text, err
}
