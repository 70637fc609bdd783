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
