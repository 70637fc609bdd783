package app

import (
	"bytes"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/ledger"
	"github.com/contraflow/contraflow/internal/pg"
)

const (
	patience = time.Minute
	look     = 5 * time.Millisecond
)

// Locks of a migration are what makes requests hold all connections.
func TestAnInstanceWhosePoolIsBusyIsHeard(t *testing.T) {
	t.Parallel()
	b := setup(t, 1)
	require.NoError(t, pg.EnsureSchema(t.Context(), b.pool))
	for range b.pool.Config().MaxConns {
		conn, err := b.pool.Acquire(t.Context())
		require.NoError(t, err)
		defer conn.Release()
	}
	stop, err := AttestFlags(t.Context(), b.pool, b.flags, "shop-1", time.Second, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	owner, err := pg.Open(t.Context(), b.db.DSN, pg.Settings{})
	require.NoError(t, err)
	defer owner.Close()
	heard := func(instances int) func() bool {
		return func() bool {
			all, err := ledger.New(owner).Attestations(t.Context(), WriteNewFlag, time.Hour, time.Time{})
			return err == nil && len(all) == instances
		}
	}
	require.Eventually(t, heard(1), patience, look)
	stop()
	require.Eventually(t, heard(0), patience, look, "it has said goodbye: silence alone takes an hour")
}

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

func (l *lines) has(text string) func() bool {
	return func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return bytes.Contains(l.text.Bytes(), []byte(text))
	}
}

func TestTheLogSaysWhyNothingIsAttestedAndKeepsTheDriversWordsOut(t *testing.T) {
	t.Parallel()
	b := setup(t, 1)
	log := &lines{}
	stop, err := AttestFlags(t.Context(), b.pool, b.flags, "shop-1", time.Second, slog.New(slog.NewTextHandler(log, nil)))
	require.NoError(t, err)
	require.Eventually(t, log.has("attest: report the flags: SQLSTATE 3F000"), patience, look, "contraflow has not been here yet")
	stop()
	require.False(t, log.has("does not exist")())

	stop, err = AttestFlags(t.Context(), b.pool, nil, "shop-1", time.Second, slog.New(slog.NewTextHandler(log, nil)))
	require.NoError(t, err)
	defer stop()
	require.Eventually(t, log.has("attest: look at the flags: panic: "), patience, look)
	require.Eventually(t, log.has("attest: watch the flags: panic: "), patience, look)
}
