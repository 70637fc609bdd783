package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/examples/shop/app"
	"github.com/contraflow/contraflow/examples/shop/load"
	"github.com/contraflow/contraflow/internal/devstack/demo"
	"github.com/contraflow/contraflow/internal/watch"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

func environment(pairs map[string]string) func(string) string {
	return func(name string) string { return pairs[name] }
}

func TestBadSettingsAreOneClearLineAndStartNothing(t *testing.T) {
	t.Parallel()
	for says, given := range map[string]map[string]string{
		`ROWS is "many"`:        {"ROWS": "many"},
		`ROWS is "999"`:         {"ROWS": "999"},
		`ROWS is "100000001"`:   {"ROWS": "100000001"},
		`ROWS is "20_000"`:      {"ROWS": "20_000"},
		`SCENARIO is "chaos"`:   {"SCENARIO": "chaos"},
		`INTERACTIVE is "sure"`: {"INTERACTIVE": "sure"},
		`KEEP is "sure"`:        {"KEEP": "sure"},
	} {
		var stdout, stderr bytes.Buffer
		require.Equal(t, exitUsage, run(t.Context(), console{environment(given), &stdout, &stderr}, []string{"demo"}), says)
		require.Empty(t, stdout.String(), says)
		require.Contains(t, stderr.String(), says)
		require.Equal(t, 1, strings.Count(stderr.String(), "\n"), says)
	}
	var stderr bytes.Buffer
	require.Equal(t, exitUsage, run(t.Context(), console{environment(map[string]string{"ROWS": "2000"}), io.Discard, &stderr}, []string{"demo", "--rows=1"}))
	require.Contains(t, stderr.String(), `ROWS is "1"`, "the command line goes before the environment")
}

func TestSettings(t *testing.T) {
	t.Parallel()
	s, err := parseSettings("20000", "crash", "1", "")
	require.NoError(t, err)
	require.Equal(t, settings{rows: 20000, scenario: crash, interactive: true}, s)
	require.Equal(t, watch.Completed, crash.outcome())
	require.Equal(t, watch.Completed, split.outcome())
	require.Equal(t, watch.RolledBack, rollback.outcome())
}

func TestOnlyAPersonMayDecideForARollback(t *testing.T) {
	t.Parallel()
	for _, name := range []scenario{split, crash} {
		alone, asked := settings{scenario: name}, settings{scenario: name, interactive: true}
		require.Equal(t, watch.Completed, alone.wants(watch.RolledBack), name)
		require.Equal(t, watch.RolledBack, asked.wants(watch.RolledBack), name)
		require.Equal(t, watch.Completed, asked.wants(watch.Completed), name)
		require.Equal(t, watch.Completed, asked.wants(watch.Failed), name)
	}
	require.Equal(t, watch.RolledBack, settings{scenario: rollback, interactive: true}.wants(watch.Completed))
}

func TestOnlyTheCrashScenarioIsPaced(t *testing.T) {
	t.Parallel()
	for name, want := range map[scenario]int{split: 0, rollback: 0, crash: 1000} {
		p := &plan.Plan{Steps: []plan.Step{{Name: "expand", Migrate: &plan.Migrate{To: 2}}, {Name: "fill", Backfill: &plan.Backfill{}}}}
		settings{rows: 20 * 1000, scenario: name}.edit(p)
		require.Equal(t, want, p.Steps[1].Backfill.RowsPerSecond, name)
	}
}

func TestTheReportIsOneLineWithItsKeysInOrder(t *testing.T) {
	t.Parallel()
	r := report{Scenario: "split", Outcome: "completed", Rows: 20000, Backfilled: 19947, Requests: 5727, HistoryEvents: 189, Seconds: 15}
	line, err := r.line()
	require.NoError(t, err)
	require.Equal(t, `{"scenario":"split","outcome":"completed","rows":20000,"backfilled":19947,"requests":5727,`+
		`"failed_requests":0,"wrong_reads":0,"history_events":189,"seconds":15}`, line)

	twice := int64(0)
	r.Scenario, r.CommittedTwice = "crash", &twice
	line, err = r.line()
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(line, `"seconds":15,"committed_twice":0}`), line)
	require.InEpsilon(t, 68.1, seconds(68123*time.Millisecond), 1e-9)
}

