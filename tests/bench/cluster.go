package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sys/unix"

	"github.com/contraflow/contraflow/internal/devstack/postgres"
	"github.com/contraflow/contraflow/internal/pg"
)

const (
	// owner of the databases; contraflow needs no superuser.
	owner = "bench"
	// database in which everything is measured; dropped and made anew for every run.
	database = "run"
)

// settings of the cluster that are not Postgres' own defaults. fsync and autovacuum are as they come.
func settings() map[string]string {
	return map[string]string{
		"shared_buffers": "512MB", // the default 128MB is for machines of twenty years ago; the table of a million rows fits
		"max_wal_size":   "4GB",   // with the default 1GB a run would pay for a checkpoint or not, by chance
		"min_wal_size":   "2GB",   // more than a run writes: with the default 80MB it would make new WAL files or not, by chance
	}
}

// bench is what the sections work with.
type bench struct {
	options   options
	cluster   *postgres.Cluster
	admin     *pgxpool.Pool // as superuser
	folder    string
	pgbench   string
	templates map[string]bool
	strategy  string // how a database is copied fastest
	results   *results
	began     time.Time
}

func start(ctx context.Context, o options) (*bench, error) {
	pgbench, err := findPgbench()
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "contraflow-bench-")
	if err != nil {
		return nil, err
	}
	b := &bench{options: o, folder: folder, pgbench: pgbench, templates: map[string]bool{}, results: newResults(), began: time.Now()}
	if b.cluster, err = postgres.Start(ctx, postgres.Options{Settings: settings()}); err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	if err := b.open(ctx); err != nil {
		b.stop()
		return nil, err
	}
	return b, nil
}

func (b *bench) open(ctx context.Context) (err error) {
	if err := b.cluster.CreateRole(ctx, owner); err != nil {
		return err
	}
	if b.admin, err = pgxpool.New(ctx, b.cluster.DSN(postgres.Superuser, "postgres")); err != nil {
		return err
	}
	var version int
	if err := b.admin.QueryRow(ctx, "select current_setting('server_version_num')::int").Scan(&version); err != nil {
		return err
	}
	if version >= 150000 { // before, there was no other way
		b.strategy = " strategy file_copy"
	}
	return nil
}

func (b *bench) stop() {
	if b.admin != nil {
		b.admin.Close()
	}
	b.cluster.Stop()
	_ = os.RemoveAll(b.folder) // left-overs of a temporary folder hurt nobody
}

// say tells a person on stderr what goes on.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%4.0f s  %s\n", time.Since(b.began).Seconds(), fmt.Sprintf(format, args...))
}

// errNoPgbench says what to install.
var errNoPgbench = errors.New("no pgbench beside Postgres' other programs: on Debian and Ubuntu it comes with apt-get install postgresql (postgresql-contrib before version 10), elsewhere with the contrib package")

// findPgbench looks where the server is, then on PATH.
func findPgbench() (string, error) {
	bin, err := postgres.Binaries()
	if err != nil {
		return "", err
	}
	path := filepath.Join(bin, "pgbench")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if path, err = exec.LookPath("pgbench"); err != nil {
		return "", errNoPgbench
	}
	return path, nil
}

// machine describes what was measured on.
func (b *bench) machine(ctx context.Context) (string, error) {
	var version string
	if err := b.admin.QueryRow(ctx, "select 'PostgreSQL ' || current_setting('server_version')").Scan(&version); err != nil {
		return "", err
	}
	var system unix.Sysinfo_t
	if err := unix.Sysinfo(&system); err != nil {
		return "", err
	}
	gib := float64(system.Totalram) * float64(system.Unit) / (1 << 30)
	var changed []string
	for name, value := range settings() {
		changed = append(changed, name+" = "+value)
	}
	slices.Sort(changed)
	return fmt.Sprintf("%d × %s, %.0f GiB, %s/%s, %s, %s; %s, all else by default (fsync on, autovacuum on)",
		runtime.NumCPU(), processor(), gib, runtime.GOOS, runtime.GOARCH, version, runtime.Version(), strings.Join(changed, ", ")), nil
}

// processor is its name, as far as the machine tells.
func processor() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "CPU"
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, value, found := strings.Cut(lines.Text(), ":"); found && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "CPU"
}

// target is the database under measurement: a copy of a template, as it is before every run.
type target struct {
	dsn  string
	pool *pgxpool.Pool // as the worker's pool for lanes
}

// Timeouts of the lanes' connections are those of the worker.
const (
	lockTimeout      = time.Second
	statementTimeout = 30 * time.Second
	// laneConns are enough for all lanes and whoever watches them.
	laneConns = 10
)

// fresh copies a template, so that every run begins with the same files, warm caches and an empty WAL.
func (b *bench) fresh(ctx context.Context, s shape, rows int64) (*target, error) {
	template, err := b.template(ctx, s, rows)
	if err != nil {
		return nil, err
	}
	if err := b.cluster.DropDatabase(ctx, database); err != nil {
		return nil, err
	}
	if _, err := b.admin.Exec(ctx, "create database "+database+" owner "+owner+" template "+template+b.strategy); err != nil {
		return nil, fmt.Errorf("copy the table: %w", err)
	}
	t := &target{dsn: b.cluster.DSN(owner, database)}
	if t.pool, err = pg.Open(ctx, t.dsn, pg.Settings{
		ApplicationName: "contraflow backfill", LockTimeout: lockTimeout, StatementTimeout: statementTimeout, MaxConns: laneConns,
	}); err != nil {
		return nil, err
	}
	if err := b.settle(ctx, s, t); err != nil {
		t.close()
		return nil, fmt.Errorf("warm the table up: %w", err)
	}
	return t, nil
}

func (b *bench) settle(ctx context.Context, s shape, t *target) error {
	if err := s.warm(ctx, t.dsn); err != nil {
		return err
	}
	if err := t.pool.Ping(ctx); err != nil {
		return err
	}
	_, err := b.admin.Exec(ctx, "checkpoint")
	return err
}

func (t *target) close() { t.pool.Close() }

// number is the one number that a query returns.
func (t *target) number(ctx context.Context, query string) (n int64, err error) {
	if err = t.pool.QueryRow(ctx, query).Scan(&n); err != nil {
		return 0, fmt.Errorf("%s: %w", query, err)
	}
	return n, nil
}
