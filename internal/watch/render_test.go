package watch

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/signals"
)

var update = flag.Bool("update", false, "write the golden files anew")

var zone = time.FixedZone("CET", 3600)

func at(clock string) time.Time {
	t, err := time.ParseInLocation(time.DateTime, "2026-11-22 "+clock, zone)
	if err != nil {
		panic(err)
	}
	return t
}

const hash = "3f2a9c1b77de0011223344556677889900aabbccddeeff001122334455667788"

func running() Snapshot {
	return Snapshot{
		At: at("14:02:14"), ID: "split-customer-address", RunID: "run", Started: at("14:00:00"), HistoryEvents: 87,
		Status: &signals.Status{
			Plan: "split-customer-address", PlanHash: hash, Database: "shop", State: signals.Running, StartedBy: "carol", Started: at("14:00:00"),
			Guard: &signals.GuardStatus{Watching: []string{"shop answers", "new writes carry the new columns", "lag"}, Verdict: "healthy"},
			Steps: []signals.StepStatus{
				{Name: "expand", Verb: "migrate", State: signals.StepDone, Detail: "schema version 2", Started: at("14:00:00"), Ended: at("14:00:00").Add(412 * time.Millisecond)},
				{Name: "write-new", Verb: "flag", State: signals.StepDone, Percent: 100, Detail: "customers-write-new", Started: at("14:00:01"), Ended: at("14:01:31")},
				{Name: "fill", Verb: "backfill", State: signals.StepRunning, Started: at("14:02:05")},
				{Name: "prove", Verb: "verify", State: signals.StepPending},
				{Name: "cutover", Verb: "approve", State: signals.StepPending},
				{Name: "read-new", Verb: "flag", State: signals.StepPending},
			},
		},
		Progress: []signals.Progress{
			{Step: "fill", Lane: 0, Rows: 300_000, Scanned: 300_000, Total: 500_000, RowsPerSecond: 41_000, ScannedPerSecond: 41_000, ChunkRows: 8_000},
			{Step: "fill", Lane: 1, Rows: 112_300, Scanned: 112_345, Total: 500_000, RowsPerSecond: 39_000, ScannedPerSecond: 39_000, ChunkRows: 8_000, Holding: "replica lag is 12 s, 10 s are allowed"},
		},
		Readings: []signals.Reading{
			{Check: "shop answers", Outcome: "pass", Reading: "200 in 3 ms"},
			{Check: "new writes carry the new columns", Outcome: "fail", Reading: "4, at most 0 allowed"},
		},
	}
}

func waiting() Snapshot {
	s := running()
	s.Status.State, s.Status.Needs = signals.Waiting, "approval of step cutover"
	s.Progress = nil
	s.Status.Steps[2] = signals.StepStatus{Name: "fill", Verb: "backfill", State: signals.StepDone, Rows: 1_000_000, Detail: "none left", Started: at("14:02:05"), Ended: at("14:02:11")}
	s.Status.Steps[3].State, s.Status.Steps[3].Detail = signals.StepDone, "0, at most 0 allowed"
	s.Status.Steps[4].State, s.Status.Steps[4].Started = signals.StepWaiting, at("14:02:13")
	s.Status.Approval = &signals.ApprovalStatus{
		Step: "cutover", By: []string{"alice", "bob"}, Quorum: 2, Deadline: at("14:02:13").Add(24 * time.Hour),
		Decisions: []signals.Decision{{Step: "cutover", By: "alice", Verdict: signals.Approved, Reason: "looks good", Via: "slack", At: at("14:02:14")}},
	}
	s.Status.Notices = []signals.Notice{{At: at("14:02:14"), Text: "the approval of mallory was refused: mallory is not among those who may decide on step cutover, which are alice and bob"}}
	return s
}

