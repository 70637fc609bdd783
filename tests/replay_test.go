package tests

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/contraflow/contraflow/internal/devstack/temporalserver"
	"github.com/contraflow/contraflow/signals"
	"github.com/contraflow/contraflow/workflows"
)

var record = flag.Bool("record", false, "write the histories of this run into replay/, see replay/README.md")

// corpus are the histories that today's workflow code must still follow, event by event.
const corpus = "replay"

func replay(h *historypb.History) error {
	replayer := worker.NewWorkflowReplayer()
	replayer.RegisterWorkflowWithOptions(workflows.Migration, workflow.RegisterOptions{Name: signals.Workflow})
	replayer.RegisterWorkflowWithOptions(workflows.RetryRejects, workflow.RegisterOptions{Name: signals.RetryRejectsWorkflow})
	return replayer.ReplayWorkflowHistory(temporalserver.Quiet(), h)
}

func TestTodaysWorkflowFollowsRecordedHistories(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(corpus, "*.json"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 4)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			h := recorded(t, file)
			require.NoError(t, replay(h))

			other := proto.CloneOf(h) // a history that the code does not follow is noticed
			for _, e := range other.Events {
				if a := e.GetActivityTaskScheduledEventAttributes(); a != nil {
					a.ActivityType.Name += "Otherwise"
					break
				}
			}
			require.ErrorContains(t, replay(other), "nondeterministic")
		})
	}
}

func recorded(t *testing.T, file string) *historypb.History {
	t.Helper()
	text, err := os.Open(file)
	require.NoError(t, err)
	defer func() { _ = text.Close() }()
	h, err := client.HistoryFromJSON(text, client.HistoryJSONOptions{})
	require.NoError(t, err)
	return h
}

// keep replays the histories of a migration, all its runs from the first one, and records them if that was asked for.
func (b *bundle) keep(name, firstRun string) {
	b.t.Helper()
	runs := b.runs(firstRun)
	for i, run := range runs {
		file := name
		if len(runs) > 1 {
			file = fmt.Sprintf("%s-%02d", name, i+1)
		}
		b.keepHistory(file, b.history(run))
	}
}

func (b *bundle) keepHistory(file string, h *historypb.History) {
	b.t.Helper()
	require.NoError(b.t, replay(h))
	if *record {
		require.NoError(b.t, os.WriteFile(filepath.Join(corpus, file+".json"), portable(b.t, h), 0o644))
	}
}

// machine matches what names the machine: identities of workers and clients, and their own task queues.
var machine = regexp.MustCompile(`"(identity|name)":"([^"]*@[^"]*|[^":]+:[0-9a-f-]{36})"`)

// portable is a history as JSON, one event on a line, without what tells where it was recorded.
func portable(t *testing.T, h *historypb.History) []byte {
	t.Helper()
	var out bytes.Buffer
	out.WriteString(`{"events":[`)
	for i, e := range h.Events {
		raw, err := protojson.Marshal(e)
		require.NoError(t, err)
		var line bytes.Buffer
		require.NoError(t, json.Compact(&line, raw))
		if i > 0 {
			out.WriteByte(',')
		}
		out.WriteByte('\n')
		out.Write(machine.ReplaceAll(line.Bytes(), []byte(`"$1":"recorded"`)))
	}
	out.WriteString("\n]}\n")
	return out.Bytes()
}
