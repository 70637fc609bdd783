package ddl

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-migrate/migrate/v4/database"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/contraflow/contraflow/internal/pg"
)

// DriverOptions of a driver for golang-migrate's own library.
type DriverOptions struct {
	// Plan owns the versions the driver applies. Defaults to nobody's, like those of the stock driver.
	Plan string
	// LockTimeout is that of Options. Defaults to DefaultLockTimeout.
	LockTimeout time.Duration
	// AllowDrop lets golang-migrate's Drop delete all tables of the current schema. Defaults to refusing.
	AllowDrop bool
}

// lockWithin is how long Lock tries: golang-migrate gives up after 15 s by default, and would leave it trying.
const lockWithin = 10 * time.Second

// NewDriver makes a driver for migrate.NewWithInstance: each file runs in one transaction together with its version, so that a
// failure or a crash leaves the old version, clean, and a wait for a lock ends the file with a *StatementError (SQLSTATE 55P03)
// instead of holding the application up; run it again then. Files, version table and locks are those of the stock driver.
//
// It works on a connection of its own with pool's parameters, until Close or until ctx is done, and keeps its books in the tables
// of schema contraflow, which it creates. A concurrent statement begins at once, whatever old transactions it will wait for, and nobody is told
// of waits. Not safe for concurrent use.
func NewDriver(ctx context.Context, pool *pgxpool.Pool, o DriverOptions) (database.Driver, error) {
	if err := pg.EnsureSchema(ctx, pool); err != nil {
		return nil, withoutAddress(err)
	}
	engine := New(pool, nil, Options{LockTimeout: o.LockTimeout})
	s, err := connect(ctx, pool, engine.options.LockTimeout, 0) // the caller may do nothing for hours
	if err != nil {
		return nil, err
	}
	s.observer = &observer{engine: engine}
	return &driver{ctx: ctx, session: s, plan: o.Plan, open: true, allowDrop: o.AllowDrop}, nil
}

// announce finds out which file comes: golang-migrate tells a driver only where the schema will stand. What an earlier file has
// SET ends here, above all a lock_timeout.
func (d *driver) announce(target int) error {
	state, err := readState(d.ctx, d.session.conn, d.session.schema)
	if err != nil {
		return err
	}
	f := &file{version: uint(max(target, 0)), direction: Up}
	if state.Exists && target < int(state.Version) {
		f.version, f.direction = state.Version, Down
	}
	f.name = fmt.Sprintf("version %d %s", f.version, f.direction)
	d.file = f
	return d.session.reset(d.ctx)
}

// errNoDrop refuses: a live database's tables are not deleted unasked.
var errNoDrop = errors.New("contraflow's driver deletes no tables: ask for it with DriverOptions.AllowDrop, or drop them by hand")

// Drop deletes the tables that the stock driver would, but all of them or none.
func (d *driver) Drop() error {
	if !d.allowDrop {
		return errNoDrop
	}
	d.rollback()
	if err := d.session.reset(d.ctx); err != nil {
		return err
	}
	return pgx.BeginFunc(d.ctx, d.session.conn, func(tx pgx.Tx) error {
		rows, err := tx.Query(d.ctx, "select tablename from pg_tables where schemaname = $1", d.session.schema)
		if err != nil {
			return fmt.Errorf("list the tables to drop: %w", err)
		}
		tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return fmt.Errorf("list the tables to drop: %w", err)
		}
		for i, name := range tables {
			tables[i] = pgx.Identifier{d.session.schema, name}.Sanitize()
		}
		if len(tables) > 0 {
			if _, err := tx.Exec(d.ctx, "drop table "+strings.Join(tables, ", ")+" cascade"); err != nil {
				return statementError("drop all tables of "+d.session.schema, script{}, 0, err)
			}
		}
		for _, books := range []string{"ddl_version", "ddl_intent"} {
			if _, err := tx.Exec(d.ctx, "delete from contraflow."+books+" where schema_name = $1", d.session.schema); err != nil {
				return fmt.Errorf("forget the dropped versions: %w", err)
			}
		}
		return nil
	})
}
