package backfill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/contraflow/contraflow/internal/pg"
)

// Errors to tell apart with errors.Is. Their texts hold no row values and no connection strings.
var (
	// ErrSpec says that the Spec contradicts itself.
	ErrSpec = errors.New("the backfill cannot be run as written")
	// ErrNoTable says that the table does not exist or is none.
	ErrNoTable = errors.New("no table to backfill")
	// ErrNoKey says that nothing orders the table's rows and tells them apart.
	ErrNoKey = errors.New("no key to walk the table by")
	// ErrNoColumn says that a column does not exist.
	ErrNoColumn = errors.New("no such column")
	// ErrNoTransform says that this program was built without the transform that the Spec names. Another one may have it.
	ErrNoTransform = errors.New("this program cannot compute the new values")
	// ErrNotPrepared says that there is no checkpoint for this spec: Prepare was not called, or Reset or another spec came after it.
	ErrNotPrepared = errors.New("no checkpoint for this backfill as it is written now: call Prepare first")
	// ErrFenced says that another attempt has taken the lane over, or Reset has. This attempt changed nothing since.
	ErrFenced = errors.New("another attempt has taken this lane over; this one stopped and changed nothing more")
	// ErrRemaining says that rows match the condition however often they are changed.
	ErrRemaining = errors.New("rows still match the condition")
	// ErrRejects says that more rows were set aside than Spec.MaxRejects. They are in contraflow.backfill_reject: see Rejects.
	ErrRejects = errors.New("more rows are refused than may be")
	// ErrStopped says that LaneOptions.Stop was closed. The lane goes on from its cursor when it is run again.
	ErrStopped = errors.New("stopped between two chunks as asked; run the lane again to go on")
	// ErrConnection says that Postgres could not be reached or hung up. Nothing is lost: run the lane again.
	ErrConnection = errors.New("no connection to Postgres")
	// ErrContended says that not even the smallest chunk got through within many tries. Run the lane again.
	ErrContended = errors.New("even the smallest chunk cannot get through")
)

// Permanent tells whether trying the same again is pointless: a person has to change the plan or the data, or the work
// belongs to another attempt now. All other errors of this package (connections, contention, a stop, a program that lacks the
// transform) pass.
func Permanent(err error) bool {
	for _, target := range []error{ErrSpec, ErrNoTable, ErrNoKey, ErrNoColumn, ErrNotPrepared, ErrFenced, ErrRemaining, ErrRejects, ErrSync} {
		if errors.Is(err, target) {
			return true
		}
	}
	statement, ok := errors.AsType[*StatementError](err)
	return ok && statement.Permanent()
}

// StatementError is what Postgres answered to one of our statements, without the values that its texts may hold.
type StatementError struct {
	// Doing says what was being done.
	Doing string
	// Code is the SQLSTATE, Condition its name where it is one of the usual ones.
	Code, Condition string
	// Message is the primary message; once rows are involved, quotations and numbers in it are replaced by "…", and it is empty
	// where a function wrote it.
	Message string
	// Constraint and Column are the names that Postgres blames, often empty.
	Constraint, Column string

	// outdated: what a session had prepared before has results of other types now. It is prepared anew.
	outdated bool
}

func (e *StatementError) Error() string {
	return fmt.Sprintf("%s: SQLSTATE %s%s", e.Doing, e.Code, e.details())
}

func (e *StatementError) details() string {
	var b strings.Builder
	if e.Condition != "" {
		fmt.Fprintf(&b, " (%s)", e.Condition)
	}
	if e.Message != "" {
		fmt.Fprintf(&b, ": %s", e.Message)
	}
	if e.Column != "" {
		fmt.Fprintf(&b, ", column %q", e.Column)
	}
	if e.Constraint != "" {
		fmt.Fprintf(&b, ", constraint %q", e.Constraint)
	}
	return b.String()
}

// summary is what Postgres says, without what was being done.
func (e *StatementError) summary() string {
	return strings.TrimPrefix(strings.TrimSpace(e.details()), ": ")
}

// Permanent tells whether the statement would fail again: its text, the data or the rights are wrong.
func (e *StatementError) Permanent() bool {
	if e.outdated {
		return false
	}
	switch e.Code {
	case "25006": // read-only transaction: a standby, until the failover is over
		return false
	}
	switch e.class() {
	case "08", "25", "28", "40", "53", "55", "57", "58", "XX":
		return false
	}
	return true
}

func (e *StatementError) class() string { return e.Code[:min(2, len(e.Code))] }

// contention tells whether a smaller chunk may get through where this one did not, and in which words.
func contention(err error) (string, bool) {
	failed, ok := errors.AsType[*StatementError](err)
	if !ok {
		return "", false
	}
	switch failed.Code {
	case "55P03":
		return "lock timeout", true
	case "40P01":
		return "deadlock", true
	case "40001":
		return "serialization failure", true
	case "57014":
		return "statement timeout", true
	case "25P03":
		return "idle-in-transaction timeout", true // the transform took too long; the connection is gone
	}
	return "", false
}

