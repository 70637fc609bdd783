package launchdarkly_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/devstack/flagserver"
)

func TestAServiceThatDoesNotHonourConditionsIsNotTrustedWithOne(t *testing.T) {
	t.Parallel()
	for taken, probes := range map[flagserver.JSONPatches]int{flagserver.Untested: 1, flagserver.Refused: 2} {
		t.Run(fmt.Sprint(taken), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.server.TakeJSONPatches(taken)
			version := b.environment(t, plain).Version
			for i, percent := range []int{50, 100, 0} {
				_, err := b.apply(t, b.provider, percent)
				require.NoError(t, err)
				require.Equal(t, version+i+1, b.environment(t, plain).Version)
			}
			require.Len(t, b.wire.patches(), 3)
			require.Empty(t, b.wire.conditional())
			require.Len(t, b.wire.probes(), probes, "it is asked once")
		})
	}
}

// probed answers the nth probe, from 0.
func (w *wire) probed(nth int, answer func() *http.Response) {
	w.probe = func(*http.Request) *http.Response {
		if nth--; nth == -1 {
			return answer()
		}
		return nil
	}
}

func TestPassingTroubleProvesNothing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ nth, status int }{
		{0, 401}, {0, 403}, {0, 404}, {0, 405}, {0, 429}, {0, 500}, {1, 409}, {1, 503}, {2, 429}, {2, 502},
	} {
		t.Run(fmt.Sprint(c.nth, " ", c.status), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.wire.probed(c.nth, func() *http.Response { return answered(c.status, `{}`) })
			_, err := b.apply(t, b.provider, 50)
			require.NoError(t, err, "the change does not fail by it")
			require.Len(t, b.wire.patches(), 1)
			require.Empty(t, b.wire.conditional())
			_, err = b.apply(t, b.provider, 100)
			require.NoError(t, err)
			require.Len(t, b.wire.conditional(), 1, "the next change asks again")
		})
	}
}

func TestAServiceInTroubleIsAskedForAProofOnceAChange(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.wire.probe = func(*http.Request) *http.Response { return answered(http.StatusBadGateway, "") }
	b.wire.instead = onChange(http.StatusBadGateway, "")
	_, err := b.apply(t, b.provider, 50)
	require.Error(t, err)
	require.Len(t, b.wire.patches(), 5)
	require.Len(t, b.wire.probes(), 1)
}

func TestAPassingConflictIsNoProof(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.server.TakeJSONPatches(flagserver.Untested)
	b.wire.probed(0, func() *http.Response { return answered(http.StatusConflict, `{"code": "optimistic_locking_error"}`) })
	for _, percent := range []int{50, 100} {
		_, err := b.apply(t, b.provider, percent)
		require.NoError(t, err)
	}
	require.Len(t, b.wire.probes(), 3)
	require.Empty(t, b.wire.conditional())
}

func TestAStrangerDuringTheProofIsNoReasonToDoWithout(t *testing.T) {
	t.Parallel()
	for _, taken := range []flagserver.JSONPatches{flagserver.Tested, flagserver.TestedAs400} {
		b := setup(t)
		b.server.TakeJSONPatches(taken)
		b.wire.probed(1, func() *http.Response {
			b.instruct(t, plain, `{"kind": "turnFlagOn"}`)
			return nil
		})
		_, err := b.apply(t, b.provider, 50)
		require.NoError(t, err)
		require.Len(t, b.wire.patches(), 1)
		require.Len(t, b.wire.conditional(), 1)
		require.Equal(t, 3, b.environment(t, plain).Version)
	}
}

// onConditional answers JSON patches that would change something.
func onConditional(answer func(*http.Request) *http.Response) func(*http.Request) *http.Response {
	return func(r *http.Request) *http.Response {
		if r.Method != http.MethodPatch || strings.Contains(r.Header.Get("Content-Type"), "semanticpatch") {
			return nil
		}
		return answer(r)
	}
}

