package launchdarkly_test

import (
	"net/http"
	"testing"

	"github.com/launchdarkly/go-sdk-common/v3/ldcontext"
	"github.com/launchdarkly/go-sdk-common/v3/ldmigration"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
)

var someone = ldcontext.New("someone")

func TestARehearsalChangesNothingAndTellsWhatWouldGoWrong(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.rest(t, http.MethodPost, "/api/v2/flags/shop", `{"key": "text", "name": "Text", "variations": [{"value": "a"}, {"value": "b"}]}`)
	require.NoError(t, b.server.CreateFlag("gone"))
	b.rest(t, http.MethodPatch, "/api/v2/flags/shop/gone", `{"instructions": [{"kind": "archiveFlag"}]}`)
	require.NoError(t, b.provider.Rehearse(t.Context(), plain, flags.Change{Percent: 50}))
	require.Equal(t, "/api/v2/flags/shop/plain?dryRun=true", b.wire.patches()[0].target)
	require.False(t, b.environment(t, plain).On)
	require.Equal(t, 1, b.environment(t, plain).Version)

	for key, want := range map[string]error{"absent": flags.ErrNotFound, "text": flags.ErrNotBoolean, "gone": flags.ErrArchived} {
		require.ErrorIs(t, b.provider.Rehearse(t.Context(), key, flags.Change{Percent: 50}), want, key)
	}
	b.server.Deny("updateFallthrough")
	err := b.provider.Rehearse(t.Context(), plain, flags.Change{Percent: 50})
	require.ErrorIs(t, err, flags.ErrUnauthorized)
	require.ErrorContains(t, err, `action "updateFallthrough"`)
	b.server.Deny()

	b.server.Inject(http.StatusMethodNotAllowed, 1) // should the dry run say so already
	require.ErrorIs(t, b.provider.Rehearse(t.Context(), plain, flags.Change{Percent: 50}), flags.ErrApprovalRequired)
	b.server.Require(3)
	err = b.provider.Rehearse(t.Context(), plain, flags.Change{Percent: 50})
	require.Contains(t, requireWaiting(t, err), "3 approvals")
	require.NoError(t, b.provider.Rehearse(t.Context(), plain, flags.Change{Percent: 0}), "it serves that already")
	require.Equal(t, 1, b.environment(t, plain).Version)
}

func TestABooleanFlagIsMadeOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.wire.lose = func(r *http.Request) bool { return r.Method == http.MethodPost } // the answer to it
	made := flags.NewFlag{Name: "Write new", Description: "for a migration", Tags: []string{"contraflow"}}
	require.NoError(t, b.provider.Create(t.Context(), "write-new", made))
	require.Len(t, b.wire.all(http.MethodPost, "/api/v2/flags/shop"), 1)
	require.NoError(t, b.provider.Create(t.Context(), "write-new", made))
	require.Len(t, b.wire.all(http.MethodPost, "/api/v2/flags/shop"), 1)
	flag, ok := b.server.Snapshot("write-new")
	require.True(t, ok)
	require.Equal(t, "boolean", flag.Kind)
	require.Equal(t, "Write new", flag.Name)
	require.Equal(t, []string{"contraflow"}, flag.Tags)
	require.True(t, flag.Temporary)

	application := b.application(t)
	value, err := application.BoolVariation("write-new", someone, true)
	require.NoError(t, err)
	require.False(t, value, "it is off")
	_, err = b.provider.Apply(t.Context(), "write-new", flags.Change{Percent: 100}, note, nil)
	require.NoError(t, err)
}

func TestAMigrationFlagHasItsStages(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.NoError(t, b.provider.Create(t.Context(), "move", flags.NewFlag{Migration: true, ContextKind: "account"}))
	posts := b.wire.all(http.MethodPost, "/api/v2/flags/shop")
	require.Len(t, posts, 1)
	require.JSONEq(t, `{"key": "move", "name": "move", "temporary": true, "purpose": "migration",
		"migrationSettings": {"stageCount": 6, "contextKind": "account"}}`, posts[0].body)
	stage, _, err := b.application(t).MigrationVariation("move", someone, ldmigration.Live)
	require.NoError(t, err)
	require.Equal(t, ldmigration.Off, stage)
	require.NoError(t, b.provider.Create(t.Context(), "move", flags.NewFlag{Migration: true}), "it is there")
	require.NoError(t, b.provider.Create(t.Context(), "move", flags.NewFlag{Migration: true, ContextKind: "account"}))
	err = b.provider.Create(t.Context(), "move", flags.NewFlag{Migration: true, ContextKind: "device"})
	require.ErrorIs(t, err, flags.ErrInvalid)
	require.ErrorContains(t, err, `of kind "account", not "device"`)
}

func TestAFlagOfAnotherKindIsNotTakenForIt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.NoError(t, b.provider.Create(t.Context(), "move", flags.NewFlag{Migration: true}))
	require.ErrorIs(t, b.provider.Create(t.Context(), "move", flags.NewFlag{}), flags.ErrInvalid)
	require.ErrorIs(t, b.provider.Create(t.Context(), plain, flags.NewFlag{Migration: true}), flags.ErrInvalid)
	b.rest(t, http.MethodPatch, "/api/v2/flags/shop/plain", `{"instructions": [{"kind": "archiveFlag"}]}`)
	require.ErrorIs(t, b.provider.Create(t.Context(), plain, flags.NewFlag{}), flags.ErrArchived)

	b.server.Deny("createFlag")
	err := b.provider.Create(t.Context(), "another", flags.NewFlag{})
	require.ErrorIs(t, err, flags.ErrUnauthorized)
	require.ErrorContains(t, err, `action "createFlag"`)
	require.ErrorIs(t, b.provider.Create(t.Context(), "not a key", flags.NewFlag{}), flags.ErrInvalid)
}

func TestAFlagThatSomebodyElseMakesInThisMomentIsTaken(t *testing.T) {
	t.Parallel()
	b := setup(t)
	made := false
	b.wire.instead = func(r *http.Request) *http.Response {
		if r.Method == http.MethodPost && !made {
			made = true
			_ = b.server.CreateFlag("another")
		}
		return nil
	}
	require.NoError(t, b.provider.Create(t.Context(), "another", flags.NewFlag{}))
}
