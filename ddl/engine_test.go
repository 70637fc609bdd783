package ddl

import (
	"context"
	"maps"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/internal/pg"
)

func TestUpAndDownOneVersionAtATime(t *testing.T) {
	t.Parallel()
	b := setup(t, three)
	e := b.engine("p")
	b.requireState(t, State{})

	for _, version := range b.files.Versions() {
		require.NoError(t, e.Up(t.Context(), version, b.files.SHA256(version, Up)))
		b.requireState(t, at(version))
	}
	applied, err := e.Applied(t.Context())
	require.NoError(t, err)
	require.Equal(t, []uint{1, 2, 4}, applied)

	for _, step := range []struct {
		version uint
		then    State
	}{{4, at(2)}, {2, at(1)}, {1, State{}}} {
		require.NoError(t, e.Down(t.Context(), step.version, b.files.SHA256(step.version, Down)))
		b.requireState(t, step.then)
		require.NoError(t, e.Down(t.Context(), step.version, ""), "a compensation may run twice")
		b.requireState(t, step.then)
	}
	require.False(t, b.has(t, "a"))
	applied, err = e.Applied(t.Context())
	require.NoError(t, err)
	require.Empty(t, applied)
	require.Zero(t, one[int](t, b, "select count(*)::int from contraflow.ddl_version"))
}

func TestUpIsIdempotent(t *testing.T) {
	t.Parallel()
	b := setup(t, three)
	for range 2 {
		require.NoError(t, b.engine("p").Up(t.Context(), 1, ""))
	}
	require.NoError(t, b.engine("p").Up(t.Context(), 2, ""))
	require.NoError(t, b.engine("p").Up(t.Context(), 1, ""), "the database is past it")
	b.requireState(t, at(2))
	require.Equal(t, 10, one[int](t, b, "select count(*)::int from a"))
}

func TestUpDoesNotSkip(t *testing.T) {
	t.Parallel()
	b := setup(t, three)
	require.ErrorIs(t, b.engine("p").Up(t.Context(), 2, ""), ErrOrder)
	require.ErrorIs(t, b.engine("p").Up(t.Context(), 3, ""), ErrMissing)
	b.requireState(t, State{})
}

func TestChangedFilesDoNotRun(t *testing.T) {
	t.Parallel()
	b := setup(t, three)
	planned := b.files
	changed := maps.Clone(three)
	changed["001_a.up.sql"] += "\n"
	changed["001_a.down.sql"] += "\n"
	b.files = read(t, changed)
	e := b.engine("p")

	require.ErrorIs(t, e.Up(t.Context(), 1, planned.SHA256(1, Up)), ErrChanged)
	b.requireState(t, State{})
	require.NoError(t, e.Up(t.Context(), 1, ""))
	require.ErrorIs(t, e.Down(t.Context(), 1, planned.SHA256(1, Down)), ErrChanged)
	b.requireState(t, at(1))
}

func TestAFailedFileLeavesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{
		"1_a.up.sql": "create table a (n int);\n\ninsert into a values (1), (2); -- é\nselect é;",
		"2_a.up.sql": "",
	})
	err := b.engine("p").Up(t.Context(), 1, "")
	var failed *StatementError
	require.ErrorAs(t, err, &failed)
	require.Equal(t, "1_a.up.sql", failed.File)
	require.Equal(t, 4, failed.Line)
	require.Equal(t, "42703", failed.SQLState)
	b.requireState(t, State{})
	require.False(t, b.has(t, "a"))
	require.False(t, b.has(t, "schema_migrations"))
}

func TestErrorsNameTheLineAndHideValues(t *testing.T) {
	t.Parallel()
	const secret = "tell-nobody"
	for name, c := range map[string]struct {
		sql   string
		line  int
		state string
	}{
		"detail":     {"create table t (k text);\ninsert into t values ('" + secret + "'), ('" + secret + "');\n\ncreate unique index on t (k)", 4, "23505"},
		"message":    {"create table t (k text);\ninsert into t values ('" + secret + "');\nalter table t alter k type int using k::int", 3, "22P02"},
		"deferred":   {"create table u (k text primary key); create table t (k text references u deferrable initially deferred); insert into t values ('" + secret + "')", 0, "23503"},
		"raised":     {"create table t (k text);\ndo $$ begin raise exception '" + secret + "' using errcode = '23514'; end $$", 2, "23514"},
		"needs none": {"create table t ();\ncreate index concurrently i on t ((1))", 2, "25001"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, map[string]string{"1_t.up.sql": c.sql})
			err := b.engine("p").Up(t.Context(), 1, "")
			var failed *StatementError
			require.ErrorAs(t, err, &failed)
			require.Equal(t, c.line, failed.Line)
			require.Equal(t, c.state, failed.SQLState)
			require.NotContains(t, err.Error(), secret)
			require.False(t, b.has(t, "t"))
			b.requireState(t, State{})
		})
	}
}

