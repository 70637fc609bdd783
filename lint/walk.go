package lint

import (
	"errors"
	"path"
	"regexp"
	"strconv"

	"github.com/contraflow/contraflow/ddl"
	"github.com/contraflow/contraflow/internal/sqltree"
)

// history stands for the step of what the plan found: files below its own, and what they made.
const history = -1

var (
	syntaxError = Rule{
		ID: "syntax-error", Severity: Error, Title: "Postgres would not understand the file",
		Why:     "The grammar of Postgres 17 stops here: the step would fail, and the migration roll back.",
		Sources: []string{"squawk: syntax-error"},
	}
	scriptRefused = Rule{
		ID: "script-refused", Severity: Error, Title: "contraflow doesn't run such a file",
		Why:     "Each file runs in one transaction together with its version, or is one statement outside of any. What fits neither is refused before anything runs.",
		Sources: []string{"contraflow"},
	}
)

// newCheck reads the files that the plan's migrate steps apply, and those below them.
func newCheck(in Input) *check {
	c := &check{in: in, downs: map[uint]script{}, now: newSchema()}
	if in.Files == nil {
		return c
	}
	highest := in.Plan.HighestVersion()
	for _, v := range in.Files.Versions() {
		if highest > 0 && v > highest {
			break // of a later plan
		}
		step := c.stepOf(v)
		if up, ok := in.Files.Script(v, ddl.Up); ok {
			c.all = append(c.all, c.parse(up, step))
		}
		if down, ok := in.Files.Script(v, ddl.Down); ok && (step != history || in.All) {
			c.downs[v] = c.parse(down, step)
		}
	}
	return c
}

// stepOf tells which step applies a version: of the first migrate step it is the version it names alone, because where the
// database stands when the plan starts is not written anywhere.
func (c *check) stepOf(version uint) int {
	first := true
	for i, step := range c.in.Plan.Steps {
		if step.Migrate == nil {
			continue
		}
		if version == step.Migrate.To || version < step.Migrate.To && !first {
			return i
		}
		if version < step.Migrate.To {
			return history
		}
		first = false
	}
	return history
}

func (c *check) parse(file ddl.Script, step int) script {
	s := script{Script: file, path: path.Join(c.in.Folder, file.Name), step: step}
	parsed, err := sqltree.Parse(file.Text)
	s.statements, s.unread = parsed, err != nil
	if step == history && !c.in.All {
		return s
	}
	if failed, ok := errors.AsType[*sqltree.SyntaxError](err); ok {
		c.add(syntaxError, s.path, failed.Line, failed.Column, failed.Message, "")
	}
	if file.Problem != nil {
		c.add(scriptRefused, s.path, lineIn(file.Problem), 1, file.Problem.Error(), "")
	}
	return s
}

var lineNumber = regexp.MustCompile(`\bline (\d+)\b`)

// lineIn finds the line that an error of ddl names; 1 where it is about the whole file.
func lineIn(err error) int {
	if m := lineNumber.FindStringSubmatch(err.Error()); m != nil {
		if line, err := strconv.Atoi(m[1]); err == nil {
			return line
		}
	}
	return 1
}

// scripts goes through all files as they would run, with the schema that each statement meets.
func (c *check) scripts() {
	c.run(history)
	c.at = append(c.at, c.now.clone())
	for i := range c.in.Plan.Steps {
		c.run(i)
		c.at = append(c.at, c.now.clone())
	}
}

// run applies the files of one step.
func (c *check) run(step int) {
	c.now.step = step
	for i := range c.all {
		s := &c.all[i]
		if s.step != step {
			continue
		}
		c.now.settle()
		if step == history {
			c.read(s, c.in.All)
			continue
		}
		before := c.now.clone()
		c.read(s, true)
		c.undo(s, before)
	}
}

// read applies a file, statement by statement, and looks at each of them in front of that if it is judged.
func (c *check) read(s *script, judged bool) {
	c.locks = locks{}
	for _, st := range s.statements {
		if judged {
			for _, r := range statementRules {
				r.look(c, s, st)
			}
			c.take(s, st)
		}
		if s.step != history {
			c.meet(s, st)
		}
		c.now.apply(st)
	}
}