func stuck() Snapshot {
	s := running()
	st := s.Status
	st.State, st.Cause, st.Needs = signals.Stuck, "check \"shop answers\" failed 3 times: connection refused", "undoing step read-new fails: flag customers-read-new was "+
		"left at \"on: 25 % true\" and is \"on: 33 % true\"; `retry` looks again, `force` puts what was there before over it, `skip` leaves it as it is and goes on"
	st.Answers, st.Question = []string{signals.Retry, signals.Force, signals.Skip}, 3
	st.Steps[1].Percent, st.Steps[1].Stage, st.Steps[1].Detail = 0, "shadow", "customers-write-new at shadow"
	st.Steps[5] = signals.StepStatus{Name: "read-new", Verb: "flag", State: signals.StepCompensating, Percent: 25, Started: at("14:02:00")}
	st.Steps[2].State, st.Steps[2].Ended = signals.StepCompensated, at("14:02:10")
	st.Steps[3] = signals.StepStatus{Name: "prove", Verb: "verify", State: signals.StepSkipped, Started: at("14:02:00"), Ended: at("14:02:11")}
	s.Progress, s.Readings = nil, nil
	s.Blocked = &signals.Blocked{Step: "expand", Text: "pid 4711 (psql, idle in transaction for 3 min) holds a lock on customers"}
	s.Pending = []Pending{
		{Activity: "RestoreFlag", Attempt: 5, LastFailure: "flag server http://127.0.0.1:8030: connection refused", NextAttempt: at("14:02:18")},
		{Activity: "WatchHealth", Attempt: 2, LastFailure: "activity Heartbeat timeout"},
		{Attempt: 7},
	}
	return s
}

func rolledBack() Snapshot {
	return Snapshot{
		At: at("15:00:00"), ID: "run-7", RunID: "run", Started: at("14:00:00"), Ended: at("14:03:20"), Closed: true, NoWorker: true, HistoryEvents: 1_204,
		Outcome: RolledBack,
		Report: &signals.RollbackReport{Plan: "split-customer-address", PlanHash: hash, Cause: "approval of step cutover rejected by bob: not on a Friday",
			Compensations: []signals.Compensated{
				{Step: "write-new", Outcome: signals.StepCompensated, Detail: "customers-write-new is off again"},
				{Step: "expand", Outcome: signals.StepSkipped, Detail: "given up by alice"},
			}},
	}
}

