package ddl

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

var (
	// ErrMissing says that a version has no file for the direction asked for.
	ErrMissing = errors.New("no such SQL file")
	// ErrChanged says that a file isn't the one that was planned.
	ErrChanged = errors.New("the SQL file was changed since it was planned")
	// ErrScript says that a file can't be run as it is written.
	ErrScript = errors.New("the SQL file can't be run")
	// ErrDirty says that a migrator that doesn't work in one transaction failed half way.
	ErrDirty = errors.New("schema_migrations is dirty")
	// ErrOrder says that versions before the one asked for are not applied, or that the files don't know where the database stands.
	ErrOrder = errors.New("versions are out of order")
	// ErrNotOurs says that the version stands, but another applied it: nothing to undo for this plan.
	ErrNotOurs = errors.New("the version was not applied by this plan")
	// ErrInspect says that only a person can tell whether an interrupted statement has done its work.
	ErrInspect = errors.New("an interrupted statement needs a look")
	// ErrSuperseded says that the run doesn't hold the plan any more, or is rolling back: its late attempt changed nothing.
	ErrSuperseded = errors.New("this attempt comes too late and changed nothing: another run holds the plan, or its rollback has begun")
)

// StrayError names a file in the folder of SQL files which golang-migrate would ignore or misread.
type StrayError struct {
	File   string
	Reason string // what is wrong, and the way out
}

func (e *StrayError) Error() string { return fmt.Sprintf("%s: %s", e.File, e.Reason) }

// StrangerError says that a version above the one to take down stands.
type StrangerError struct {
	Version uint   // to be taken down
	Found   uint   // where the database stands
	Owner   string // the plan that applied Found; empty if contraflow didn't
}

func (e *StrangerError) Error() string {
	by := "outside contraflow"
	if e.Owner != "" {
		by = fmt.Sprintf("by plan %q", e.Owner)
	}
	return fmt.Sprintf("version %d stays: the database stands at version %d, applied %s; take that down first, then try again", e.Version, e.Found, by)
}

// StatementError is what Postgres said to a statement of a file. It carries no DETAIL and no pgconn.PgError,
// because their texts hold row values.
type StatementError struct {
	File     string
	Line     int // 1-based, of the error's position or else of the statement's first word; 0 if unknown
	SQLState string
	Message  string // the primary message; values masked
}

func (e *StatementError) Error() string {
	at := e.File
	if e.Line > 0 {
		at = fmt.Sprintf("%s:%d", e.File, e.Line)
	}
	text := fmt.Sprintf("%s: %s (SQLSTATE %s)", at, e.Message, e.SQLState)
	if e.SQLState == stateActiveTransaction {
		text += fmt.Sprintf("; give the statement a file of its own whose first line is %q", noTransactionHeader)
	}
	return text
}

// https://www.postgresql.org/docs/current/errcodes-appendix.html
const (
	stateActiveTransaction     = "25001"
	stateDeadlock              = "40P01"
	stateDuplicateTable        = "42P07"
	stateIdleTooLong           = "25P03"
	stateIdleOutside           = "57P05"
	stateInsufficientPrivilege = "42501"
	stateUndefinedTable        = "42P01"
	stateLockNotAvailable      = "55P03"
	classDataException         = "22"
)

// gaveWay tells that the statement lost against somebody else's lock, or that we stood still and Postgres freed ours: trying
// again can help.
func gaveWay(err error) bool {
	var (
		failed *StatementError
		pgErr  *pgconn.PgError
		state  string
	)
	switch {
	case errors.As(err, &failed):
		state = failed.SQLState
	case errors.As(err, &pgErr):
		state = pgErr.Code
	}
	return state == stateLockNotAvailable || state == stateDeadlock || state == stateIdleTooLong || state == stateIdleOutside
}

var quoted = regexp.MustCompile(`"[^"]*"`)

// statementError says where in the script Postgres stopped; done statements had succeeded before.
func statementError(file string, s script, done int, err error) error {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return fmt.Errorf("%s: %w", file, err)
	}
	failed := &StatementError{File: file, SQLState: pgErr.Code, Message: pgErr.Message}
	if strings.HasPrefix(pgErr.Code, classDataException) {
		// invalid input syntax for type integer: "a row's value"
		failed.Message, _, _ = strings.Cut(quoted.ReplaceAllString(pgErr.Message, `"…"`), ": ")
	}
	if pgErr.Where != "" && s.text != "" {
		// Raised inside a function or a DO block, whose author may have put anything into it.
		failed.Message = "the message is withheld, because it was raised inside a function and may hold row values"
	}
	switch {
	case s.text == "": // a statement of ours
	case pgErr.Position > 0:
		failed.Line = s.lineOfCharacter(int(pgErr.Position))
	case done < len(s.statements):
		failed.Line = s.lineOfByte(s.statements[done].start)
	}
	return failed
}
