package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
)

// line of the report: its name in the JSON object and what it tells people.
type line struct {
	name, title string
	unit        string
	take        func(sample) float64 // one number for all rounds. Defaults to the median
	mark        *mark
}

// mark is what a line shall reach.
type mark struct {
	atLeast bool
	value   float64
}

func least(v float64) *mark { return &mark{true, v} }
func most(v float64) *mark  { return &mark{false, v} }

func (m *mark) reached(v float64) bool {
	return m.atLeast && v >= m.value || !m.atLeast && v <= m.value
}

func (m *mark) String() string {
	if m.atLeast {
		return "≥ " + figure(m.value)
	}
	return "≤ " + figure(m.value)
}

// lines in the order of the report. Speeds are relative to another run of the same round.
func lines() []line {
	return []line{
		{"single_update_seconds", "one UPDATE", "s", nil, nil},
		{"naive_batches_seconds", "batches of 1,000 by hand", "s", nil, nil},
		{"procedure_seconds", "keyset procedure in the server", "s", nil, nil},
		{"one_lane_seconds", "ours, one lane", "s", nil, nil},
		{"two_lanes_seconds", "ours, two lanes", "s", nil, nil},
		{"interleaved_seconds", "ours, two lanes, interleaved vacuum", "s", nil, nil},
		{"temporal_one_lane_seconds", "whole Temporal path, one lane", "s", nil, nil},
		{"temporal_two_lanes_seconds", "whole Temporal path, two lanes", "s", nil, nil},
		{"naive_batches", "speed of batches by hand, to one UPDATE", "×", nil, nil},
		{"procedure", "speed of the procedure, to one UPDATE", "×", nil, nil},
		{"one_lane", "speed of one lane, to one UPDATE", "×", nil, least(1.0)},
		{"two_lanes", "speed of two lanes, to one UPDATE", "×", nil, least(1.35)},
		{"temporal_path", "speed of the Temporal path, to the engine alone (two lanes)", "×", nil, least(0.97)},
		{"temporal_path_one_lane", "the same with one lane", "×", nil, nil},
		{"interleaved_speed", "speed with interleaved vacuum, to the same without", "×", nil, least(0.9)},
		{"heap_vs_rewritten", "heap after two lanes with vacuum, to VACUUM FULL", "×", nil, most(1.12)},
		{"heap_vs_rewritten_plain", "heap after two lanes without, to VACUUM FULL", "×", nil, nil},
		{"heap_vs_rewritten_single_update", "heap after one UPDATE, to VACUUM FULL", "×", nil, nil},
		{"uuid_one_lane", "uuid key: speed of one lane, to one UPDATE", "×", nil, nil},
		{"composite_one_lane", "composite key: speed of one lane, to one UPDATE", "×", nil, nil},
		{"p99_idle_ms", "foreground p99, nothing else running", "ms", nil, nil},
		{"p99_single_update_ms", "foreground p99 during one UPDATE", "ms", nil, nil},
		{"p99_full_speed_ms", "foreground p99 during one lane at full speed", "ms", nil, nil},
		{"p99_protected_ms", "foreground p99 during one lane that protects it", "ms", nil, nil},
		{"p99_ratio_single_update", "p99 during one UPDATE, to idle", "×", nil, nil},
		{"p99_ratio_full_speed", "p99 at full speed, to idle", "×", nil, nil},
		{"p99_ratio_protected", "p99 protected, to idle", "×", nil, most(2.0)},
		{"protected_rows_per_second", "rows per second, protected", "", nil, nil},
		{"protected_speed", "speed protected, to one lane without foreground", "×", nil, nil},
		{"protected_speed_same_load", "speed protected, to one lane at full speed with the same foreground", "×", nil, nil},
		{"foreground_failed", "foreground transactions that failed", "", sample.sum, most(0)},
		{"pause_ms", "from the order to pause to the last row changed, longest", "ms", sample.max, most(1000)},
		{"pause_median_ms", "the same, median", "ms", nil, nil},
		{"kills", "SIGKILLs in the middle of the lanes", "", sample.sum, nil},
		{"redone_rows", "rows changed twice or not at all after them", "", sample.sum, most(0)},
		{"worker_peak_mb", "peak memory of the worker (VmHWM)", "MB", sample.max, nil},
		{"history_events", "events in Temporal's history", "", nil, nil},
		{"history_events_difference", "most minus least events over all numbers of rows", "", sample.max, most(0)},
		{"ddl_longest_wait_ms", "longest wait of a transaction, ALTER TABLE by ours", "ms", nil, most(1000)},
		{"ddl_longest_wait_migrate_ms", "the same, by golang-migrate", "ms", nil, nil},
		{"ddl_longest_wait_psql_ms", "the same, by psql", "ms", nil, nil},
		{"ddl_waited", "transactions that waited more than 100 ms, by ours", "", nil, nil},
		{"ddl_waited_migrate", "the same, by golang-migrate", "", nil, nil},
		{"ddl_waited_psql", "the same, by psql", "", nil, nil},
		{"ddl_seconds", "from the order to the new column, by ours", "s", nil, nil},
		{"ddl_migrate_seconds", "the same, by golang-migrate", "s", nil, nil},
		{"ddl_psql_seconds", "the same, by psql", "s", nil, nil},
		{"ddl_failed", "transactions that failed meanwhile", "", sample.sum, most(0)},
		{"switch_first_old_ms", "from the start of `contraflow kill` to the first answer in the old way", "ms", nil, nil},
		{"switch_last_new_ms", "to the last answer in the new way", "ms", nil, nil},
		{"switch_longest_ms", "the longest of both", "ms", sample.max, most(1000)},
		{"switch_ended_ms", "to its end: both flags off, proven and recorded", "ms", nil, nil},
		{"patch_first_old_ms", "a bare request by a process of its own, to the first answer in the old way", "ms", nil, nil},
		{"patch_last_new_ms", "the same, to the last answer in the new way", "ms", nil, nil},
		{"switch_ratio", "first answer in the old way, `contraflow kill` to the bare request", "×", nil, nil},
	}
}