func TestADirtyDatabaseIsLeftAlone(t *testing.T) {
	t.Parallel()
	b := setup(t, three)
	require.NoError(t, b.engine("p").Up(t.Context(), 1, ""))
	b.exec(t, "update schema_migrations set dirty = true")

	require.ErrorIs(t, b.engine("p").Up(t.Context(), 2, ""), ErrDirty)
	require.ErrorIs(t, b.engine("p").Up(t.Context(), 1, ""), ErrDirty)
	require.ErrorIs(t, b.engine("p").Down(t.Context(), 1, ""), ErrDirty)
	b.requireState(t, State{Version: 1, Exists: true, Dirty: true})
	require.True(t, b.has(t, "a"))
}

func TestDownLeavesStrangersAlone(t *testing.T) {
	t.Parallel()
	b := setup(t, three)
	ours, other := b.engine("ours"), b.engine("other")
	require.NoError(t, other.Up(t.Context(), 1, ""))
	require.NoError(t, ours.Up(t.Context(), 1, ""), "already there")
	require.ErrorIs(t, ours.Down(t.Context(), 1, ""), ErrNotOurs)

	require.NoError(t, ours.Up(t.Context(), 2, ""))
	require.NoError(t, other.Up(t.Context(), 4, ""))
	var stranger *StrangerError
	require.ErrorAs(t, ours.Down(t.Context(), 2, ""), &stranger)
	require.Equal(t, StrangerError{Version: 2, Found: 4, Owner: "other"}, *stranger)
	b.requireState(t, at(4))

	applied, err := ours.Applied(t.Context())
	require.NoError(t, err)
	require.Equal(t, []uint{2}, applied)
	require.NoError(t, other.Down(t.Context(), 4, ""))
	require.NoError(t, ours.Down(t.Context(), 2, ""))
	b.requireState(t, at(1))
}

func TestDownNeedsAFile(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{"1_a.up.sql": "create table a ()"})
	require.NoError(t, b.engine("p").Up(t.Context(), 1, ""))
	require.ErrorIs(t, b.engine("p").Down(t.Context(), 1, ""), ErrMissing, "golang-migrate would only lower the version")
	b.requireState(t, at(1))
}

func TestAFileMayBringItsOwnTransactionAndSettings(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{
		"1_a.up.sql": "BEGIN;\ncreate table a ();\nCOMMIT;",
		"2_b.up.sql": "select pg_catalog.set_config('search_path', '', false); create table public.b (); deallocate all;",
		"3_c.up.sql": "create table c ();",
		"4_d.up.sql": "create table d (); commit; create table e ();",
	})
	e := b.engine("p")
	for _, version := range []uint{1, 2, 3} {
		require.NoError(t, e.Up(t.Context(), version, ""))
	}
	require.ErrorIs(t, e.Up(t.Context(), 4, ""), ErrScript)
	b.requireState(t, at(3))
	require.True(t, b.has(t, "public.c"))
	require.False(t, b.has(t, "d"))
}

func TestCancellationRollsBackPromptly(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{"1_a.up.sql": "create table a (); select pg_sleep(3600);"})
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- b.engine("p").Up(ctx, 1, "") }()
	sleeping := func() bool {
		return one[bool](t, b, "select exists (select from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep')")
	}
	require.Eventually(t, sleeping, patience, look)
	cancel()
	require.ErrorIs(t, <-result, context.Canceled)
	require.Eventually(t, func() bool { return !sleeping() }, patience, look, "the backend ends too")
	b.requireState(t, State{})
	require.False(t, b.has(t, "a"))
}

func TestSchemasAreApart(t *testing.T) {
	t.Parallel()
	b := setup(t, three)
	require.NoError(t, b.engine("p").Up(t.Context(), 1, ""))
	b.exec(t, "create schema tenant")
	b.exec(t, "alter role current_user in database "+b.db.Name+" set search_path = tenant")
	b.pool.Reset()

	b.requireState(t, State{})
	require.NoError(t, b.engine("p").Up(t.Context(), 1, ""))
	require.NoError(t, b.engine("p").Down(t.Context(), 1, ""))
	require.True(t, b.has(t, "public.a"))
	require.Equal(t, "public", one[string](t, b, "select schema_name from contraflow.ddl_version"))
}

// The role's name is our schema's too, which puts that first in "$user", public.
func TestARoleNamedContraflowWorksInPublic(t *testing.T) {
	t.Parallel()
	b := cluster(t, nil)
	super := b.db
	super.DSN = b.db.SuperDSN
	super.Exec(t, "create role contraflow login password 'S3CRET' in role "+pgtest.Role)
	address, err := url.Parse(b.db.DSN)
	require.NoError(t, err)
	address.User = url.UserPassword(pg.Schema, "S3CRET")
	b.pool.Close()
	b.pool, err = pg.Open(t.Context(), address.String(), pg.Settings{})
	require.NoError(t, err)
	t.Cleanup(b.pool.Close)

	b.requireState(t, at(1))
	require.NoError(t, b.engine("p").Up(t.Context(), 2, ""))
	require.NoError(t, b.engine("p").Up(t.Context(), 4, ""))
	require.True(t, b.has(t, "public.c"))
	require.Equal(t, 1, one[int](t, b, "select count(*)::int from pg_class where relname = 'schema_migrations'"))
}