// What contraflow.backfill_advance raises.
const (
	fencedCode    = "CF001"
	shortenedCode = "CF002"
)

// errShortened says that the lane ends earlier than the chunk assumed: a helper has taken the rest over.
var errShortened = errors.New("the lane ends earlier now")

// planError wraps what Postgres says about the statement alone: no row has been read, so its text is kept.
func planError(doing string, err error) error { return wrap(doing, err, planMessage) }

// rowError wraps what Postgres says while it works on rows, without their values.
func rowError(doing string, err error) error { return wrap(doing, err, rowMessage) }

func wrap(doing string, err error, message func(*pgconn.PgError) string) error {
	if err == nil {
		return nil
	}
	server, ok := errors.AsType[*pgconn.PgError](err)
	switch {
	case !ok && lost(err):
		return fmt.Errorf("%s: %w%s", doing, ErrConnection, reason(err))
	case !ok:
		return fmt.Errorf("%s: failed on our side with a %T; its words are withheld, for they may hold row values", doing, err)
	case server.Code == fencedCode:
		return fmt.Errorf("%s: %w", doing, ErrFenced)
	case server.Code == shortenedCode:
		return fmt.Errorf("%s: %w", doing, errShortened)
	case pg.HidesRows(server):
		return &StatementError{Doing: doing, Code: server.Code, Condition: "insufficient_privilege", Message: pg.RowsHidden}
	}
	return &StatementError{Doing: doing, Code: server.Code, Condition: conditions[server.Code], Message: message(server),
		Constraint: server.ConstraintName, Column: server.ColumnName, outdated: server.Routine == outdatedRoutine}
}

// outdatedRoutine raises "cached plan must not change result type", under a code that means nothing of the kind. A routine's name
// is not translated, as the message is.
const outdatedRoutine = "RevalidateCachedQuery"

// lost tells the errors of a connection from those of a driver that can't send a value or read one.
func lost(err error) bool {
	_, connecting := errors.AsType[*pgconn.ConnectError](err)
	_, network := errors.AsType[net.Error](err)
	return connecting || network || pgconn.SafeToRetry(err) || slices.ContainsFunc([]error{context.Canceled, context.DeadlineExceeded,
		io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, pgconn.ErrConnClosed, pgx.ErrTxClosed, pgx.ErrTxCommitRollback, pg.ErrSettings},
		func(target error) bool { return errors.Is(err, target) })
}

// reason is the innermost cause of a lost connection where its text is known to hold no address or name.
func reason(err error) string {
	if code, ok := errors.AsType[syscall.Errno](err); ok {
		return ": " + code.Error()
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ": the server hung up"
	}
	if errors.Is(err, pg.ErrSettings) {
		return ": " + pg.ErrSettings.Error()
	}
	return ""
}

func planMessage(e *pgconn.PgError) string {
	if e.Hint != "" {
		return e.Message + " (" + e.Hint + ")"
	}
	return e.Message
}

var (
	// quotation is greedy, for a quoted value may hold quotes; server languages quote in their own ways.
	quotation = regexp.MustCompile(`(?s)["'„“”«»‘’‚‹›「」『』].*["'„“”«»‘’‚‹›「」『』]`)
	digits    = regexp.MustCompile(`[0-9][0-9a-zA-Z.:,+-]*`)
)

func rowMessage(e *pgconn.PgError) string {
	// With a context the message comes from inside a function, whose author may have put anything into it.
	if e.Where != "" || strings.HasPrefix(e.Code, "P0") {
		return ""
	}
	return digits.ReplaceAllString(quotation.ReplaceAllString(e.Message, "“…”"), "…")
}

// conditions names the SQLSTATEs that a backfill meets (Postgres documentation, appendix A).
var conditions = map[string]string{
	"0A000": "feature_not_supported", "22001": "string_data_right_truncation", "22003": "numeric_value_out_of_range",
	"22007": "invalid_datetime_format", "22008": "datetime_field_overflow", "22012": "division_by_zero",
	"22021": "character_not_in_repertoire", "22023": "invalid_parameter_value", "22P02": "invalid_text_representation",
	"22P05": "untranslatable_character", "23502": "not_null_violation", "23503": "foreign_key_violation",
	"23505": "unique_violation", "23514": "check_violation", "23P01": "exclusion_violation",
	"25006": "read_only_sql_transaction", "28P01": "invalid_password", "40001": "serialization_failure",
	"40P01": "deadlock_detected", "42501": "insufficient_privilege", "42601": "syntax_error", "42703": "undefined_column",
	"42702": "ambiguous_column", "42804": "datatype_mismatch", "42883": "undefined_function", "42P01": "undefined_table",
	"428C9": "generated_always", "53100": "disk_full", "53300": "too_many_connections", "55P03": "lock_not_available",
	"57014": "query_canceled", "57P01": "admin_shutdown", "57P03": "cannot_connect_now", "P0001": "raise_exception",
}
