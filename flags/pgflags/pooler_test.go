package pgflags_test

import (
	"bytes"
	"log/slog"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags/pgflags"
	"github.com/contraflow/contraflow/internal/devstack/pgbouncer"
)

// lines is a log of several goroutines.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Such a pooler gives one server connection to one client after the other.
func TestBehindAPoolerInTransactionModeReadersPoll(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, `insert into contraflow.flag (key) values ('f')`)
	pooled := pgbouncer.Start(t, b.db.DSN, pgbouncer.Options{Mode: pgbouncer.Transaction})
	log := &lines{}
	options := pgflags.Options{Poll: quick, Instance: "shop", Log: slog.New(slog.NewTextHandler(log, nil))}
	readers := []*pgflags.Reader{
		open(t, pgflags.Polling(pool(t, pooled)), options),
		open(t, pgflags.Polling(pool(t, pooled)), options),
		open(t, pgflags.Pool(pool(t, pooled)), options), // which hears nothing
	}
	for _, on := range []bool{true, false, true} {
		_, err := b.pool.Exec(t.Context(), `update contraflow.flag set is_on = $1`, on)
		require.NoError(t, err)
		for _, r := range readers {
			require.Eventually(t, func() bool { return r.Bool("f", "user", "a", !on) == on }, patience, tick)
		}
	}
	for _, r := range readers {
		require.NoError(t, r.Close())
	}
	require.Empty(t, log.String())
}

func TestAPollingReaderDoesNotListen(t *testing.T) {
	t.Parallel()
	b := setup(t)
	config, err := pgxpool.ParseConfig(b.db.DSN)
	require.NoError(t, err)
	config.MaxConns = 1
	own, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(own.Close)
	r := open(t, pgflags.Polling(own), pgflags.Options{Poll: quick})
	require.NoError(t, r.Refresh(t.Context()))
	require.True(t, b.listening(t, 0)())
	var statements int
	require.NoError(t, own.QueryRow(t.Context(), `select count(*) from pg_prepared_statements where statement like $1`, "%flag_list%").Scan(&statements))
	require.Zero(t, statements, "a pooler would give them to somebody else")
}
