package pgflags_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags/pgflags"
)

// unheard is a database that can be read, if not away, and where listening ends at once, with an error.
type unheard struct {
	scripted
	away     atomic.Bool
	err      error
	listened atomic.Int32
}

func (u *unheard) Text(ctx context.Context, query string, args ...any) (string, error) {
	if u.away.Load() {
		return "", errors.New("away")
	}
	return u.scripted.Text(ctx, query, args...)
}

func (u *unheard) Listen(context.Context, string, func()) error {
	u.listened.Add(1)
	return u.err
}

func TestAReadReplicaIsAskedToListenNowAndThen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := &unheard{err: &pgconn.PgError{Code: "25006", Message: "cannot execute LISTEN during recovery"}}
		r, err := pgflags.Open(t.Context(), source, pgflags.Options{})
		require.NoError(t, err)
		<-time.After(time.Hour + time.Minute) // of the bubble's clock
		require.NoError(t, r.Close())
		require.EqualValues(t, 13, source.listened.Load(), "each takes a connection out of the application's pool, and a line of the server's log")
	})
}

func TestWhoPollsSeldomStillComesBackSoon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := &unheard{err: errors.New("the server restarts")}
		source.away.Store(true)
		r, err := pgflags.Open(t.Context(), source, pgflags.Options{Poll: time.Hour})
		require.Error(t, err)
		defer r.Close()
		<-time.After(time.Minute + time.Second)
		require.EqualValues(t, 7, source.listened.Load())
		source.away.Store(false)
		<-time.After(pgflags.DefaultPoll)
		require.True(t, r.Ready())
		require.False(t, r.Stale())
		require.Len(t, source.looks(), 1, "and polls seldom then")
		<-time.After(time.Hour)
		require.Len(t, source.looks(), 2)
	})
}
