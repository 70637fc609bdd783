package retry_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/internal/retry"
)

func TestPassingTroubleIsRidden(t *testing.T) {
	t.Parallel()
	calls := 0
	out, err := retry.Do(t.Context(), "the flag service", func() (int, error) {
		if calls++; calls < 3 {
			return 0, flags.ErrConflict
		}
		return calls, nil
	})
	require.NoError(t, err)
	require.Equal(t, 3, out)
}

func TestWhatStaysWrongIsTriedOnceOrNotForEver(t *testing.T) {
	t.Parallel()
	passing := errors.New("connection refused")
	for _, c := range []struct {
		err   error
		calls int
	}{{flags.ErrStranger, 1}, {passing, 5}, {&flags.RateLimited{Until: time.Now().Add(time.Hour)}, 1}} {
		calls := 0
		_, err := retry.Do(t.Context(), "the flag service", func() (int, error) {
			calls++
			return 0, c.err
		})
		require.ErrorIs(t, err, c.err)
		require.Equal(t, c.calls, calls, "%v", c.err)
	}
}

func TestNobodyWaitsForALimitBeyondTheDeadline(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	limited := &flags.RateLimited{Until: time.Now().Add(30 * time.Second)}
	_, err := retry.Do(ctx, "the flag service", func() (int, error) { return 0, limited })
	require.ErrorIs(t, err, limited)
	require.NoError(t, ctx.Err())
}

func TestALimitThatEndsIsWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		until, calls := time.Now().Add(200*time.Millisecond), 0
		var told []string
		ctx := flags.Telling(t.Context(), func(waiting string) { told = append(told, waiting) })
		_, err := retry.Do(ctx, "the flag service", func() (int, error) {
			if calls++; calls == 1 {
				return 0, &flags.RateLimited{Until: until}
			}
			require.False(t, time.Now().Before(until))
			return 0, nil
		})
		require.NoError(t, err)
		require.Equal(t, 2, calls)
		require.Equal(t, []string{"the flag service limits requests until " + until.UTC().Format(time.RFC3339), ""}, told)
	})
}

func TestTheEndOfTheContextIsTheEnd(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	_, err := retry.Do(ctx, "the flag service", func() (int, error) {
		if calls++; calls == 2 {
			cancel()
		}
		return 0, flags.ErrConflict
	})
	require.ErrorIs(t, err, flags.ErrConflict)
	require.Equal(t, 2, calls)
}
