package service

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/flagfile"
	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/internal/devstack/temporaltest"
	"github.com/contraflow/contraflow/signals"
)

const ownFlag = `{"flags": {"write-new": {"key": "write-new", "version": 1, "on": false, "variations": [true, false],
	"fallthrough": {"variation": 0}, "offVariation": 1, "salt": "s"}}}`

func TestAWorkerBringsAFlagProviderOfItsOwn(t *testing.T) {
	t.Parallel()
	queue := temporaltest.TaskQueue(t)
	path := configure(t, "taskQueue: "+queue+"\n")
	plan := strings.ReplaceAll(toggled, "from contraflow.flag where key = 'wrong'", "from (select) none where false")
	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(path), "plans", "toggle.yaml"), []byte(plan), 0o600))
	file := filepath.Join(t.TempDir(), "flags.json")
	require.NoError(t, os.WriteFile(file, []byte(ownFlag), 0o600))
	env := environment{}.at(temporaltest.Address(t))
	env["SHOP_DSN"] = pgtest.New(t).DSN
	w := beginWith(t, Options{Flags: func(_ context.Context, project, environment string) (flags.Provider, error) {
		if project != "shop" || environment != "production" {
			return nil, errors.New("no such environment")
		}
		return flagfile.New(file)
	}}, path, env)
	w.requireWorking(t)
	run, err := temporaltest.Client(t).ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
		ID: queue, TaskQueue: queue}, signals.Workflow, signals.Input{Name: "toggle"})
	require.NoError(t, err)
	ctx, cancel := contextWithin(t, patience)
	defer cancel()
	require.NoError(t, run.Get(ctx, nil), "%s", w.stderr)
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Regexp(t, `(?s)"archivedFlags".*"write-new".*"on": true`, string(raw))
	w.stop()
	w.requireEnd(t, 0)
}

func TestAFlagProviderIsBroughtInOneWay(t *testing.T) {
	t.Parallel()
	path := configure(t, "flags: {flagfile: {path: flags.json}}\n")
	own := Options{Flags: func(context.Context, string, string) (flags.Provider, error) { return nil, errors.New("never asked") }}
	var stderr strings.Builder
	code := run(t.Context(), own, []string{"worker", "-config", path}, io.Discard, &stderr, environment{"SHOP_DSN": "host=127.0.0.1"})
	require.Equal(t, 2, code)
	require.Contains(t, stderr.String(), "this worker brings its own flag provider: take flags out")
}
