package lint

import (
	"cmp"
	"slices"

	"github.com/contraflow/contraflow/ddl"
	"github.com/contraflow/contraflow/internal/sqltree"
	"github.com/contraflow/contraflow/plan"
)

// Input of the linter.
type Input struct {
	Plan *plan.Plan
	// File is the plan's, Document its text: findings on steps point into it.
	File     string
	Document []byte
	// Files of the plan's migrations folder, all of them: older ones tell what the tables look like. Nil if it has none.
	Files *ddl.Files
	// Folder of the files, as findings shall name it.
	Folder string
	// All looks at the files below the plan's too, which otherwise only tell what the tables look like.
	All bool
}

// script is one SQL file under the linter.
type script struct {
	ddl.Script
	path       string // as findings name it
	step       int    // index of the plan's step that applies it; history for files below the plan's
	statements []sqltree.Statement
	unread     bool // it has a syntax error, and so no statements
}

// Check reads everything and reports in order of place. It never fails: what can't be read is a finding too.
func Check(in Input) Report {
	c := newCheck(in)
	c.scripts()
	c.steps()
	c.ignores()
	return c.report()
}

// check is one run of the linter.
type check struct {
	in       Input
	all      []script // in the order in which they would run: by version, up only
	downs    map[uint]script
	findings []Finding
	// now is the schema in front of the statement looked at.
	now *schema
	// at is the schema in front of each step of the plan, and behind the last.
	at []*schema
	// met are the statements of the plan's steps, for rules that look at them when everything is read.
	met []met
	// locks that the statements above have taken, in the file that is looked at.
	locks locks
}

// add records a finding of a rule at a place.
func (c *check) add(r Rule, file string, line, column int, message, safe string) {
	c.findings = append(c.findings, Finding{Rule: r.ID, Severity: r.Severity, File: file, Line: line, Column: column, Message: message, Why: r.Why, Safe: safe})
}

// found records a finding of a rule at a byte offset of a script, such as a location in the parse tree.
func (c *check) found(r Rule, s *script, offset int, message, safe string) {
	line, column := sqltree.Position(s.Text, offset)
	c.add(r, s.path, line, column, message, safe)
}

// step records a finding of a rule at a key of a step, or at the step itself.
func (c *check) step(r Rule, step int, keys []any, message, safe string) {
	line, column := plan.Position(c.in.Document, slices.Concat([]any{"steps", step}, keys)...)
	c.add(r, c.in.File, line, column, message, safe)
}

// statementRule looks at one statement of an up file of the plan; c.now is the schema in front of it.
type statementRule struct {
	Rule
	look func(c *check, s *script, st sqltree.Statement)
}

func byPlace(a, b Finding) int {
	return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Rule, b.Rule))
}

func (c *check) report() Report {
	slices.SortStableFunc(c.findings, byPlace)
	r := Report{Plan: c.in.Plan.Name, Files: len(c.all) + len(c.downs), Findings: []Finding{}, Ignored: []Finding{}}
	for _, s := range c.all {
		r.Statements += len(s.statements)
	}
	for _, s := range c.downs {
		r.Statements += len(s.statements)
	}
	for _, f := range c.findings {
		if f.Ignored != "" {
			r.Ignored = append(r.Ignored, f)
		} else {
			r.Findings = append(r.Findings, f)
		}
	}
	return r
}

// Rules lists every rule, in order of their names.
func Rules() []Rule {
	all := append([]Rule{syntaxError, scriptRefused, downMissing, downNotInverse}, ignoreRules...)
	for _, r := range statementRules {
		all = append(all, r.Rule)
	}
	for _, r := range planRules {
		all = append(all, r.Rule)
	}
	slices.SortFunc(all, func(a, b Rule) int { return cmp.Compare(a.ID, b.ID) })
	return all
}
