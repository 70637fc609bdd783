package postgres_test

import (
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/pgtest"
)

var sqlBlock = regexp.MustCompile("(?ms)^```sql\n(.*?)^```$")

// The documentation's SQL runs from top to bottom, and does what it says.
func TestTheSQLOfTheDocumentationRuns(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if err := pgtest.Cluster(t).CreateRole(t.Context(), "shop"); err != nil {
		require.ErrorContains(t, err, "already exists") // roles are the cluster's, which an earlier run of this test shares
	}
	text, err := os.ReadFile("../../docs/flags.md")
	require.NoError(t, err)
	blocks := sqlBlock.FindAllStringSubmatch(string(text), -1)
	require.NotEmpty(t, blocks)
	conn := b.db.Connect(t)
	for _, block := range blocks {
		_, err := conn.Exec(t.Context(), block[1])
		require.NoError(t, err, block[1])
	}
	require.Equal(t, "customers-write-new shop-team 1", one[string](t, b,
		`select key || ' ' || owner || ' ' || version from contraflow.flag where key <> $1`, plain), "it was off before")
	require.Equal(t, "shop-1", one[string](t, b, `select instance from contraflow.flag_seen`))
	require.True(t, one[bool](t, b, `select has_function_privilege('shop', 'contraflow.flag_is_on(text, text, text)', 'execute')`))
	require.False(t, one[bool](t, b, `select has_table_privilege('shop', 'contraflow.flag', 'select')`))
}
