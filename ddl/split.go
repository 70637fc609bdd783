package ddl

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxTokens of a statement are remembered: enough to tell what it is, without a copy of a long INSERT.
const maxTokens = 64

// statement is a part of a script between top-level semicolons; it has at least one token.
type statement struct {
	start, end int // byte offsets: of its first token, and behind its last
	tokens     []token
}

// token is a word in lower case, a quoted identifier as written, or one other character; string constants leave no token.
type token struct {
	text       string
	start, end int // byte offsets
}

// identifier folds as Postgres does.
func (t token) identifier() string {
	if inner, ok := strings.CutPrefix(t.text, `"`); ok {
		return strings.ReplaceAll(strings.TrimSuffix(inner, `"`), `""`, `"`)
	}
	return t.text
}

// split cuts a script where psql would: not inside quotes, comments, dollar quotes, parentheses or BEGIN ATOMIC bodies.
func split(text string) []statement {
	var (
		all           []statement
		current       statement
		parens, begin int
	)
	finish := func() {
		if len(current.tokens) > 0 {
			all = append(all, current)
		}
		current, parens, begin = statement{}, 0, 0
	}
	for at := 0; at < len(text); {
		end, kind := scan(text, at)
		switch {
		case kind == blank:
		case kind == constant:
			current.end = end // a statement can't begin with one, so it needs no token
		case text[at:end] == ";" && parens == 0 && begin == 0:
			finish()
		default:
			word := text[at:end]
			switch {
			case word == "(":
				parens++
			case word == ")":
				parens = max(0, parens-1)
			case kind == plainWord:
				word = lower(word)
				begin = atomicDepth(current, word, begin)
			}
			if len(current.tokens) == 0 {
				current.start = at
			}
			current.end = end
			if len(current.tokens) < maxTokens || current.is("copy") { // whose way stands at the end
				current.tokens = append(current.tokens, token{word, at, end})
			}
		}
		at = end
	}
	finish()
	return all
}

// atomicDepth follows BEGIN ATOMIC … END in the body of a function, where semicolons don't end the statement.
func atomicDepth(st statement, word string, depth int) int {
	routine := slices.ContainsFunc([][]string{{"create", "function"}, {"create", "procedure"},
		{"create", "or", "replace", "function"}, {"create", "or", "replace", "procedure"}},
		func(words []string) bool { return st.is(words...) })
	switch {
	case !routine:
		return 0
	case word == "begin", word == "case" && depth > 0:
		return depth + 1
	case word == "end" && depth > 0:
		return depth - 1
	}
	return depth
}

type element int

const (
	blank element = iota
	constant
	plainWord
	other
)

// scan finds the end of the element of SQL that begins at byte at.
func scan(text string, at int) (end int, k element) {
	rest := text[at:]
	first, size := utf8.DecodeRuneInString(rest)
	switch {
	case unicode.IsSpace(first):
		return at + size, blank
	case strings.HasPrefix(rest, "--"):
		return at + lengthThrough(rest, 2, "\n"), blank
	case strings.HasPrefix(rest, "/*"):
		return at + commentLength(rest), blank
	case first == '\'':
		return at + quotedLength(rest, '\'', false), constant
	case first == '"':
		return at + quotedLength(rest, '"', false), other
	case (first == 'e' || first == 'E') && strings.HasPrefix(rest[1:], "'"):
		return at + 1 + quotedLength(rest[1:], '\'', true), constant
	case first == '$':
		if tag, ok := dollarTag(rest); ok {
			return at + lengthThrough(rest, len(tag), tag), constant
		}
	case wordStart(first):
		length := strings.IndexFunc(rest, func(r rune) bool { return !wordStart(r) && !unicode.IsDigit(r) && r != '$' })
		if length < 0 {
			length = len(rest)
		}
		return at + length, plainWord
	}
	return at + size, other
}

// lower folds as Postgres does: letters beyond ASCII stay.
func lower(word string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r - 'A' + 'a'
		}
		return r
	}, word)
}

func wordStart(r rune) bool { return r == '_' || unicode.IsLetter(r) || r >= utf8.RuneSelf }

func lengthThrough(text string, from int, mark string) int {
	if i := strings.Index(text[from:], mark); i >= 0 {
		return from + i + len(mark)
	}
	return len(text)
}

// commentLength knows that comments nest.
func commentLength(text string) int {
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

// quotedLength knows doubled quotes and, in E'…', backslashes.
func quotedLength(text string, quote byte, backslash bool) int {
	for i := 1; i < len(text); i++ {
		switch {
		case backslash && text[i] == '\\':
			i++
		case text[i] != quote:
		case i+1 < len(text) && text[i+1] == quote:
			i++
		default:
			return i + 1
		}
	}
	return len(text)
}

// dollarTag recognizes $$ and $tag$, but not the parameter $1.
func dollarTag(text string) (string, bool) {
	end := strings.IndexByte(text[1:], '$') + 1
	if end == 0 {
		return "", false
	}
	for i, r := range text[1:end] {
		if !wordStart(r) && (i == 0 || !unicode.IsDigit(r)) {
			return "", false
		}
	}
	return text[:end+1], true
}
