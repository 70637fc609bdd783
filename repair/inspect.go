// Package repair looks at a database that golang-migrate has left dirty: it tells, statement by statement, what of the failed
// file stands, and writes the version that is right. The catalog decides; where it can't, a person's word does.
package repair

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/contraflow/contraflow/ddl"
	"github.com/contraflow/contraflow/internal/sqltree"
)

// Standing is what the catalog says of one statement.
type Standing string

// The four answers.
const (
	Applied    Standing = "applied"
	NotApplied Standing = "not applied"
	Untold     Standing = "can't be told"
	// Traceless statements leave nothing that would matter: settings of the session, locks, VACUUM.
	Traceless Standing = "leaves nothing"
)

// Statement of a file, and what of it stands.
type Statement struct {
	File     string   `json:"file"`
	Line     int      `json:"line"`      // of its first word, from 1
	Summary  string   `json:"statement"` // its first words, without constants
	Standing Standing `json:"standing"`
	Why      string   `json:"why,omitempty"`
	// Repeatable says that it does no harm to run it again, so that it proves nothing if it stands.
	Repeatable bool `json:"repeatable,omitempty"`

	start    int  // byte in the file
	envelope bool // BEGIN or COMMIT
}

// File is one SQL file that may have failed.
type File struct {
	Name      string        `json:"file"`
	Version   uint          `json:"version"`
	Direction ddl.Direction `json:"direction"`
	// NoTransaction says that its one statement runs outside a transaction.
	NoTransaction bool        `json:"noTransaction,omitempty"`
	Statements    []Statement `json:"statements"`
	// Problem is why the file can't be read; then it has no statements.
	Problem string `json:"problem,omitempty"`

	text string
}

// count statements; proofs are those whose standing proves something.
func (f File) count(s Standing) (all, proofs int) {
	for _, st := range f.Statements {
		if st.Standing == s {
			all++
			if !st.Repeatable {
				proofs++
			}
		}
	}
	return all, proofs
}

// inspectFile compares each statement of a file to the catalog.
func inspectFile(ctx context.Context, tx pgx.Tx, script ddl.Script, schema string) (File, error) {
	f := File{Name: script.Name, Version: script.Version, Direction: script.Direction, NoTransaction: script.NoTransaction, text: script.Text, Statements: []Statement{}}
	parsed, err := sqltree.Parse(script.Text)
	if err != nil {
		f.Problem = fmt.Sprintf("Postgres's grammar doesn't take it: %s", masked(err))
		return f, nil
	}
	r := newReader(schema)
	r.foresee(parsed)
	effects := make([]effect, len(parsed))
	for i, s := range parsed {
		effects[i] = r.effect(s.Node)
		line := s.Line
		f.Statements = append(f.Statements, Statement{File: f.Name, Line: line, Summary: summary(s.Text), start: s.Start, envelope: effects[i].envelope})
	}
	moved := 0 // the line from which on names mean something else
	for i := range effects {
		st := &f.Statements[i]
		if effects[i].path {
			moved = st.Line
		}
		if err := st.judge(ctx, tx, effects, f.Statements, i); err != nil {
			return f, fmt.Errorf("%s:%d: look the statement's effect up: %w", f.Name, st.Line, err)
		}
		if moved > 0 && (st.Standing == Applied || st.Standing == NotApplied) {
			st.Standing, st.Why = Untold, fmt.Sprintf("line %d sets another search_path", moved)
		}
	}
	return f, nil
}

// masked leaves out what the grammar's message quotes of the file.
func masked(err error) string {
	text, _, _ := strings.Cut(err.Error(), " at or near ")
	return text
}

// judge says what the catalog has of statement i.
func (st *Statement) judge(ctx context.Context, tx pgx.Tx, effects []effect, all []Statement, i int) error {
	e := effects[i]
	switch {
	case e.leavesNothing:
		st.Standing = Traceless
		return nil
	case e.untold != "" || len(e.facts) == 0:
		st.Standing, st.Why = Untold, e.untold
		return nil
	}
	var v votes
	for n, f := range e.facts {
		if reason := overtaken(effects, all, i, n); reason != "" {
			v.untold = append(v.untold, reason)
			continue
		}
		is, note, err := peek(ctx, tx, f.look)
		if err != nil {
			return err
		}
		if is != nil && *is && !f.gone && f.same != nil {
			reason, err := doubt(ctx, tx, f, after(effects, i))
			if err != nil {
				return err
			}
			if reason != "" {
				v.doubts = append(v.doubts, reason)
				continue
			}
		}
		v.take(f, is, note, begotten(effects, i, f))
	}
	st.Standing, st.Why = v.result()
	st.Repeatable = v.repeats
	return nil
}

// peek looks in a savepoint: where Postgres refuses to look, the transaction goes on.
func peek(ctx context.Context, tx pgx.Tx, look look) (is *bool, note string, err error) {
	inner, err := tx.Begin(ctx)
	if err != nil {
		return nil, "", err
	}
	is, note, err = look(ctx, inner)
	failed, refused := errors.AsType[*pgconn.PgError](err)
	if refused && strings.HasPrefix(failed.Code, classAccess) {
		is, note, err = nil, fmt.Sprintf("this role may not look, or Postgres doesn't know what the statement names (SQLSTATE %s)", failed.Code), nil
	}
	return is, note, errors.Join(err, inner.Rollback(ctx))
}

