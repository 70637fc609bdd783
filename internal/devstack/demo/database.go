package demo

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/golang-migrate/migrate/v4"
	stock "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	"github.com/golang-migrate/migrate/v4/source/iofs"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/contraflow/contraflow/examples/shop/seed"
)

// Names in the cluster. One role owns the database and works for both, the shop and contraflow: contraflow alters the shop's
// tables, and only their owner may.
const (
	database = "shop"
	role     = "shop"
)

// firstVersion is the schema that the shop has before the plan: the customers in the old shape.
const firstVersion = 1

// Fill makes the database of a shop that has been running for a while: migrated by golang-migrate as it comes, and seeded.
func Fill(ctx context.Context, pool *pgxpool.Pool, dsn, example string, rows int64) error {
	if err := migrateTo(dsn, filepath.Join(example, "migrations"), firstVersion); err != nil {
		return fmt.Errorf("migrate the shop to version %d: %w", firstVersion, err)
	}
	if rows == 0 {
		return nil
	}
	if err := seed.Rows(ctx, pool, rows); err != nil {
		return err
	}
	// What autovacuum would have done long ago in a shop that has been running for a while.
	_, err := pool.Exec(ctx, "vacuum analyze customers")
	return err
}

// migrateTo uses golang-migrate's own driver: the database is one that its command line has always looked after.
func migrateTo(dsn, folder string, version uint) error {
	files, err := iofs.New(os.DirFS(folder), ".")
	if err != nil {
		return err
	}
	db, err := sql.Open("pgx/v5", dsn)
	if err != nil {
		return errors.Join(err, files.Close())
	}
	driver, err := stock.WithInstance(db, &stock.Config{})
	if err != nil {
		return errors.Join(err, db.Close(), files.Close())
	}
	m, err := migrate.NewWithInstance("iofs", files, "pgx5", driver)
	if err != nil {
		return errors.Join(err, driver.Close(), files.Close())
	}
	err = m.Migrate(version)
	fromFiles, fromDriver := m.Close()
	return errors.Join(err, fromFiles, fromDriver)
}
