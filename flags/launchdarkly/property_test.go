package launchdarkly_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/internal/targeting"
	"github.com/contraflow/contraflow/internal/devstack/flagserver"
)

// drawServe is one variation, or a rollout of both.
func drawServe(t *rapid.T, name string) targeting.Serve {
	if weight := rapid.IntRange(0, 100).Draw(t, name+" weight"); weight > 1 && weight < 99 {
		return targeting.Serve{Rollout: &targeting.Rollout{
			ContextKind: rapid.SampledFrom([]string{"user", "device"}).Draw(t, name+" kind"),
			Variations:  []targeting.Weight{{Variation: 0, Weight: weight * 1000}, {Variation: 1, Weight: 100_000 - weight*1000}},
		}}
	}
	variation := rapid.IntRange(0, 1).Draw(t, name+" variation")
	return targeting.Serve{Variation: &variation}
}

// drawTargeting is any that a boolean flag can have, in its normal form.
func drawTargeting(t *rapid.T) targeting.Targeting {
	off := rapid.IntRange(0, 1).Draw(t, "off variation")
	out := targeting.Targeting{On: rapid.Bool().Draw(t, "on"), OffVariation: &off, Fallthrough: drawServe(t, "default")}
	for _, kind := range []string{"device", "user"} {
		by := [2][]string{}
		for i := range rapid.IntRange(0, 4).Draw(t, kind+" targets") {
			v := rapid.IntRange(0, 1).Draw(t, "target of")
			by[v] = append(by[v], fmt.Sprintf("%s-%d", kind, i))
		}
		for v, values := range by {
			target := targeting.Target{ContextKind: kind, Variation: v, Values: values}
			if kind == "user" {
				out.Targets = append(out.Targets, target)
			} else {
				out.ContextTargets = append(out.ContextTargets, target)
			}
		}
	}
	for range rapid.IntRange(0, 4).Draw(t, "rules") {
		out.Rules = append(out.Rules, targeting.Rule{
			Serve: drawServe(t, "rule"), Description: rapid.SampledFrom([]string{"", "one", "two"}).Draw(t, "description"),
			TrackEvents: rapid.IntRange(0, 9).Draw(t, "tracks") == 0,
			Clauses: []targeting.Clause{{ContextKind: "user", Attribute: "country", Op: "in",
				Values: []any{rapid.SampledFrom([]string{"de", "fr"}).Draw(t, "country")}}},
		})
	}
	if rapid.Bool().Draw(t, "depends") {
		out.Prerequisites = []targeting.Prerequisite{{Key: "parent", Variation: rapid.IntRange(0, 1).Draw(t, "needs")}}
	}
	raw, err := out.Encode()
	require.NoError(t, err)
	out, err = targeting.Decode(raw)
	require.NoError(t, err)
	return out
}

// Any targeting is put back exactly over any other, also where answers are lost, and one patch is enough.
func TestAnythingIsPutBackOverAnything(t *testing.T) {
	t.Parallel()
	for _, way := range both() {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			anythingIsPutBack(t, way.taken)
		})
	}
}

func anythingIsPutBack(t *testing.T, taken flagserver.JSONPatches) {
	t.Helper()
	b := setup(t)
	b.server.TakeJSONPatches(taken)
	require.NoError(t, b.server.CreateFlag("parent"))
	lost := 0 // answers to come that are lost
	b.wire.lose = func(r *http.Request) bool {
		if r.Method != http.MethodPatch || lost == 0 {
			return false
		}
		lost--
		return true
	}
	rapid.Check(t, func(rt *rapid.T) {
		now, err := b.provider.Get(t.Context(), plain)
		require.NoError(rt, err)
		before, err := targeting.Boolean{True: 0, False: 1}.State(now.Provider, plain, 1, false, drawTargeting(rt))
		require.NoError(rt, err)
		lost = rapid.IntRange(0, 1).Draw(rt, "lost")
		rules, patches := b.environment(t, plain).Rules, len(b.wire.patches())
		after, err := b.provider.Restore(t.Context(), plain, before, now, "", nil)
		require.NoError(rt, err)
		require.JSONEq(rt, string(before.Config), string(after.Config))
		if !now.Equal(before) {
			require.Len(rt, b.wire.patches(), patches+1)
		}
		if now.Equal(before) {
			for i, rule := range b.environment(t, plain).Rules {
				require.Equal(rt, rules[i].ID, rule.ID)
			}
		}
		lost = 0
	})
}

// history is what may happen to a flag: changes of a migration, and those of strangers.
type history struct {
	key       string
	changes   []flags.Change
	strangers []string
}

// alone tells whether a change speaks of nothing but what can be made on a condition.
func (h history) alone(c flags.Change) bool {
	return len(c.Segments) == 0 && (c.Exclude == nil || h.key != "staged")
}

// Whatever changes, crashes and strangers come, the end is exactly the beginning, or the flag as the stranger left it and a
// question, whose answer may be to put exactly the beginning back.
func TestAnyHistoryEndsAtTheStartOrAsking(t *testing.T) {
	t.Parallel()
	for _, way := range ways() {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			anyHistory(t, way.taken)
		})
	}
}

