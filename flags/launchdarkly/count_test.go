package launchdarkly_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
)

// counts are by how much the versions that SDKs are told differ from the API's.
func counts() []int { return []int{0, 100, -100} }

func TestStatesTellTheVersionThatApplicationsSee(t *testing.T) {
	t.Parallel()
	for _, ahead := range counts() {
		t.Run(fmt.Sprint(ahead), func(t *testing.T) {
			t.Parallel()
			b := counting(t, ahead)
			off, err := b.provider.Get(t.Context(), plain)
			require.NoError(t, err)
			state, err := b.apply(t, b.provider, 50)
			require.NoError(t, err)
			require.Equal(t, state.Version+ahead, state.SeenAs())
			require.Equal(t, ahead == 0, state.Served == 0)
			require.Equal(t, off.Version+1, state.Version)
			restored, err := b.provider.Restore(t.Context(), plain, off, state, note, nil)
			require.NoError(t, err)
			require.Equal(t, state.SeenAs()+1, restored.SeenAs())
		})
	}
}

// A Relay Proxy that has lost its stream shows what it had; that this was once the same as now says nothing of applications.
func TestARestorationIsNotSeenInWhatWasBeforeTheChange(t *testing.T) {
	t.Parallel()
	for _, ahead := range counts() {
		t.Run(fmt.Sprint(ahead), func(t *testing.T) {
			t.Parallel()
			b, relay := counting(t, ahead), counting(t, ahead)
			before, err := b.provider.Get(t.Context(), plain)
			require.NoError(t, err)
			ours, err := b.apply(t, b.provider, 100)
			require.NoError(t, err)
			b.config.StreamURL, b.config.ReadBack = relay.server.URL(), 500*time.Millisecond
			provider := b.open(t, b.config)
			for range 2 { // the flag is put back by then, and still not seen to be
				_, err = provider.Restore(t.Context(), plain, before, ours, "", nil)
				require.ErrorContains(t, err, "an older version")
				require.False(t, flags.Permanent(err))
			}
			for _, percent := range []int{100, 0} { // the relay hears again
				_, err = relay.apply(t, relay.provider, percent)
				require.NoError(t, err)
			}
			restored, err := provider.Restore(t.Context(), plain, before, ours, "", nil)
			require.NoError(t, err)
			require.Equal(t, restored.Version+ahead, restored.SeenAs())
		})
	}
}

// Whoever has not looked before the change goes by the API's version, and does not wait for ever where SDKs are told lower ones.
func TestAChangeBeforeWhichNobodyLookedIsSeen(t *testing.T) {
	t.Parallel()
	for _, ahead := range counts() {
		for name, act := range map[string]func(*testing.T, bundle) (flags.State, error){
			"made by another process": func(t *testing.T, b bundle) (flags.State, error) {
				ctx, kill := context.WithCancel(t.Context())
				b.wire.onPatch = func(*http.Response) error {
					kill()
					return context.Canceled
				}
				_, err := b.provider.Apply(ctx, plain, flags.Change{Percent: 100}, "", nil)
				require.ErrorIs(t, err, context.Canceled)
				return b.apply(t, b.open(t, b.config), 100)
			},
			"urgent": func(t *testing.T, b bundle) (flags.State, error) {
				b.instruct(t, plain, `{"kind": "turnFlagOn"}`)
				return b.provider.Apply(flags.Urgent(t.Context()), plain, flags.Change{}, "", nil)
			},
		} {
			t.Run(fmt.Sprint(name, " ", ahead), func(t *testing.T) {
				t.Parallel()
				b := counting(t, ahead)
				b.config.ReadBack = time.Minute
				if ahead < 0 {
					b.config.ReadBack = 500 * time.Millisecond
				}
				b.provider = b.open(t, b.config)
				state, err := act(t, b)
				require.NoError(t, err)
				require.Equal(t, state.Version+ahead, state.SeenAs())
			})
		}
	}
}

func TestAStreamThatDoesNotAnswerDelaysNoChangeForLong(t *testing.T) {
	t.Parallel()
	b, down := setup(t), setup(t)
	require.NoError(t, down.server.Close())
	b.config.StreamURL, b.config.ReadBack = down.server.URL(), time.Hour
	provider, made := b.open(t, b.config), make(chan struct{})
	b.wire.onPatch = func(*http.Response) error {
		close(made)
		return nil
	}
	ctx, stop := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		_, err := provider.Apply(ctx, plain, flags.Change{Percent: 50}, "", nil)
		result <- err
	}()
	<-made
	stop()
	require.ErrorIs(t, <-result, context.Canceled)
	require.True(t, b.environment(t, plain).On)
}

// What is looked up before a change holds for all attempts at it: people may take days to approve it.
func TestTheStreamIsLookedAtOnceBeforeAChange(t *testing.T) {
	t.Parallel()
	b, p := petitioner(t)
	for range 3 {
		_, err := b.apply(t, p, 50)
		requireWaiting(t, err)
	}
	b.server.Review(plain, "erika", "approve")
	_, err := b.apply(t, p, 50)
	require.NoError(t, err)
	require.Equal(t, 2, b.server.Streams(), "before and after")
}

// What was seen once says nothing of the flag when it has been otherwise in between.
func TestWhatWasSeenOnceIsNotTakenForTheNextTime(t *testing.T) {
	t.Parallel()
	b, relay := setup(t), setup(t)
	b.config.StreamURL, b.config.ReadBack = relay.server.URL(), time.Hour
	p := b.open(t, b.config)
	_, err := p.Apply(t.Context(), plain, flags.Change{}, "", nil) // it is off, and seen to be
	require.NoError(t, err)
	b.instruct(t, plain, `{"kind": "turnFlagOn"}`) // of which the relay hears nothing
	ctx, cancel := context.WithTimeout(flags.Urgent(t.Context()), time.Second)
	defer cancel()
	_, err = p.Apply(ctx, plain, flags.Change{}, "", nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.False(t, b.environment(t, plain).On)
}
