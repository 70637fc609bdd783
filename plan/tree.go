package plan

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// kind is what a node is to a plan, in the words of the messages.
type kind string

const (
	aText    kind = "a text"
	aNumber  kind = "a number"
	aBoolean kind = "true or false"
	aMapping kind = "a mapping"
	aList    kind = "a list"
	aNull    kind = "nothing"
	foreign  kind = "this (anchors, aliases, merges and tags of your own are not understood)"
)

func kindOf(n *yaml.Node) kind {
	if n.Anchor != "" {
		return foreign
	}
	switch tag := n.ShortTag(); {
	case n.Kind == yaml.MappingNode && tag == "!!map":
		return aMapping
	case n.Kind == yaml.SequenceNode && tag == "!!seq":
		return aList
	case n.Kind != yaml.ScalarNode:
		return foreign
	case tag == "!!str", tag == "!!timestamp": // YAML 1.2 has no timestamps: a date is a text like any other
		return aText
	case tag == "!!int", tag == "!!float":
		return aNumber
	case tag == "!!bool":
		return aBoolean
	case tag == "!!null":
		return aNull
	}
	return foreign
}

// parse returns the document's one value; nil when a problem is reported instead.
func (d *decoder) parse(document []byte) *yaml.Node {
	switch {
	case len(document) > MaxSize:
		d.report("", "the plan is %d bytes long, and %d are allowed", len(document), MaxSize)
		return nil
	case !utf8.Valid(document):
		d.report("", "not YAML or JSON: a plan is UTF-8 text")
		return nil
	case json.Valid(document):
		root, err := parseJSON(document)
		if err != nil {
			d.report("", "not YAML or JSON: %s", err)
		}
		return root
	}
	return d.parseYAML(document)
}

func (d *decoder) parseYAML(document []byte) *yaml.Node {
	loader, err := yaml.NewLoader(bytes.NewReader(document))
	if err != nil {
		d.report("", "not YAML or JSON: %s", err)
		return nil
	}
	var root *yaml.Node
	for {
		var doc yaml.Node
		if err := loader.Load(&doc); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			d.syntaxError(err)
			return nil
		}
		if doc.Kind != yaml.DocumentNode || kindOf(doc.Content[0]) == aNull {
			continue // nothing but comments
		}
		if root != nil {
			d.note("", doc.Content[0])
			d.report("", "a file holds one plan: remove the second document")
			return nil
		}
		root = doc.Content[0]
	}
	if root == nil {
		d.report("", "the plan is empty")
	}
	return root
}

// syntaxError reports with the parser's place where it has one.
func (d *decoder) syntaxError(err error) {
	p := Problem{File: d.file, Line: 1, Column: 1, Message: "not YAML or JSON: " + err.Error()}
	if e, ok := errors.AsType[*yaml.LoadError](err); ok {
		p.Line, p.Column = max(e.Mark.Line, 1), max(e.Mark.Column, 1)
		p.Message = "not YAML or JSON: " + e.Message
		if e.ContextMsg != "" {
			p.Message += " " + e.ContextMsg
		}
	}
	d.problems = append(d.problems, p)
}

// parseJSON builds the tree that the YAML parser would build, were all JSON also YAML: surrogate pairs, control
// characters and line separators inside strings are not. The document is known to be valid JSON, which bounds its depth.
func parseJSON(document []byte) (*yaml.Node, error) {
	r := &jsonReader{Decoder: json.NewDecoder(bytes.NewReader(document)), document: document, line: 1, column: 1}
	r.UseNumber()
	return r.node()
}

type jsonReader struct {
	*json.Decoder
	document             []byte
	offset, line, column int // the place reached, offset in bytes, column in characters
}

func (r *jsonReader) node() (*yaml.Node, error) {
	r.advance()
	n := &yaml.Node{Kind: yaml.ScalarNode, Line: r.line, Column: r.column}
	token, err := r.Token()
	if err != nil {
		return nil, err
	}
	switch v := token.(type) {
	case json.Delim:
		n.Kind, n.Tag = yaml.SequenceNode, "!!seq"
		if v == '{' {
			n.Kind, n.Tag = yaml.MappingNode, "!!map"
		}
		for r.More() { // in an object, keys and values take turns, as in a yaml.Node
			child, err := r.node()
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, child)
		}
		_, err = r.Token() // the closing bracket
		return n, err
	case string:
		n.Tag, n.Value = "!!str", v
	case json.Number:
		n.Tag, n.Value = "!!int", v.String()
		if strings.ContainsAny(n.Value, ".eE") {
			n.Tag = "!!float"
		}
	case bool:
		n.Tag, n.Value = "!!bool", fmt.Sprint(v)
	default:
		n.Tag = "!!null"
	}
	return n, nil
}

// advance goes to the first byte of the next token.
func (r *jsonReader) advance() {
	end := int(r.InputOffset())
	for end < len(r.document) && strings.IndexByte(" \t\r\n,:", r.document[end]) >= 0 {
		end++
	}
	for _, c := range string(r.document[r.offset:end]) {
		r.column++
		if c == '\n' {
			r.line, r.column = r.line+1, 1
		}
	}
	r.offset = end
}
