package main

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/contraflow/contraflow/internal/devstack/demo"
	"github.com/contraflow/contraflow/internal/watch"
	"github.com/contraflow/contraflow/signals"
)

// report is the last line of stdout. Its keys and their order are an interface: scripts read them.
type report struct {
	Scenario       string  `json:"scenario"`
	Outcome        string  `json:"outcome"`
	Rows           int64   `json:"rows"`
	Backfilled     int64   `json:"backfilled"`
	Requests       int64   `json:"requests"`
	FailedRequests int64   `json:"failed_requests"`
	WrongReads     int64   `json:"wrong_reads"`
	HistoryEvents  int64   `json:"history_events"`
	Seconds        float64 `json:"seconds"` // from the migration's start to its end
	// CommittedTwice is there in the scenario crash only.
	CommittedTwice *int64 `json:"committed_twice,omitempty"`
}

func (r report) line() (string, error) {
	text, err := json.Marshal(r)
	return string(text), err
}

// seconds with one digit behind the point: more would be noise.
func seconds(d time.Duration) float64 { return math.Round(d.Seconds()*10) / 10 }

// summary tells people what happened.
func summary(e ended, r report, checks []demo.Check) string {
	var t table
	t.row("migration", "%s in %s, %s events in Temporal's history", strings.ReplaceAll(r.Outcome, "_", " "), duration(e.snapshot.Ended.Sub(e.snapshot.Started)), number(r.HistoryEvents))
	if e.backfill > 0 {
		text := fmt.Sprintf("%s rows in %s", number(r.Backfilled), duration(e.backfill))
		if r.CommittedTwice == nil { // the crash scenario paces it, and waits for the dead
			text += fmt.Sprintf(", %s rows/s", number(int64(float64(r.Backfilled)/e.backfill.Seconds())))
		}
		t.row("backfill", "%s", text)
	}
	if e.kills > 0 {
		t.row("worker", "killed %s, %s in the middle of a chunk, and started again", times(e.kills), times(e.inChunk))
	}
	if e.revivals > 0 {
		t.row("worker", "killed by hand %s, and started again", times(e.revivals))
	}
	if r.CommittedTwice != nil {
		t.row("witness", "%s rows committed twice", number(*r.CommittedTwice))
	}
	t.row("load", "%s requests, %s failed, %s wrong reads, p99 %s at the end", number(r.Requests), number(r.FailedRequests), number(r.WrongReads), milliseconds(e.stats.P99))
	t.row("", "all %s remembered customers read back", number(int64(e.readBack)))
	t.row("reads", "old shape %s, new shape %s", number(e.shop.ReadsOld), number(e.shop.ReadsNew))
	t.row("writes", "old shape %s, both %s, new shape %s", number(e.shop.WritesOld), number(e.shop.WritesBoth), number(e.shop.WritesNew))
	if report := e.snapshot.Report; report != nil {
		t.row("cause", "%s", report.Cause)
		for _, c := range report.Compensations {
			t.row("", "↶ %s %s", c.Step, c.Detail)
		}
	}
	for i, c := range checks {
		label, glyph, problem := "", "✓", ""
		if i == 0 {
			label = "checks"
		}
		if c.Problem != "" {
			glyph, problem = "✗", ": see stderr"
		}
		t.row(label, "%s %s%s", glyph, c.Name, problem)
	}
	return "\n" + t.String() + "\n"
}

// backfillTime from the start of the backfill step to its end; 0 while it is not done.
func backfillTime(s watch.Snapshot) time.Duration {
	if s.Status == nil {
		return 0
	}
	for _, step := range s.Status.Steps {
		if step.Name == backfillStep && step.State == signals.StepDone {
			return step.Ended.Sub(step.Started)
		}
	}
	return 0
}

// duration in words, as the live view has them.
func duration(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	d = d.Round(time.Second)
	return fmt.Sprintf("%d min %02d s", d/time.Minute, d%time.Minute/time.Second)
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%.1f ms", d.Seconds()*1000) }

// table aligns labels and texts.
type table struct{ labels, texts []string }

func (t *table) row(label, format string, args ...any) {
	t.labels, t.texts = append(t.labels, label), append(t.texts, fmt.Sprintf(format, args...))
}

func (t *table) String() string {
	widest := 0
	for _, l := range t.labels {
		widest = max(widest, utf8.RuneCountInString(l))
	}
	var b strings.Builder
	for i, l := range t.labels {
		fmt.Fprintf(&b, "  %-*s  %s\n", widest, l, t.texts[i])
	}
	return b.String()
}

// number with commas between thousands.
func number(n int64) string {
	text := strconv.FormatInt(n, 10)
	digits := strings.TrimPrefix(text, "-")
	var b strings.Builder
	b.WriteString(strings.TrimSuffix(text, digits))
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}
