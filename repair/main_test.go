package repair_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database"
	_ "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/ddl"
	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/internal/pg"
	"github.com/contraflow/contraflow/repair"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const (
	// patience is how long a condition may take on a machine busy with other tests.
	patience = time.Minute
	look     = 10 * time.Millisecond
)

type bundle struct {
	db    pgtest.Database
	pool  *pgxpool.Pool
	files *ddl.Files
}

func setup(t *testing.T, files map[string]string) bundle {
	t.Helper()
	db := pgtest.New(t)
	pool, err := pg.Open(t.Context(), db.DSN, pg.Settings{ApplicationName: "repair test"})
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return bundle{db: db, pool: pool, files: read(t, files)}
}

func read(t *testing.T, files map[string]string) *ddl.Files {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, body := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(body)}
	}
	all, err := ddl.ReadFiles(fsys)
	require.NoError(t, err)
	return all
}

func (b bundle) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	_, err := b.pool.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}

func one[T any](t *testing.T, b bundle, sql string, args ...any) (value T) {
	t.Helper()
	require.NoError(t, b.pool.QueryRow(t.Context(), sql, args...).Scan(&value))
	return value
}

// driver is golang-migrate's own, opened as its command line does.
func driver(t *testing.T, dsn, options string) database.Driver {
	t.Helper()
	_, rest, _ := strings.Cut(dsn, "://")
	if options != "" {
		separator := "?"
		if strings.Contains(rest, "?") {
			separator = "&"
		}
		rest += separator + options
	}
	d, err := database.Open("pgx5://" + rest)
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close() })
	return d
}

const multi = "x-multi-statement=true"

func (b bundle) stock(t *testing.T, options string) *migrate.Migrate {
	t.Helper()
	m, err := migrate.NewWithInstance("files", b.files.Source(), "pgx5", driver(t, b.db.DSN, options))
	require.NoError(t, err)
	return m
}

func (b bundle) inspect(t *testing.T) *repair.Report {
	t.Helper()
	r, err := repair.Inspect(t.Context(), b.pool, repair.Question{Files: b.files})
	require.NoError(t, err)
	return r
}

func (b bundle) do(t *testing.T, way repair.Way) (repair.Done, error) {
	t.Helper()
	return repair.Do(t.Context(), b.pool, repair.Order{Question: repair.Question{Files: b.files}, Way: way, By: "carol", Plan: "p"})
}

func (b bundle) refused(t *testing.T, way repair.Way, part string) {
	t.Helper()
	before := b.version(t)
	_, err := b.do(t, way)
	var refused *repair.RefusedError
	require.ErrorAs(t, err, &refused)
	require.ErrorContains(t, err, part)
	require.Equal(t, before, b.version(t))
}

func (b bundle) repaired(t *testing.T, way repair.Way, version string) repair.Done {
	t.Helper()
	done, err := b.do(t, way)
	require.NoError(t, err)
	require.Equal(t, version, b.version(t))
	b.refused(t, way, "Nothing to repair")
	return done
}

// version as the table has it.
func (b bundle) version(t *testing.T) string {
	t.Helper()
	return one[string](t, b, "select coalesce(string_agg(version || case when dirty then ' dirty' else '' end, ', '), 'none') from schema_migrations")
}

// goesOn takes the engine to the last version, and golang-migrate all the way down and up again.
func (b bundle) goesOn(t *testing.T) {
	t.Helper()
	require.NoError(t, pg.EnsureSchema(t.Context(), b.pool))
	engine := ddl.New(b.pool, b.files, ddl.Options{Plan: "p"})
	versions := b.files.Versions()
	for _, v := range versions {
		require.NoError(t, engine.Up(t.Context(), v, ""))
	}
	last := fmt.Sprint(versions[len(versions)-1])
	require.Equal(t, last, b.version(t))
	m := b.stock(t, "")
	require.NoError(t, m.Down())
	require.Equal(t, "none", b.version(t))
	require.NoError(t, m.Up())
	require.Equal(t, last, b.version(t))
}

// standings are the answers of the file that failed.
func standings(r *repair.Report) (all []repair.Standing) {
	for _, f := range r.Files {
		if f.Name == r.Failed {
			for _, st := range f.Statements {
				all = append(all, st.Standing)
			}
		}
	}
	return all
}

func (b bundle) superuser(t *testing.T) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), b.db.SuperDSN)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}
