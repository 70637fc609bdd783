package harness_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/devstack/harnessserver"
)

func change(t *testing.T, b bundle, key string, c flags.Change) flags.State {
	t.Helper()
	state, err := b.provider.Apply(t.Context(), key, c, "", nil)
	require.NoError(t, err)
	return state
}

// groups serves true to target groups, and a percentage of everybody.
func groups(percent int, segments ...string) flags.Change {
	return flags.Change{Percent: percent, Segments: segments}
}

// lastPatch without the ids that nobody can know.
func lastPatch(t *testing.T, b bundle) string {
	t.Helper()
	changes := b.wire.changes()
	require.NotEmpty(t, changes)
	body := changes[len(changes)-1].body
	for _, r := range b.environment(t, plain).Rules {
		body = strings.ReplaceAll(body, r.RuleID, r.Clauses[0].Values[0])
	}
	return body
}

func TestInstructionsOfAllChangesAreAsTheConsoleSendsThem(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.server.CreateSegment("beta", nil, nil)
	b.server.CreateSegment("alpha", nil, nil)
	b.instruct(t, plain, `{"kind": "addTargetsToVariationTargetMap", "parameters": {"variation": "false", "targets": ["anna"]}},
		{"kind": "addRule", "parameters": {"uuid": "theirs", "priority": 100, "serve": {"variation": "false"}, "clauses":
			[{"attribute": "country", "op": "in", "values": ["theirs"]}]}}`)
	change(t, b, plain, flags.Change{Targets: map[string][]string{"user": {"anna", "bert", "anna"}}, Segments: []string{"beta", "alpha", "beta"}})
	require.JSONEq(t, `{"instructions": [
		{"kind": "removeTargetsToVariationTargetMap", "parameters": {"variation": "false", "targets": ["anna"]}},
		{"kind": "addTargetsToVariationTargetMap", "parameters": {"variation": "true", "targets": ["anna", "bert"]}},
		{"kind": "addRule", "parameters": {"uuid": "alpha", "priority": 101, "serve": {"variation": "true"},
			"clauses": [{"op": "segmentMatch", "values": ["alpha"]}]}},
		{"kind": "addRule", "parameters": {"uuid": "beta", "priority": 102, "serve": {"variation": "true"},
			"clauses": [{"op": "segmentMatch", "values": ["beta"]}]}},
		{"kind": "reorderRules", "parameters": {"rules": ["alpha", "beta", "theirs"]}},
		{"kind": "updateDefaultServe", "parameters": {"variation": "false"}},
		{"kind": "setFeatureFlagState", "parameters": {"state": "on"}}]}`, lastPatch(t, b))
	change(t, b, plain, flags.Change{Exclude: &flags.Context{Kind: "user", Key: "anna"}})
	require.JSONEq(t, `{"instructions": [
		{"kind": "removeTargetsToVariationTargetMap", "parameters": {"variation": "true", "targets": ["anna"]}},
		{"kind": "addTargetsToVariationTargetMap", "parameters": {"variation": "false", "targets": ["anna"]}}]}`, lastPatch(t, b))
}

// A list of groups that grows makes new rules only, and all of them stand above whatever came in between.
func TestGroupsThatAreAddedLeaveTheOthersRulesAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, group := range []string{"a", "b", "c"} {
		b.server.CreateSegment(group, nil, nil)
	}
	change(t, b, plain, groups(10, "b"))
	first := b.environment(t, plain).Rules[0].RuleID
	state := change(t, b, plain, groups(20, "c", "b", "a"))
	require.Equal(t, "on: 20 % true, 3 rules", state.Summary)
	rules := b.environment(t, plain).Rules
	require.Equal(t, first, rules[0].RuleID, "what was alike keeps its id")
	require.Equal(t, 2, rules[0].Priority)
}

func TestWhoIsExcludedFromOneGroupIsServedAsAMemberOfAnother(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.server.CreateSegment("a", nil, []string{"anna"})
	b.server.CreateSegment("b", []string{"anna"}, nil)
	change(t, b, plain, groups(0, "a", "b"))
	app := b.application(t)
	value, ok := app.Bool(plain, "user", "anna")
	require.True(t, ok)
	require.True(t, value)
	value, ok = app.Bool(plain, "user", "bert")
	require.True(t, ok)
	require.False(t, value)
}

