// Package sqltree reads SQL with Postgres's own grammar. The first call in a process takes a second or two.
package sqltree

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	tree "github.com/pganalyze/pg_query_go/v6"
	pgquery "github.com/wasilibs/go-pgquery"
	"github.com/wasilibs/go-pgquery/parser"
)

// Statement is one statement of a text.
type Statement struct {
	// Node is its parse tree; locations in it are byte offsets into the whole text.
	Node *tree.Node
	// Text of the statement as written, without what stands before its first word and without its semicolon.
	Text string
	// Start and End are byte offsets of Text in the whole text.
	Start, End int
	// Line and Column of its first word, from 1; columns count characters.
	Line, Column int
}

// SyntaxError says where Postgres's grammar stopped.
type SyntaxError struct {
	Line, Column int // from 1; columns count characters
	Message      string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Message)
}

// Parse takes a text apart. The error is a *SyntaxError. The grammar is that of Postgres 17.
func Parse(text string) ([]Statement, error) {
	if at, problem := unreadable(text); problem != "" {
		line, column := Position(text, at)
		return nil, &SyntaxError{line, column, problem}
	}
	parsed, err := pgquery.Parse(text)
	if failed, ok := errors.AsType[*parser.Error](err); ok {
		line, column := Position(text, byteOffset(text, failed.Cursorpos))
		return nil, &SyntaxError{line, column, failed.Message}
	}
	if err != nil {
		return nil, &SyntaxError{1, 1, err.Error()}
	}
	var all []Statement
	for _, raw := range parsed.GetStmts() {
		start, end := int(raw.GetStmtLocation()), len(text)
		if length := int(raw.GetStmtLen()); length > 0 { // 0 stands for the rest
			end = start + length
		}
		start += skip(text[start:end])
		s := Statement{Node: raw.GetStmt(), Text: strings.TrimSpace(text[start:end]), Start: start}
		s.End = start + len(s.Text)
		s.Line, s.Column = Position(text, start)
		all = append(all, s)
	}
	return all, nil
}

// unreadable finds what the parser would stop at in silence, or with a message that leads astray.
func unreadable(text string) (at int, problem string) {
	switch {
	case strings.HasPrefix(text, "\ufeff"):
		return 0, "the text begins with a byte order mark, which Postgres takes for a word: save it without"
	case strings.IndexByte(text, 0) >= 0:
		return strings.IndexByte(text, 0), "there is a zero byte, behind which nothing would be read: remove it"
	case !utf8.ValidString(text):
		for at, r := range text {
			if _, size := utf8.DecodeRuneInString(text[at:]); r == utf8.RuneError && size == 1 {
				return at, "this is not UTF-8: save the text as UTF-8"
			}
		}
	}
	return 0, ""
}

// skip is the length of the blanks and comments that text begins with.
func skip(text string) int {
	at := 0
	for at < len(text) {
		rest := text[at:]
		switch {
		case strings.ContainsRune(" \t\r\n\f\v", rune(rest[0])):
			at++
		case strings.HasPrefix(rest, "--"):
			end := strings.IndexByte(rest, '\n')
			if end < 0 {
				return len(text)
			}
			at += end + 1
		case strings.HasPrefix(rest, "/*"):
			at += comment(rest)
		default:
			return at
		}
	}
	return at
}

// comment is the length of the comment, which may hold others.
func comment(text string) int {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch {
		case strings.HasPrefix(text[i:], "/*"):
			depth++
			i++
		case strings.HasPrefix(text[i:], "*/"):
			depth--
			i++
			if depth == 0 {
				return i + 1
			}
		}
	}
	return len(text)
}

// Position turns a byte offset into line and column, from 1.
func Position(text string, offset int) (line, column int) {
	before := text[:min(max(offset, 0), len(text))]
	return strings.Count(before, "\n") + 1, utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1
}

// byteOffset of Postgres's cursor, which counts characters from 1.
func byteOffset(text string, cursor int) int {
	for i := range text {
		if cursor--; cursor <= 0 {
			return i
		}
	}
	return len(text)
}
