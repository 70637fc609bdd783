package targeting_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/internal/targeting"
)

func decode(t *testing.T, raw string) targeting.Targeting {
	t.Helper()
	out, err := targeting.Decode([]byte(raw))
	require.NoError(t, err)
	return out
}

func TestNormalFormHidesWhatMeansTheSame(t *testing.T) {
	t.Parallel()
	rest := decode(t, `{"_id": "x", "version": 4, "lastModified": 12, "on": true, "offVariation": 1,
		"fallthrough": {"rollout": {"variations": [{"variation": 0, "weight": 100000}], "bucketBy": "key", "kind": "rollout"}},
		"targets": [{"values": ["b", "a"], "variation": 1}, {"values": [], "variation": 0}],
		"contextTargets": [{"contextKind": "user", "values": [], "variation": 1}],
		"rules": [{"_id": "r", "variation": 0, "clauses": [{"_id": "c", "attribute": "key", "op": "in", "values": ["z"]}]}]}`)
	sdk := decode(t, `{"key": "k", "salt": "s", "version": 9, "on": true, "offVariation": 1, "variations": [true, false],
		"fallthrough": {"rollout": {"contextKind": "user", "variations": [{"variation": 0, "weight": 100000}]}},
		"targets": [{"contextKind": "user", "values": ["a", "b"], "variation": 1}], "contextTargets": null,
		"rules": [{"id": "other", "variation": 0, "clauses":
			[{"contextKind": "user", "attribute": "key", "op": "in", "values": ["z"], "negate": false}]}], "prerequisites": []}`)
	require.Equal(t, rest, sdk)
	require.True(t, rest.SameEffect(sdk))
	require.Empty(t, targeting.Differences(rest, sdk))
}

// The REST API knows no kind of a rollout, and the stream no allocation.
func TestWhatLaunchDarklySeesToItselfIsNoPlainRollout(t *testing.T) {
	t.Parallel()
	b := targeting.Boolean{True: 0, False: 1}
	const rest = `{"on": true, "offVariation": 1, "fallthrough": {"rollout": {"variations": [{"variation": 0, "weight": 10000, "_untracked": %s},
		{"variation": 1, "weight": 90000, "_untracked": false}], "experimentAllocation": %s%s}}}`
	for raw, plain := range map[string]bool{
		fmt.Sprintf(rest, "false", "null", ""):                              true,
		fmt.Sprintf(rest, "true", "null", ""):                               false,
		fmt.Sprintf(rest, "false", `{"type": "progressiveRollout"}`, ""):    false,
		fmt.Sprintf(rest, "false", `{"canReshuffle": true}`, `, "seed": 7`): false,
	} {
		standing := decode(t, raw)
		_, err := b.Want("k", standing, flags.Change{Percent: 50})
		if plain {
			require.NoError(t, err)
			continue
		}
		require.ErrorIs(t, err, flags.ErrNotRestorable)
		off, err := b.Want("k", standing, flags.Change{})
		require.NoError(t, err, "turning it off is put back by turning it on")
		require.False(t, off.On)
		for _, kind := range []string{"experiment", "rollout"} {
			sdk := decode(t, `{"on": true, "offVariation": 1, "fallthrough": {"rollout": {"kind": "`+kind+`", "seed": 7, "variations": [
				{"variation": 0, "weight": 10000}, {"variation": 1, "weight": 90000}]}}}`)
			require.True(t, standing.SameEffect(sdk), raw)
			sdk.Fallthrough.Rollout.Variations[0].Weight++
			require.False(t, standing.SameEffect(sdk))
		}
		stored, err := standing.Encode()
		require.NoError(t, err)
		require.Equal(t, standing, decode(t, string(stored)))
	}
}

func TestDifferencesAreNamedWithoutTargets(t *testing.T) {
	t.Parallel()
	then := decode(t, `{"on": false, "offVariation": 1, "fallthrough": {"variation": 0}}`)
	now := decode(t, `{"on": true, "offVariation": 0, "fallthrough": {"variation": 1}, "prerequisites": [{"key": "p", "variation": 0}],
		"contextTargets": [{"contextKind": "device", "variation": 0, "values": ["secret"]}], "rules": [{"variation": 0}]}`)
	require.Equal(t, []string{
		"it was turned on", "the default rule serves something else", "the off variation is another",
		"the individual targets are others", "the rules are others", "the prerequisites are others",
	}, targeting.Differences(then, now))
	require.False(t, then.SameEffect(now))
}

