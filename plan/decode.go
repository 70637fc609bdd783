package plan

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// MaxSize of a plan document in bytes; a plan travels in one Temporal payload, which may be 2 MB.
const MaxSize = 512 << 10

// Decode reads a plan from YAML or JSON and validates it. The error is of type Problems and holds every mistake.
// name is what the problems call the document, usually its path.
func Decode(name string, document []byte) (*Plan, error) {
	d := &decoder{file: name, places: map[string]place{"": {1, 1}}}
	root := d.parse(document)
	var p Plan
	if root != nil {
		d.plan(root, &p)
	}
	// A document that does not decode is still validated as far as it goes, so that one run shows every mistake.
	if root != nil {
		d.validate(&p)
	}
	if len(d.problems) > 0 {
		sort.SliceStable(d.problems, func(i, j int) bool {
			a, b := d.problems[i], d.problems[j]
			return a.Line < b.Line || a.Line == b.Line && a.Column < b.Column
		})
		return nil, d.problems
	}
	return &p, nil
}

type place struct{ line, column int }

// decoder walks the syntax tree, so that each problem knows its place and none hides another.
type decoder struct {
	file     string
	problems Problems
	places   map[string]place // where each path of the document stands
	broken   []string         // paths that are already reported: validation is silent about them
}

func (d *decoder) parse(document []byte) ast.Node {
	if len(document) > MaxSize {
		d.report("", "the plan is %d bytes long, and %d are allowed", len(document), MaxSize)
		return nil
	}
	file, err := parser.ParseBytes(document, 0)
	if err != nil {
		line, column, message := syntaxError(err)
		d.problems = append(d.problems, Problem{File: d.file, Line: line, Column: column, Message: message})
		return nil
	}
	var body ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType {
			continue
		}
		if body != nil {
			d.note("", doc.Body)
			d.report("", "a file holds one plan: remove the second document")
			return nil
		}
		body = doc.Body
	}
	if body == nil {
		d.report("", "the plan is empty")
	}
	return body
}

func (d *decoder) report(path, format string, args ...any) {
	at := d.where(path)
	d.problems = append(d.problems, Problem{File: d.file, Line: at.line, Column: at.column, Path: path, Message: fmt.Sprintf(format, args...)})
}

// reportBroken reports and silences later validation of the same value.
func (d *decoder) reportBroken(path, format string, args ...any) {
	d.report(path, format, args...)
	d.broken = append(d.broken, path)
}

