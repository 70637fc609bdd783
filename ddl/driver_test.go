package ddl

import (
	"bytes"
	"testing"

	migratetest "github.com/golang-migrate/migrate/v4/database/testing"
	"github.com/stretchr/testify/require"
)

// golang-migrate's own suite for drivers, all of it but TestDrop: dropping everything is what this driver never does.
func TestDriverConforms(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	s, err := dial(t.Context(), b.pool, brief)
	require.NoError(t, err)
	d := &driver{ctx: t.Context(), session: s, plan: "p", file: &file{name: "conformance", version: 2, direction: Up}}

	migratetest.TestNilVersion(t, d)
	migratetest.TestLockAndUnlock(t, d)
	migratetest.TestRun(t, d, bytes.NewReader([]byte("create table conforms ()")))
	migratetest.TestSetVersion(t, d)
	require.True(t, b.has(t, "conforms"))

	require.ErrorIs(t, d.Drop(), errUnsupported)
	require.True(t, b.has(t, "conforms"))
	require.NoError(t, d.Close())
}

func TestRunWritesNothingBeforeTheVersionIsClean(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	s, err := dial(t.Context(), b.pool, brief)
	require.NoError(t, err)
	d := &driver{ctx: t.Context(), session: s, plan: "p", file: &file{name: "f", version: 1, direction: Up}}
	defer func() { require.NoError(t, d.Close()) }()

	require.NoError(t, d.SetVersion(1, true))
	require.NoError(t, d.Run(bytes.NewReader([]byte("create table half ()"))))
	require.False(t, b.has(t, "half"))
	b.requireState(t, State{})
	require.NoError(t, d.SetVersion(1, false))
	require.True(t, b.has(t, "half"))
	b.requireState(t, at(1))
}
