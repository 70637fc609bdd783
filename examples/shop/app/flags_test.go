package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The protocol of LaunchDarkly's SDKs, as a relay or another flag service speaks it.
func TestFlagsFromAnotherURLAreReportedBack(t *testing.T) {
	t.Parallel()
	events := make(chan string, 100)
	changed := make(chan struct{})
	flag := func(version int, on bool) string {
		return fmt.Sprintf(`{"key": %q, "version": %d, "on": %t, "variations": [false, true],
			"offVariation": 0, "fallthrough": {"variation": 1}, "salt": "s"}`, WriteNewFlag, version, on)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /all", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		send := func(event, data string) {
			var line bytes.Buffer
			require.NoError(t, json.Compact(&line, []byte(data)))
			_, _ = fmt.Fprintf(w, "event: %s\ndata: %s\n\n", event, line.String())
			_ = http.NewResponseController(w).Flush()
		}
		send("put", fmt.Sprintf(`{"path": "/", "data": {"flags": {%q: %s}, "segments": {}}}`, WriteNewFlag, flag(1, false)))
		select {
		case <-changed:
			send("patch", fmt.Sprintf(`{"path": "/flags/%s", "data": %s}`, WriteNewFlag, flag(2, true)))
		case <-r.Context().Done():
		}
		<-r.Context().Done()
	})
	mux.HandleFunc("POST /bulk", func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		events <- string(text)
		w.WriteHeader(http.StatusAccepted)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)

	client, err := OpenFlags(FlagSource{SDKKey: "sdk-key", URL: server.URL, FlushInterval: 10 * time.Millisecond}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	require.Eventually(t, client.Initialized, patience, look)
	require.False(t, writeNew(client, 1))
	close(changed)
	require.Eventually(t, func() bool { return writeNew(client, 1) }, patience, look)
	require.Eventually(t, func() bool {
		select {
		case text := <-events:
			return strings.Contains(text, `"summary"`) && strings.Contains(text, WriteNewFlag)
		default:
			return false
		}
	}, patience, look)
}

func TestFlagsFromAFileAreWatched(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "flags.json")
	write := func(version int, on bool) {
		text := fmt.Sprintf(`{"flags": {%q: {"key": %q, "version": %d, "on": %t, "variations": [false, true],
			"offVariation": 0, "fallthrough": {"variation": 1}, "salt": "s"}}}`, WriteNewFlag, WriteNewFlag, version, on)
		require.NoError(t, os.WriteFile(file+".new", []byte(text), 0o600))
		require.NoError(t, os.Rename(file+".new", file))
	}
	write(1, false)
	client, err := OpenFlags(FlagSource{File: file}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	require.False(t, writeNew(client, 1))
	write(2, true)
	require.Eventually(t, func() bool { return writeNew(client, 1) }, patience, look)
	require.False(t, readNew(client, 1), "a flag that is not there is off")
}

func TestAnUnreachableFlagServiceIsLoggedAndNoError(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	client, err := OpenFlags(FlagSource{SDKKey: "sdk-hunter2", URL: "http://127.0.0.1:1", FlushInterval: time.Second},
		slog.New(slog.NewTextHandler(&log, nil)))
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	require.False(t, writeNew(client, 1))
	require.Contains(t, log.String(), "every flag is false")
	require.NotContains(t, log.String(), "hunter2")

	for _, source := range []FlagSource{{}, {SDKKey: "k", File: "f"}} {
		_, err := OpenFlags(source, slog.New(slog.DiscardHandler))
		require.ErrorContains(t, err, "either an SDK key or a flag file")
	}
}
