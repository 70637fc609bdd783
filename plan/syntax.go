package plan

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// syntaxError takes the place and the plain message out of the parser's error.
func syntaxError(err error) (line, column int, message string) {
	var syntax *yaml.SyntaxError
	if errors.As(err, &syntax) && syntax.Token != nil && syntax.Token.Position != nil {
		return syntax.Token.Position.Line, syntax.Token.Position.Column, "not YAML or JSON: " + syntax.Message
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	return 1, 1, "not YAML or JSON: " + first
}

// unwrap takes tags and comments off a value.
func unwrap(n ast.Node) ast.Node {
	for {
		switch v := n.(type) {
		case *ast.TagNode:
			n = v.Value
		case *ast.CommentGroupNode, nil:
			return ast.Null(nil)
		default:
			return n
		}
	}
}

func keyText(key ast.MapKeyNode) (string, bool) {
	switch k := key.(type) {
	case *ast.StringNode:
		return k.Value, true
	case *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode:
		return key.GetToken().Value, true
	}
	return "", false
}

func kindOf(n ast.Node) string {
	switch unwrap(n).(type) {
	case *ast.StringNode, *ast.LiteralNode:
		return "a text"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.BoolNode:
		return "true or false"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.NullNode:
		return "nothing"
	}
	return "this (anchors and aliases are not understood)"
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// suggestion is ", did you mean …" when a known key is at most two edits away.
func suggestion[V any](key string, known map[string]V) string {
	best, distance := "", 3
	for _, k := range sortedKeys(known) {
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
