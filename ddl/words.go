package ddl

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
)

// words reads a statement from its beginning.
type words struct {
	text      string
	statement statement
	rest      []token
}

// take goes on behind words, if they come next.
func (w *words) take(words ...string) bool {
	if !(statement{tokens: w.rest}).is(words...) {
		return false
	}
	w.rest = w.rest[len(words):]
	return true
}

// skip goes on behind words that may be there.
func (w *words) skip(words ...string) *words {
	w.take(words...)
	return w
}

// identifier takes one name, folded as Postgres does.
func (w *words) identifier() (name string, ok bool) {
	if len(w.rest) == 0 {
		return "", false
	}
	t := w.rest[0]
	if first, _ := utf8.DecodeRuneInString(t.text); first != '"' && !wordStart(first) {
		return "", false
	}
	w.rest = w.rest[1:]
	return t.identifier(), true
}

// name takes a.b.c and quotes it, as to_regclass takes it.
func (w *words) name() (name string, ok bool) {
	var parts pgx.Identifier
	for {
		part, ok := w.identifier()
		if !ok {
			return "", false
		}
		if parts = append(parts, part); !w.take(".") {
			return parts.Sanitize(), true
		}
	}
}

// ended tells that nothing is left, and that nothing was too long to be remembered.
func (w *words) ended() bool {
	tokens := w.statement.tokens
	return len(w.rest) == 0 && tokens[len(tokens)-1].end == w.statement.end
}

// option takes ( … ), and tells whether the option that it may hold is on.
func (w *words) option(name string) (on bool) {
	if !w.take("(") {
		return false
	}
	for len(w.rest) > 0 && !w.take(")") {
		begin := w.rest[0]
		w.rest = w.rest[1:]
		if begin.text != name {
			continue
		}
		value := w.text[begin.end:]
		if i := slices.IndexFunc(w.rest, func(t token) bool { return t.text == "," || t.text == ")" }); i >= 0 {
			value = w.text[begin.end:w.rest[i].start]
		}
		on = slices.Contains([]string{"", "true", "on", "1"}, lower(strings.Trim(value, " \t\r\n'")))
	}
	return on
}

// constant reads the string that comes next; false if it is written in a way that needs Postgres to be understood.
func (w *words) constant() (value string, ok bool) {
	tokens := w.statement.tokens
	at, end := tokens[len(tokens)-len(w.rest)-1].end, w.statement.end
	if len(w.rest) > 0 {
		end = w.rest[0].start
	}
	for at < end {
		next, kind := scan(w.text, at)
		switch {
		case kind == blank:
		case kind != constant || ok || w.text[at] != '\'':
			return "", false // an escaped one, or one of several parts
		default:
			value, ok = strings.ReplaceAll(w.text[at+1:next-1], "''", "'"), true
		}
		at = next
	}
	return value, ok
}
