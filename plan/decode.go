package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// MaxSize of a plan document in bytes; a plan travels in one Temporal payload, which may be 2 MB.
const MaxSize = 512 << 10

// maxProblems is how many mistakes are listed: nobody mends more in one go, and they travel in error messages.
const maxProblems = 100

// Decode reads a plan from YAML or JSON and validates it. The error is of type Problems and holds every mistake.
// name is what the problems call the document, usually its path.
func Decode(name string, document []byte) (*Plan, error) {
	d := newDecoder(name)
	var p Plan
	if root := d.parse(document); root != nil {
		d.plan(root, &p)
		// What does not decode is still validated as far as it goes, so that one run shows every mistake.
		d.validate(&p)
	}
	if len(d.problems) > 0 {
		return nil, d.sorted()
	}
	return &p, nil
}

type place struct{ line, column int }

// decoder walks the syntax tree, so that each problem knows its place and none hides another. It goes no deeper than
// the plan's own types do, whatever the document holds.
type decoder struct {
	file     string
	problems Problems
	places   map[string]place // where each path of the document stands
	broken   map[string]bool  // paths that are reported already: validation is silent about them and what lies in them
}

func newDecoder(file string) *decoder {
	return &decoder{file: file, places: map[string]place{"": {1, 1}}, broken: map[string]bool{}}
}

func (d *decoder) report(path, format string, args ...any) {
	at := d.where(path)
	d.problems = append(d.problems, Problem{File: d.file, Line: at.line, Column: at.column, Path: path, Message: fmt.Sprintf(format, args...)})
}

// reportBroken reports and silences later validation of the same value.
func (d *decoder) reportBroken(path, format string, args ...any) {
	d.report(path, format, args...)
	d.broken[path] = true
}

// isBroken tells whether this path, or something it lies in, is reported already.
func (d *decoder) isBroken(path string) bool {
	for ; path != ""; path = around(path) {
		if d.broken[path] {
			return true
		}
	}
	return d.broken[""]
}

// where finds the place of a path, or of the nearest thing around it that stands in the document.
func (d *decoder) where(path string) place {
	for {
		if at, ok := d.places[path]; ok {
			return at
		}
		path = around(path)
	}
}

func (d *decoder) note(path string, n *yaml.Node) { d.places[path] = place{n.Line, n.Column} }

// sorted is the problems in the order of the document.
func (d *decoder) sorted() Problems {
	slices.SortStableFunc(d.problems, func(a, b Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	if more := len(d.problems) - maxProblems; more > 0 {
		last := &d.problems[maxProblems]
		last.Path, last.Message = "", fmt.Sprintf("from here on there are %d more mistakes: mend those above first", more)
		return d.problems[:maxProblems+1]
	}
	return d.problems
}

// object walks a mapping and hands each value to the reader of its key.
func (d *decoder) object(path string, n *yaml.Node, known fields) {
	pairs, _ := d.pairs(path, n)
	for _, kv := range pairs {
		read, ok := known[kv.key]
		switch {
		case !ok:
			d.report(kv.path, "unknown key%s; known here: %s", suggestion(kv.key, known), strings.Join(sortedKeys(known), ", "))
		case kindOf(kv.value) == aNull:
			d.reportBroken(kv.path, "has no value: give one or remove the key")
		default:
			read(kv.path, kv.value)
		}
	}
}

type pair struct {
	key, path string
	value     *yaml.Node
}

// pairs lists a mapping's entries; duplicates and keys that are no words are reported and left out.
func (d *decoder) pairs(path string, n *yaml.Node) ([]pair, bool) {
	if kindOf(n) != aMapping {
		d.reportBroken(path, "must be a mapping of keys to values, not %s", kindOf(n))
		return nil, false
	}
	var pairs []pair
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch kindOf(key) {
		case aText, aNumber, aBoolean:
		default:
			d.note(join(path, "<key>"), key)
			d.report(join(path, "<key>"), "keys are plain words; anchors, merges and nested keys are not understood")
			continue
		}
		sub := join(path, key.Value)
		d.note(sub, key)
		if seen[key.Value] {
			d.report(sub, "is given twice: keep one")
			continue
		}
		seen[key.Value] = true
		pairs = append(pairs, pair{key.Value, sub, value})
	}
	return pairs, true
}

func (d *decoder) list(path string, n *yaml.Node, item reader) {
	if kindOf(n) != aList {
		d.reportBroken(path, "must be a list, not %s", kindOf(n))
		return
	}
	for i, v := range n.Content {
		sub := path + "[" + strconv.Itoa(i) + "]"
		d.note(sub, v)
		item(sub, v)
	}
}
