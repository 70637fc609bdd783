package ddl

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/internal/pg"
)

const (
	childFolder = "DDL_TEST_FOLDER" // set: this process is a child that applies the files of this folder
	childDSN    = "DDL_TEST_DSN"
	// childDirection is up for all versions of the folder, down for its last; up if empty.
	childDirection = "DDL_TEST_DIRECTION"
	killedPlan     = "killed"
)

func TestMain(m *testing.M) {
	if folder := os.Getenv(childFolder); folder != "" {
		to := Direction(cmp.Or(os.Getenv(childDirection), string(Up)))
		if err := run(context.Background(), os.Getenv(childDSN), folder, to); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	pgtest.Main(m)
}

func applyAll(ctx context.Context, dsn, folder string) error {
	return withEngine(ctx, dsn, folder, func(e *Engine, versions []uint) error {
		for _, version := range versions {
			if err := e.Up(ctx, version, ""); err != nil {
				return err
			}
		}
		return nil
	})
}

func withEngine(ctx context.Context, dsn, folder string, work func(e *Engine, versions []uint) error) error {
	pool, err := pg.Open(ctx, dsn, pg.Settings{})
	if err != nil {
		return err
	}
	defer pool.Close()
	files, err := ReadFiles(os.DirFS(folder))
	if err != nil {
		return err
	}
	return work(New(pool, files, Options{Plan: killedPlan}), files.Versions())
}

const (
	// patience is how long a condition may take on a machine busy with other tests.
	patience = time.Minute
	look     = 10 * time.Millisecond
	// brief is a lock_timeout that keeps tests short and still lets a wait be seen.
	brief = 100 * time.Millisecond
	// longEnough is one whose wait is seen even if the machine stands still for a while.
	longEnough = 8 * time.Second
)

type bundle struct {
	db    pgtest.Database
	pool  *pgxpool.Pool
	conn  *pgx.Conn // the test's own view of the database
	files *Files
}

func setup(t *testing.T, files map[string]string) bundle {
	t.Helper()
	db := pgtest.New(t)
	pool, err := pg.Open(t.Context(), db.DSN, pg.Settings{ApplicationName: "ddl test"})
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	require.NoError(t, pg.EnsureSchema(t.Context(), pool))
	return bundle{db: db, pool: pool, conn: db.Connect(t), files: read(t, files)}
}

func read(t *testing.T, files map[string]string) *Files {
	t.Helper()
	all, err := ReadFiles(folder(files))
	require.NoError(t, err)
	return all
}

func folder(files map[string]string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for name, body := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(body)}
	}
	return fsys
}

func (b bundle) engine(plan string) *Engine {
	return New(b.pool, b.files, Options{Plan: plan, LockTimeout: brief})
}

// unafraid is an engine to which no transaction is old, however long the test takes: its statements begin, and wait with their
// work begun.
func (b bundle) unafraid(o Options) *Engine {
	e := New(b.pool, b.files, o)
	e.old = time.Hour
	return e
}

func (b bundle) requireState(t *testing.T, want State) {
	t.Helper()
	got, err := b.engine("any").State(t.Context())
	require.NoError(t, err)
	require.Equal(t, want, got)
}

func (b bundle) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	_, err := b.conn.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}

// one reads a single value.
func one[T any](t *testing.T, b bundle, sql string, args ...any) (value T) {
	t.Helper()
	require.NoError(t, b.conn.QueryRow(t.Context(), sql, args...).Scan(&value))
	return value
}

func (b bundle) has(t *testing.T, relation string) bool {
	t.Helper()
	return one[bool](t, b, "select to_regclass($1) is not null", relation)
}

func at(version uint) State { return State{Version: version, Exists: true} }

var three = map[string]string{
	"001_a.up.sql":   "create table a (id int primary key); insert into a select generate_series(1, 10);",
	"001_a.down.sql": "drop table a;",
	"002_b.up.sql":   "alter table a add column b text;",
	"002_b.down.sql": "alter table a drop column b;",
	"004_c.up.sql":   "create table c ();",
	"004_c.down.sql": "drop table c;",
}
