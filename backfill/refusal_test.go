package backfill_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/backfill"
)

func TestParametersInExpressionsAreRefused(t *testing.T) {
	t.Parallel()
	b, transformed := transforming(t, counted(), numbers(3))
	transformed.Where = "id > $1"
	condition, unused, value := counting("numbers"), counting("numbers"), counting("numbers")
	condition.Where = "id = any($1)"
	unused.Where = "id > $2::bigint and $1::text is null"
	value.Set = []backfill.Assignment{{Column: "label", Expr: "$1"}} // would be the key of the chunk
	throttled := counting("numbers")
	throttled.Throttles = []backfill.Throttle{{Name: "queue", Signal: backfill.Query, Query: "select count(*) from numbers where n = $2", Max: 1}}
	for title, spec := range map[string]backfill.Spec{"throttle": throttled, "where": condition, "two": unused, "set": value, "transform": transformed} {
		_, err := b.Inspect(t.Context(), spec)
		require.ErrorIs(t, err, backfill.ErrSpec, title)
		require.ErrorContains(t, err, "parameter", title)
	}
	err := b.InspectManual(t.Context(), backfill.Manual{Plan: "plan", Step: "hand", Table: "numbers", Where: "n = $1"})
	require.ErrorIs(t, err, backfill.ErrSpec)

	harmless := counting("numbers")
	harmless.Where = "label is distinct from '$1' -- $2"
	_, err = b.Inspect(t.Context(), harmless)
	require.NoError(t, err)
}
