package ddl

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBetweenAttemptsNothingIsLocked(t *testing.T) {
	t.Parallel()
	b := setup(t, three)
	require.NoError(t, b.engine("p").Up(t.Context(), 1, ""))
	_, end := b.reading(t)
	defer end()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	view := b.db.Connect(t)
	pauses := 0
	e := New(b.pool, b.files, Options{Plan: "p", LockTimeout: brief, OnWait: func(w Waiting) {
		if w.RetryIn == 0 {
			return
		}
		// The pause doesn't begin before this returns, and a closed session's process needs a moment to end.
		for held := -1; held != 0 && ctx.Err() == nil; {
			if err := view.QueryRow(ctx, `select count(*) from pg_locks l join pg_stat_activity a using (pid)
				where a.datname = current_database() and a.application_name = 'ddl test' and l.pid <> pg_backend_pid()`).Scan(&held); err != nil {
				t.Error(err)
				return
			}
		}
		pauses++
		if w.Attempt == 3 {
			cancel()
		}
	}})
	require.ErrorIs(t, e.Up(ctx, 2, ""), context.Canceled)
	require.Equal(t, 3, pauses)
}

// Behind a reader who stays, what the application feels of the change is one lock_timeout at a time, while it makes many attempts:
// behind each of them everybody gets through.
func TestTheApplicationWaitsOneLockTimeoutAtATime(t *testing.T) {
	t.Parallel()
	b := setup(t, three)
	require.NoError(t, b.engine("p").Up(t.Context(), 1, ""))
	_, end := b.reading(t)
	const (
		lockTimeout = time.Second
		attempts    = 4
		clients     = 4
	)
	ctx, cancel := context.WithCancel(t.Context())
	var (
		mu      sync.Mutex
		longest time.Duration
		group   sync.WaitGroup
	)
	passes, made := make(chan int), make(chan bool, 1)
	for i := range clients {
		client := b.db.Connect(t)
		group.Go(func() {
			for ctx.Err() == nil {
				asked := time.Now()
				_, err := client.Exec(t.Context(), "select count(*) from a")
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				longest = max(longest, time.Since(asked))
				mu.Unlock()
				select {
				case passes <- i:
				default:
				}
			}
		})
	}
	result := make(chan error, 1)
	go func() {
		result <- New(b.pool, b.files, Options{Plan: "p", LockTimeout: lockTimeout, OnWait: func(w Waiting) {
			if w.RetryIn == 0 || w.Attempt > attempts {
				return
			}
			stuck := time.After(patience) // the next attempt doesn't begin before this returns
			for passed := map[int]bool{}; len(passed) < clients; {
				select {
				case i := <-passes:
					passed[i] = true
				case <-stuck:
					t.Errorf("behind attempt %d only %d of %d got through", w.Attempt, len(passed), clients)
					return
				}
			}
			if w.Attempt == attempts {
				made <- true
			}
		}}).Up(t.Context(), 2, "")
	}()
	select {
	case <-made:
	case <-time.After(2 * patience):
		t.Error("it makes no attempts")
	}
	end()
	require.NoError(t, <-result)
	cancel()
	group.Wait()
	require.Greater(t, longest, lockTimeout/2, "the test sees waits")
}
