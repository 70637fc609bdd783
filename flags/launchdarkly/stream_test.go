package launchdarkly_test

import (
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Not parallel: it counts the goroutines of the whole process.
func TestAReadBackThatFailsLeavesNothingBehind(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"an outage":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"hangs":       func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"never tells": func(w http.ResponseWriter, r *http.Request) { w.(http.Flusher).Flush(); <-r.Context().Done() },
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			down := httptest.NewServer(answer)
			t.Cleanup(func() { down.CloseClientConnections(); down.Close() })
			b.config.StreamURL, b.config.ReadBack = down.URL, 100*time.Millisecond
			p := b.open(t, b.config)
			for _, percent := range []int{10, 20, 30} {
				_, err := b.apply(t, p, percent)
				require.ErrorContains(t, err, "does not show it")
			}
			stacks := make([]byte, 4<<20)
			require.Eventually(t, func() bool {
				all := string(stacks[:runtime.Stack(stacks, true)])
				return !strings.Contains(all, "StreamProcessor") && !strings.Contains(all, "eventsource")
			}, time.Minute, 50*time.Millisecond)
		})
	}
}
