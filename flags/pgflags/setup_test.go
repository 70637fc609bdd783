package pgflags_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags/pgflags"
	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/internal/pg"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// bundle is a database with the table of flags.
type bundle struct {
	db   pgtest.Database
	pool *pgxpool.Pool
}

func setup(t *testing.T) bundle {
	t.Helper()
	b := bundle{db: pgtest.New(t)}
	b.pool = pool(t, b.db.DSN)
	require.NoError(t, pg.EnsureSchema(t.Context(), b.pool))
	return b
}

func pool(t *testing.T, dsn string) *pgxpool.Pool {
	t.Helper()
	p, err := pgxpool.New(t.Context(), dsn)
	require.NoError(t, err)
	t.Cleanup(p.Close)
	return p
}

func (b bundle) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	_, err := b.pool.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}

func open(t *testing.T, source pgflags.Source, options pgflags.Options) *pgflags.Reader {
	t.Helper()
	r, err := pgflags.Open(t.Context(), source, options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

// application is a role with these rights and no others.
func (b bundle) application(t *testing.T, grants ...string) (dsn string) {
	t.Helper()
	role := "app_" + b.db.Name
	require.NoError(t, pgtest.Cluster(t).CreateRole(t.Context(), role))
	for _, grant := range grants {
		b.exec(t, grant+" to "+role)
	}
	return pgtest.Cluster(t).DSN(role, b.db.Name)
}

// deaf is a source whose notifications never come, as behind a pooler.
type deaf struct{ pgflags.Source }

// broken fails while it is told to.
type broken struct {
	pgflags.Source
	fails *atomic.Bool
}

func (b broken) Text(ctx context.Context, query string, args ...any) (string, error) {
	if b.fails.Load() {
		return "", context.DeadlineExceeded
	}
	return b.Source.Text(ctx, query, args...)
}
