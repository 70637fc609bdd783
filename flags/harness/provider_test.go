package harness_test

import (
	"fmt"
	"net/http"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/flagstest"
	"github.com/contraflow/contraflow/internal/devstack/harnessserver"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	flagstest.Run(t, func(t *testing.T) flagstest.Fixture {
		b := setupWith(t, harnessserver.Options{SDKVersions: 100}) // nothing promises that both count alike
		b.furnish(t, "furnished")
		b.server.CreateFlag("inverted")
		b.instruct(t, "inverted", `{"kind": "updateOffVariation", "parameters": {"variation": "true"}}`)
		b.server.CreateSegment("beta", []string{"beata", "benno"}, nil)
		require.NoError(t, b.provider.Create(t.Context(), "staged", flags.NewFlag{Migration: true}))
		b.admin(t, http.MethodPost, "", `{"identifier": "text", "name": "text", "kind": "string", "project": "shop",
			"defaultOnVariation": "a", "defaultOffVariation": "b",
			"variations": [{"identifier": "a", "name": "a", "value": "a"}, {"identifier": "b", "name": "b", "value": "b"}]}`)
		return flagstest.Fixture{
			Provider: b.provider, Plain: plain, Furnished: "furnished", Text: "text", Migration: "staged", Inverted: "inverted",
			Segment: "beta", Members: []string{"beata", "benno"}, OneTargetKind: true,
			Application: b.application,
			Rule: func(t *testing.T, key, user string) {
				b.instruct(t, key, fmt.Sprintf(`{"kind": "addRule", "parameters": {"uuid": "for-%s", "priority": %d, "serve": {"variation": "false"},
					"clauses": [{"attribute": "identifier", "op": "in", "values": [%q]}]}}`, user, -len(b.environment(t, key).Rules), user))
			},
			Depend: func(t *testing.T, key, on string) {
				b.instruct(t, key, `{"kind": "addPrerequisite", "parameters": {"feature": "`+on+`", "variations": ["true"]}}`)
			},
			Target: func(t *testing.T, key, user string) {
				b.instruct(t, key, `{"kind": "addTargetsToVariationTargetMap", "parameters": {"variation": "true", "targets": ["`+user+`"]}}`)
			},
		}.LikeLaunchDarkly()
	})
}

func TestRequestsAreAsDocumented(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.provider.Apply(t.Context(), plain, flags.Change{Percent: 25}, "step write-new", nil)
	require.NoError(t, err)
	apply(t, b.provider, 100)
	apply(t, b.provider, 0)
	require.NoError(t, b.provider.Archive(t.Context(), plain, "retired"))
	changes := b.wire.changes()
	for i, want := range []string{
		`{"comment": "step write-new", "instructions": [
			{"kind": "updateDefaultServe", "parameters": {"bucketBy": "identifier", "variations": [{"variation": "true", "weight": 25}, {"variation": "false", "weight": 75}]}},
			{"kind": "setFeatureFlagState", "parameters": {"state": "on"}}]}`,
		`{"instructions": [{"kind": "updateDefaultServe", "parameters": {"variation": "true"}}]}`,
		`{"instructions": [{"kind": "setFeatureFlagState", "parameters": {"state": "off"}}]}`,
	} {
		require.Equal(t, http.MethodPatch, changes[i].method)
		require.Equal(t, "/gateway/cf/admin/features/plain"+scope, changes[i].target)
		require.Equal(t, []string{apiKey}, changes[i].header["X-Api-Key"])
		require.Equal(t, "application/json", changes[i].header.Get("Content-Type"))
		require.JSONEq(t, want, changes[i].body)
	}
	require.Len(t, changes, 4)
	require.Equal(t, http.MethodDelete, changes[3].method)
	require.Contains(t, changes[3].target, "forceDelete=false")
	require.Equal(t, []string{"step write-new", "", ""}, b.server.Comments(plain))
}

func TestARecordedFeatureIsUnderstood(t *testing.T) {
	t.Parallel()
	recorded, err := os.ReadFile("../../internal/devstack/harnessserver/testdata/feature.json")
	require.NoError(t, err)
	state, err := answeringRaw(t, setup(t), recorded).Get(t.Context(), "recorded")
	require.NoError(t, err)
	require.Equal(t, "on: 25 % true, 1 target, 1 target group, 1 rule", state.Summary)
	require.Equal(t, 2, state.Version)
	require.JSONEq(t, `{"on": true, "offVariation": "false",
		"defaultServe": {"distribution": {"bucketBy": "identifier", "variations": [{"variation": "true", "weight": 25}, {"variation": "false", "weight": 75}]}},
		"targets": [{"variation": "false", "targets": ["user-1"], "segments": ["testers"]}],
		"rules": [{"serve": {"variation": "true"},
			"clauses": [{"attribute": "identifier", "op": "ends_with", "values": ["77"]}]}],
		"prerequisites": []}`, string(state.Config))
}

func TestSomethingElseThanHarnessIsNamed(t *testing.T) {
	t.Parallel()
	_, err := answeringRaw(t, setup(t), []byte("<html>login</html>")).Get(t.Context(), plain)
	requireDiscreet(t, err)
	require.ErrorContains(t, err, "check the API URL")
}

// A rollout that somebody began with false in front is gone on with so that nobody loses what he is served.
func TestARolloutKeepsItsOrderAsItGrows(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.instruct(t, plain, `{"kind": "setFeatureFlagState", "parameters": {"state": "on"}},
		{"kind": "updateDefaultServe", "parameters": {"bucketBy": "identifier", "variations": [{"variation": "false", "weight": 80}, {"variation": "true", "weight": 20}]}}`)
	served := func() (lucky map[string]bool) {
		app, lucky := b.application(t), map[string]bool{}
		for i := range 1000 {
			key := fmt.Sprintf("user-%d", i)
			value, ok := app.Bool(plain, flags.DefaultContextKind, key)
			require.True(t, ok)
			lucky[key] = value
		}
		return lucky
	}
	before := served()
	apply(t, b.provider, 40)
	after := served()
	grown := 0
	for key, was := range before {
		require.False(t, was && !after[key], "%s was served true", key)
		if !was && after[key] {
			grown++
		}
	}
	require.Positive(t, grown)
}

func TestAStandingRolloutIsNotGoneOnWithByAnotherAttribute(t *testing.T) {
	t.Parallel()
	b := setup(t)
	apply(t, b.provider, 20)
	_, err := b.provider.Apply(t.Context(), plain, flags.Change{Percent: 40, ContextKind: "country"}, "", nil)
	require.ErrorIs(t, err, flags.ErrInvalid)
	require.ErrorContains(t, err, "it distributes by the attribute identifier, not by country")
	require.Len(t, b.wire.changes(), 1)
	state, err := b.provider.Apply(t.Context(), plain, flags.Change{Percent: 100, ContextKind: "country"}, "", nil)
	require.NoError(t, err)
	require.Equal(t, "on: 100 % true", state.Summary)
}
