package harness_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags/attest"
	"github.com/contraflow/contraflow/internal/devstack/harnessserver"
)

// See makes an application's cache an attest.Source: Harness's SDK tells versions to nobody else.
func (a *application) See(keys []string) []attest.Seen {
	var seen []attest.Seen
	for _, key := range keys {
		if version, ok := a.Version(key); ok {
			seen = append(seen, attest.Seen{Key: key, Version: version})
		}
	}
	return seen
}

func TestAnApplicationAttestsTheVersionThatAStepWaitsFor(t *testing.T) {
	t.Parallel()
	b := setupWith(t, harnessserver.Options{SDKVersions: 100})
	app, ok := b.application(t).(*application)
	require.True(t, ok)
	reported := make(chan int, 100)
	attester, err := attest.Start(t.Context(), attest.Options{
		Instance: "shop-1", Flags: []string{plain, "unknown"}, Source: app,
		Exec: func(_ context.Context, _ string, args ...any) error {
			var flags map[string]struct{ Version int }
			err := json.Unmarshal([]byte(args[1].(string)), &flags)
			reported <- flags[plain].Version
			return err
		},
	})
	require.NoError(t, err)
	t.Cleanup(attester.Stop)
	for _, percent := range []int{10, 100, 0} {
		state := apply(t, b.provider, percent)
		require.NotEqual(t, state.Version, state.SeenAs())
		require.Eventually(t, func() bool {
			attester.Changed()
			select {
			case version := <-reported:
				return version == state.SeenAs()
			default:
				return false
			}
		}, 30*time.Second, 5*time.Millisecond)
	}
}