func TestGroupsWithoutARuleGoBeforeNamesSoNobodyIsNamedBesideThem(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.instruct(t, plain, `{"kind": "addSegmentToVariationTargetMap", "parameters": {"variation": "false", "targetSegments": ["staff"]}}`)
	change(t, b, plain, flags.Change{Exclude: &flags.Context{Kind: "user", Key: "anna"}}) // of a flag that is off
	_, err := b.provider.Preview(t.Context(), plain, flags.Change{Percent: 10, Targets: map[string][]string{"user": {"anna"}}})
	require.ErrorIs(t, err, flags.ErrInvalid)
	require.ErrorContains(t, err, `"staff" without a rule`)
	change(t, b, plain, flags.Change{Percent: 10}) // which names nobody
	_, err = b.provider.Apply(t.Context(), plain, flags.Change{Exclude: &flags.Context{Kind: "user", Key: "anna"}}, "", nil)
	require.NoError(t, err, "both are served false")
	b.instruct(t, plain, `{"kind": "addSegmentToVariationTargetMap", "parameters": {"variation": "true", "targetSegments": ["vip"]}}`)
	_, err = b.provider.Apply(t.Context(), plain, flags.Change{Exclude: &flags.Context{Kind: "user", Key: "bert"}}, "", nil)
	require.ErrorIs(t, err, flags.ErrInvalid)
	require.ErrorContains(t, err, `"vip"`)
	require.NotContains(t, err.Error(), "bert")
}

func TestGroupsWithoutARuleGoBeforeThoseWithOne(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.server.CreateSegment("beta", []string{"bob"}, nil)
	b.instruct(t, plain, `{"kind": "addSegmentToVariationTargetMap", "parameters": {"variation": "false", "targetSegments": ["beta"]}}`)
	for _, percent := range []int{0, 50, 100} {
		_, err := b.provider.Preview(t.Context(), plain, groups(percent, "beta"))
		require.ErrorIs(t, err, flags.ErrInvalid)
		require.ErrorContains(t, err, `"beta" without a rule`)
	}
	require.Equal(t, "off", change(t, b, plain, flags.Change{Targets: map[string][]string{"user": {}}}).Summary, "which names nobody")
}

func TestWhoeverIsServedTrueAnywayIsNotSaidToBeExcluded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.server.CreateFlag("needed")
	b.instruct(t, plain, `{"kind": "setFeatureFlagState", "parameters": {"state": "on"}}, {"kind": "updateOffVariation", "parameters": {"variation": "true"}},
		{"kind": "addPrerequisite", "parameters": {"feature": "needed", "variations": ["true"]}}`)
	_, err := b.provider.Preview(t.Context(), plain, flags.Change{Exclude: &flags.Context{Kind: "user", Key: "bob"}})
	require.ErrorIs(t, err, flags.ErrInvalid)
	require.ErrorContains(t, err, "prerequisite needed")
	require.NotContains(t, err.Error(), "bob")
}

func TestARolloutOfThreePartsIsNotGoneOnWith(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.instruct(t, plain, `{"kind": "setFeatureFlagState", "parameters": {"state": "on"}},
		{"kind": "updateDefaultServe", "parameters": {"bucketBy": "identifier", "variations":
			[{"variation": "true", "weight": 10}, {"variation": "false", "weight": 50}, {"variation": "true", "weight": 40}]}}`)
	_, err := b.provider.Apply(t.Context(), plain, flags.Change{Percent: 60}, "", nil)
	require.ErrorIs(t, err, flags.ErrInvalid)
	require.ErrorContains(t, err, "rolled out to 50 %")
	require.Equal(t, "on: 100 % true", apply(t, b.provider, 100).Summary)
}

func TestAVariationInTwoMappingsIsOne(t *testing.T) {
	t.Parallel()
	b := setup(t)
	feature, _ := b.server.Snapshot(plain)
	feature.EnvProperties.State = "on"
	feature.EnvProperties.VariationMap = []harnessserver.VariationMap{
		{Variation: "true", Targets: []harnessserver.Target{{Identifier: "b"}}, TargetSegments: []string{"s"}},
		{Variation: "true", Targets: []harnessserver.Target{{Identifier: "a"}}},
	}
	twice, err := answering(t, b, feature).Get(t.Context(), plain)
	require.NoError(t, err)
	feature.EnvProperties.VariationMap = []harnessserver.VariationMap{
		{Variation: "true", Targets: []harnessserver.Target{{Identifier: "a"}, {Identifier: "b"}}, TargetSegments: []string{"s"}},
	}
	once, err := answering(t, b, feature).Get(t.Context(), plain)
	require.NoError(t, err)
	require.True(t, twice.Equal(once))
	require.Equal(t, "on: 100 % true, 2 targets, 1 target group", twice.Summary)
}

