package ddl

import (
	"context"
	"testing"

	"github.com/golang-migrate/migrate/v4"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
)

func (s *session) shows(t *testing.T, setting string) (value string) {
	t.Helper()
	require.NoError(t, s.conn.QueryRow(t.Context(), "select current_setting($1)", setting).Scan(&value))
	return value
}

// A process that stands still between two statements keeps the migration lock no longer than that; one that waits for a long
// statement keeps it.
func TestASessionThatStandsStillLosesTheMigrationLock(t *testing.T) {
	t.Parallel()
	b := setup(t, three)
	still, err := dial(t.Context(), b.pool, brief)
	require.NoError(t, err)
	defer still.close(t.Context())
	held, err := still.tryLock(t.Context())
	require.NoError(t, err)
	require.True(t, held)
	_, err = still.conn.Exec(t.Context(), "set idle_session_timeout = '200ms'; select pg_sleep(0.6)", pgx.QueryExecModeSimpleProtocol) // the same, sooner
	require.NoError(t, err, "a statement may last")
	require.NoError(t, b.engine("p").Up(t.Context(), 1, ""), "the lock is free in the end")
	require.Error(t, still.conn.Ping(t.Context()))
}

func TestASessionIsNoticedWhenItIsGone(t *testing.T) {
	t.Parallel()
	b := setup(t, three)
	config, err := pgxpool.ParseConfig(b.db.DSN)
	require.NoError(t, err)
	config.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) error {
		c.RuntimeParams["application_name"] = "as BeforeConnect has it"
		return nil
	}
	plain, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(plain.Close)
	attempt, err := dial(t.Context(), plain, brief)
	require.NoError(t, err)
	defer attempt.close(t.Context())
	opened, err := NewDriver(t.Context(), plain, DriverOptions{})
	require.NoError(t, err)
	defer opened.Close()
	for setting, want := range map[string][2]string{
		"client_connection_check_interval":    {"2s", "2s"},
		"idle_in_transaction_session_timeout": {"10s", "10s"},
		"idle_session_timeout":                {"30s", "0"}, // a caller of golang-migrate's may do nothing for long
		"tcp_keepalives_idle":                 {"10", "10"},
		"tcp_keepalives_interval":             {"5", "5"},
		"tcp_keepalives_count":                {"3", "3"},
		"tcp_user_timeout":                    {"30000", "30000"},
		"application_name":                    {"as BeforeConnect has it", "as BeforeConnect has it"},
	} {
		require.Equal(t, want, [2]string{attempt.shows(t, setting), opened.(*driver).session.shows(t, setting)}, setting)
	}
}

// The version that is written afterwards, a force and a drop are bounded as before.
func TestLockTimeoutHoldsAgainAfterAStatementWithoutIt(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{
		"1_a.up.sql": "create table a (n int); insert into a values (1), (1)",
		"2_b.up.sql": noTransactionHeader + "\ncreate unique index concurrently a_n on a (n)",
		"3_c.up.sql": "set lock_timeout = 0",
	})
	opened, err := NewDriver(t.Context(), b.pool, DriverOptions{LockTimeout: brief, AllowDrop: true})
	require.NoError(t, err)
	defer opened.Close()
	s := opened.(*driver).session
	m, err := migrate.NewWithInstance("files", b.files.Source(), "contraflow", opened)
	require.NoError(t, err)
	require.Error(t, m.Migrate(2))
	require.Equal(t, "100ms", s.shows(t, "lock_timeout"), "refused")
	b.exec(t, "delete from a")
	require.NoError(t, m.Migrate(2))
	require.Equal(t, "100ms", s.shows(t, "lock_timeout"), "done")

	require.NoError(t, m.Migrate(3))
	other := b.db.Connect(t)
	_, err = other.Exec(t.Context(), "begin; lock table schema_migrations")
	require.NoError(t, err)
	require.ErrorContains(t, m.Force(1), stateLockNotAvailable)
	_, err = s.conn.Exec(t.Context(), "set lock_timeout = 0")
	require.NoError(t, err)
	require.ErrorContains(t, m.Drop(), stateLockNotAvailable)
}
