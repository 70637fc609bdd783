package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/mattn/go-runewidth"

	"github.com/contraflow/contraflow/internal/watch"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/rehearse"
)

// Colours of the terminal's own palette.
const (
	boldText   = "\x1b[1m"
	dimText    = "\x1b[2m"
	redText    = "\x1b[31m"
	greenText  = "\x1b[32m"
	yellowText = "\x1b[33m"
	endColour  = "\x1b[0m"
)

const (
	// maxSummary keeps a statement on its line; the place tells where to read on.
	maxSummary = 44
	// minDetail is the narrowest column for details; on a narrower terminal they stand below their statement.
	minDetail = 40
	// maxFailures of a sample that are listed: a person mends the kind, not the rows.
	maxFailures = 20
	// maxDifferences of the catalog, likewise.
	maxDifferences = 40
)

// rehearsalText is the report as people read it.
type rehearsalText struct {
	strings.Builder
	style watch.Style
}

// renderRehearsal lines everything up. file is where the result is kept.
func renderRehearsal(r *rehearse.Report, style watch.Style, file string) string {
	t := &rehearsalText{style: style}
	from := fmt.Sprintf("from version %d", r.From)
	if r.From == 0 {
		from = "from no version"
	}
	fmt.Fprintf(t, "%s  %s\n\n", t.in(boldText, oneLine(r.Plan)), t.in(dimText, fmt.Sprintf("hash %s · database %s, Postgres %s, %s · %s",
		plan.ShortHash(r.PlanHash), oneLine(r.Database), r.Server, from, r.At.Local().Format(time.DateTime))))
	t.statements(r.Statements)
	t.down(r.Down)
	t.trials(r.Trials)
	for _, s := range r.Samples {
		t.sample(s)
	}
	if len(r.Notes) > 0 {
		t.heading("Not rehearsed")
		for _, note := range r.Notes {
			fmt.Fprintf(t, "  %s\n", oneLine(note))
		}
	}
	t.closing(r, file)
	return t.String()
}

func (t *rehearsalText) in(colour, text string) string {
	if !t.style.Color || text == "" {
		return text
	}
	return colour + text + endColour
}

func (t *rehearsalText) heading(text string) { fmt.Fprintf(t, "\n%s\n", t.in(boldText, text)) }

// tone of a verdict.
func tone(v rehearse.Verdict) string {
	switch {
	case v.Compare(rehearse.BlocksWrites) >= 0:
		return redText
	case v == rehearse.Changes:
		return yellowText
	}
	return greenText
}

func (t *rehearsalText) statements(all []rehearse.Statement) {
	if len(all) == 0 {
		fmt.Fprintln(t, "No SQL file would be applied.")
		return
	}
	type row struct{ where, what, verdict, detail, tone string }
	table := []row{{"FILE:LINE", "STATEMENT", "VERDICT", "DETAIL", dimText}}
	for _, s := range all {
		verdict, detail, colour := string(s.Verdict), s.Detail(), tone(s.Verdict)
		if s.Problem != "" {
			verdict, detail, colour = "fails", s.Problem, redText
		}
		table = append(table, row{oneLine(s.Where()), cells().Truncate(oneLine(s.Summary), maxSummary, "…"), verdict, oneLine(detail), colour})
	}
	var where, what, verdict int
	for _, r := range table {
		where, what, verdict = max(where, cellsOf(r.where)), max(what, cellsOf(r.what)), max(verdict, cellsOf(r.verdict))
	}
	const gap = 2
	indent := where + what + verdict + 3*gap
	beside := t.style.Width == 0 || t.style.Width-indent >= minDetail
	for i, r := range table {
		head := ""
		if i == 0 {
			head = dimText
		}
		fmt.Fprint(t, t.in(head, padded(r.where, where+gap)), t.in(head, padded(r.what, what+gap)), t.in(r.tone, r.verdict))
		switch {
		case r.detail != "" && beside:
			fmt.Fprint(t, strings.Repeat(" ", verdict-cellsOf(r.verdict)+gap))
			fmt.Fprintln(t, t.in(head, strings.Join(t.folded(r.detail, indent), "\n"+strings.Repeat(" ", indent))))
		case r.detail != "" && i > 0:
			fmt.Fprint(t, "\n", below, t.in(dimText, strings.Join(t.folded(r.detail, len(below)), "\n"+below)), "\n")
		default:
			fmt.Fprintln(t)
		}
	}
}

// below is where a detail begins that has no room beside its statement.
const below = "    "

// folded breaks a text into lines for what an indent leaves of the terminal's width; elsewhere it stays one.
func (t *rehearsalText) folded(text string, indent int) []string {
	if t.style.Width == 0 {
		return []string{text}
	}
	var lines []string
	current := ""
	for _, word := range strings.Fields(text) {
		if current != "" && cellsOf(current)+1+cellsOf(word) > t.style.Width-indent {
			lines, current = append(lines, current), ""
		}
		current = strings.TrimLeft(current+" "+word, " ")
	}
	return append(lines, current)
}

