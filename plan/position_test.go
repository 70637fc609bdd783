package plan_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/plan"
)

func TestPositionFindsValuesByTheirKeys(t *testing.T) {
	t.Parallel()
	const yaml = "# ä\nname: p\nsteps:\n  - name: a\n    migrate: {to: 2}\n  - name: b\n    verify:\n      query: |\n        select 1\n"
	for name, test := range map[string]struct {
		document string
		keys     []any
		want     [2]int
	}{
		"the document":         {yaml, nil, [2]int{2, 1}},
		"a step":               {yaml, []any{"steps", 1}, [2]int{6, 5}},
		"in one line":          {yaml, []any{"steps", 0, "migrate", "to"}, [2]int{5, 19}},
		"a block":              {yaml, []any{"steps", 1, "verify", "query"}, [2]int{8, 14}},
		"what stands around":   {yaml, []any{"steps", 0, "migrate", "timeout", 3}, [2]int{5, 14}},
		"a step that isn't":    {yaml, []any{"steps", 7, "name"}, [2]int{4, 3}},
		"JSON":                 {"{\"name\": \"\\ud83d\\ude00\",\n \"steps\": [{\"name\": \"a\"}]}", []any{"steps", 0, "name"}, [2]int{2, 21}},
		"nothing":              {"", []any{"steps"}, [2]int{1, 1}},
		"what is not YAML":     {"a: [", []any{"a"}, [2]int{1, 1}},
		"keys that are values": {"a: b\nb: c\n", []any{"b"}, [2]int{2, 4}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			line, column := plan.Position([]byte(test.document), test.keys...)
			require.Equal(t, test.want, [2]int{line, column})
		})
	}
}