func TestMalformedTargetingIsRefusedWithoutItsValues(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{`{"on": "secret"}`, `{"targets": [{"values": [{"secret": 1}]}]}`, `{"secret"`} {
		_, err := targeting.Decode([]byte(raw))
		require.Error(t, err)
		require.NotContains(t, err.Error(), "secret")
	}
}

func TestValuesTellTheKindOfFlag(t *testing.T) {
	t.Parallel()
	b, err := targeting.New("k", []any{false, true})
	require.NoError(t, err)
	require.Equal(t, targeting.Boolean{True: 1, False: 0}, b)
	s, err := targeting.New("k", []any{"complete", "off", "dualwrite", "shadow", "live", "rampdown"})
	require.NoError(t, err)
	require.Equal(t, targeting.Stages{Index: [6]int{1, 2, 3, 4, 5, 0}}, s)
	for _, values := range [][]any{
		nil, {true}, {true, true}, {true, false, nil}, {"true", "false"}, {"off", "complete"},
		{"off", "off", "shadow", "live", "rampdown", "complete"}, {"off", "dualwrite", "shadow", "live", "rampdown", "complete", "more"},
	} {
		_, err := targeting.New("k", values)
		require.ErrorIs(t, err, flags.ErrNotBoolean)
		require.ErrorContains(t, err, "true and false")
		require.ErrorContains(t, err, "rampdown")
	}
}

func TestWantKeepsWeightsInTheOrderOfVariations(t *testing.T) {
	t.Parallel()
	b := targeting.Boolean{True: 1, False: 0}
	current := decode(t, `{"on": false, "offVariation": 0, "fallthrough": {"variation": 1}}`)
	want, err := b.Want("k", current, flags.Change{Percent: 1})
	require.NoError(t, err)
	require.Equal(t, []targeting.Weight{{Variation: 0, Weight: 99_000}, {Variation: 1, Weight: 1_000}}, want.Fallthrough.Rollout.Variations)
	require.False(t, current.On, "the current targeting is not touched")
	state, err := b.State("p", "k", 2, false, want)
	require.NoError(t, err)
	require.Equal(t, "on: 1 % true", state.Summary)
}

func TestWantRefusesWhatCouldNotBePutBack(t *testing.T) {
	t.Parallel()
	b := targeting.Boolean{True: 0, False: 1}
	experiment := decode(t, `{"on": true, "offVariation": 1, "fallthrough": {"rollout": {"kind": "experiment", "seed": 5,
		"variations": [{"variation": 0, "weight": 100000}]}}}`)
	_, err := b.Want("k", experiment, flags.Change{Percent: 10})
	require.ErrorIs(t, err, flags.ErrNotRestorable)
	require.ErrorContains(t, err, "experiment")
	without := decode(t, `{"on": true, "fallthrough": {"variation": 0}}`)
	_, err = b.Want("k", without, flags.Change{Percent: 0})
	require.ErrorIs(t, err, flags.ErrNotRestorable)
	require.ErrorContains(t, err, "off variation")
}