// classAccess is of SQLSTATEs: syntax error or access rule violation.
const classAccess = "42"

// overtaken says why the catalog keeps nothing of a fact: another statement of the file made it otherwise.
func overtaken(effects []effect, all []Statement, i, n int) string {
	f := effects[i].facts[n]
	for j := i; j < len(effects); j++ {
		for m, later := range effects[j].facts {
			if j == i && m <= n {
				continue
			}
			if later.key == f.key {
				return fmt.Sprintf("line %d makes %s otherwise", all[j].Line, f.what)
			}
			if slices.Contains(f.within, later.key) && !later.property {
				return fmt.Sprintf("line %d removes or moves what it is about: %s", all[j].Line, later.what)
			}
		}
	}
	if f.property {
		return ""
	}
	for j, e := range effects[:i+1] {
		for m, first := range e.facts {
			if first.key == f.key && (j < i || m < n) {
				if first.gone == f.gone && !first.lesser {
					return ""
				}
				return fmt.Sprintf("%s was the same before line %d", f.what, all[j].Line)
			}
		}
	}
	return ""
}

// after looks for a key in the statements after i.
func after(effects []effect, i int) touched {
	return func(key string) bool {
		return slices.ContainsFunc(effects[i+1:], func(e effect) bool {
			return slices.ContainsFunc(e.facts, func(f fact) bool { return f.key == key })
		})
	}
}

// begotten tells that an earlier statement of the file makes what the fact lives in: where that is missing, nothing was done.
func begotten(effects []effect, i int, f fact) bool {
	for _, e := range effects[:i] {
		for _, earlier := range e.facts {
			if slices.Contains(f.within, earlier.key) && !earlier.gone && !earlier.property {
				return true
			}
		}
	}
	return false
}

// votes of the facts of one statement.
type votes struct {
	yes, no             []string // of facts that prove something
	lesserYes, lesserNo []string
	untold              []string
	doubts              []string // about what is there
	repeats             bool     // as far as all that stands
	asked               bool
}

func (v *votes) take(f fact, is *bool, note string, begotten bool) {
	if !v.asked {
		v.asked, v.repeats = true, true
	}
	v.repeats = v.repeats && f.repeats
	if is == nil {
		switch {
		case note == "" && (begotten || !f.gone && !f.optional):
			v.no = append(v.no, "what it is about is not there")
		case f.optional:
			v.lesserYes = append(v.lesserYes, "what it is about is not there, and the statement passes over that")
		case note == "":
			v.untold = append(v.untold, "what it is about is not there: "+f.what)
		default:
			v.untold = append(v.untold, note)
		}
		return
	}
	if note == "" {
		note = f.says(*is)
	}
	switch stands := *is != f.gone; {
	case stands && f.lesser:
		v.lesserYes = append(v.lesserYes, note)
	case stands:
		v.yes = append(v.yes, note)
	case f.lesser:
		v.lesserNo = append(v.lesserNo, note)
	default:
		v.no = append(v.no, note)
	}
}

// result of the votes: what proves something decides, and what contradicts itself needs a person.
func (v *votes) result() (Standing, string) {
	missing := slices.Concat(v.no, v.lesserNo)
	switch {
	case len(v.doubts) > 0:
		return Untold, listing(slices.Concat(v.doubts, missing))
	case len(v.yes) > 0 && len(missing) == 0:
		return Applied, listing(v.yes)
	case len(v.yes) > 0:
		return Untold, "a part of it stands: " + listing(slices.Concat(v.yes, missing))
	case len(v.no) > 0:
		return NotApplied, listing(v.no)
	case len(v.lesserNo) > 0:
		return NotApplied, listing(v.lesserNo)
	case len(v.lesserYes) > 0:
		return Applied, listing(v.lesserYes)
	}
	return Untold, listing(v.untold)
}

func listing(reasons []string) string { return strings.Join(slices.Compact(reasons), "; ") }

const (
	summaryWords = 7  // ALTER TABLE name ADD COLUMN name type
	summaryRunes = 64 // a line of a terminal holds more beside it
)

// summary is the first words of a statement, up to what could be a constant or an expression.
func summary(text string) string {
	var words []string
	for _, word := range strings.Fields(text) {
		end := strings.IndexFunc(word, func(c rune) bool {
			return !unicode.IsLetter(c) && !unicode.IsDigit(c) && !strings.ContainsRune(`_."`, c)
		})
		first := []rune(word)[0]
		cut := end >= 0
		if cut {
			word = word[:end]
		}
		if word != "" && !unicode.IsDigit(first) {
			words = append(words, word)
		}
		if cut || unicode.IsDigit(first) || len(words) == summaryWords {
			break
		}
	}
	short := []rune(strings.Join(words, " "))
	if len(short) > summaryRunes {
		short = append(short[:summaryRunes-1], '…')
	}
	return string(short)
}
