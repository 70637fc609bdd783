package lint

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/contraflow/contraflow/internal/sqltree"
)

// The rules about comments that ignore rules. None of them can be ignored itself.
var (
	ignoreWithoutReason = Rule{
		ID: "ignore-without-reason", Severity: Warning, Title: "Ignore comment without a reason",
		Why:     "Whoever reads it later can't tell whether the reason still holds. Until it has one it ignores nothing.",
		Sources: []string{"contraflow"},
	}
	ignoreUnknown = Rule{
		ID: "ignore-unknown", Severity: Warning, Title: "Comment to contraflow that means nothing",
		Why:     "A misspelt comment looks as if it did something: the hazard is still reported, or a file runs in a transaction that should not.",
		Sources: []string{"contraflow"},
	}
	ignoreUnused = Rule{
		ID: "ignore-unused", Severity: Warning, Title: "Ignore comment that ignores nothing",
		Why:     "The hazard is gone, or stands elsewhere. Left in place, the comment would hide the next one.",
		Sources: []string{"contraflow"},
	}
)

var ignoreRules = []Rule{ignoreWithoutReason, ignoreUnknown, ignoreUnused}

// place in a file, from 1; columns count characters.
type place struct{ line, column int }

func (p place) compare(q place) int {
	return cmp.Or(cmp.Compare(p.line, q.line), cmp.Compare(p.column, q.column))
}

// ignored is a rule that a comment takes back for one statement, or for one step of the plan.
type ignored struct {
	file   string
	at     place // of the comment
	unit   int   // which statement or step; noUnit if none follows
	rule   string
	reason string
	used   bool
}

const noUnit = -1

// header is the comment that isn't for the linter.
const header = "-- contraflow: no-transaction"

// units of a file are its statements, or the plan's steps: each ends here, and the next begins.
type units []place

// of finds the unit that a place lies in: blanks and comments belong to what follows.
func (u units) of(p place) int {
	i, _ := slices.BinarySearchFunc(u, p, place.compare)
	return min(i, max(len(u)-1, 0))
}

// ignores applies the comments of the plan and its files to the findings, and finds those that are wrong.
func (c *check) ignores() {
	all := map[string]units{}
	var ignoring []*ignored
	for _, s := range c.ofPlan() {
		u, found := c.ignoresOfScript(s)
		all[s.path] = u
		ignoring = append(ignoring, found...)
	}
	u, found := c.ignoresOfPlan()
	all[c.in.File] = u
	ignoring = append(ignoring, found...)
	for i := range c.findings {
		f := &c.findings[i]
		if slices.ContainsFunc(ignoreRules, func(r Rule) bool { return r.ID == f.Rule }) {
			continue
		}
		unit := all[f.File].of(place{f.Line, f.Column})
		for _, g := range ignoring {
			if g.file == f.File && g.unit == unit && g.rule == f.Rule {
				f.Ignored, g.used = g.reason, true
			}
		}
	}
	for _, g := range ignoring {
		if !g.used {
			c.add(ignoreUnused, g.file, g.at.line, g.at.column, fmt.Sprintf("nothing here is found by %s: remove the comment", g.rule), "")
		}
	}
}

// ofPlan are the files that the plan's steps apply and take back. Older ones have run: what they ignore doesn't matter any more.
func (c *check) ofPlan() (all []*script) {
	for i := range c.all {
		s := &c.all[i]
		if s.step == history && !c.in.All {
			continue
		}
		all = append(all, s)
		if down, ok := c.downs[s.Version]; ok {
			all = append(all, &down)
		}
	}
	return all
}

// ignoresOfScript reads the comments of a SQL file. One above a statement, within it, or behind it on its last line concerns it.
func (c *check) ignoresOfScript(s *script) (u units, found []*ignored) {
	lastLine := make([]int, len(s.statements))
	for i, st := range s.statements {
		line, column := sqltree.Position(s.Text, st.End)
		u, lastLine[i] = append(u, place{line, column}), line
	}
	for _, comment := range sqltree.Comments(s.Text) {
		text, ours := directive(comment.Text, "--")
		if !ours && meant.MatchString(comment.Text) {
			c.add(ignoreUnknown, s.path, comment.Line, comment.Column, `this says nothing to contraflow: write "-- contraflow: ignore RULE: reason"`+headerHint(comment.Text), "")
		}
		if !ours || comment.Line == 1 && comment.Text == header {
			continue
		}
		unit := slices.IndexFunc(s.statements, func(st sqltree.Statement) bool { return st.Start > comment.Start })
		before := unit - 1
		if unit == noUnit {
			before = len(s.statements) - 1
		}
		switch {
		case before >= 0 && lastLine[before] >= comment.Line:
			unit = before
		case len(s.statements) == 0:
			unit = 0 // what is found in a file without statements is found in the file
		}
		found = append(found, c.ignore(s.path, place{comment.Line, comment.Column}, unit, text)...)
	}
	return u, found
}

