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
		add("the way down does not lead back to the same catalog: %d lines differ", len(d.Differences))
	}
	for _, t := range r.Trials {
		if t.Problem != "" {
			add("%s, at %s: %s", t.What(), versions(t.At), t.Problem)
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

func versions(at []uint) string {
	texts := make([]string, len(at))
	for i, v := range at {
		texts[i] = fmt.Sprint(v)
	}
	if len(at) == 1 {
		return "version " + texts[0]
	}
	return "versions " + strings.Join(texts, ", ")
}

// namedLocks is how many relations a line names that are locked equally strongly.
const namedLocks = 2

// Detail is what gave the verdict, such as "ACCESS EXCLUSIVE on customers, 12.4 M rows, rewrites 3.1 GB".
func (s Statement) Detail() string {
	if s.Problem != "" {
		return "fails: " + s.Problem
	}
	var parts []string
	sized := map[string]bool{}
	if len(s.Locks) > 0 {
		strongest := s.Locks[0].Mode
		var names []string
		for _, l := range s.Locks {
			if l.Mode == strongest && !slices.Contains(names, l.Relation) {
				names = append(names, l.Relation)
			}
		}
		text := strongest + " on " + strings.Join(names[:min(len(names), namedLocks)], " and ")
		if more := len(names) - namedLocks; more > 0 {
			text += fmt.Sprintf(" and %d more", more)
		}
		parts = append(parts, text)
		if len(names) == 1 && s.Locks[0].Rows >= 0 {
			parts, sized[s.Locks[0].Name] = append(parts, rows(s.Locks[0].Rows)), true
		}
	}
	for _, did := range []struct {
		what string
		to   []Size
	}{{"rewrites", s.Rewrites}, {"scans", s.Scans}, {"builds", s.Builds}} {
		for _, size := range did.to {
			if sized[size.Name] { // named already
				parts = append(parts, did.what+" "+Bytes(size.Bytes))
			} else {
				parts = append(parts, fmt.Sprintf("%s %s, %s", did.what, size.Name, Bytes(size.Bytes)))
			}
		}
	}
	return strings.Join(parts, ", ")
}

func rows(n int64) string {
	if n == 1 {
		return "1 row"
	}
	return Rows(n) + " rows"
}

// Rows as people say them: 950, 12.4 k, 3.1 M.
func Rows(n int64) string { return scaled(float64(n), 1000, "", " k", " M", " G") }

// Bytes as Postgres counts them, in powers of 1,024.
func Bytes(n int64) string { return scaled(float64(n), 1024, " B", " kB", " MB", " GB", " TB") }

func scaled(n, step float64, units ...string) string {
	i := 0
	for n >= step && i < len(units)-1 {
		n, i = n/step, i+1
	}
	if i == 0 || n >= 100 {
		return fmt.Sprintf("%.0f%s", n, units[i])
	}
	return fmt.Sprintf("%.1f%s", n, units[i])
}
