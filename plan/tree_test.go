package plan

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSyntaxErrorsHaveTheirPlace(t *testing.T) {
	t.Parallel()
	for document, want := range map[string]string{
		"steps:\n  - name: a\n   soak: 1s\n":   "p:3:4: not YAML or JSON: did not find expected '-' indicator while parsing a block collection",
		"name: a\n\tdatabase: b\n":             "p:2:1: not YAML or JSON: found a tab character that violates indentation while scanning a plain scalar",
		"name: a: b\n":                         "p:1:8: not YAML or JSON: mapping values are not allowed in this context",
		"flags: {project: a\nguard: b\n":       "p:2:6: not YAML or JSON: did not find expected ',' or '}' while parsing a flow mapping",
		"{\"name\": \"a\",\n \"steps\": [}\n}": "p:2:12: not YAML or JSON: did not find expected node content while parsing a flow node",
		"name: \xff":                           "p:1:1: not YAML or JSON: a plan is UTF-8 text",
		"name: a\n...\n---\n# c\n--- \nb: c\n": "p:6:1: a file holds one plan: remove the second document",
	} {
		_, err := Decode("p", []byte(document))
		require.EqualError(t, err, want, "%q", document)
	}
}

func TestJSONHasPlacesAndItsOwnStrings(t *testing.T) {
	t.Parallel()
	_, err := Decode("p", []byte("{\"name\": \"é\\ud83d\\ude00\", \"ownr\": 1,\n\t\"database\" : \"d\",\"steps\":[ {\"name\":\"a\"\n,\"soak\":5} ]}"))
	require.EqualError(t, err, strings.Join([]string{
		`p:1:2: name: "é😀" is no good name: use lower-case letters, digits and hyphens, 63 at most`,
		`p:1:27: ownr: unknown key, did you mean owner?; known here: database, description, flags, guard, migrations, name, owner, steps`,
		`p:3:2: steps[0].soak: must be a duration such as 30s, 5m or 24h, not a number`,
	}, "\n"))

	// JSON allows what YAML does not: characters outside the first plane as pairs, raw DEL, line separators.
	p, err := Decode("p", []byte(`{"name":"p","database":"d","description":"\ud83d\ude00 `+"\x7f\u2028\u0085"+`\/","steps":[{"name":"a","soak":"1s"}]}`))
	require.NoError(t, err)
	require.Equal(t, "😀 \x7f\u2028\u0085/", p.Description)
}

func TestAPlanIsReadThroughAByteOrderMark(t *testing.T) {
	t.Parallel()
	p, err := Decode("p", []byte("\ufeff"+steps("{name: a, soak: 1s}")))
	require.NoError(t, err)
	require.Equal(t, "p", p.Name)
}

func TestAnUnprintableOrEndlessKeyKeepsTheMessageOnOneLine(t *testing.T) {
	t.Parallel()
	_, err := Decode("p", []byte(steps("{name: a, soak: 1s}")+`"a\nb": c`))
	require.EqualError(t, err, `p:5:1: "a\nb": unknown key; known here: database, description, flags, guard, migrations, name, owner, steps`)
	_, err = Decode("p", []byte(steps("{name: a, soak: 1s}")+strings.Repeat("x", 900)+": c"))
	require.ErrorContains(t, err, `p:5:1: "`+strings.Repeat("x", maxKeyShown)+`": unknown key; known here`)
}

func TestManyMistakesAreCutShort(t *testing.T) {
	t.Parallel()
	var document strings.Builder
	for i := range maxProblems + 50 {
		fmt.Fprintf(&document, "k%d: 1\n", i)
	}
	_, err := Decode("p", []byte(document.String()))
	problems, ok := err.(Problems)
	require.True(t, ok)
	require.Len(t, problems, maxProblems+1)
	// name, database and steps are missing too, and stand at the document's start.
	require.Equal(t, "p:98:1: from here on there are 53 more mistakes: mend those above first", problems[maxProblems].Error())
}

// Whatever half a megabyte holds, it is refused without exhausting memory or patience: this test ends by itself.
func TestTheLargestDocumentsAreRefused(t *testing.T) {
	t.Parallel()
	fill := func(unit string) string { return strings.Repeat(unit, MaxSize/len(unit)) }
	numbered := func(format string) string {
		var b strings.Builder
		for i := 0; b.Len() < MaxSize-2*len(format); i++ {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	staircase := func() string {
		var b strings.Builder
		for i := 0; b.Len() < MaxSize-2000; i++ {
			b.WriteString(strings.Repeat(" ", i) + "a:\n")
		}
		return b.String()
	}
	half := MaxSize / 2
	for name, document := range map[string]string{
		"open lists": fill("["), "open mappings": fill("{"), "lists in lists": fill("- "), "keys in keys": fill("? "),
		"closed lists": strings.Repeat("[", half) + strings.Repeat("]", half), "anchors": fill("&a "), "aliases": fill("*a "), "tags": fill("!t "),
		"nested JSON": strings.Repeat(`{"a":`, MaxSize/6) + "1" + strings.Repeat("}", MaxSize/6), "quotes": fill("'"), "colons": fill(":"),
		"comments": fill("#\n"), "comments in lists": fill("- #\n"), "words": fill("a "), "lines": fill("a\n"), "documents": fill("--- a\n"),
		"keys": numbered("k%d: 1\n"), "flow keys": "{" + fill("a,")[:MaxSize-2] + "}", "staircase": staircase(),
		"broken steps": "steps:\n" + numbered("- {soak: %d}\n"), "unnamed steps": "steps:\n" + fill("- {}\n")[:MaxSize-10],
		"approvers":  steps("{name: a, approve: {by: [a]}}") + "  - name: b\n    approve:\n      by:\n" + strings.TrimSuffix(fill("      - a\n")[:MaxSize-200], " "),
		"list names": "name: [" + numbered("x%d,") + "]", "one byte more": strings.Repeat(" ", MaxSize) + "\n",
	} {
		_, err := Decode("p", []byte(document))
		problems, ok := err.(Problems)
		require.True(t, ok, "%s: %v", name, err)
		require.LessOrEqual(t, len(problems), maxProblems+1, name)
	}
}