func TestAConditionalPatchThatIsNotUnderstoodIsSaidSemantically(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(bundle, *http.Request) *http.Response{
		"400": func(bundle, *http.Request) *http.Response {
			return answered(http.StatusBadRequest, `{"code": "invalid_patch"}`)
		},
		"413": func(bundle, *http.Request) *http.Response { return answered(http.StatusRequestEntityTooLarge, "") },
		"422": func(bundle, *http.Request) *http.Response {
			return answered(http.StatusUnprocessableEntity, `{"code": "patch_failed"}`)
		},
		"taken, and not done": func(b bundle, r *http.Request) *http.Response {
			r = r.Clone(r.Context())
			r.Method, r.Body, r.ContentLength = http.MethodGet, nil, 0
			response, err := http.DefaultTransport.RoundTrip(r)
			if err != nil {
				return nil
			}
			return response
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.wire.instead = onConditional(func(r *http.Request) *http.Response { return answer(b, r) })
			for range 2 {
				state, err := b.apply(t, b.provider, 50)
				require.NoError(t, err)
				require.Equal(t, "on: 50 % true", state.Summary)
				_, err = b.apply(t, b.provider, 0)
				require.NoError(t, err)
			}
			require.Len(t, b.wire.conditional(), 1, "it is not tried again")
			require.Len(t, b.wire.patches(), 5)
			require.Equal(t, 5, b.environment(t, plain).Version)
		})
	}
}

func TestWhatIsRefusedEitherWaySaysNothingOfConditions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.wire.instead = onChange(http.StatusBadRequest, `{"code": "invalid_request"}`)
	_, err := b.apply(t, b.provider, 50)
	require.ErrorIs(t, err, flags.ErrInvalid)
	b.wire.instead = nil
	_, err = b.apply(t, b.provider, 50)
	require.NoError(t, err)
	require.Len(t, b.wire.conditional(), 2)
}

func TestTheKillSwitchDoesNotWaitForAProof(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, no := b.ids(t, plain)
	b.instruct(t, plain, `{"kind": "turnFlagOn"}`)
	state, err := b.provider.Apply(flags.Urgent(t.Context()), plain, flags.Change{}, "kill", nil)
	require.NoError(t, err)
	require.False(t, state.On)
	require.Empty(t, b.wire.probes())
	require.Len(t, b.wire.patches(), 1)
	require.Empty(t, b.wire.conditional())

	b.prove(t)
	b.instruct(t, plain, `{"kind": "turnFlagOn"}`)
	b.server.Require(0)
	_, err = b.provider.Apply(flags.Urgent(t.Context()), plain, flags.Change{}, "kill", nil)
	require.NoError(t, err)
	require.Len(t, b.wire.conditional(), 1)
	require.Equal(t, "/api/v2/flags/shop/plain?ignoreConflicts=true", b.wire.conditional()[0].target)

	// Somebody changes the flag whenever the kill switch is about to.
	b.instruct(t, plain, `{"kind": "turnFlagOn"}`)
	n, asked := 0, 0
	b.wire.instead = func(r *http.Request) *http.Response {
		if r.Method == http.MethodPatch {
			n++
			b.instruct(t, plain, fmt.Sprintf(`{"kind": "addTargets", "values": ["theirs-%d"], "variationId": "%s"}`, n, no))
		}
		return nil
	}
	state, err = b.provider.Apply(flags.Urgent(t.Context()), plain, flags.Change{}, "kill", func(context.Context, flags.State) error {
		asked++
		return nil
	})
	require.NoError(t, err)
	require.False(t, state.On)
	require.Equal(t, 2, n)
	require.Equal(t, 2, asked)
	require.Len(t, b.environment(t, plain).Targets[0].Values, 2, "theirs stay")
	require.Len(t, b.wire.conditional(), 2)

	b.wire.instead = nil
	_, err = b.apply(t, b.provider, 50)
	require.NoError(t, err)
	require.Len(t, b.wire.conditional(), 3, "all others go on with conditions")
}

func TestManyProveItAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var all sync.WaitGroup
	failed := make([]error, 8)
	for i := range failed {
		key := fmt.Sprintf("flag-%d", i)
		require.NoError(t, b.server.CreateFlag(key))
		all.Go(func() { _, failed[i] = b.provider.Apply(t.Context(), key, flags.Change{Percent: 50}, "", nil) })
	}
	all.Wait()
	require.NoError(t, errors.Join(failed...))
	require.Len(t, b.wire.conditional(), len(failed))
	probes := len(b.wire.probes())
	_, err := b.apply(t, b.provider, 50)
	require.NoError(t, err)
	require.Len(t, b.wire.probes(), probes)
}
