package references

import (
	"bytes"
	"path"
	"slices"
	"strings"
	"unicode"
)

// word is one that stands for a flag in code.
type word struct {
	key  int // its place among those asked for
	text []byte
	// as names the word in reports, where it is not the key itself.
	as string
}

// scripts are the files in which keys may stand in camel case: LaunchDarkly's SDK for React writes them so unless it is told not to.
// https://launchdarkly.com/docs/sdk/client-side/react/react-web#flag-keys
var scripts = []string{".js", ".jsx", ".mjs", ".cjs", ".ts", ".tsx", ".mts", ".cts"}

// wordsOf lists what to look for. inScripts are looked for in scripts alone.
func wordsOf(keys []string) (everywhere, inScripts []word) {
	for i, key := range keys {
		everywhere = append(everywhere, word{key: i, text: []byte(key)})
		if camel := camelCase(key); camel != key && camel != "" {
			inScripts = append(inScripts, word{key: i, text: []byte(camel), as: camel})
		}
	}
	return everywhere, inScripts
}

func isScript(name string) bool { return slices.Contains(scripts, strings.ToLower(path.Ext(name))) }

// camelCase writes a key as that SDK does, by lodash's rules: "customers-write-new" is customersWriteNew. Words end at what is
// neither letter nor digit, before a capital behind a small letter or before a small one, and between letters and digits.
func camelCase(key string) string {
	var words [][]rune
	before := rune(0)
	runes := []rune(key)
	for i, r := range runes {
		small := i+1 < len(runes) && unicode.IsLower(runes[i+1])
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
		case !unicode.IsLetter(before) && !unicode.IsDigit(before),
			unicode.IsDigit(r) != unicode.IsDigit(before),
			unicode.IsUpper(r) && (unicode.IsLower(before) || unicode.IsUpper(before) && small):
			words = append(words, []rune{unicode.ToLower(r)})
		default:
			words[len(words)-1] = append(words[len(words)-1], unicode.ToLower(r))
		}
		before = r
	}
	var out strings.Builder
	for i, w := range words {
		if i > 0 {
			w[0] = unicode.ToUpper(w[0])
		}
		out.WriteString(string(w))
	}
	return out.String()
}

// stands tells whether the text is a word of the line.
func stands(line, text []byte) bool {
	for from := 0; ; {
		i := bytes.Index(line[from:], text)
		if i < 0 || len(text) == 0 {
			return false
		}
		start := from + i
		end := start + len(text)
		before := start > 0 && goesOn(line[start-1], start > 1 && alphanumeric(line[start-2])) && !escaped(line[:start])
		after := end < len(line) && goesOn(line[end], end+1 < len(line) && alphanumeric(line[end+1]))
		if !before && !after {
			return true
		}
		from = start + 1
	}
}

// goesOn tells whether a key's word goes on with the character next to it. A hyphen or an underscore joins two words, but not one
// with nothing: "--write-new=true" names the key, and so does "_write-new_". A dot, which keys may hold too, is taken for the end
// of a word: rather a key too many is found than one overlooked.
func goesOn(next byte, wordBehind bool) bool {
	return alphanumeric(next) || (next == '_' || next == '-') && wordBehind
}

func alphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// escapes by what they begin with, and how many hexadecimal digits follow: "\n", "\x22", "\u0022" and "%22" end with characters
// that belong to no word.
var escapes = []struct {
	begin  string
	digits int
}{{`\x`, 2}, {`\u`, 4}, {"%", 2}}

// escaped tells whether what stands before a word ends with an escape.
func escaped(before []byte) bool {
	n := len(before)
	if n > 1 && before[n-2] == '\\' {
		return true
	}
	for _, e := range escapes {
		digits := n - e.digits
		if digits >= len(e.begin) && string(before[digits-len(e.begin):digits]) == e.begin &&
			!slices.ContainsFunc(before[digits:], func(c byte) bool { return !strings.ContainsRune("0123456789abcdefABCDEF", rune(c)) }) {
			return true
		}
	}
	return false
}
