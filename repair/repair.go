package repair

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/contraflow/contraflow/ddl"
)

// Order is what a person lets be done.
type Order struct {
	Question
	Way  Way    // required
	By   string // the person
	Plan string // whose files these are
	// OnWait is told while Finish gives way to another's lock. Defaults to telling nobody.
	OnWait func(ddl.Waiting)
}

// Done is what was written.
type Done struct {
	From string `json:"from"` // what schema_migrations said
	To   string `json:"to"`
	File string `json:"file"`
	Way  Way    `json:"way"`
	// Ran are the statements that were run.
	Ran []Statement `json:"ran,omitempty"`
	// Word says that the person's word stands for what the catalog can't tell.
	Word bool `json:"word,omitempty"`
}

// RefusedError says why nothing was changed.
type RefusedError struct {
	Reason string
	// Report that it was decided by.
	Report *Report
}

func (e *RefusedError) Error() string { return e.Reason }

// Do looks once more, under the migration lock, and carries the order out in the same transaction, or changes nothing.
// Errors: *RefusedError, *ddl.BusyError, *ddl.StatementError, ddl.ErrScript, ctx's.
func Do(ctx context.Context, pool *pgxpool.Pool, o Order) (done Done, err error) {
	engine := ddl.New(pool, o.Files, ddl.Options{OnWait: o.OnWait})
	err = engine.Force(ctx, func(ctx context.Context, tx pgx.Tx, record ddl.Record) (ddl.Forced, error) {
		report, err := inspect(ctx, tx, record, o.Question)
		if err != nil {
			return ddl.Forced{}, err
		}
		refuse := func(format string, args ...any) (ddl.Forced, error) {
			return ddl.Forced{}, &RefusedError{fmt.Sprintf(format, args...), report}
		}
		file := report.settled(o.Way)
		if file == nil {
			return refuse("%s", report.Verdict)
		}
		if reason := file.objection(o.Way); reason != "" {
			return refuse("%s", reason)
		}
		at := record.Rows[0]
		applied, unapplied := file.states(o.Files, at)
		forced := ddl.Forced{To: applied, Version: file.Version, File: file.Name, Plan: o.Plan, By: o.By}
		if o.Way == AsUnapplied {
			forced.To = unapplied
		}
		done = Done{From: at.String(), To: forced.To.String(), File: file.Name, Way: o.Way, Word: file.untold()}
		if o.Way == Finish {
			forced.SQL, done.Ran = file.rest()
		}
		forced.Detail = done.String()
		return forced, nil
	})
	if err != nil {
		return Done{}, err
	}
	return done, nil
}

// String is one sentence for people.
func (d Done) String() string {
	text := fmt.Sprintf("%s counts as %s; schema_migrations was at %s and is at %s now", d.File, d.Way, d.From, d.To)
	if d.Way == Finish {
		text = fmt.Sprintf("%s: ran %s that had not been applied; schema_migrations was at %s and is at %s now", d.File, lines(len(d.Ran), "statement"), d.From, d.To)
	}
	if d.Word {
		text += "; the person's word stands for what the catalog can't tell"
	}
	return text
}

// settled is the file to repair; nil where the verdict says what has to be cleared first.
func (r *Report) settled(way Way) *File {
	if r.file != nil || way != AsApplied || len(r.Files) < 2 {
		return r.file
	}
	up, down := &r.Files[0], &r.Files[1] // either way the same version stands: which it was doesn't matter
	if up.objection(way) == "" && down.objection(way) == "" {
		return up
	}
	return nil
}

// objection is how the catalog contradicts; empty if it doesn't.
func (f *File) objection(way Way) string {
	missing, _ := f.count(NotApplied)
	_, proofs := f.count(Applied)
	untold, _ := f.count(Untold)
	switch way {
	case AsApplied:
		if missing > 0 {
			return fmt.Sprintf("%s is not applied: the catalog lacks what %s make (%s). Nothing was changed.", f.Name, lines(missing, "statement"), f.reasons(NotApplied))
		}
	case AsUnapplied:
		if proofs > 0 {
			return fmt.Sprintf("%s is not unapplied: the catalog has what %s made (%s). Nothing was changed.", f.Name, lines(proofs, "statement"), f.reasons(Applied))
		}
	case Finish:
		switch {
		case f.Problem != "":
			return fmt.Sprintf("%s can't be finished: %s.", f.Name, f.Problem)
		case f.NoTransaction:
			return fmt.Sprintf("%s can't be finished: it runs outside a transaction. Undo by hand what it did, then say --as unapplied; the next attempt runs it again.", f.Name)
		case untold > 0:
			return fmt.Sprintf("%s can't be finished: of %s the catalog can't tell whether to run it (%s). Finish by hand, then say --as applied.", f.Name, lines(untold, "statement"), f.where(Untold))
		case missing == 0:
			return fmt.Sprintf("%s has nothing left to run: say --as applied.", f.Name)
		}
	default:
		return fmt.Sprintf("%q is no way: say applied, unapplied or finish", way)
	}
	return ""
}

func (f *File) reasons(s Standing) string {
	var all []string
	for _, st := range f.Statements {
		if st.Standing == s && (s != Applied || !st.Repeatable) {
			all = append(all, fmt.Sprintf("line %d: %s", st.Line, st.Why))
		}
	}
	return strings.Join(all, "; ")
}

// rest of the file: what is not applied, and what leaves nothing (SET LOCAL ROLE for example), each on its own line.
func (f *File) rest() (sql string, ran []Statement) {
	kept := make([]bool, len(f.text))
	for n, st := range f.Statements {
		if st.envelope || st.Standing != NotApplied && st.Standing != Traceless {
			continue
		}
		end := len(f.text) // with its semicolon
		if n+1 < len(f.Statements) {
			end = f.Statements[n+1].start
		}
		for i := st.start; i < end; i++ {
			kept[i] = true
		}
		if st.Standing == NotApplied {
			ran = append(ran, st)
		}
	}
	rest := []byte(f.text)
	for i, c := range rest {
		if !kept[i] && c != '\n' {
			rest[i] = ' '
		}
	}
	return string(rest), ran
}
