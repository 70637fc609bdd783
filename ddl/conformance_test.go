package ddl

import (
	"errors"
	"testing"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database"
	migratetest "github.com/golang-migrate/migrate/v4/database/testing"
	"github.com/stretchr/testify/require"
)

func (b bundle) driver(t *testing.T, o DriverOptions) database.Driver {
	t.Helper()
	o.LockTimeout = brief
	d, err := NewDriver(t.Context(), b.pool, o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// library is golang-migrate's, over our driver.
func (b bundle) library(t *testing.T, o DriverOptions) *migrate.Migrate {
	t.Helper()
	m, err := migrate.NewWithInstance("files", b.files.Source(), "contraflow", b.driver(t, o))
	require.NoError(t, err)
	return m
}

// golang-migrate's own suite for drivers.
func TestDriverConforms(t *testing.T) {
	t.Parallel()
	t.Run("driver", func(t *testing.T) {
		t.Parallel()
		b := setup(t, nil)
		migratetest.Test(t, b.driver(t, DriverOptions{AllowDrop: true}), []byte("create table conforms (); create table conforms2 ();"))
		require.False(t, b.has(t, "conforms"))
		require.False(t, b.has(t, "conforms2"))
	})
	t.Run("migrate", func(t *testing.T) {
		t.Parallel()
		b := setup(t, three)
		migratetest.TestMigrate(t, b.library(t, DriverOptions{AllowDrop: true}))
		require.False(t, b.has(t, "a"))
		b.requireState(t, State{})
		require.NoError(t, b.stock(t).Up(), "nothing of ours is in the way afterwards")
	})
	t.Run("migrate, as the engine sees it", func(t *testing.T) {
		t.Parallel()
		b := setup(t, three)
		migratetest.TestMigrateUp(t, b.library(t, DriverOptions{Plan: "p"}))
		b.requireState(t, at(4))
		require.NoError(t, b.engine("p").Down(t.Context(), 4, ""), "its versions are the plan's")
		b.requireState(t, at(2))
	})
}

func TestDropMustBeAskedFor(t *testing.T) {
	t.Parallel()
	b := setup(t, three)
	m := b.library(t, DriverOptions{})
	require.NoError(t, m.Up())
	require.ErrorIs(t, m.Drop(), errNoDrop)
	require.True(t, b.has(t, "a"))
	b.requireState(t, at(4))

	s, err := dial(t.Context(), b.pool, brief)
	require.NoError(t, err)
	d := b.engine("p").driver(t.Context(), s, b.files.find(1, Up))
	require.ErrorIs(t, d.Drop(), errNoDrop, "the engine's never does")
	require.NoError(t, d.Close())
}

func TestTheLibraryTakesVersionsUpAndDown(t *testing.T) {
	t.Parallel()
	b := setup(t, three)
	m := b.library(t, DriverOptions{Plan: "p"})
	require.NoError(t, m.Migrate(2))
	require.NoError(t, m.Steps(1))
	b.requireState(t, at(4))
	applied, err := b.engine("p").Applied(t.Context())
	require.NoError(t, err)
	require.Equal(t, []uint{1, 2, 4}, applied)

	require.NoError(t, m.Steps(-2))
	b.requireState(t, at(1))
	applied, err = b.engine("p").Applied(t.Context())
	require.NoError(t, err)
	require.Equal(t, []uint{1}, applied)
	require.NoError(t, m.Down())
	b.requireState(t, State{})
	require.False(t, b.has(t, "a"))

	require.NoError(t, b.library(t, DriverOptions{}).Up())
	applied, err = b.engine("p").Applied(t.Context())
	require.NoError(t, err)
	require.Empty(t, applied, "without a plan they are nobody's")
}

func TestAFailedFileLeavesTheOldVersionClean(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{
		"1_a.up.sql": "set lock_timeout = 0; set search_path = pg_catalog; create table public.a ();",
		"2_b.up.sql": "create table b (); select 1/0;",
	})
	m := b.library(t, DriverOptions{})
	var failed *StatementError
	require.ErrorAs(t, m.Up(), &failed)
	require.Equal(t, "22012", failed.SQLState)
	b.requireState(t, at(1))
	require.False(t, b.has(t, "b"))
	version, dirty, err := m.Version()
	require.NoError(t, err)
	require.Equal(t, uint(1), version)
	require.False(t, dirty)
	require.ErrorAs(t, m.Up(), &failed)
	require.Equal(t, "version 2 up", failed.File)

	b.exec(t, "begin; lock table a")
	blocked := b.driver(t, DriverOptions{})
	require.NoError(t, blocked.SetVersion(2, true))
	require.ErrorAs(t, blocked.Run(reader("alter table a add n int")), &failed, "what a file has SET doesn't outlast it")
	require.Equal(t, stateLockNotAvailable, failed.SQLState)
	b.exec(t, "commit")
}

// Once the stock driver has failed, golang-migrate's force puts the version right, and owns nothing.
func TestForceCleansADirtyVersion(t *testing.T) {
	t.Parallel()
	b := setup(t, three)
	require.NoError(t, b.byURL(t).SetVersion(2, true))
	m := b.library(t, DriverOptions{Plan: "p"})
	var dirty migrate.ErrDirty
	require.ErrorAs(t, m.Up(), &dirty)
	require.NoError(t, m.Force(1))
	b.requireState(t, at(1))
	applied, err := b.engine("p").Applied(t.Context())
	require.NoError(t, err)
	require.Empty(t, applied)
}

func TestOneLockAtATime(t *testing.T) {
	t.Parallel()
	b := setup(t, three)
	theirs, ours := b.byURL(t), b.driver(t, DriverOptions{})
	require.ErrorIs(t, ours.Unlock(), database.ErrNotLocked)
	require.NoError(t, theirs.Lock())
	result := make(chan error, 1)
	go func() { result <- ours.Lock() }()
	require.NoError(t, theirs.Unlock())
	require.NoError(t, <-result)
	require.ErrorIs(t, ours.Lock(), database.ErrLocked)
	require.NoError(t, ours.Unlock())
}

func TestAnOpenDriverGivesTheLockUp(t *testing.T) {
	t.Parallel()
	b := setup(t, three)
	theirs, ours := b.byURL(t), b.driver(t, DriverOptions{})
	require.NoError(t, theirs.Lock())
	require.ErrorIs(t, ours.Lock(), database.ErrLocked)
	require.NoError(t, theirs.Unlock())
	require.NoError(t, ours.Lock(), "its connection lives")
	_, err := ours.Open("contraflow://")
	require.True(t, errors.Is(err, errNoURL))
}
