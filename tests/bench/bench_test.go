package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/demo"
)

// TestMain is also the child that sections kill and switch run.
func TestMain(m *testing.M) {
	if os.Getenv(childDSN) != "" || os.Getenv(childPatch) != "" {
		os.Exit(run(nil))
	}
	os.Exit(m.Run())
}

func TestTheMedianIsTheMiddle(t *testing.T) {
	t.Parallel()
	require.Equal(t, 3.0, sample{9, 1, 3}.median())
	require.Equal(t, 2.5, sample{4, 1, 3, 2}.median())
	require.Equal(t, 7.0, sample{7}.median())
	require.True(t, math.IsNaN(sample{}.median()))
	unsorted := sample{3, 1, 2}
	unsorted.median()
	require.Equal(t, sample{3, 1, 2}, unsorted, "the order of the rounds is kept")
}

func TestAPercentileIsTheNearestRank(t *testing.T) {
	t.Parallel()
	var hundred, twohundred sample
	for i := range 200 {
		twohundred = append(twohundred, float64(200-i))
		if i < 100 {
			hundred = append(hundred, float64(i+1))
		}
	}
	require.Equal(t, 99.0, hundred.percentile(99))
	require.Equal(t, 198.0, twohundred.percentile(99))
	require.Equal(t, 100.0, hundred.percentile(100))
	require.Equal(t, 1.0, hundred.percentile(0))
	require.Equal(t, 5.0, sample{5}.percentile(99))
	require.True(t, math.IsNaN(sample{}.percentile(99)))
}

func TestSpeedsAreRelativeToTheSameRound(t *testing.T) {
	t.Parallel()
	b := &bench{results: newResults()}
	// The machine is twice as slow in the second round: no speed changes.
	for _, slow := range []time.Duration{1, 2, 1} {
		b.compare(map[string]time.Duration{"single_update": 6 * slow, "one_lane": 5 * slow, "two_lanes": 4 * slow, "interleaved": 5 * slow,
			"temporal_one_lane": 6 * slow, "temporal_two_lanes": 5 * slow, "procedure": 6 * slow, "naive_batches": 8 * slow})
	}
	for name, want := range map[string]float64{"one_lane": 1.2, "two_lanes": 1.5, "procedure": 1, "naive_batches": 0.75,
		"interleaved_speed": 0.8, "temporal_path": 0.8, "temporal_path_one_lane": 5.0 / 6} {
		require.Len(t, b.results.samples[name], 3, name)
		for _, got := range b.results.samples[name] {
			require.InDelta(t, want, got, 1e-9, name)
		}
	}
}

func TestTransactionsOfPgbench(t *testing.T) {
	t.Parallel()
	got, ok, err := parseTransaction("3 17 2500 0 1795321930 500000 1200\n")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, 2500*time.Microsecond, got.latency)
	require.True(t, got.due().Equal(time.Unix(1795321930, 497_500_000)))
	_, ok, err = parseTransaction("3 17 failed 0 1795321930 500000 1200")
	require.NoError(t, err)
	require.False(t, ok)
	for _, line := range []string{"", "1 2 3", "a b c d e f"} {
		_, _, err := parseTransaction(line)
		require.Error(t, err, line)
	}
}

// The latency of a transaction that waits until the end of the work belongs to the work, and one that was due later does not.
func TestTheLatencyIsOfTheTransactionsThatWereDueMeanwhile(t *testing.T) {
	t.Parallel()
	log, err := os.Create(t.TempDir() + "/log")
	require.NoError(t, err)
	line := func(end time.Time, latency time.Duration) {
		_, err := fmt.Fprintf(log, "0 1 %d 0 %d %06d 0\n", latency.Microseconds(), end.Unix(), end.Nanosecond()/1000)
		require.NoError(t, err)
	}
	from := time.Unix(1_700_000_000, 0)
	to := from.Add(10 * time.Second)
	for i := range 200 { // before and after: a minute each
		line(from.Add(-time.Second), time.Minute)
		line(from.Add(time.Duration(i)*10*time.Millisecond+time.Millisecond), time.Millisecond)
	}
	for range 10 {
		line(to.Add(time.Second), 5*time.Second)
	}
	line(to.Add(2*time.Minute), time.Minute)
	_, err = log.WriteString("0 1 99") // a buffer that ends within a line
	require.NoError(t, err)
	l := &load{log: log.Name()}
	require.NoError(t, l.read())
	require.Len(t, l.seen, 411)
	p99, err := l.p99(from, to)
	require.NoError(t, err)
	require.Equal(t, 5*time.Second, p99)
	_, err = log.WriteString("9 0 1700000000 000000 0\n")
	require.NoError(t, err)
	require.NoError(t, l.read())
	require.Equal(t, 999*time.Microsecond, l.seen[411].latency)
	_, err = l.recentP99(t.Context())
	require.Error(t, err, "nothing was logged within the last second, so nothing is known")
	for range recentLeast {
		line(time.Now().Add(time.Minute), 3*time.Millisecond) // recent however long reading it takes
	}
	p99, err = l.recentP99(t.Context())
	require.NoError(t, err)
	require.Equal(t, 3*time.Millisecond, p99)
}

