package harness_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/devstack/harnessserver"
)

// everything a flag can be given.
const everything = `
	{"kind": "setFeatureFlagState", "parameters": {"state": "on"}},
	{"kind": "updateOffVariation", "parameters": {"variation": "true"}},
	{"kind": "updateDefaultServe", "parameters": {"bucketBy": "country", "variations": [{"variation": "false", "weight": 60}, {"variation": "true", "weight": 40}]}},
	{"kind": "addTargetsToVariationTargetMap", "parameters": {"variation": "false", "targets": ["anna", "bert"]}},
	{"kind": "addTargetsToVariationTargetMap", "parameters": {"variation": "true", "targets": ["carl"]}},
	{"kind": "addSegmentToVariationTargetMap", "parameters": {"variation": "true", "targetSegments": ["testers", "staff"]}},
	{"kind": "addRule", "parameters": {"uuid": "one", "priority": 20, "serve": {"distribution": {"bucketBy": "identifier", "variations":
		[{"variation": "true", "weight": 50}, {"variation": "false", "weight": 50}]}},
		"clauses": [{"attribute": "country", "op": "in", "values": ["at", "ch"]}, {"attribute": "", "op": "segmentMatch", "values": ["staff"]}]}},
	{"kind": "addRule", "parameters": {"uuid": "two", "priority": 10, "serve": {"variation": "true"},
		"clauses": [{"attribute": "identifier", "op": "starts_with", "values": ["a"], "negate": true}]}}`

// nothing of it.
const nothing = `
	{"kind": "setFeatureFlagState", "parameters": {"state": "off"}},
	{"kind": "updateOffVariation", "parameters": {"variation": "false"}},
	{"kind": "updateDefaultServe", "parameters": {"variation": "false"}},
	{"kind": "removeTargetsToVariationTargetMap", "parameters": {"variation": "false", "targets": ["anna"]}},
	{"kind": "removeTargetsToVariationTargetMap", "parameters": {"variation": "true", "targets": ["carl"]}},
	{"kind": "addTargetsToVariationTargetMap", "parameters": {"variation": "false", "targets": ["carl"]}},
	{"kind": "removeSegmentToVariationTargetMap", "parameters": {"variation": "true", "targetSegments": ["testers"]}},
	{"kind": "removeRule", "parameters": {"ruleID": "one"}}`

func TestRestoreReachesEveryPartOfAConfiguration(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.instruct(t, plain, everything)
	before, err := b.provider.Get(t.Context(), plain)
	require.NoError(t, err)
	require.Equal(t, "on: 40 % true, 3 targets, 2 target groups, 2 rules", before.Summary)
	require.Equal(t, []string{"3 targets", "2 target groups", "2 rules"}, before.Exceptions)
	b.instruct(t, plain, nothing)
	ours, err := b.provider.Get(t.Context(), plain)
	require.NoError(t, err)
	require.Equal(t, "off", ours.Summary)

	after, err := b.provider.Restore(t.Context(), plain, before, ours, "back", nil)
	require.NoError(t, err)
	require.JSONEq(t, string(before.Config), string(after.Config))
	require.Equal(t, before.Summary, after.Summary)
	rules := b.environment(t, plain).Rules
	require.Equal(t, "two", rules[0].RuleID, "what was alike keeps its id")
	require.Len(t, rules, 2)
	require.Equal(t, []string{"back"}, b.server.Comments(plain)[2:])
}

func TestRestoreOfARolloutLeavesTargetsAndRulesAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.instruct(t, plain, everything)
	before, err := b.provider.Get(t.Context(), plain)
	require.NoError(t, err)
	ours := apply(t, b.provider, 100)
	_, err = b.provider.Restore(t.Context(), plain, before, ours, "", nil)
	require.NoError(t, err)
	for i, request := range b.wire.changes() {
		var patch struct {
			Instructions []struct{ Kind string } `json:"instructions"`
		}
		require.NoError(t, json.Unmarshal([]byte(request.body), &patch))
		require.Len(t, patch.Instructions, 1, i)
		require.Equal(t, "updateDefaultServe", patch.Instructions[0].Kind, i)
	}
}

func TestPrerequisitesAreNotGuessed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.admin(t, http.MethodPost, "", `{"identifier": "dependent", "name": "dependent", "kind": "boolean", "project": "shop",
		"defaultOnVariation": "true", "defaultOffVariation": "false", "prerequisites": [{"feature": "plain", "variations": ["true"]}],
		"variations": [{"identifier": "true", "name": "True", "value": "true"}, {"identifier": "false", "name": "False", "value": "false"}]}`)
	now, err := b.provider.Apply(t.Context(), "dependent", flags.Change{Percent: 100}, "", nil)
	require.NoError(t, err)
	require.Equal(t, "on: 100 % true, 1 prerequisite", now.Summary)
	require.Equal(t, []string{"prerequisite plain"}, now.Exceptions)
	before := now
	before.Config = json.RawMessage(`{"on": true, "offVariation": "false", "defaultServe": {"variation": "true"}}`)
	_, err = b.provider.Restore(t.Context(), "dependent", before, now, "", nil)
	require.ErrorIs(t, err, flags.ErrNotRestorable)
	require.ErrorContains(t, err, "by hand")
	require.ErrorIs(t, b.provider.Archive(t.Context(), plain, ""), flags.ErrInvalid)
}

