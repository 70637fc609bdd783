package postgres_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/postgres"
)

func TestCreateLeavesAFlagThatExistsAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	create := func(key string, f flags.NewFlag) error { return b.provider.Create(t.Context(), key, f) }
	require.NoError(t, create("new", flags.NewFlag{Description: "for the split\x00"}))
	on, err := b.provider.Apply(t.Context(), "new", flags.Change{Percent: 30}, "", nil)
	require.NoError(t, err)
	require.NoError(t, create("new", flags.NewFlag{Description: "other"}))
	again, err := b.provider.Get(t.Context(), "new")
	require.NoError(t, err)
	require.Equal(t, on, again)
	require.Equal(t, "for the split\uFFFD", one[string](t, b, "select description from contraflow.flag where key = 'new'"))

	require.NoError(t, b.provider.Archive(t.Context(), "new", ""))
	require.ErrorIs(t, create("new", flags.NewFlag{}), flags.ErrArchived)
	require.ErrorIs(t, create("staged", flags.NewFlag{Migration: true}), flags.ErrInvalid)
	require.ErrorIs(t, create("two words", flags.NewFlag{}), flags.ErrInvalid)
	require.ErrorIs(t, b.provider.Create(frozen{t.Context()}, "late", flags.NewFlag{}), flags.Late(frozen{t.Context()}))
	require.Equal(t, 2, one[int](t, b, "select count(*)::int from contraflow.flag"))
}

func TestAWorkerWithoutTheRightIsToldBeforeAnythingChanges(t *testing.T) {
	t.Parallel()
	b := setup(t)
	change := flags.Change{Percent: 30}
	require.NoError(t, b.provider.Rehearse(t.Context(), plain, change))
	require.ErrorIs(t, b.provider.Rehearse(t.Context(), "no-such-flag", change), flags.ErrNotFound)
	require.ErrorIs(t, b.provider.Rehearse(t.Context(), plain, flags.Change{Percent: 101}), flags.ErrInvalid)

	weak := open(t, b.application(t, grantSchema, "grant select on contraflow.flag, contraflow.schema_version to %s"))
	require.ErrorIs(t, weak.Rehearse(t.Context(), plain, change), flags.ErrUnauthorized)
	_, err := weak.Apply(t.Context(), plain, change, "", nil)
	require.ErrorIs(t, err, flags.ErrUnauthorized)
	require.True(t, flags.Permanent(err))
	state, err := b.provider.Get(t.Context(), plain)
	require.NoError(t, err)
	require.Equal(t, "off", state.Summary)
}

func TestARehearsedCreationIsRolledBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	rehearse := func(p *postgres.Provider, key string) error {
		return p.RehearseCreate(t.Context(), key, flags.NewFlag{Description: "x"}, []flags.Change{{Percent: 10, Targets: map[string][]string{"user": {"ann"}}}, {Percent: 100}})
	}
	audit := one[int](t, b, "select count(*)::int from contraflow.audit")
	require.NoError(t, rehearse(b.provider, "new"))
	require.Equal(t, audit, one[int](t, b, "select count(*)::int from contraflow.audit"), "nor is it told to anybody")
	require.Equal(t, 1, one[int](t, b, "select count(*)::int from contraflow.flag"))
	require.ErrorIs(t, rehearse(b.provider, "two words"), flags.ErrInvalid, "which the table itself refuses")
	require.ErrorIs(t, rehearse(b.provider, "NUL\x00"), flags.ErrInvalid)

	weak := open(t, b.application(t, grantSchema, "grant select on contraflow.flag, contraflow.schema_version to %s"))
	require.ErrorIs(t, rehearse(weak, "new"), flags.ErrUnauthorized)
	b.exec(t, "grant insert on contraflow.flag to app_"+b.db.Name)
	require.ErrorIs(t, rehearse(weak, "new"), flags.ErrUnauthorized, "it may make flags, and change none")
	require.NoError(t, b.provider.Create(t.Context(), "new", flags.NewFlag{}))
	require.Equal(t, 1, one[int](t, b, "select version::int from contraflow.flag where key = 'new'"), "it was there never before")
}
