package rehearse

import (
	"fmt"
	"slices"
	"strings"
)

// ladder of verdicts, worst last.
var ladder = []Verdict{Instant, Background, Changes, BlocksWrites, BlocksScan, BlocksAll}

// Compare tells which of two verdicts is worse: negative if v is better than o.
func (v Verdict) Compare(o Verdict) int { return slices.Index(ladder, v) - slices.Index(ladder, o) }

// Worst verdict of all statements; "" if there are none.
func (r *Report) Worst() Verdict {
	var worst Verdict
	for _, s := range r.Statements {
		if s.Verdict.Compare(worst) > 0 {
			worst = s.Verdict
		}
	}
	return worst
}

// Problems are what would fail, one line each and without values of rows: statements, the way down, the plan's own SQL, sampled
// rows. None is good.
func (r *Report) Problems() []string {
	var all []string
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	for _, s := range r.Statements {
		if s.Problem != "" {
			add("%s fails: %s", s.Where(), s.Problem)
		}
	}
	switch d := r.Down; {
	case d == nil:
	case d.Problem != "":
		add("the way down fails: %s", d.Problem)
	case !d.Identical:
		differ := 0
		for _, line := range d.Differences {
			if strings.HasPrefix(line, "-") || strings.HasPrefix(line, "+") { // the others are context
				differ++
			}
		}
		add("the way down does not lead back to the same catalog: %d lines differ", differ)
	}
	for _, t := range r.Trials {
		if t.Problem != "" {
			add("%s, at %s: %s", t.What(), Versions(t.At), t.Problem)
		}
	}
	for _, s := range r.Samples {
		if s.Refused > 0 {
			add("step %s: %d of %d sampled rows are refused", s.Step, s.Refused, s.Rows)
		}
	}
	return all
}

// Where the statement stands, as editors understand it.
func (s Statement) Where() string { return fmt.Sprintf("%s:%d", s.File, s.Line) }

// What was tried, in words.
func (t Trial) What() string {
	text := t.Kind
	if t.Step != "" {
		text = "step " + t.Step + ", " + text
	}
	if t.Name != "" {
		text += " " + t.Name
	}
	return text
}

// Versions in words, such as "version 2" or "versions 2, 3".
func Versions(at []uint) string {
	texts := make([]string, len(at))
	for i, v := range at {
		texts[i] = fmt.Sprint(v)
	}
	if len(at) == 1 {
		return "version " + texts[0]
	}
	return "versions " + strings.Join(texts, ", ")
}

// Detail says what is behind the verdict, such as "ACCESS EXCLUSIVE on customers, 12.4 M rows, rewrites 3.1 GB".
func (s Statement) Detail() string {
	var parts []string
	on := ""
	if len(s.Locks) > 0 {
		l := s.Locks[0]
		on = l.Name
		lock := l.Mode + " on " + l.Relation
		if l.Held {
			lock = "still holds " + lock
		}
		parts = append(parts, lock)
		if l.Rows >= 0 && (l.Rows > 0 || l.Bytes > 0) {
			parts = append(parts, Rows(l.Rows))
		}
	} else if worked := len(s.Rewrites) + len(s.Scans) + len(s.Builds); worked > 0 && s.Verdict != Background {
		parts = append(parts, "under the locks of the statements before it")
	}
	for _, kind := range []struct {
		verb  string
		sizes []Size
	}{{"rewrites", s.Rewrites}, {"scans", s.Scans}, {"builds", s.Builds}} {
		for _, size := range kind.sizes {
			parts = append(parts, work(kind.verb, size, on))
		}
	}
	return strings.Join(parts, ", ")
}

// work names the relation only where it is another than the one just named.
func work(verb string, size Size, on string) string {
	switch {
	case size.Name == on && size.Bytes < 0:
		return verb + " it"
	case size.Name == on:
		return verb + " " + Bytes(size.Bytes)
	case size.Bytes < 0:
		return verb + " " + size.Name
	}
	return verb + " " + size.Name + " (" + Bytes(size.Bytes) + ")"
}

// Rows as people write them: "950 rows", "12.4 k rows", "12.4 M rows".
func Rows(n int64) string {
	switch {
	case n < 0:
		return "unknown rows"
	case n == 1:
		return "1 row"
	}
	return scaled(n, 1000, "", " k", " M", " G") + " rows"
}

// Bytes as people write them: "8 kB", "3.1 GB".
func Bytes(n int64) string {
	if n < 0 {
		return "unknown size"
	}
	return scaled(n, 1024, " bytes", " kB", " MB", " GB", " TB")
}

// scaled has one digit behind the point below a hundred: 12.4, 124.
func scaled(n, step int64, units ...string) string {
	value, unit := float64(n), 0
	for value >= float64(step)-0.5 && unit < len(units)-1 {
		value /= float64(step)
		unit++
	}
	if unit == 0 || value >= 99.95 {
		return fmt.Sprintf("%.0f%s", value, units[unit])
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", value), ".0") + units[unit]
}