func TestRender(t *testing.T) {
	t.Parallel()
	done := waiting()
	done.Closed, done.Outcome, done.Ended, done.At = true, Completed, at("14:09:00"), at("18:00:00")
	done.Result = &signals.Result{Plan: "split-customer-address", Rows: 1_000_000}
	done.Status.State = signals.Completed
	proving := running()
	proving.Progress, proving.Proving = nil, "fill"
	alone := running()
	alone.Status, alone.NoWorker, alone.Readings = nil, true, nil
	killed := alone
	killed.Closed, killed.Outcome, killed.Ended, killed.Failure = true, Terminated, at("14:01:00"), "cleaning up"

	refused := Snapshot{
		At: at("14:00:01"), ID: "nope", Started: at("14:00:00"), Ended: at("14:00:00"), Closed: true, Outcome: Failed, HistoryEvents: 11,
		Failure: "there is no folder sql below the worker's plan root",
		Status:  &signals.Status{Plan: "nope", State: signals.Failed, Cause: "there is no folder sql below the worker's plan root"},
	}

	cases := map[string]struct {
		snapshot Snapshot
		style    Style
	}{
		"running-80":     {running(), Style{Width: 80}},
		"running-120":    {running(), Style{Width: 120, Extra: []string{"shop: 812 requests/s, 0 errors"}}},
		"running-color":  {running(), Style{Color: true}},
		"running-narrow": {running(), Style{Width: 30}},
		"proving":        {proving, Style{}},
		"waiting":        {waiting(), Style{}},
		"stuck-90":       {stuck(), Style{Width: 90}},
		"rolled-back":    {rolledBack(), Style{}},
		"completed":      {done, Style{}},
		"no-worker":      {alone, Style{}},
		"terminated":     {killed, Style{}},
		"refused":        {refused, Style{}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lines := Render(c.snapshot, c.style)
			golden(t, name, strings.Join(lines, "\n")+"\n")
			if !c.style.Color {
				limit := c.style.Width
				if limit == 0 {
					limit = defaultWidth
				}
				for _, l := range lines {
					require.LessOrEqual(t, width(l), limit, "line %q", l)
				}
			}
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
		return
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err, "write it with go test ./internal/watch -update")
	require.Equal(t, string(want), got)
}

func TestTheListTellsRunsOfOneIDApart(t *testing.T) {
	t.Parallel()
	lines := RenderList([]Entry{
		{ID: "split", RunID: "019a0000-0000-7000-8000-0000003f2a9c", State: "running", Started: at("14:00:00"), Needs: "no worker answers"},
		{ID: "split", RunID: "019a0000-0000-7000-8000-000000b77de1", State: "rolled_back", Started: at("13:00:00"), Ended: at("13:05:00")},
	}, at("14:02:14"), Style{})
	golden(t, "list", strings.Join(lines, "\n")+"\n")
	require.Equal(t, []string{"No migrations. Start one: contraflow start PLAN"}, RenderList(nil, at("14:02:14"), Style{}))
}

// Every end is named once.
func TestAnEndIsNamedOnce(t *testing.T) {
	t.Parallel()
	before := running()
	for outcome, says := range map[Outcome]string{
		Failed: "failed: why", Terminated: "terminated: why.", Cancelled: "cancelled.", TimedOut: "timed out in Temporal.",
		Completed: "completed: every step is done",
	} {
		after := running()
		after.Closed, after.Outcome, after.Failure, after.Ended = true, outcome, "why", at("14:02:14")
		told := Changes(&before, after)
		require.Contains(t, told[len(told)-1], "14:02:14  "+says)
	}
}

// What people type into reasons must not steer the terminal of those who read them.
func TestRenderIsSafe(t *testing.T) {
	t.Parallel()
	s := waiting()
	s.Status.Needs = "\x1b[2Jgone\r\nand \u202eback"
	s.Status.Approval.Decisions[0].Reason = "a\x1b]0;title\x07b"
	s.Status.Steps[0].Detail = "\x9b31mred"
	s.ID = "id\x1b[31m"
	for _, l := range append(Render(s, Style{}), Changes(nil, s)...) {
		require.NotContains(t, l, "\x1b")
		require.NotContains(t, l, "\u009b")
		require.NotContains(t, l, "\u202e")
		require.NotContains(t, l, "\n")
		require.NotContains(t, l, "\r")
	}
}

// A narrow or odd terminal shortens, it never breaks the table.
func TestRenderKeepsToTheWidth(t *testing.T) {
	t.Parallel()
	for _, s := range []Snapshot{running(), waiting(), stuck(), rolledBack()} {
		if s.Status != nil {
			s.Status.Steps[0].Name = strings.Repeat("長い", 20)
			s.Status.Steps[1].Detail = strings.Repeat("詳細🚧", 40)
			s.Status.Needs = strings.Repeat("x", 300)
		}
		for w := minWidth; w <= maxWidth; w++ {
			for _, l := range Render(s, Style{Width: w}) {
				require.LessOrEqual(t, width(l), w, "%q", l)
			}
		}
	}
}

func TestWrapKeepsEveryWord(t *testing.T) {
	t.Parallel()
	text := "a migration that waits for " + strings.Repeat("ä", 30) + " and goes on"
	for limit := 1; limit < 60; limit++ {
		lines := wrap(text, limit)
		for _, l := range lines {
			require.LessOrEqual(t, width(l), limit)
		}
		require.Equal(t, strings.ReplaceAll(text, " ", ""), strings.ReplaceAll(strings.Join(lines, ""), " ", ""))
	}
}

func TestDurationsAndNumbers(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0.0 s", 412 * time.Millisecond: "0.4 s", 9_980 * time.Millisecond: "9 s", 59 * time.Second: "59 s", 134 * time.Second: "2 min 14 s",
		time.Hour: "1 h 00 min", 51 * time.Hour: "2 d 3 h", -time.Second: "0.0 s",
	} {
		require.Equal(t, want, duration(d))
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1234567: "-1,234,567"} {
		require.Equal(t, want, number(n))
	}
}
