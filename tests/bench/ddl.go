package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/golang-migrate/migrate/v4"
	stock "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	"github.com/jackc/pgx/v5"

	"github.com/contraflow/contraflow/ddl"
)

const (
	// readerTime is how long a transaction that has read the table stays open: a report, or somebody's forgotten psql.
	readerTime = 10 * time.Second
	// waited is from when on people notice that an application waits.
	waited = 100 * time.Millisecond

	addColumn = "alter table customers add column note text"
)

// ddl measures how long an application waits for a quick change of its table that has to wait for a reader itself.
func (b *bench) ddl(ctx context.Context) error { return b.behindReader(ctx, readerTime) }

func (b *bench) behindReader(ctx context.Context, reader time.Duration) error {
	folder := filepath.Join(b.folder, "ddl")
	if err := os.Mkdir(folder, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "1_note.up.sql"), []byte(addColumn), 0o600); err != nil {
		return err
	}
	files, err := ddl.ReadFiles(os.DirFS(folder))
	if err != nil {
		return err
	}
	contestants := []contestant{
		{"", "ALTER TABLE by ours", clocked(func(ctx context.Context, t *target) error {
			return ddl.New(t.pool, files, ddl.Options{Plan: "bench"}).Up(ctx, 1, "")
		})},
		{"_migrate", "ALTER TABLE by golang-migrate", clocked(func(_ context.Context, t *target) error { return byMigrate(t, files) })},
		{"_psql", "ALTER TABLE by psql", clocked(func(ctx context.Context, t *target) error {
			return alone(ctx, t, func(conn *pgx.Conn) error {
				_, err := conn.Exec(ctx, addColumn, pgx.QueryExecModeSimpleProtocol)
				return err
			})
		})},
	}
	for round := range b.options.rounds {
		b.say("ddl, round %d of %d", round+1, b.options.rounds)
		for _, c := range contestants {
			if err := b.wait(ctx, c, reader); err != nil {
				return fmt.Errorf("%s: %w", c.title, err)
			}
		}
		slices.Reverse(contestants)
	}
	return nil
}

// byMigrate is golang-migrate with its own driver, as it comes.
func byMigrate(t *target, files *ddl.Files) error {
	db, err := sql.Open("pgx/v5", t.dsn)
	if err != nil {
		return err
	}
	driver, err := stock.WithInstance(db, &stock.Config{})
	if err != nil {
		return errors.Join(err, db.Close())
	}
	m, err := migrate.NewWithInstance("files", files.Source(), "pgx5", driver)
	if err != nil {
		return errors.Join(err, driver.Close())
	}
	err = m.Up()
	fromSource, fromDriver := m.Close()
	return errors.Join(err, fromSource, fromDriver)
}

// wait lets c change a table that a reader has just read, and measures what the application waits until both have ended.
func (b *bench) wait(ctx context.Context, c contestant, reader time.Duration) error {
	t, err := b.fresh(ctx, bigint(), b.options.rows)
	if err != nil {
		return err
	}
	defer t.close()
	l, err := b.press(ctx, t)
	if err != nil {
		return err
	}
	defer l.stop()
	return alone(ctx, t, func(conn *pgx.Conn) error {
		read, err := conn.Begin(ctx)
		if err != nil {
			return err
		}
		if _, err := read.Exec(ctx, "select from customers limit 1"); err != nil {
			return err
		}
		from := time.Now()
		var took time.Duration
		changed := make(chan error, 1)
		running, over := context.WithCancel(ctx)
		go func() {
			defer over()
			var err error
			took, err = c.run(ctx, t)
			changed <- err
		}()
		seen := awaited(running, read)
		slept := sleep(ctx, reader)
		ended := read.Commit(ctx) // in any case: the change waits for it
		if err := errors.Join(seen, slept, ended, <-changed); err != nil {
			return err
		}
		to := time.Now()
		if err := l.until(ctx, to.Add(drained)); err != nil {
			return err
		}
		longest, many := l.longest(from, to)
		b.say("%-38s longest wait %6.0f ms, %6s waited more than %s, done after %.1f s",
			c.title, longest.Seconds()*1000, thousands(float64(many)), waited, took.Seconds())
		b.results.add("ddl_longest_wait"+c.name+"_ms", longest.Seconds()*1000)
		b.results.add("ddl_waited"+c.name, float64(many))
		b.results.add("ddl"+c.name+"_seconds", took.Seconds())
		b.results.add("ddl_failed", float64(l.failed))
		return nil
	})
}

// awaited returns once a change waits for the reader: how soon it gets so far is not its wait.
func awaited(ctx context.Context, read pgx.Tx) error {
	for waits := false; !waits; {
		if err := sleep(ctx, lookEvery); err != nil {
			return err
		}
		if err := read.QueryRow(ctx, "select exists (select from pg_locks where relation = 'customers'::regclass and not granted)").Scan(&waits); err != nil {
			return err
		}
	}
	return nil
}

// longest latency of the transactions that were due in between, and how many were longer than waited.
func (l *load) longest(from, to time.Time) (longest time.Duration, many int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range l.seen {
		if due := t.due(); due.Before(from) || !due.Before(to) {
			continue
		}
		longest = max(longest, t.latency)
		if t.latency > waited {
			many++
		}
	}
	return longest, many
}