func TestExceptionsAreWhatTheDefaultRuleDoesNotDecide(t *testing.T) {
	t.Parallel()
	b := targeting.Boolean{True: 0, False: 1}
	const at100, at0 = `"on": true, "offVariation": 1, "fallthrough": {"variation": 0}`, `"on": true, "offVariation": 1, "fallthrough": {"variation": 1}`
	const at50 = `"on": true, "offVariation": 1, "fallthrough": {"rollout": {"variations": [{"variation": 0, "weight": 50000}, {"variation": 1, "weight": 50000}]}}`
	for raw, want := range map[string][]string{
		`{` + at100 + `}`: nil,
		`{` + at100 + `, "targets": [{"variation": 0, "values": ["a"]}], "rules": [{"variation": 0}]}`:                                                   nil,
		`{` + at100 + `, "targets": [{"variation": 1, "values": ["a", "b"]}], "contextTargets": [{"variation": 1, "values": ["c"]}]}`:                    {"3 targets"},
		`{` + at100 + `, "rules": [{"variation": 1}, {}, {"rollout": {"variations": [{"variation": 0, "weight": 99999}, {"variation": 1}]}}]}`:           {"3 rules"},
		`{` + at100 + `, "rules": [{"rollout": {"variations": [{"variation": 1, "weight": 0}, {"variation": 0, "weight": 100000}]}}]}`:                   nil,
		`{` + at100 + `, "prerequisites": [{"key": "b", "variation": 0}, {"key": "a", "variation": 0}]}`:                                                 {"prerequisite a", "prerequisite b"},
		`{"on": true, "offVariation": 0, "fallthrough": {"variation": 0}, "prerequisites": [{"key": "a"}]}`:                                              nil,
		`{"on": true, "fallthrough": {"variation": 0}, "prerequisites": [{"key": "a"}]}`:                                                                 {"prerequisite a"},
		`{"on": true, "offVariation": 1, "fallthrough": {"rollout": {"variations": [{"variation": 0, "weight": 100000}]}}, "rules": [{"variation": 1}]}`: {"1 rule"},
		`{` + at0 + `, "targets": [{"variation": 0, "values": ["a"]}], "rules": [{"variation": 1}], "prerequisites": [{"key": "a"}]}`:                    {"1 target"},
		`{` + at50 + `}`: nil,
		`{` + at50 + `, "targets": [{"variation": 0, "values": ["a"]}], "rules": [{"variation": 1}], "prerequisites": [{"key": "a"}]}`:    {"1 target", "1 rule", "prerequisite a"},
		`{"on": false, "offVariation": 1, "fallthrough": {"variation": 0}, "rules": [{"variation": 1}], "prerequisites": [{"key": "a"}]}`: nil,
	} {
		state, err := b.State("p", "k", 1, false, decode(t, raw))
		require.NoError(t, err)
		require.Equal(t, want, state.Exceptions, raw)
	}
}

func TestWantGoesOnWithAStandingRolloutOnlyByTheSameBuckets(t *testing.T) {
	t.Parallel()
	b := targeting.Boolean{True: 0, False: 1}
	const weights = `"variations": [{"variation": 0, "weight": 30000}, {"variation": 1, "weight": 70000}]`
	const reversed = `"variations": [{"variation": 1, "weight": 70000}, {"variation": 0, "weight": 30000}]`
	for _, c := range []struct{ rollout, kind, says string }{
		{weights, "", ""},
		{weights, "user", ""},
		{`"contextKind": "account", ` + weights, "account", ""},
		{weights, "account", "by user, not by account"},
		{`"contextKind": "account", ` + weights, "", "by account, not by user"},
		{`"bucketBy": "email", ` + weights, "", "by the attribute email"},
		{reversed, "", "in another order"},
	} {
		on := decode(t, `{"on": true, "offVariation": 1, "fallthrough": {"rollout": {`+c.rollout+`}}}`)
		_, err := b.Want("k", on, flags.Change{Percent: 50, ContextKind: c.kind})
		if c.says == "" {
			require.NoError(t, err, c.rollout)
		} else {
			require.ErrorIs(t, err, flags.ErrInvalid)
			require.ErrorContains(t, err, c.says)
			require.ErrorContains(t, err, "30 %")
		}
		for _, all := range []int{0, 100} { // nobody, or everybody, is served true: there are no buckets
			_, err = b.Want("k", on, flags.Change{Percent: all, ContextKind: c.kind})
			require.NoError(t, err)
		}
		off := on
		off.On = false // nobody is served true
		_, err = b.Want("k", off, flags.Change{Percent: 50, ContextKind: c.kind})
		require.NoError(t, err)
	}
	whole := decode(t, `{"on": true, "offVariation": 1, "fallthrough": {"rollout": {"bucketBy": "email", "variations": [{"variation": 1, "weight": 100000}]}}}`)
	_, err := b.Want("k", whole, flags.Change{Percent: 50})
	require.NoError(t, err, "0 % by whatever")
}
