package ddl_test

import (
	"context"
	"errors"
	"log"
	"os"

	"github.com/golang-migrate/migrate/v4"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/contraflow/contraflow/ddl"
)

// golang-migrate's library over the transactional driver: a failure or a crash leaves the old version, clean.
func ExampleNewDriver() {
	up := func(ctx context.Context, dsn, folder string) error {
		pool, err := pgxpool.New(ctx, dsn)
		if err != nil {
			return err
		}
		defer pool.Close()
		files, err := ddl.ReadFiles(os.DirFS(folder))
		if err != nil {
			return err
		}
		driver, err := ddl.NewDriver(ctx, pool, ddl.DriverOptions{})
		if err != nil {
			return err
		}
		m, err := migrate.NewWithInstance("files", files.Source(), "contraflow", driver)
		if err != nil {
			return err
		}
		defer m.Close()
		if err := m.Up(); !errors.Is(err, migrate.ErrNoChange) {
			return err
		}
		return nil
	}
	if err := up(context.Background(), "postgres://me@db/shop", "migrations"); err != nil {
		log.Print(err)
	}
}
