package plan

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// maxKeyShown is how many bytes of a key appear in a path: longer than any key we know.
const maxKeyShown = 64

// join adds a key to a path; a key that would spoil the line of a message is quoted, a very long one cut.
func join(path, key string) string {
	if key == "" || len(key) > maxKeyShown || strings.ContainsFunc(key, func(r rune) bool { return !unicode.IsPrint(r) }) {
		key = strconv.Quote(strings.ToValidUTF8(key[:min(len(key), maxKeyShown)], ""))
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// around is the path of what holds this one; "" for the document.
func around(path string) string { return path[:max(strings.LastIndexAny(path, ".["), 0)] }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// suggestion is ", did you mean …" when a known key is at most two edits away.
func suggestion[V any](key string, known map[string]V) string {
	best, distance := "", 3
	for _, k := range sortedKeys(known) {
		if max(len(key)-len(k), len(k)-len(key)) >= distance {
			continue
		}
		if e := edits(strings.ToLower(key), strings.ToLower(k)); e < distance {
			best, distance = k, e
		}
	}
	if best == "" || distance >= len(best) {
		return ""
	}
	return ", did you mean " + best + "?"
}

// edits is the Levenshtein distance.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
