package pg

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// ErrName says that a name is not written as SQL wants it.
var ErrName = errors.New("malformed name")

// ParseName reads a name as one writes it in SQL, with dots between its parts: what stands outside double quotes is folded
// to lower case, what stands inside is taken as it is, and "" inside is one double quote. The error wraps ErrName.
func ParseName(text string) (pgx.Identifier, error) {
	var parts pgx.Identifier
	rest := strings.TrimSpace(text)
	for {
		part, tail, err := parsePart(rest)
		if err != nil {
			return nil, fmt.Errorf("%w %q: %s", ErrName, text, err)
		}
		parts = append(parts, part)
		if tail == "" {
			return parts, nil
		}
		if tail[0] != '.' {
			return nil, fmt.Errorf(`%w %q: put it in double quotes, like "My Table"`, ErrName, text)
		}
		rest = tail[1:]
	}
}

func parsePart(text string) (part, tail string, err error) {
	if strings.HasPrefix(text, `"`) {
		return parseQuoted(text[1:])
	}
	end := 0
	for end < len(text) && plain(text[end], end == 0) {
		end++
	}
	if end == 0 {
		return "", "", errors.New(`a part is empty or begins with a sign or a digit: put it in double quotes, like "1st"`)
	}
	return foldASCII(text[:end]), text[end:], nil
}

func parseQuoted(text string) (part, tail string, err error) {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(text, `"`)
		if !found {
			return "", "", errors.New("a double quote is missing at its end")
		}
		b.WriteString(before)
		if !strings.HasPrefix(after, `"`) {
			if b.Len() == 0 {
				return "", "", errors.New("a part is empty")
			}
			return b.String(), after, nil
		}
		b.WriteByte('"')
		text = after[1:]
	}
}

// plain tells whether c may stand in a name without quotes; bytes of non-ASCII letters may.
func plain(c byte, first bool) bool {
	letter := c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' || c >= 0x80
	return letter || !first && (c >= '0' && c <= '9' || c == '$')
}

// foldASCII folds as Postgres does in a UTF-8 database: ASCII letters only.
func foldASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + ('a' - 'A')
		}
	}
	return string(b)
}
