package broadcast_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags/internal/broadcast"
)

func TestEveryListenerHearsOfWhatCameBeforeAndOfAllThatFollows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, end := context.WithCancel(t.Context())
		defer end()
		var b broadcast.Broadcast
		b.Tell()
		var state, first, second atomic.Int32
		for _, heard := range []*atomic.Int32{&first, &second} {
			go b.Watch(ctx, func() { heard.Store(state.Load()) })
		}
		for i := range int32(3) {
			synctest.Wait()
			require.Equal(t, []int32{i, i}, []int32{first.Load(), second.Load()})
			state.Add(1)
			b.Tell()
		}
		end()
		synctest.Wait()
		state.Add(1)
		b.Tell()
		synctest.Wait()
		require.LessOrEqual(t, first.Load(), int32(3))
	})
}

func TestWhatComesWhileAListenerIsBusyIsHeardBehindThat(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, end := context.WithCancel(t.Context())
		defer end()
		var b broadcast.Broadcast
		busy, calls := make(chan struct{}), 0
		go b.Watch(ctx, func() { calls++; <-busy })
		synctest.Wait()
		for range 3 {
			b.Tell()
		}
		busy <- struct{}{}
		synctest.Wait()
		require.Equal(t, 2, calls)
		close(busy)
		synctest.Wait()
		require.Equal(t, 2, calls, "three are one")
	})
}