// Values alone don't make a flag boolean: SDKs of some languages look at its kind.
func TestAFlagIsOfItsKind(t *testing.T) {
	t.Parallel()
	b := setup(t)
	feature, _ := b.server.Snapshot(plain)
	feature.Kind = "string"
	_, err := answering(t, b, feature).Get(t.Context(), plain)
	require.ErrorIs(t, err, flags.ErrNotBoolean)
	require.ErrorContains(t, err, "is a string flag with 2 variations")
	require.NoError(t, b.provider.Create(t.Context(), "move", flags.NewFlag{Migration: true}))
	feature, _ = b.server.Snapshot("move")
	feature.Kind = "json"
	_, err = answering(t, b, feature).Get(t.Context(), "move")
	require.ErrorIs(t, err, flags.ErrNotBoolean)
}

// Priorities are Harness's own business, the order is not.
func TestRulesAreTheSameInTheSameOrder(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.instruct(t, plain, everything)
	before, err := b.provider.Get(t.Context(), plain)
	require.NoError(t, err)
	b.instruct(t, plain, `{"kind": "reorderRules", "parameters": {"rules": ["two", "one"]}}`)
	same, err := b.provider.Get(t.Context(), plain)
	require.NoError(t, err)
	require.True(t, same.Equal(before))
	b.instruct(t, plain, `{"kind": "reorderRules", "parameters": {"rules": ["one", "two"]}}`)
	theirs, err := b.provider.Get(t.Context(), plain)
	require.NoError(t, err)
	require.False(t, theirs.Equal(before))
	after, err := b.provider.Restore(t.Context(), plain, before, theirs, "", nil)
	require.NoError(t, err)
	require.True(t, after.Equal(before))
	require.JSONEq(t, `{"instructions": [{"kind": "reorderRules", "parameters": {"rules": ["two", "one"]}}]}`,
		b.wire.changes()[len(b.wire.changes())-1].body)
}

func TestStagesCanBeServedInShares(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.NoError(t, b.provider.Create(t.Context(), "move", flags.NewFlag{Migration: true}))
	b.instruct(t, "move", `{"kind": "setFeatureFlagState", "parameters": {"state": "on"}},
		{"kind": "updateDefaultServe", "parameters": {"bucketBy": "identifier", "variations":
			[{"variation": "live", "weight": 30}, {"variation": "shadow", "weight": 70}]}}`)
	before, err := b.provider.Get(t.Context(), "move")
	require.NoError(t, err)
	require.Equal(t, "on: 70 % shadow, 30 % live", before.Summary)
	require.Empty(t, before.Stage)
	require.Zero(t, before.Percent)
	ours := change(t, b, "move", flags.Change{Stage: flags.StageComplete})
	require.Equal(t, flags.StageComplete, ours.Stage)
	after, err := b.provider.Restore(t.Context(), "move", before, ours, "", nil)
	require.NoError(t, err)
	require.True(t, after.Equal(before))

	b.instruct(t, "move", `{"kind": "updateOffVariation", "parameters": {"variation": "live"}}`)
	off := change(t, b, "move", flags.Change{Stage: flags.StageOff})
	require.Equal(t, "off", off.Summary)
	require.Equal(t, "off", b.environment(t, "move").OffVariation, "turned off it would serve live")
	b.instruct(t, "move", `{"kind": "updateOffVariation", "parameters": {"variation": "live"}}`)
	theirs, err := b.provider.Get(t.Context(), "move")
	require.NoError(t, err)
	require.Equal(t, "off: stage live", theirs.Summary)
}

// SDKs that still hold a rule of other content have not been told, though the number of rules is right.
func TestARuleThatSDKsDoNotHaveYetIsNotSeen(t *testing.T) {
	t.Parallel()
	b, elsewhere := setup(t), setup(t)
	for _, one := range []bundle{b, elsewhere} {
		one.server.CreateSegment("old", nil, nil)
		one.server.CreateSegment("new", nil, nil)
	}
	change(t, elsewhere, plain, groups(0, "old"))
	b.config.SDKURL, b.config.ReadBack = elsewhere.server.SDKURL(), 200*time.Millisecond
	_, err := b.open(t, b.config).Apply(t.Context(), plain, groups(0, "new"), "", nil)
	require.ErrorContains(t, err, "show another configuration")
	require.False(t, flags.Permanent(err))
}

func TestAMissingGroupIsLookedForBeforeAnythingIsChanged(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.ErrorIs(t, b.provider.Rehearse(t.Context(), plain, groups(10, "gone")), flags.ErrInvalid)
	b.server.CreateSegment("gone", nil, nil)
	b.server.Inject(http.StatusBadGateway, 2)
	require.NoError(t, b.provider.Rehearse(t.Context(), plain, groups(10, "gone")))
	require.Empty(t, b.wire.changes())
	b.server.RunPipeline("execution-7")
	require.ErrorIs(t, b.provider.Rehearse(t.Context(), plain, groups(10, "gone")), flags.ErrApprovalRequired)
}
