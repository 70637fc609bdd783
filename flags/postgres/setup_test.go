package postgres_test

import (
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/flagstest"
	"github.com/contraflow/contraflow/flags/pgflags"
	"github.com/contraflow/contraflow/flags/postgres"
	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/internal/pg"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const (
	plain = "plain"
	// patience for what takes milliseconds.
	patience = time.Minute
	tick     = time.Millisecond
)

// bundle is a database with one provider.
type bundle struct {
	db       pgtest.Database
	pool     *pgxpool.Pool
	provider *postgres.Provider
}

func setup(t *testing.T) bundle {
	t.Helper()
	b := bundle{db: pgtest.New(t)}
	b.provider = open(t, b.db.DSN)
	pool, err := pg.Open(t.Context(), b.db.DSN, pg.Settings{})
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	b.pool = pool
	require.NoError(t, b.provider.Create(t.Context(), plain, flags.NewFlag{}))
	return b
}

func open(t *testing.T, dsn string) *postgres.Provider {
	t.Helper()
	p, err := postgres.Open(t.Context(), dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p
}

func (b bundle) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	_, err := b.pool.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}

// furnish inserts the flag as a person does.
func (b bundle) furnish(t *testing.T, key string) {
	t.Helper()
	b.exec(t, `insert into contraflow.flag (key, is_on, percent, targets, salt)
		values ($1, true, 25, '{"user": {"false": ["user-1"]}, "device": {"true": ["phone"]}, "empty": {}}', 'pepper')`, key)
}

// reader is an application's; only notifications can bring it a change within a test.
func (b bundle) reader(t *testing.T, pool *pgxpool.Pool) *pgflags.Reader {
	t.Helper()
	r, err := pgflags.Open(t.Context(), pgflags.Pool(pool), pgflags.Options{Poll: time.Hour})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

// inMemory is an application with a Reader.
type inMemory struct{ reader *pgflags.Reader }

func (a inMemory) Bool(key, kind, contextKey string) (value, ok bool) {
	e := a.reader.Evaluate(key, kind, contextKey, false)
	return e.Value, e.Found()
}

func (a inMemory) Version(key string) (version int, ok bool) {
	e := a.reader.Evaluate(key, "", "anybody", false)
	return e.Version, e.Found()
}

func (b bundle) fixture(t *testing.T, application func(*testing.T) flagstest.Reader) flagstest.Fixture {
	b.furnish(t, "furnished")
	return flagstest.Fixture{
		Provider: b.provider, Plain: plain, Furnished: "furnished", KindAlone: true,
		Exempt: []flagstest.Exempt{
			{ContextKind: "user", ContextKey: "user-1", Value: false},
			{ContextKind: "device", ContextKey: "phone", Value: true},
		},
		Told:        map[int][]string{1: {"2 targets"}, 100: {"1 target"}},
		Application: application,
		Target: func(t *testing.T, key, user string) {
			b.exec(t, `update contraflow.flag set targets = jsonb_build_object('user', jsonb_build_object('true', array[$2::text])) where key = $1`,
				key, user)
		},
	}
}

func TestConformanceOverTheGoReader(t *testing.T) {
	t.Parallel()
	flagstest.Run(t, func(t *testing.T) flagstest.Fixture {
		b := setup(t)
		return b.fixture(t, func(t *testing.T) flagstest.Reader { return inMemory{b.reader(t, b.pool)} })
	})
}

// insisting tries again where somebody has held the row for longer than a provider waits, as a step does.
func insisting(try func() error) error {
	for {
		if err := try(); !errors.Is(err, flags.ErrConflict) {
			return err
		}
	}
}
