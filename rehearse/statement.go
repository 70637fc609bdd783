package rehearse

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/contraflow/contraflow/ddl"
)

// Statements that change rows, and those that may hold one of them.
var (
	writers  = []string{"insert", "update", "delete", "merge", "copy"}
	wrappers = []string{"with", "do", "call", "select"}
	queries  = append([]string{"with", "select"}, writers...)
	written  = regexp.MustCompile(`(?i)\b(insert|update|delete|merge)\b`)
)

// writes tells that a statement looks as if it changed rows.
func writes(text string) bool {
	word := firstWord(text)
	return slices.Contains(writers, word) || slices.Contains(wrappers, word) && written.MatchString(text)
}

var words = regexp.MustCompile(`^[A-Za-z]+`)

// firstWord of a statement, in lower case.
func firstWord(text string) string { return strings.ToLower(words.FindString(text)) }

// shown is how much of a statement its summary shows: ALTER TABLE name ADD CONSTRAINT name CHECK.
const shown = 64

// constant is where a literal or a body begins.
var constant = regexp.MustCompile(`['$]|--|/\*`)

// summary is a statement's beginning on one line, up to its first constant.
func summary(text string) string {
	if at := constant.FindStringIndex(text); at != nil {
		text = text[:at[0]] + " …"
	}
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > shown {
		text = strings.TrimSpace(string(runes[:shown])) + " …"
	}
	return strings.ReplaceAll(text, "… …", "…")
}

// refusal is Postgres's answer to a statement of a file; the statement is empty for what speaks at commit.
type refusal struct {
	statement ddl.Statement
	err       error
}

func (e *refusal) Error() string { return e.err.Error() }
func (e *refusal) Unwrap() error { return e.err }

// https://www.postgresql.org/docs/current/errcodes-appendix.html
const (
	stateActiveTransaction     = "25001"
	stateInvalidTermination    = "2D000"
	stateNotInState            = "55000"
	stateInsufficientPrivilege = "42501"
	stateOutOfMemory           = "53200"
	stateLockNotAvailable      = "55P03"
	classExternal              = "38"
	classDataException         = "22"
)

// needsNoTransaction tells that the statement refused to run in a transaction, or wanted to end it.
func needsNoTransaction(err error) bool {
	answer, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (answer.Code == stateActiveTransaction || answer.Code == stateInvalidTermination)
}

var quoted = regexp.MustCompile(`"[^"]*"`)

// problemOf is a refusal as it may be shown: without DETAIL, and with constants of the file masked as ddl does. It is empty for
// errors that are nobody's SQL, such as a lost connection.
func problemOf(err error) string {
	refused, ok := errors.AsType[*refusal](err)
	answer, fromServer := errors.AsType[*pgconn.PgError](err)
	if !ok || !fromServer {
		return ""
	}
	text := answer.Message
	switch {
	case answer.Code == stateNotInState && strings.HasSuffix(answer.Message, "has no handler"): // see disarm
		text = "it uses a foreign table, and nothing here reaches a foreign server: neither this nor what follows could be tried"
	case strings.HasPrefix(answer.Code, classExternal):
		text = "the message is withheld, because it holds what the statement gives to a program"
	case answer.Where != "":
		text = "the message is withheld, because it was raised inside a function and may hold values"
	case strings.HasPrefix(answer.Code, classDataException):
		text, _, _ = strings.Cut(quoted.ReplaceAllString(text, `"…"`), ": ")
	}
	text = fmt.Sprintf("%s (SQLSTATE %s)", text, answer.Code)
	if refused.statement.Text == "" {
		return "at commit: " + text
	}
	before := []rune(refused.statement.Text)
	if at := int(answer.Position) - 1; at > 0 && at <= len(before) {
		if below := strings.Count(string(before[:at]), "\n"); below > 0 {
			text = fmt.Sprintf("line %d: %s", refused.statement.Line+below, text)
		}
	}
	return text
}
