package harness_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/contraflow/contraflow/flags"
)

// strangers change a flag in ways that a migration doesn't.
var strangers = []string{
	`{"kind": "addTargetsToVariationTargetMap", "parameters": {"variation": "true", "targets": ["mallory"]}}`,
	`{"kind": "removeTargetsToVariationTargetMap", "parameters": {"variation": "true", "targets": ["mallory"]}}`,
	`{"kind": "updateDefaultServe", "parameters": {"bucketBy": "identifier", "variations": [{"variation": "true", "weight": 33}, {"variation": "false", "weight": 67}]}}`,
	`{"kind": "updateOffVariation", "parameters": {"variation": "true"}}`,
	`{"kind": "setFeatureFlagState", "parameters": {"state": "on"}}`,
	`{"kind": "removeRule", "parameters": {"ruleID": "theirs"}}, {"kind": "addRule", "parameters": {"uuid": "theirs", "priority": -1,
		"serve": {"variation": "false"}, "clauses": [{"attribute": "identifier", "op": "in", "values": ["mallory"]}]}}`,
}

var changes = []flags.Change{
	{}, {Percent: 10}, {Percent: 50}, {Percent: 100}, groups(0, "beta"), groups(20, "alpha", "beta"),
	{Targets: map[string][]string{"user": {"ann", "user-1"}}}, {Percent: 30, Targets: map[string][]string{"user": {"bob"}}, Segments: []string{"alpha"}},
	{Exclude: &flags.Context{Kind: "user", Key: "ann"}},
}

// Whatever changes, crashes and strangers come, the end is exactly the beginning, or the flag as the stranger left it and a
// question, whose answer may be to put exactly the beginning back.
func TestAnyHistoryEndsAtTheStartOrAsking(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.furnish(t, "furnished")
	b.server.CreateSegment("alpha", nil, nil)
	b.server.CreateSegment("beta", nil, nil)
	rapid.Check(t, func(r *rapid.T) {
		key := rapid.SampledFrom([]string{plain, "furnished"}).Draw(r, "key")
		before, err := b.provider.Get(t.Context(), key)
		require.NoError(r, err)
		ours := []flags.State{before} // states this migration may have left, as it records them
		for range rapid.IntRange(1, 4).Draw(r, "steps") {
			if now, err := b.provider.Get(t.Context(), key); err != nil || !slices.ContainsFunc(ours, now.Equal) {
				break // a stranger was there: a migration asks before it goes on
			}
			change := rapid.SampledFrom(changes).Draw(r, "change")
			expected, err := b.provider.Preview(t.Context(), key, change)
			if before.Summary == "off: true" && errors.Is(err, flags.ErrInvalid) {
				continue // a stranger has left it so, and it serves true to everybody
			}
			require.NoError(r, err)
			switch rapid.SampledFrom([]string{"apply", "killed", "lost answer", "stranger"}).Draw(r, "what") {
			case "apply":
				ours = append(ours, expected)
				after, err := b.provider.Apply(t.Context(), key, change, "", nil)
				require.NoError(r, err)
				require.True(r, after.Equal(expected))
			case "killed":
				ours = append(ours, expected)
				ctx, kill := context.WithCancel(t.Context())
				b.wire.hook(func(*http.Response) error { kill(); return context.Canceled })
				_, _ = b.provider.Apply(ctx, key, change, "", nil)
				kill()
			case "lost answer":
				ours = append(ours, expected)
				b.wire.hook(func(*http.Response) error { return errors.New("connection reset") })
				_, err := b.provider.Apply(t.Context(), key, change, "", nil)
				require.NoError(r, err)
			case "stranger":
				b.instruct(t, key, rapid.SampledFrom(strangers).Draw(r, "stranger"))
			}
			b.wire.hook(nil)
		}
		found, err := b.provider.Get(t.Context(), key)
		require.NoError(r, err)
		known := slices.IndexFunc(ours, found.Equal)
		recorded := ours[max(known, 0)]
		after, err := b.provider.Restore(t.Context(), key, before, recorded, "", nil)
		if known >= 0 {
			require.NoError(r, err)
			require.True(r, after.Equal(before))
			return
		}
		require.ErrorIs(r, err, flags.ErrStranger)
		left, err := b.provider.Get(t.Context(), key)
		require.NoError(r, err)
		require.Equal(r, found, left)
		if rapid.Bool().Draw(r, "force") {
			after, err := b.provider.Restore(t.Context(), key, before, found, "", nil)
			require.NoError(r, err)
			require.True(r, after.Equal(before))
		}
	})
}