// ignoresOfPlan reads the comments of the plan. One of its own line concerns what the next line belongs to.
func (c *check) ignoresOfPlan() (u units, found []*ignored) {
	u = unitsOfPlan(c.in.Document)
	lines := strings.Split(string(c.in.Document), "\n")
	for i, line := range lines {
		at := strings.Index(line, "#")
		if at < 0 {
			continue
		}
		text, ours := directive(line[at:], "#")
		if !ours && meant.MatchString(line[at:]) {
			_, column := sqltree.Position(line, at)
			c.add(ignoreUnknown, c.in.File, i+1, column, `this says nothing to contraflow: write "# contraflow: ignore RULE: reason"`, "")
		}
		if !ours {
			continue
		}
		concerns := i
		if strings.TrimSpace(line[:at]) == "" {
			concerns = i + slices.IndexFunc(append(lines[i:], "end"), func(l string) bool {
				l = strings.TrimSpace(l)
				return l != "" && l[0] != '#'
			})
		}
		unit := noUnit
		if concerns < len(lines) {
			unit = u.of(place{concerns + 1, 1})
		}
		_, column := sqltree.Position(line, at)
		found = append(found, c.ignore(c.in.File, place{i + 1, column}, unit, text)...)
	}
	return u, found
}

// unitsOfPlan are the document's keys, and each of its steps.
func unitsOfPlan(document []byte) (u units) {
	var root yaml.Node
	if yaml.Unmarshal(document, &root) != nil || len(root.Content) == 0 {
		return nil
	}
	var begins []*yaml.Node
	top := root.Content[0].Content
	for i := 0; i+1 < len(top); i += 2 { // keys and values take turns
		if begins = append(begins, top[i]); top[i].Value == "steps" {
			begins = append(begins, top[i+1].Content...)
		}
	}
	for _, next := range begins[min(1, len(begins)):] {
		u = append(u, place{next.Line, 0})
	}
	return append(u, place{math.MaxInt, 0})
}

// meant looks like a comment to contraflow, whatever its marks, capitals and colons.
var meant = regexp.MustCompile(`(?i)^[-/*#\s]*contraflow\s*:?\s*(ignore|no[-_ ]?transaction)\b`)

// directive returns what a comment says to contraflow.
func directive(comment, mark string) (text string, ours bool) {
	text, ours = strings.CutPrefix(strings.TrimSpace(strings.TrimPrefix(comment, mark)), "contraflow:")
	return strings.TrimSpace(text), ours
}

var ignoring = regexp.MustCompile(`^ignore\s+([^:]+?)\s*(?::\s*(.*))?$`)

// ignore reads RULE[, RULE…]: reason. What it can't make sense of becomes a finding, and ignores nothing.
func (c *check) ignore(file string, at place, unit int, text string) (found []*ignored) {
	bad := func(r Rule, format string, args ...any) {
		c.add(r, file, at.line, at.column, fmt.Sprintf(format, args...), "")
	}
	m := ignoring.FindStringSubmatch(text)
	if m == nil {
		bad(ignoreUnknown, "%q says nothing to contraflow: write \"contraflow: ignore RULE: reason\"%s", text, headerHint(text))
		return nil
	}
	var rules []string
	for _, rule := range strings.Split(m[1], ",") {
		rule = strings.TrimSpace(rule)
		if problem := notIgnorable(rule); problem != "" {
			bad(ignoreUnknown, "%s", problem)
			continue
		}
		rules = append(rules, rule)
	}
	if m[2] == "" && len(rules) > 0 {
		bad(ignoreWithoutReason, "say why: \"contraflow: ignore %s: reason\"", strings.Join(rules, ", "))
		return nil
	}
	for _, rule := range rules {
		found = append(found, &ignored{file: file, at: at, unit: unit, rule: rule, reason: m[2]})
	}
	return found
}

// headerHint tells of the one comment that isn't for the linter, which counts only as the first line.
func headerHint(text string) string {
	if strings.Contains(text, "transaction") {
		return fmt.Sprintf(", or %q as the file's first line", header)
	}
	return ""
}

// notIgnorable says what is wrong with the name of a rule in a comment; "" if nothing.
func notIgnorable(id string) string {
	isID := func(r Rule) bool { return r.ID == id }
	all := Rules()
	switch {
	case slices.ContainsFunc(ignoreRules, isID), id == syntaxError.ID, id == scriptRefused.ID:
		return fmt.Sprintf("%s can't be ignored: mend what it finds", id)
	case slices.ContainsFunc(all, isID):
		return ""
	}
	near := nearest(all, id)
	if near == "" {
		return fmt.Sprintf("there is no rule %q: see contraflow lint --rules", id)
	}
	return fmt.Sprintf("there is no rule %q, did you mean %s?", id, near)
}

// nearest is the rule that other linters call so, or the one that is written nearly so; "" if there is none.
func nearest(all []Rule, id string) string {
	best, distance := "", max(len(id)/3, 2)+1
	for _, r := range all {
		for _, source := range r.Sources {
			if _, name, ok := strings.Cut(source, ": "); ok && name == id {
				return r.ID
			}
		}
		if e := edits(id, r.ID); e < distance {
			best, distance = r.ID, e
		}
	}
	return best
}

// edits is the Levenshtein distance.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