func (t *rehearsalText) down(d *rehearse.Down) {
	if d == nil {
		return
	}
	t.heading("Way back")
	switch {
	case d.Problem != "":
		fmt.Fprintf(t, "  %s %s\n", t.in(redText, "✗"), oneLine(d.Problem))
	case d.Identical:
		fmt.Fprintf(t, "  %s %s down: the schema is what it was before\n", t.in(greenText, "✓"), rehearse.Versions(d.Versions))
	default:
		fmt.Fprintf(t, "  %s %s down: the schema is not what it was before (-) but (+):\n", t.in(redText, "✗"), rehearse.Versions(d.Versions))
	}
	for i, line := range d.Differences {
		if i == maxDifferences {
			fmt.Fprintf(t, "      and %d lines more\n", len(d.Differences)-i)
			break
		}
		fmt.Fprintf(t, "      %s\n", printable(line))
	}
}

func (t *rehearsalText) trials(all []rehearse.Trial) {
	if len(all) == 0 {
		return
	}
	t.heading("The plan's own SQL")
	what, at := 0, 0
	for _, trial := range all {
		what, at = max(what, cellsOf(oneLine(trial.What()))), max(at, cellsOf(rehearse.Versions(trial.At)))
	}
	for _, trial := range all {
		mark, says := t.in(greenText, "✓"), "would run"
		if trial.Problem != "" {
			mark, says = t.in(redText, "✗"), oneLine(trial.Problem)
		}
		fmt.Fprintf(t, "  %s %s%s%s\n", mark, padded(oneLine(trial.What()), what+2), padded("at "+rehearse.Versions(trial.At), at+5), says)
	}
}

func (t *rehearsalText) sample(s rehearse.Sample) {
	t.heading("Sample of step " + oneLine(s.Step))
	mark := t.in(greenText, "✓")
	if s.Refused > 0 {
		mark = t.in(redText, "✗")
	}
	fmt.Fprintf(t, "  %s %s rows of %s: %s filled, %s refused\n", mark, thousands(s.Rows), oneLine(s.Table), thousands(s.Filled), thousands(s.Refused))
	if len(s.Failures) == 0 {
		return
	}
	key, code := len("KEY"), len("CODE")
	for _, f := range s.Failures[:min(len(s.Failures), maxFailures)] {
		key, code = max(key, cellsOf(keyText(f.Key))), max(code, cellsOf(f.Code))
	}
	line := func(k, c, why, colour string) {
		fmt.Fprintf(t, "    %s\n", t.in(colour, padded(k, key+2)+padded(c, code+2)+why))
	}
	line("KEY", "CODE", "WHY", dimText)
	for i, f := range s.Failures {
		if i == maxFailures {
			fmt.Fprintf(t, "    and %s rows more\n", thousands(int64(len(s.Failures)-i)))
			break
		}
		line(keyText(f.Key), f.Code, oneLine(f.Message), "")
	}
}

// closing says the worst, and what becomes of it.
func (t *rehearsalText) closing(r *rehearse.Report, file string) {
	fmt.Fprintln(t)
	all := "All of it"
	if len(r.Notes) > 0 {
		all = "All that was tried"
	}
	switch problems := len(r.Problems()); {
	case problems > 0:
		fmt.Fprint(t, t.in(redText, fmt.Sprintf("This would fail: %s.", counted(problems, "problem"))))
		if r.Worst() != "" {
			fmt.Fprintf(t, " The worst verdict: %s.", t.in(tone(r.Worst()), string(r.Worst())))
		}
		fmt.Fprintln(t)
	case r.Worst() == "":
		fmt.Fprintln(t, t.in(greenText, all+" would run."))
	case r.Worst() == rehearse.Instant:
		fmt.Fprintln(t, t.in(greenText, all+" would run, and every statement is instant."))
	default:
		fmt.Fprintf(t, all+" would run. The worst verdict: %s.\n", t.in(tone(r.Worst()), string(r.Worst())))
	}
	if file != nowhere {
		fmt.Fprintln(t, t.in(dimText, fmt.Sprintf("Kept in %s.", file)))
	}
}

// thousands are set off by commas.
func thousands(n int64) string {
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// cells measures as terminals do, whatever the locale: ambiguous characters are one cell wide.
func cells() *runewidth.Condition { return &runewidth.Condition{StrictEmojiNeutral: true} }

func cellsOf(s string) int { return cells().StringWidth(s) }

func padded(s string, to int) string { return s + strings.Repeat(" ", max(to-cellsOf(s), 0)) }

// oneLine makes a text of others safe for a terminal.
func oneLine(s string) string { return strings.Join(strings.Fields(printable(s)), " ") }

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsControl(r), r == '\u2028', r == '\u2029':
			return ' '
		case unicode.Is(unicode.Cf, r): // bidirectional overrides and the like
			return -1
		}
		return r
	}, s)
}