func TestTheSummaryIsAligned(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 11, 22, 1, 0, 0, 0, time.UTC)
	e := ended{
		snapshot: watch.Snapshot{Started: began, Ended: began.Add(68 * time.Second), Report: &signals.RollbackReport{
			Cause: "rejected by bob", Compensations: []signals.Compensated{{Step: "expand", Detail: "schema back at version 1"}}}},
		stats: load.Stats{P99: 2500 * time.Microsecond}, readBack: 1176, shop: app.Stats{ReadsOld: 1000000, WritesBoth: 12},
		backfill: 2 * time.Second, kills: 4, inChunk: 1,
	}
	r := report{Outcome: "rolled_back", Backfilled: 20000, Requests: 5727, HistoryEvents: 1189}
	require.Equal(t, `
  migration  rolled back in 1 min 08 s, 1,189 events in Temporal's history
  backfill   20,000 rows in 2.0 s, 10,000 rows/s
  worker     killed 4 times, once in the middle of a chunk, and started again
  load       5,727 requests, 0 failed, 0 wrong reads, p99 2.5 ms at the end
             all 1,176 remembered customers read back
  reads      old shape 1,000,000, new shape 0
  writes     old shape 0, both 12, new shape 0
  cause      rejected by bob
             ↶ expand schema back at version 1
  checks     ✓ no request failed
             ✗ no read was wrong: see stderr

`, summary(e, r, []demo.Check{{Name: "no request failed"}, {Name: "no read was wrong", Problem: "2 were"}}))
}

func TestAMigrationThatNeedsAPersonIsHopelessWithoutOne(t *testing.T) {
	t.Parallel()
	at := func(state signals.State) watch.Snapshot {
		return watch.Snapshot{Status: &signals.Status{State: state, Needs: "retry or skip"}}
	}
	require.Equal(t, "it is stuck: retry or skip", hopeless(at(signals.Stuck)))
	require.Equal(t, "it is paused: retry or skip", hopeless(at(signals.Paused)))
	require.Equal(t, "it is waiting: retry or skip", hopeless(at(signals.Waiting)), "alice may be prevented")
	require.Empty(t, hopeless(at(signals.RollingBack)))
	require.Empty(t, hopeless(watch.Snapshot{}))
}

func TestTheCommandLineIsReadyToPasteAndDoesNotWrap(t *testing.T) {
	t.Parallel()
	p := &plan.Plan{Steps: []plan.Step{{Name: "fill", Backfill: &plan.Backfill{}}, {Name: "cutover", Approve: &plan.Approve{}}, {Name: "contract", Approve: &plan.Approve{}}}}
	text := commandLine("/tmp/contraflow-demo-4294967295/env", "/tmp/contraflow-demo-4294967295/worker.yaml", "split-customer-address", p)
	for _, pasted := range []string{
		". /tmp/contraflow-demo-4294967295/env\n  bin/contraflow approve split-customer-address cutover --by alice\n",
		"bin/contraflow kill split-customer-address \\\n    --config /tmp/contraflow-demo-4294967295/worker.yaml\n",
		"bin/contraflow resume split-customer-address\n",
	} {
		require.Contains(t, text, "\n  "+pasted)
	}
	for line := range strings.Lines(text) {
		require.LessOrEqual(t, len(line), 80+len("\n"), line)
	}
}

func TestStandInsServeUntilTheyAreStopped(t *testing.T) {
	t.Parallel()
	secrets := environment(map[string]string{"LD_TOKEN": "api-1", "LD_SDK_KEY": "sdk-1", "SLACK_TOKEN": "xoxb-1", "SLACK_SIGNING_SECRET": "s"})
	for path, args := range map[string][]string{
		"/api/v2/flags/shop/customers-read-new": {"flag-server", "--listen=127.0.0.1:0", "--flag=customers-read-new"},
		"/":                                     {"chat-server", "--listen=127.0.0.1:0"},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		out, in := io.Pipe()
		code := make(chan int, 1)
		go func() { code <- run(ctx, console{secrets, in, io.Discard}, args) }()
		line, err := bufio.NewReader(out).ReadString('\n')
		require.NoError(t, err)
		var said struct{ Listening string }
		require.NoError(t, json.Unmarshal([]byte(line), &said))

		request, err := http.NewRequestWithContext(ctx, http.MethodGet, said.Listening+path, nil)
		require.NoError(t, err)
		request.Header.Set("Authorization", "api-1")
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusOK, response.StatusCode, args)
		cancel()
		require.Zero(t, <-code)
	}
}

func TestStandInsWantTheirSecrets(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"flag-server"}, {"chat-server"}, {"chat-server", "--person=alice"}} {
		var stderr bytes.Buffer
		env := environment(nil)
		if len(args) > 1 {
			env = environment(map[string]string{"SLACK_TOKEN": "x", "SLACK_SIGNING_SECRET": "s"})
		}
		require.Equal(t, exitUsage, run(t.Context(), console{env, io.Discard, &stderr}, args))
		require.Equal(t, 1, strings.Count(stderr.String(), "\n"), stderr.String())
	}
}
