package lint

import (
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/pgtest"
)

// What the rules take for steady is so by the catalog of the server at hand, whatever its version.
func TestSteadyFunctionsAreSteady(t *testing.T) {
	t.Parallel()
	require.True(t, slices.IsSorted(steadyFunctions))
	require.True(t, slices.IsSorted(setFunctions))
	conn := pgtest.New(t).Connect(t)
	rows, err := conn.Query(t.Context(), "select distinct proname::text from pg_proc where provolatile = 'v' and prokind = 'f' and pronamespace = 'pg_catalog'::regnamespace")
	require.NoError(t, err)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.NotEmpty(t, names)
	if majorOf(t, conn) < 15 {
		// For times of day alone, whose zone may depend on the date; 15 corrected its catalog.
		names = slices.DeleteFunc(names, func(n string) bool { return n == "timezone" })
	}
	for _, n := range names {
		require.False(t, steady(n), n)
		require.NotContains(t, setFunctions, n)
	}
	for _, n := range volatiles {
		require.False(t, steady(n), n)
	}
}
