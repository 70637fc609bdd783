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
	// workConns is for statements that may take long, of all migrations of a target that one worker runs: a schema change or a
	// proof of each, and its health checks beside it.
	workConns = 16
	// controlConns is for what takes milliseconds and must never queue behind those: pauses on their way to the lanes, claims,
	// and what people have said.
	controlConns = 4
)

// Database is one target: pools for its kinds of work, connected at first use.
type Database struct {
	pool     *pgxpool.Pool // health, verification, schema changes
	backfill *pgxpool.Pool
	control  *pgxpool.Pool // of lanes, and the ledger
	ledger   *ledger.Ledger

	mu        sync.Mutex
	installed bool
}

// OpenDatabase makes the pools of a target. It fails only if the dsn is malformed.
func OpenDatabase(ctx context.Context, dsn string) (*Database, error) {
	db := new(Database)
	for _, p := range []struct {
		pool     **pgxpool.Pool
		settings pg.Settings
	}{
		{&db.pool, pg.Settings{ApplicationName: "contraflow", MaxConns: workConns}},
		{&db.backfill, pg.Settings{ApplicationName: "contraflow backfill", LockTimeout: chunkLockTimeout, StatementTimeout: chunkTimeout, MaxConns: backfillConns}},
		{&db.control, pg.Settings{ApplicationName: "contraflow", MaxConns: controlConns}},
	} {
		var err error
		if *p.pool, err = pg.Open(ctx, dsn, p.settings); err != nil {
			db.Close()
			return nil, err
		}
	}
	db.ledger = ledger.New(db.control)
	return db, nil
}

// Close releases the connections.
func (db *Database) Close() {
	for _, pool := range []*pgxpool.Pool{db.pool, db.backfill, db.control} {
		if pool != nil {
			pool.Close()
		}
	}
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
