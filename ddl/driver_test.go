package ddl

import (
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func reader(sql string) io.Reader { return strings.NewReader(sql) }

func TestRunWritesNothingBeforeTheVersionIsClean(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	s, err := dial(t.Context(), b.pool, brief)
	require.NoError(t, err)
	d := &driver{ctx: t.Context(), session: s, plan: "p", file: &file{name: "f", version: 1, direction: Up}}
	defer func() { require.NoError(t, d.Close()) }()

	require.NoError(t, d.SetVersion(1, true))
	require.NoError(t, d.Run(reader("create table half ()")))
	require.False(t, b.has(t, "half"))
	b.requireState(t, State{})
	require.NoError(t, d.SetVersion(1, false))
	require.True(t, b.has(t, "half"))
	b.requireState(t, at(1))
}
