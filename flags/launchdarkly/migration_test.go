package launchdarkly_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/launchdarkly/go-sdk-common/v3/ldcontext"
	"github.com/launchdarkly/go-sdk-common/v3/ldmigration"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/devstack/flagserver"
)

// stageIDs replaces the names of stages, in capitals, by the ids of their variations.
func (b bundle) stageIDs(t *testing.T, key, text string) string {
	t.Helper()
	flag, ok := b.server.Snapshot(key)
	require.True(t, ok)
	var pairs []string
	for i, stage := range flags.Stages() {
		pairs = append(pairs, strings.ToUpper(string(stage)), flag.Variations[i].ID)
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

func TestStagesAreRolloutsAsDocumented(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.server.TakeJSONPatches(flagserver.Refused)
	b.stage(t, "staged", "account")
	_, err := b.provider.Apply(t.Context(), "staged", flags.Change{Stage: flags.StageShadow}, "m, step reads", nil)
	require.NoError(t, err)
	patches := b.wire.patches()
	require.Len(t, patches, 1)
	require.JSONEq(t, b.stageIDs(t, "staged", `{"comment": "m, step reads", "environmentKey": "production", "instructions": [
		{"kind": "updateFallthroughVariationOrRollout", "rolloutContextKind": "account", "rolloutWeights":
			{"OFF": 0, "DUALWRITE": 0, "SHADOW": 100000, "LIVE": 0, "RAMPDOWN": 0, "COMPLETE": 0}},
		{"kind": "turnFlagOn"}]}`), patches[0].body)

	_, err = b.provider.Apply(t.Context(), "staged", flags.Change{Stage: flags.StageOff}, "", nil)
	require.NoError(t, err)
	require.JSONEq(t, `{"environmentKey": "production", "instructions": [{"kind": "turnFlagOff"}]}`, b.wire.patches()[1].body)
}

func TestOneContextIsExcludedFromAMigrationFlagByACohort(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.stage(t, "staged", "account")
	_, err := b.provider.Apply(t.Context(), "staged", flags.Change{Stage: flags.StageLive}, "", nil)
	require.NoError(t, err)
	for _, key := range []string{"acme", "initech"} {
		_, err = b.provider.Apply(t.Context(), "staged", flags.Change{Exclude: &flags.Context{Kind: "account", Key: key}}, "kill", nil)
		require.NoError(t, err)
	}
	require.Len(t, b.environment(t, "staged").Rules, 1)
	require.Contains(t, b.wire.patches()[1].body, b.stageIDs(t, "staged", `"OFF":100000`))
	require.NotContains(t, b.wire.patches()[1].body, `"variationId"`)
	client := b.application(t)
	for key, want := range map[string]ldmigration.Stage{"acme": ldmigration.Off, "initech": ldmigration.Off, "umbrella": ldmigration.Live} {
		stage, _, err := client.MigrationVariation("staged", ldcontext.NewWithKind("account", key), ldmigration.Complete)
		require.NoError(t, err)
		require.Equal(t, want, stage, key)
	}

	const person = "erika-mustermann"
	_, err = b.provider.Preview(t.Context(), "staged", flags.Change{Exclude: &flags.Context{Kind: "user", Key: person}})
	require.ErrorIs(t, err, flags.ErrInvalid)
	require.ErrorContains(t, err, `kind "account"`)
	require.NotContains(t, err.Error(), person)
}

func TestOnlyMigrationFlagsWithSixStagesAreMoved(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.rest(t, http.MethodPost, "/api/v2/flags/shop",
		`{"key": "short", "name": "Short", "purpose": "migration", "migrationSettings": {"stageCount": 4}}`)
	_, err := b.provider.Get(t.Context(), "short")
	require.ErrorIs(t, err, flags.ErrNotBoolean)
	require.ErrorContains(t, err, "dualwrite")
}

func TestStagesWaitForApprovals(t *testing.T) {
	t.Parallel()
	b, p := petitioner(t)
	b.stage(t, "staged", "account")
	change := flags.Change{Stage: flags.StageLive}
	require.ErrorIs(t, p.Rehearse(t.Context(), "staged", change), flags.ErrApprovalRequired)
	_, err := p.Apply(t.Context(), "staged", change, note, nil)
	require.ErrorIs(t, err, flags.ErrApprovalRequired)
	b.server.Review("staged", "erika", "approve")
	state, err := p.Apply(t.Context(), "staged", change, note, nil)
	require.NoError(t, err)
	require.Equal(t, flags.StageLive, state.Stage)
}
