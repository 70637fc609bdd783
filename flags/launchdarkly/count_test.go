package launchdarkly_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/launchdarkly"
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

// begun is an attempt that goes on.
type begun struct {
	stop   context.CancelFunc
	result chan error
}

func begin(t *testing.T, attempt func(context.Context) error) begun {
	ctx, stop := context.WithCancel(t.Context())
	out := begun{stop, make(chan error, 1)}
	go func() { out.result <- attempt(ctx) }()
	return out
}

// requireReading waits until an attempt reads back.
func (b begun) requireReading(t *testing.T, relay bundle, streams int) {
	t.Helper()
	require.Eventually(t, func() bool { return relay.server.Streams() >= streams }, time.Minute, time.Millisecond)
}

// requireUnseen waits for longer than a lower version has to stay.
func (b begun) requireUnseen(t *testing.T, relay bundle, streams int) {
	t.Helper()
	b.requireReading(t, relay, streams)
	require.Never(t, func() bool { return len(b.result) > 0 }, 1500*time.Millisecond, 50*time.Millisecond)
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
			b.config.StreamURL, b.config.ReadBack = relay.server.URL(), time.Hour
			provider := b.open(t, b.config)
			var restored flags.State
			restore := func(ctx context.Context) (err error) {
				restored, err = provider.Restore(ctx, plain, before, ours, "", nil)
				return err
			}
			first := begin(t, restore)
			first.requireReading(t, relay, 2)
			first.stop()
			require.ErrorIs(t, <-first.result, context.Canceled)
			second := begin(t, restore) // the flag is put back by then, and still not seen to be
			second.requireUnseen(t, relay, 3)
			for _, percent := range []int{100, 0} { // the relay hears again
				_, err = relay.apply(t, relay.open(t, relay.config), percent)
				require.NoError(t, err)
			}
			require.NoError(t, <-second.result)
			require.Equal(t, restored.Version+ahead, restored.SeenAs())
		})
	}
}

// What was not made behind a look of this provider's may have been shown for long, whoever made it and when. No attempt waits for more.
func TestWhatIsShownAlreadyIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	change := flags.Change{Percent: 50}
	for name, act := range map[string]func(*testing.T, bundle) (flags.State, error){
		"made before": func(t *testing.T, b bundle) (flags.State, error) {
			_, err := b.apply(t, b.open(t, b.config), change.Percent)
			require.NoError(t, err)
			return b.apply(t, b.provider, change.Percent)
		},
		"made by another process": func(t *testing.T, b bundle) (flags.State, error) {
			ctx, kill := context.WithCancel(t.Context())
			b.wire.onPatch = func(*http.Response) error {
				kill()
				return context.Canceled
			}
			_, err := b.provider.Apply(ctx, plain, change, "", nil)
			require.ErrorIs(t, err, context.Canceled)
			return b.apply(t, b.open(t, b.config), change.Percent)
		},
		"made by an attempt that was cut off": func(t *testing.T, b bundle) (flags.State, error) {
			ctx, stop := context.WithCancel(t.Context())
			b.wire.onPatch = func(*http.Response) error {
				stop()
				return context.Canceled
			}
			_, err := b.provider.Apply(ctx, plain, change, "", nil)
			require.ErrorIs(t, err, context.Canceled)
			return b.apply(t, b.provider, change.Percent)
		},
		"made between the read and the look": func(t *testing.T, b bundle) (flags.State, error) {
			b.behind(t, 1, func() {
				_, err := b.apply(t, b.elsewhere(t), change.Percent)
				require.NoError(t, err)
			})
			return b.apply(t, b.provider, change.Percent)
		},
		"made between the look and the change": func(t *testing.T, b bundle) (flags.State, error) {
			b.behind(t, 2, func() {
				_, err := b.apply(t, b.elsewhere(t), change.Percent)
				require.NoError(t, err)
			})
			return b.apply(t, b.provider, change.Percent)
		},
		"made and unmade by people behind a look": func(t *testing.T, b bundle) (flags.State, error) {
			_, err := b.provider.Apply(t.Context(), plain, change, "", refuse)
			require.ErrorIs(t, err, errRefused)
			for _, percent := range []int{50, 0, 50} {
				_, err = b.apply(t, b.elsewhere(t), percent)
				require.NoError(t, err)
			}
			return b.apply(t, b.provider, change.Percent)
		},
		"deleted and made again behind a look": func(t *testing.T, b bundle) (flags.State, error) {
			for percent := range 5 {
				_, err := b.apply(t, b.provider, 1+percent)
				require.NoError(t, err)
			}
			_, err := b.provider.Apply(t.Context(), plain, change, "", refuse)
			require.ErrorIs(t, err, errRefused)
			b.rest(t, http.MethodDelete, "/api/v2/flags/shop/"+plain, "")
			require.NoError(t, b.server.CreateFlag(plain))
			return b.apply(t, b.provider, change.Percent)
		},
		"urgent": func(t *testing.T, b bundle) (flags.State, error) {
			b.instruct(t, plain, `{"kind": "turnFlagOn"}`)
			return b.provider.Apply(flags.Urgent(t.Context()), plain, flags.Change{}, "", nil)
		},
	} {
		for _, ahead := range counts() {
			t.Run(fmt.Sprint(name, " ", ahead), func(t *testing.T) {
				t.Parallel()
				b := counting(t, ahead)
				b.config.ReadBack = time.Hour
				b.provider = b.open(t, b.config)
				state, err := act(t, b)
				require.NoError(t, err)
				require.Equal(t, state.Version+ahead, state.SeenAs())
			})
		}
	}
}

var errRefused = fmt.Errorf("not any more: %w", flags.ErrInvalid) // so it is not tried again

func refuse(context.Context, flags.State) error { return errRefused }

// behind does something when the nth answer of the API is there, and before the provider has it.
func (b bundle) behind(t *testing.T, nth int, do func()) {
	t.Helper()
	b.wire.instead = func(r *http.Request) *http.Response {
		if nth--; nth != 0 {
			return nil
		}
		response, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			return nil
		}
		do()
		return response
	}
}

// elsewhere is a provider of another process.
func (b bundle) elsewhere(t *testing.T) *launchdarkly.Provider {
	t.Helper()
	b.config.HTTPClient = http.DefaultClient
	return b.open(t, b.config)
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
	_, err := b.apply(t, p, 0) // it is off, and seen to be
	require.NoError(t, err)
	b.instruct(t, plain, `{"kind": "turnFlagOn"}`) // of which the relay hears nothing
	off := begin(t, func(ctx context.Context) error {
		_, err := p.Apply(ctx, plain, flags.Change{}, "", nil)
		return err
	})
	off.requireUnseen(t, relay, 3)
	require.False(t, b.environment(t, plain).On)
	relay.instruct(t, plain, `{"kind": "turnFlagOn"}`)
	relay.instruct(t, plain, `{"kind": "turnFlagOff"}`)
	require.NoError(t, <-off.result)
}