// where finds the place of a path, or of the nearest thing around it that stands in the document.
func (d *decoder) where(path string) place {
	for {
		if at, ok := d.places[path]; ok {
			return at
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
}

func (d *decoder) note(path string, n ast.Node) {
	switch m := n.(type) {
	case *ast.MappingNode: // its own token is the first colon
		if !m.IsFlowStyle && len(m.Values) > 0 {
			n = m.Values[0].Key
		}
	case *ast.MappingValueNode:
		n = m.Key
	}
	if t := n.GetToken(); t != nil && t.Position != nil {
		d.places[path] = place{t.Position.Line, t.Position.Column}
	}
}

// object walks a mapping and hands each value to the function of its key.
func (d *decoder) object(path string, n ast.Node, fields map[string]func(path string, n ast.Node)) {
	pairs, ok := d.pairs(path, n)
	if !ok {
		return
	}
	for _, kv := range pairs {
		read, known := fields[kv.key]
		if !known {
			d.report(kv.path, "unknown key%s; known here: %s", suggestion(kv.key, fields), strings.Join(sortedKeys(fields), ", "))
			continue
		}
		if kv.value.Type() == ast.NullType {
			d.reportBroken(kv.path, "has no value: give one or remove the key")
			continue
		}
		read(kv.path, kv.value)
	}
}

type pair struct {
	key, path string
	value     ast.Node
}

// pairs lists a mapping's entries; duplicates are reported and left out.
func (d *decoder) pairs(path string, n ast.Node) ([]pair, bool) {
	var values []*ast.MappingValueNode
	switch m := unwrap(n).(type) {
	case *ast.MappingNode:
		values = m.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{m}
	default:
		d.reportBroken(path, "must be a mapping of keys to values, not %s", kindOf(n))
		return nil, false
	}
	var pairs []pair
	seen := map[string]bool{}
	for _, v := range values {
		key, ok := keyText(v.Key)
		if !ok {
			d.note(path+".<key>", v.Key)
			d.report(path+".<key>", "keys are plain words; anchors, merges and nested keys are not understood")
			continue
		}
		sub := join(path, key)
		d.note(sub, v.Key)
		if seen[key] {
			d.report(sub, "is given twice: keep one")
			continue
		}
		seen[key] = true
		pairs = append(pairs, pair{key, sub, unwrap(v.Value)})
	}
	return pairs, true
}

func (d *decoder) list(path string, n ast.Node, item func(path string, n ast.Node)) {
	seq, ok := unwrap(n).(*ast.SequenceNode)
	if !ok {
		d.reportBroken(path, "must be a list, not %s", kindOf(n))
		return
	}
	for i, v := range seq.Values {
		sub := path + "[" + strconv.Itoa(i) + "]"
		d.note(sub, v)
		item(sub, unwrap(v))
	}
}

func text(d *decoder, to *string) func(string, ast.Node) {
	return func(path string, n ast.Node) {
		switch v := unwrap(n).(type) {
		case *ast.StringNode:
			*to = v.Value
		case *ast.LiteralNode:
			*to = v.Value.Value
		default:
			d.reportBroken(path, "must be a text, not %s (put it in quotes)", kindOf(n))
		}
	}
}

func texts(d *decoder, to *[]string) func(string, ast.Node) {
	return func(path string, n ast.Node) {
		d.list(path, n, func(path string, n ast.Node) {
			var s string
			text(d, &s)(path, n)
			*to = append(*to, s)
		})
	}
}

func integer[T ~int | ~uint](d *decoder, to *T) func(string, ast.Node) {
	return func(path string, n ast.Node) {
		v, ok := unwrap(n).(*ast.IntegerNode)
		if !ok {
			d.reportBroken(path, "must be a whole number, not %s", kindOf(n))
			return
		}
		i, err := strconv.ParseInt(strings.ReplaceAll(v.Token.Value, "_", ""), 10, 31)
		if err != nil || i < 0 {
			d.reportBroken(path, "must be a whole number from 0 to 2147483647 in decimal digits")
			return
		}
		*to = T(i)
	}
}

func number(d *decoder, to **float64) func(string, ast.Node) {
	return func(path string, n ast.Node) {
		switch unwrap(n).(type) {
		case *ast.IntegerNode, *ast.FloatNode:
			if v, err := strconv.ParseFloat(strings.ReplaceAll(unwrap(n).GetToken().Value, "_", ""), 64); err == nil {
				*to = &v
				return
			}
		}
		d.reportBroken(path, "must be a number, not %s", kindOf(n))
	}
}

func boolean(d *decoder, to *bool) func(string, ast.Node) {
	return func(path string, n ast.Node) {
		v, ok := unwrap(n).(*ast.BoolNode)
		if !ok {
			d.reportBroken(path, "must be true or false, not %s", kindOf(n))
			return
		}
		*to = v.Value
	}
}

func duration(d *decoder, to *Duration) func(string, ast.Node) {
	return func(path string, n ast.Node) {
		s, ok := unwrap(n).(*ast.StringNode)
		if !ok {
			d.reportBroken(path, "must be a duration such as 30s, 5m or 24h, not %s", kindOf(n))
			return
		}
		v, err := time.ParseDuration(s.Value)
		if err != nil || v < 0 {
			d.reportBroken(path, "%q is no duration: write it as 30s, 5m or 24h", s.Value)
			return
		}
		*to = Duration(v)
	}
}
