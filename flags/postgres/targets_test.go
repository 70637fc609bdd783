package postgres_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
)

func TestTargetsAreMovedAndNobodyElseIs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.furnish(t, "furnished")
	state, err := b.provider.Apply(t.Context(), "furnished", flags.Change{
		Percent: 40, Targets: map[string][]string{"user": {"b", "user-1", "a", "b"}, "account": {"acme"}},
	}, "", nil)
	require.NoError(t, err)
	require.Equal(t, "on: 40 % true, 5 targets", state.Summary)
	require.JSONEq(t, `{"user": {"true": ["a", "b", "user-1"]}, "device": {"true": ["phone"]}, "account": {"true": ["acme"]}}`,
		one[string](t, b, `select targets::text from contraflow.flag where key = 'furnished'`))

	state, err = b.provider.Apply(t.Context(), "furnished", flags.Change{Exclude: &flags.Context{Kind: "user", Key: "b"}}, "", nil)
	require.NoError(t, err)
	require.Equal(t, "on: 40 % true, 5 targets", state.Summary)
	require.JSONEq(t, `{"user": {"true": ["a", "user-1"], "false": ["b"]}, "device": {"true": ["phone"]}, "account": {"true": ["acme"]}}`,
		one[string](t, b, `select targets::text from contraflow.flag where key = 'furnished'`))
	require.NotContains(t, one[string](t, b, `select string_agg(detail, ' ') from contraflow.audit`), "acme")
}

func TestWhatTheTableCantHoldIsRefusedWithTheWayOut(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.furnish(t, "furnished")
	before, err := b.provider.Get(t.Context(), "furnished")
	require.NoError(t, err)
	for way, change := range map[string]flags.Change{
		"list their members under targets":       {Percent: 10, Segments: []string{"staff"}},
		"move it by percent":                     {Stage: flags.StageShadow},
		"which Postgres can't keep":              {Percent: 10, Targets: map[string][]string{"user": {"S3CRET\x00"}}},
		"Postgres keeps no key":                  {Exclude: &flags.Context{Kind: "user", Key: "S3CRET\x00"}},
		"stands alone in a change":               {Percent: 10, Stage: flags.StageShadow},
		`neither "kind" nor "multi"`:             {Targets: map[string][]string{"multi": {"a"}}},
		"write a whole number from 0 (off) to 1": {Percent: 101},
	} {
		require.ErrorIs(t, b.provider.Rehearse(t.Context(), "furnished", change), flags.ErrInvalid)
		_, err := b.provider.Apply(t.Context(), "furnished", change, "", nil)
		require.ErrorIs(t, err, flags.ErrInvalid)
		require.ErrorContains(t, err, way)
		require.NotContains(t, err.Error(), "S3CRET")
	}
	after, err := b.provider.Get(t.Context(), "furnished")
	require.NoError(t, err)
	require.Equal(t, before, after)
	for _, key := range []string{"NUL\x00", "broken \xff", "two words"} {
		_, err := b.provider.Get(t.Context(), key)
		require.ErrorIs(t, err, flags.ErrNotFound)
		require.ErrorIs(t, b.provider.Create(t.Context(), key, flags.NewFlag{}), flags.ErrInvalid)
	}
}

func TestAVersionNeverComesBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ours, err := b.provider.Apply(t.Context(), plain, flags.Change{Percent: 50}, "", nil)
	require.NoError(t, err)
	reader := b.reader(t, b.pool)
	b.exec(t, `delete from contraflow.flag`)
	require.NoError(t, b.provider.Create(t.Context(), plain, flags.NewFlag{}))
	again, err := b.provider.Get(t.Context(), plain)
	require.NoError(t, err)
	require.Equal(t, ours.Version+1, again.Version, "else a report of the former would speak for the new one")
	require.NoError(t, reader.Refresh(t.Context()))
	require.Equal(t, again.Version, reader.Evaluate(plain, "user", "a", true).Version)

	// Made again while the deletion is not committed yet.
	tx, err := b.pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `delete from contraflow.flag`)
	require.NoError(t, err)
	made := make(chan error, 1)
	go func() {
		made <- insisting(func() error { return b.provider.Create(t.Context(), plain, flags.NewFlag{}) })
	}()
	require.Eventually(t, func() bool {
		return one[int](t, b, `select count(*)::int from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`) == 1
	}, patience, tick)
	require.NoError(t, tx.Commit(t.Context()))
	require.NoError(t, <-made)
	last, err := b.provider.Get(t.Context(), plain)
	require.NoError(t, err)
	require.Equal(t, again.Version+1, last.Version)
}