func TestTheReportEndsInOneObject(t *testing.T) {
	t.Parallel()
	r := newResults()
	for _, v := range []float64{0.9, 1.5, 1.4} {
		r.add("two_lanes", v)
		r.add("one_lane", v/2)
		r.add("pause_ms", v*1000)
	}
	r.byRows[10_000] = 35
	object, table := report(t, r, options{rows: 5000, rounds: 3})
	require.Equal(t, 1.4, object["two_lanes"])
	require.Equal(t, 1500.0, object["pause_ms"], "the longest, not the median")
	require.Equal(t, []any{"one_lane", "pause_ms"}, object["marks_missed"])
	require.Equal(t, []any{0.9, 1.5}, object["spread"].(map[string]any)["two_lanes"])
	require.Equal(t, map[string]any{"10000": 35.0}, object["history_events_by_rows"])
	require.NotContains(t, object, "temporal_path", "it was not measured")
	require.Regexp(t, "(?m)^\\| `two_lanes` .*1.40 × +\\| 0.90 … 1.50 +\\| ≥ 1.35 +\\| ✓ +\\|$", table)
	require.Regexp(t, "(?m)^\\| `pause_ms` .*1,500 ms .*✗ +\\|$", table)
}

// report writes results and reads them back: the JSON object of the last line and what stands above it.
func report(t *testing.T, r *results, o options) (map[string]any, string) {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, r.write(&out, o, "a machine"))
	text := strings.TrimSuffix(out.String(), "\n")
	end := strings.LastIndexByte(text, '\n') + 1
	var object map[string]any
	require.NoError(t, json.Unmarshal([]byte(text[end:]), &object))
	return object, text[:end]
}

// One round of the sections that need little time, on real servers.
func TestASmallRun(t *testing.T) {
	t.Parallel()
	binaries, err := demo.Build(t.Context(), t.TempDir())
	require.NoError(t, err)
	o := options{rows: 5000, rounds: 1, worker: binaries.Worker}
	b, err := start(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(b.stop)
	for _, section := range []func(context.Context) error{b.speed, b.keys} {
		require.NoError(t, section(t.Context()))
	}
	object, _ := report(t, b.results, o)
	for _, name := range []string{"one_lane", "two_lanes", "temporal_path", "naive_batches", "procedure", "heap_vs_rewritten", "heap_vs_rewritten_plain",
		"interleaved_speed", "uuid_one_lane", "composite_one_lane", "worker_peak_mb"} {
		require.Greater(t, object[name], 0.0, name)
	}
}

// Behind a reader of two seconds more, whose end psql's ALTER TABLE, and all who come after it, wait for in any case.
func TestTheApplicationWaitsForAChange(t *testing.T) {
	t.Parallel()
	b, err := start(t.Context(), options{rows: minRows, rounds: 1})
	require.NoError(t, err)
	t.Cleanup(b.stop)
	require.NoError(t, b.behindReader(t.Context(), 2*time.Second))
	object, _ := report(t, b.results, b.options)
	for _, by := range []string{"_migrate", "_psql"} {
		require.Greater(t, object["ddl_longest_wait"+by+"_ms"], 1000.0, by)
		require.Greater(t, object["ddl_waited"+by], 0.0, by)
		require.Greater(t, object["ddl"+by+"_seconds"], 1.0, by)
	}
	require.Greater(t, object["ddl_longest_wait_ms"], 0.0)
	require.Greater(t, object["ddl_seconds"], 1.0)
	require.Equal(t, 0.0, object["ddl_failed"])
}

func TestKilledChildrenRedoNothing(t *testing.T) {
	t.Parallel()
	b, err := start(t.Context(), options{rows: minRows, rounds: 1})
	require.NoError(t, err)
	t.Cleanup(b.stop)
	require.NoError(t, b.kill(t.Context()))
	object, _ := report(t, b.results, b.options)
	require.Equal(t, 0.0, object["redone_rows"])
	require.GreaterOrEqual(t, object["kills"], 1.0)
}

func TestWrongCallsAreRefused(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-rows", "10"}, {"-rounds", "0"}, {"-only", "speed,flight"}, {"more"}} {
		_, err := parse(args)
		require.Error(t, err, args)
	}
}

func TestTheKillSwitchIsFelt(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	binaries, err := demo.Build(t.Context(), folder)
	require.NoError(t, err)
	o := options{rows: minRows, rounds: 1, presses: 2, shop: binaries.Shop, cli: filepath.Join(folder, "contraflow")}
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", o.cli, "../../starter")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	b, err := start(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(b.stop)
	require.NoError(t, b.killSwitch(t.Context()))
	object, _ := report(t, b.results, o)
	for _, name := range []string{"switch_first_old_ms", "switch_last_new_ms", "switch_ended_ms", "patch_first_old_ms", "switch_ratio"} {
		require.Greater(t, object[name], 0.0, name)
	}
}