func anyHistory(t *testing.T, taken flagserver.JSONPatches) {
	t.Helper()
	b := setup(t)
	b.server.TakeJSONPatches(taken)
	guarded := taken == flagserver.Tested || taken == flagserver.TestedAs400
	b.furnish(t, "furnished")
	b.stage(t, "staged", "user")
	require.NoError(t, b.server.PutSegment("beta", nil))
	yes, _ := b.ids(t, "furnished")
	named := map[string][]string{"user": {"user-1", "ann"}, "device": {"phone"}}
	histories := []history{
		{"furnished", []flags.Change{
			{}, {Percent: 10}, {Percent: 50}, {Percent: 100}, {Segments: []string{"beta"}}, {Percent: 20, Targets: named, Segments: []string{"beta"}},
			{Exclude: &flags.Context{Kind: "user", Key: "ann"}},
		}, []string{
			`{"kind": "addTargets", "values": ["mallory"], "variationId": "` + yes + `"}`,
			`{"kind": "removeTargets", "values": ["mallory"], "variationId": "` + yes + `"}`,
			`{"kind": "updateOffVariation", "variationId": "` + yes + `"}`, `{"kind": "turnFlagOn"}`,
			`{"kind": "addRule", "variationId": "` + yes + `", "clauses": [{"attribute": "key", "op": "in", "values": ["mallory"]}]}`,
		}},
		{"staged", []flags.Change{
			{Stage: flags.StageOff}, {Stage: flags.StageShadow}, {Stage: flags.StageLive}, {Stage: flags.StageComplete},
			{Exclude: &flags.Context{Kind: "user", Key: "ann"}},
		}, []string{
			`{"kind": "turnFlagOn"}`, b.stageIDs(t, "staged", `{"kind": "updateFallthroughVariationOrRollout", "rolloutWeights": {"LIVE": 40000, "OFF": 60000}}`),
		}},
	}
	rapid.Check(t, func(rt *rapid.T) {
		h := rapid.SampledFrom(histories).Draw(rt, "flag")
		before, err := b.provider.Get(t.Context(), h.key)
		require.NoError(rt, err)
		ours := []flags.State{before} // states this migration may have left, as it records them
		for range rapid.IntRange(1, 4).Draw(rt, "steps") {
			if now, err := b.provider.Get(t.Context(), h.key); err != nil || !slices.ContainsFunc(ours, now.Equal) {
				break // a stranger was there: a migration asks before it goes on
			}
			change := rapid.SampledFrom(h.changes).Draw(rt, "change")
			expected, err := b.provider.Preview(t.Context(), h.key, change)
			require.NoError(rt, err)
			ctx, kill := context.WithCancel(t.Context())
			what := rapid.SampledFrom([]string{"apply", "killed", "lost answer", "stranger", "stranger in the last moment"}).Draw(rt, "what")
			var theirs *flags.State // in the last moment
			switch what {
			case "killed":
				b.wire.onPatch = func(*http.Response) error { kill(); return context.Canceled }
			case "lost answer":
				b.wire.onPatch = func(*http.Response) error { return errors.New("connection reset") }
			case "stranger":
				b.instruct(t, h.key, rapid.SampledFrom(h.strangers).Draw(rt, "stranger"))
			case "stranger in the last moment":
				act := rapid.SampledFrom(h.strangers).Draw(rt, "stranger")
				b.wire.before(func() {
					b.instruct(t, h.key, act)
					state, err := b.provider.Get(t.Context(), h.key)
					require.NoError(t, err)
					theirs = &state
				})
			}
			if what != "stranger" {
				ours = append(ours, expected)
				after, err := b.provider.Apply(ctx, h.key, change, "", func(_ context.Context, found flags.State) error {
					if slices.ContainsFunc(ours, found.Equal) {
						return nil
					}
					return &flags.Stranger{Key: h.key}
				})
				switch {
				case theirs == nil:
					require.True(rt, what == "killed" || err == nil, "%v", err)
					require.True(rt, err != nil || after.Equal(expected))
				case guarded && h.alone(change) && !slices.ContainsFunc(ours, theirs.Equal):
					now, err := b.provider.Get(t.Context(), h.key)
					require.NoError(rt, err)
					require.Equal(rt, *theirs, now, "what a stranger did stands")
				}
			}
			b.wire.onPatch, b.wire.instead = nil, nil
			kill()
		}
		found, err := b.provider.Get(t.Context(), h.key)
		require.NoError(rt, err)
		known := slices.IndexFunc(ours, found.Equal)
		after, err := b.provider.Restore(t.Context(), h.key, before, ours[max(known, 0)], "", nil)
		if known < 0 {
			require.ErrorIs(rt, err, flags.ErrStranger)
			left, err := b.provider.Get(t.Context(), h.key)
			require.NoError(rt, err)
			require.Equal(rt, found, left, "what a stranger did stands")
			after, err = b.provider.Restore(t.Context(), h.key, before, left, "", nil) // as somebody who was asked may want
			require.NoError(rt, err)
			require.JSONEq(rt, string(before.Config), string(after.Config))
			return
		}
		require.NoError(rt, err)
		require.JSONEq(rt, string(before.Config), string(after.Config))
	})
}
