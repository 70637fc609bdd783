package activities

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/contraflow/contraflow/internal/ledger"
	"github.com/contraflow/contraflow/internal/pg"
)

const (
	// chunkLockTimeout bounds how long a chunk waits for a row that the application holds; the engine then halves the chunk.
	chunkLockTimeout = time.Second
	// chunkTimeout is far above any chunk: one that takes longer has met something that a smaller chunk avoids.
	chunkTimeout = 30 * time.Second
	// backfillConns is one for each of the 64 lanes that a backfill may have, and two for preparation and proof beside them.
	// They are opened as lanes need them.
	backfillConns = 66
)

// Database is one target: pools for its kinds of work, connected at first use.
type Database struct {
	pool     *pgxpool.Pool // ledger, health, verification, schema changes
	backfill *pgxpool.Pool
	ledger   *ledger.Ledger

	mu        sync.Mutex
	installed bool
}

// OpenDatabase makes the pools of a target. It fails only if the dsn is malformed.
func OpenDatabase(ctx context.Context, dsn string) (*Database, error) {
	pool, err := pg.Open(ctx, dsn, pg.Settings{ApplicationName: "contraflow"})
	if err != nil {
		return nil, err
	}
	lanes, err := pg.Open(ctx, dsn, pg.Settings{
		ApplicationName: "contraflow backfill", LockTimeout: chunkLockTimeout, StatementTimeout: chunkTimeout, MaxConns: backfillConns,
	})
	if err != nil {
		pool.Close()
		return nil, err
	}
	return &Database{pool: pool, backfill: lanes, ledger: ledger.New(pool)}, nil
}

// Close releases the connections.
func (db *Database) Close() {
	db.backfill.Close()
	db.pool.Close()
}

// ready installs contraflow's own tables, once per process.
func (db *Database) ready(ctx context.Context) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.installed {
		return nil
	}
	if err := pg.EnsureSchema(ctx, db.pool); err != nil {
		return err
	}
	db.installed = true
	return nil
}
