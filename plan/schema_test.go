package plan

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v4"
)

// conformity checks JSON documents against the schema.
func conformity(t testing.TB) func(document []byte) error {
	t.Helper()
	schema, err := jsonschema.UnmarshalJSON(bytes.NewReader(JSONSchema()))
	require.NoError(t, err)
	compiler := jsonschema.NewCompiler()
	require.NoError(t, compiler.AddResource("schema.json", schema))
	compiled, err := compiler.Compile("schema.json")
	require.NoError(t, err)
	return func(document []byte) error {
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
		if err != nil {
			return err
		}
		return compiled.Validate(value)
	}
}

func asJSON(t testing.TB, document string) []byte {
	t.Helper()
	var value any
	require.NoError(t, yaml.Load([]byte(document), &value))
	body, err := json.Marshal(value)
	require.NoError(t, err)
	return body
}

func TestTheExampleConformsToTheSchema(t *testing.T) {
	t.Parallel()
	conforms := conformity(t)
	require.NoError(t, conforms(asJSON(t, string(example(t)))))
	require.Error(t, conforms([]byte(`{}`)))
}

// The schema and the decoder know the same keys, everywhere: each place of the schema is asked of the decoder, by
// giving it an unknown key or a value of a wrong type there and reading what it says it would have taken.
func TestTheSchemaKnowsWhatTheDecoderKnows(t *testing.T) {
	t.Parallel()
	var root schemaNode
	require.NoError(t, json.Unmarshal(JSONSchema(), &root))
	places := 0
	var visit func(path string, n schemaNode, around func(any) any)
	visit = func(path string, n schemaNode, around func(any) any) {
		places++
		if name, isRef := strings.CutPrefix(n.Ref, "#/$defs/"); isRef {
			require.Contains(t, root.Defs, name)
			n = root.Defs[name]
			if name == "duration" {
				require.Equal(t, "must be a duration such as 30s, 5m or 24h, not a mapping", complaint(t, path, around(map[string]any{})))
				return
			}
		}
		switch n.Type {
		case "object":
			if n.Properties == nil { // columns of the reader's own naming
				require.Equal(t, "must be a mapping of keys to values, not a list", complaint(t, path, around([]any{})))
				return
			}
			_, known, ok := strings.Cut(complaint(t, join(path, "zzzzzz"), around(map[string]any{"zzzzzz": 1})), "known here: ")
			require.True(t, ok, path)
			require.Equal(t, slices.Sorted(maps.Keys(n.Properties)), strings.Split(known, ", "), path)
			require.JSONEq(t, "false", string(n.AdditionalProperties), path)
			for key, property := range n.Properties {
				visit(join(path, key), property, func(v any) any { return around(map[string]any{key: v}) })
			}
		case "array":
			require.Equal(t, "must be a list, not a mapping", complaint(t, path, around(map[string]any{})))
			visit(path+"[0]", *n.Items, func(v any) any { return around([]any{v}) })
		default:
			want, known := map[string]string{
				"string": "a text, not a mapping", "integer": "a whole number, not a mapping",
				"number": "a number, not a mapping", "boolean": "true or false, not a mapping"}[n.Type]
			require.True(t, known, "%s: %q", path, n.Type)
			require.Equal(t, "must be "+want, complaint(t, path, around(map[string]any{})))
		}
	}
	visit("", root, func(v any) any { return v })
	require.Greater(t, places, 60, "the walk has seen the whole schema")
}

type schemaNode struct {
	Ref                  string                `json:"$ref"`
	Type                 string                `json:"type"`
	Properties           map[string]schemaNode `json:"properties"`
	AdditionalProperties json.RawMessage       `json:"additionalProperties"`
	Items                *schemaNode           `json:"items"`
	Defs                 map[string]schemaNode `json:"$defs"`
}

// complaint is what Decode says about a path of the document.
func complaint(t *testing.T, path string, document any) string {
	t.Helper()
	body, err := json.Marshal(document)
	require.NoError(t, err)
	_, err = Decode("p", body)
	var problems Problems
	require.ErrorAs(t, err, &problems)
	for _, p := range problems {
		if p.Path == path {
			return p.Message
		}
	}
	require.Failf(t, "no problem", "at %s of %s: %v", path, body, err)
	return ""
}
