package launchdarkly_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/flagstest"
	"github.com/contraflow/contraflow/internal/devstack/flagserver"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	for _, way := range both() {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			flagstest.Run(t, func(t *testing.T) flagstest.Fixture { return fixture(t, setup(t), way.taken) })
		})
	}
	for _, versions := range []int{100, -100} { // nothing promises that both count alike
		t.Run(fmt.Sprint("SDKs' versions ", versions), func(t *testing.T) {
			t.Parallel()
			flagstest.Run(t, func(t *testing.T) flagstest.Fixture { return fixture(t, counting(t, versions), flagserver.Tested) })
		})
	}
}

func fixture(t *testing.T, b bundle, taken flagserver.JSONPatches) flagstest.Fixture {
	t.Helper()
	b.server.TakeJSONPatches(taken)
	b.furnish(t, "furnished")
	b.rest(t, http.MethodPost, "/api/v2/flags/shop",
		`{"key": "text", "name": "Text", "variations": [{"value": "a"}, {"value": "b"}]}`)
	b.stage(t, "staged", "user")
	require.NoError(t, b.server.PutSegment("beta", map[string][]string{"user": {"anna", "bert"}}))
	return flagstest.Fixture{
		Provider: b.provider, Plain: plain, Furnished: "furnished", Text: "text", Migration: "staged",
		Segment: "beta", Members: []string{"anna", "bert"},
		Application: func(t *testing.T) flagstest.Reader { return flagstest.LaunchDarkly(b.application(t)) },
		Target: func(t *testing.T, key, user string) {
			yes, _ := b.ids(t, key)
			b.instruct(t, key, `{"kind": "addTargets", "values": ["`+user+`"], "variationId": "`+yes+`"}`)
		},
		Rule: func(t *testing.T, key, user string) {
			_, no := b.ids(t, key)
			before := ""
			if rules := b.environment(t, key).Rules; len(rules) > 0 {
				before = rules[0].ID
			}
			b.instruct(t, key, `{"kind": "addRule", "variationId": "`+no+`", "beforeRuleId": "`+before+`", "clauses":
					[{"attribute": "key", "op": "in", "values": ["`+user+`"]}]}`)
		},
		Depend: func(t *testing.T, key, on string) {
			yes, _ := b.ids(t, on)
			b.instruct(t, key, `{"kind": "replacePrerequisites", "prerequisites": [{"key": "`+on+`", "variationId": "`+yes+`"}]}`)
		},
	}.LikeLaunchDarkly()
}

func TestOneSemanticPatchPerChangeAsDocumented(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.server.TakeJSONPatches(flagserver.Refused)
	yes, no := b.ids(t, plain)
	_, err := b.provider.Apply(t.Context(), plain, flags.Change{Percent: 25}, "split-address, step write-new", nil)
	require.NoError(t, err)
	patches := b.wire.patches()
	require.Len(t, patches, 1)
	require.Equal(t, "/api/v2/flags/shop/plain", patches[0].target)
	require.Equal(t, token, patches[0].header.Get("Authorization"))
	require.Equal(t, "20240415", patches[0].header.Get("LD-API-Version"))
	require.Equal(t, "application/json; domain-model=launchdarkly.semanticpatch", patches[0].header.Get("Content-Type"))
	require.JSONEq(t, strings.NewReplacer("YES", yes, "NO", no).Replace(`{
		"comment": "split-address, step write-new", "environmentKey": "production", "instructions": [
			{"kind": "updateFallthroughVariationOrRollout", "rolloutContextKind": "user",
			 "rolloutWeights": {"YES": 25000, "NO": 75000}},
			{"kind": "turnFlagOn"}]}`), patches[0].body)
	require.Equal(t, "/api/v2/flags/shop/plain?env=production&expand=migrationSettings", b.wire.seen[0].target)

	require.NoError(t, b.provider.Archive(t.Context(), plain, "retire"))
	require.JSONEq(t, `{"comment": "retire", "instructions": [{"kind": "archiveFlag"}]}`, b.wire.patches()[1].body,
		"archiving is not of one environment")
}

func TestOffServesFalseWhateverTheOffVariationWas(t *testing.T) {
	t.Parallel()
	b := setup(t)
	yes, _ := b.ids(t, plain)
	b.instruct(t, plain, `{"kind": "turnFlagOn"}, {"kind": "updateOffVariation", "variationId": "`+yes+`"}`)
	before, err := b.provider.Get(t.Context(), plain)
	require.NoError(t, err)
	ours, err := b.provider.Apply(t.Context(), plain, flags.Change{Percent: 0}, "", nil)
	require.NoError(t, err)
	require.Equal(t, 1, *b.environment(t, plain).OffVariation)
	after, err := b.provider.Restore(t.Context(), plain, before, ours, "", nil)
	require.NoError(t, err)
	require.True(t, after.Equal(before))
	require.Equal(t, 0, *b.environment(t, plain).OffVariation)
}

func TestRestoreRebuildsEveryPartOfTheTargeting(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const key = "furnished"
	b.furnish(t, key)
	require.NoError(t, b.server.CreateFlag("parent"))
	parent, _ := b.ids(t, "parent")
	b.instruct(t, key, `{"kind": "replacePrerequisites", "prerequisites": [{"key": "parent", "variationId": "`+parent+`"}]}`)
	before, err := b.provider.Get(t.Context(), key)
	require.NoError(t, err)
	require.Equal(t, "on: 25 % true, 2 targets, 1 rule, 1 prerequisite", before.Summary)

	yes, _ := b.ids(t, key)
	b.instruct(t, key, `{"kind": "turnFlagOff"}, {"kind": "replaceTargets", "targets": []},
		{"kind": "replaceRules", "rules": []}, {"kind": "replacePrerequisites", "prerequisites": []},
		{"kind": "updateOffVariation", "variationId": "`+yes+`"},
		{"kind": "updateFallthroughVariationOrRollout", "variationId": "`+yes+`"}`)
	ours, err := b.provider.Get(t.Context(), key)
	require.NoError(t, err)
	require.False(t, ours.Equal(before))

	after, err := b.provider.Restore(t.Context(), key, before, ours, "undo", nil)
	require.NoError(t, err)
	require.JSONEq(t, string(before.Config), string(after.Config))
	require.Len(t, b.wire.patches(), 1)
}

func TestRulesKeepTheirIDsWhereNothingChangedThem(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const key = "furnished"
	b.furnish(t, key)
	id := b.environment(t, key).Rules[0].ID
	before, err := b.provider.Get(t.Context(), key)
	require.NoError(t, err)
	ours, err := b.provider.Apply(t.Context(), key, flags.Change{Percent: 100}, "", nil)
	require.NoError(t, err)
	_, err = b.provider.Restore(t.Context(), key, before, ours, "", nil)
	require.NoError(t, err)
	require.Equal(t, id, b.environment(t, key).Rules[0].ID)
}

func TestStatusFollowsWhatApplicationsAskFor(t *testing.T) {
	t.Parallel()
	b := setup(t)
	status, err := b.provider.Status(t.Context(), plain)
	require.NoError(t, err)
	require.Equal(t, flags.Status{Activity: flags.New}, status)

	_, err = b.provider.Apply(t.Context(), plain, flags.Change{Percent: 50}, "", nil)
	require.NoError(t, err)
	status, err = b.provider.Status(t.Context(), plain)
	require.NoError(t, err)
	require.Equal(t, flags.New, status.Activity, "reading back must not look like an application")
}