// results of all rounds.
type results struct {
	took    time.Duration
	samples map[string]sample
	byRows  map[int64]float64 // history events
}

func newResults() *results {
	return &results{samples: map[string]sample{}, byRows: map[int64]float64{}}
}

func (r *results) add(name string, value float64) { r.samples[name] = append(r.samples[name], value) }

// figure is a number as people like to read it: three digits where there are no more, whole numbers with separators.
func figure(v float64) string {
	switch {
	case v == math.Trunc(v) && math.Abs(v) < 10 || math.Abs(v) >= 100:
		return thousands(v)
	case math.Abs(v) >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

func thousands(v float64) string {
	digits := strconv.FormatFloat(math.Abs(v), 'f', 0, 64)
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	if v < 0 {
		return "-" + digits
	}
	return digits
}

// write the table, in Markdown, and the JSON object behind it.
func (r *results) write(to io.Writer, o options, machine string) error {
	rows := [][]string{{"name", "what", "median", "min … max", "mark", ""}}
	object := map[string]any{"rows": o.rows, "rounds": o.rounds, "machine": machine, "seconds": math.Round(r.took.Seconds())}
	spread, missed := map[string][2]float64{}, []string{}
	for _, m := range lines() {
		s, ok := r.samples[m.name]
		if !ok {
			continue
		}
		value := s.median()
		if m.take != nil {
			value = m.take(s)
		}
		object[m.name], spread[m.name] = rounded(value), [2]float64{rounded(s.min()), rounded(s.max())}
		cells := []string{"`" + m.name + "`", m.title, strings.TrimSpace(figure(value) + " " + m.unit), figure(s.min()) + " … " + figure(s.max()), "", ""}
		if m.mark != nil {
			cells[4], cells[5] = m.mark.String(), "✓"
			if !m.mark.reached(value) {
				cells[5], missed = "✗", append(missed, m.name)
			}
		}
		rows = append(rows, cells)
	}
	object["spread"], object["marks_missed"] = spread, missed
	if len(r.byRows) > 0 {
		object["history_events_by_rows"] = r.byRows
	}
	encoded, err := json.Marshal(object)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(to, "%s\n\n%s rows, %d rounds, %s\n\n%s\n", machine, thousands(float64(o.rows)), o.rounds,
		r.took.Round(time.Second), markdown(rows))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(to, "%s\n", encoded)
	return err
}

// rounded to four digits behind the point: more are noise.
func rounded(v float64) float64 { return math.Round(v*1e4) / 1e4 }

// markdown is a table whose columns stand under each other for those who read it as it is.
func markdown(rows [][]string) string {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	var b strings.Builder
	add := func(cells []string) {
		for i, cell := range cells {
			fmt.Fprintf(&b, "| %-*s ", widths[i], cell)
		}
		b.WriteString("|\n")
	}
	add(rows[0])
	for _, width := range widths {
		b.WriteString("|" + strings.Repeat("-", width+2))
	}
	b.WriteString("|\n")
	for _, row := range rows[1:] {
		add(row)
	}
	return b.String()
}