func TestAVariationThatIsGoneCannotBeRestored(t *testing.T) {
	t.Parallel()
	b := setup(t)
	now, err := b.provider.Get(t.Context(), plain)
	require.NoError(t, err)
	before := now
	before.Config = json.RawMessage(`{"offVariation": "false", "defaultServe": {"variation": "gone"}}`)
	_, err = b.provider.Restore(t.Context(), plain, before, now, "", nil)
	require.ErrorIs(t, err, flags.ErrNotRestorable)
	require.ErrorContains(t, err, `"gone"`)
	require.Empty(t, b.wire.changes())
}

func TestRecordedStatesOfAnotherShapeAreRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	now, err := b.provider.Get(t.Context(), plain)
	require.NoError(t, err)
	broken := now
	broken.Config = json.RawMessage(`{"targets": "erika-mustermann"}`)
	for _, err := range []error{
		second(b.provider.Restore(t.Context(), plain, broken, now, "", nil)),
		second(b.provider.Restore(t.Context(), plain, flags.State{}, now, "", nil)),
	} {
		require.ErrorIs(t, err, flags.ErrInvalid)
		require.NotContains(t, err.Error(), "erika")
	}
}

func second(_ flags.State, err error) error { return err }

func TestAStrangerIsToldOfByWhatDiffers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	before, err := b.provider.Get(t.Context(), plain)
	require.NoError(t, err)
	ours := apply(t, b.provider, 50)
	b.instruct(t, plain, everything)
	_, err = b.provider.Restore(t.Context(), plain, before, ours, "", nil)
	var refusal *flags.Stranger
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, []string{
		"the default rule serves something else", "the off variation is another", "the individual targets are others", "the rules are others",
	}, refusal.Differs)
}

func TestAPipelineIsNotStarted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ours := apply(t, b.provider, 100)
	b.server.RunPipeline("execution-7")
	apply(t, b.provider, 100) // nothing to change, nothing to ask
	_, previewErr := b.provider.Preview(t.Context(), plain, flags.Change{Percent: 50})
	_, applyErr := b.provider.Apply(t.Context(), plain, flags.Change{Percent: 50}, "", nil)
	before := ours
	before.Config = json.RawMessage(`{"offVariation": "false", "defaultServe": {"variation": "true"}}`)
	_, restoreErr := b.provider.Restore(t.Context(), plain, before, ours, "", nil)
	for _, err := range []error{previewErr, applyErr, restoreErr} {
		require.ErrorIs(t, err, flags.ErrApprovalRequired)
		require.ErrorContains(t, err, "take the pipeline off the flag")
	}
	require.Len(t, b.wire.changes(), 1)
}

func TestAPipelineThatComesInBetweenIsNamed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.provider.Apply(t.Context(), plain, flags.Change{Percent: 50}, "", func(_ context.Context, _ flags.State) error {
		b.server.RunPipeline("execution-7")
		return nil
	})
	require.ErrorIs(t, err, flags.ErrApprovalRequired)
	require.ErrorContains(t, err, "execution-7")
	require.Len(t, b.wire.changes(), 1)
}

func TestStatusIsHarnesssOwn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	status, err := b.provider.Status(t.Context(), plain)
	require.NoError(t, err)
	require.Equal(t, flags.Status{Activity: flags.New}, status)
	const long, soon = 90 * 24 * time.Hour, time.Hour
	for _, c := range []struct {
		said string
		ago  time.Duration
		on   bool
		want flags.Activity
	}{
		{"active", soon, false, flags.Active},
		{"active", soon, true, flags.Launched},
		{"recently-accessed", soon, true, flags.Launched},
		{"inactive", long, true, flags.Inactive},
		{"potentially-stale", soon, false, flags.Active},
		{"potentially-stale", soon, true, flags.Launched},
		{"potentially-stale", long, true, flags.Inactive},
	} {
		feature, _ := b.server.Snapshot(plain)
		if c.on {
			feature.EnvProperties.State = "on"
		}
		asked := time.Now().Add(-c.ago).Truncate(time.Millisecond)
		feature.Status = &harnessserver.Status{Status: c.said, LastAccess: asked.UnixMilli()}
		status, err := answering(t, b, feature).Status(t.Context(), plain)
		require.NoError(t, err)
		require.Equal(t, c.want, status.Activity, "%+v", c)
		require.True(t, status.LastRequested.Equal(asked))
	}
}

// Harness does hear of readers: not to be told of them is not the same as to know that there are none.
func TestAStatusThatIsNotToldIsNotTakenForQuiet(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for name, status := range map[string]*harnessserver.Status{
		"none": nil, "no word": {LastAccess: 1}, "an unknown word": {Status: "archived", LastAccess: 1},
		"stale since nobody knows when": {Status: "potentially-stale", LastAccess: time.Time{}.UnixMilli()},
	} {
		feature, _ := b.server.Snapshot(plain)
		feature.Status = status
		_, err := answering(t, b, feature).Status(t.Context(), plain)
		requireDiscreet(t, err)
		require.ErrorIs(t, err, flags.ErrInvalid, name)
		require.ErrorContains(t, err, `who asks for it in environment "production"`, name)
	}
}
