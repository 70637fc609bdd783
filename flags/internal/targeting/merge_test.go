package targeting_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/internal/targeting"
)

// merged wants a change twice, and checks that the second time changes nothing and that what stood is left alone.
func merged(t *testing.T, v targeting.Variations, raw string, c flags.Change) (targeting.Targeting, flags.State) {
	t.Helper()
	current := decode(t, raw)
	want, err := v.Want("k", current, c)
	require.NoError(t, err)
	require.Equal(t, decode(t, raw), current, "the current targeting is not touched")
	again, err := v.Want("k", want, c)
	require.NoError(t, err)
	require.Equal(t, want, again, "once is enough")
	encoded, err := want.Encode()
	require.NoError(t, err)
	require.Equal(t, want, decode(t, string(encoded)), "it is a normal form")
	state, err := v.State("p", "k", 1, false, want)
	require.NoError(t, err)
	return want, state
}

const furnished = `{"on": true, "offVariation": 1, "fallthrough": {"variation": 1},
	"targets": [{"variation": 1, "values": ["anna", "bert"]}, {"variation": 0, "values": ["cleo"]}],
	"contextTargets": [{"contextKind": "device", "variation": 1, "values": ["anna", "phone"]}],
	"rules": [{"variation": 1, "description": "theirs", "clauses": [{"attribute": "country", "op": "in", "values": ["de"]}]}]}`

func TestTargetsAreMovedWithinTheirKind(t *testing.T) {
	t.Parallel()
	b := targeting.Boolean{True: 0, False: 1}
	want, state := merged(t, b, furnished, flags.Change{Targets: map[string][]string{"user": {"zoe", "anna", "zoe"}, "org": {"acme"}}})
	require.Equal(t, []targeting.Target{
		{ContextKind: "user", Variation: 0, Values: []string{"anna", "cleo", "zoe"}}, {ContextKind: "user", Variation: 1, Values: []string{"bert"}},
	}, want.Targets)
	require.Equal(t, []targeting.Target{
		{ContextKind: "device", Variation: 1, Values: []string{"anna", "phone"}}, {ContextKind: "org", Variation: 0, Values: []string{"acme"}},
	}, want.ContextTargets, "a key is of one kind")
	require.True(t, want.On)
	require.Len(t, want.Rules, 1)
	require.Equal(t, "on: 0 % true, 7 targets, 1 rule", state.Summary)
	require.Equal(t, []string{"4 targets"}, state.Exceptions)
}

func TestNamedContextsAloneTurnTheFlagOnAndServeTheOthersFalse(t *testing.T) {
	t.Parallel()
	b := targeting.Boolean{True: 0, False: 1}
	const off = `{"on": false, "offVariation": 1, "fallthrough": {"variation": 0}}`
	want, _ := merged(t, b, off, flags.Change{Segments: []string{"beta"}})
	require.True(t, want.On)
	require.Equal(t, 1, *want.Fallthrough.Variation)
	want, _ = merged(t, b, off, flags.Change{Targets: map[string][]string{"user": {}}})
	require.False(t, want.On, "nobody is named")
	want, state := merged(t, b, off, flags.Change{Percent: 50, Segments: []string{"beta"}, Targets: map[string][]string{"user": {"anna"}}})
	require.Equal(t, "on: 50 % true, 1 target, 1 rule", state.Summary)
	require.Len(t, want.Fallthrough.Rollout.Variations, 2)
}

func TestSegmentsAreOneRuleOnTop(t *testing.T) {
	t.Parallel()
	b := targeting.Boolean{True: 0, False: 1}
	one, _ := merged(t, b, furnished, flags.Change{Segments: []string{"staff", "beta"}})
	require.Len(t, one.Rules, 2)
	require.Equal(t, []targeting.Clause{{ContextKind: "user", Attribute: "segmentMatch", Op: "segmentMatch", Values: []any{"beta", "staff"}}}, one.Rules[0].Clauses)
	require.Equal(t, 0, *one.Rules[0].Variation)
	require.Equal(t, "theirs", one.Rules[1].Description)

	below := one
	below.Rules = []targeting.Rule{one.Rules[1], one.Rules[0]} // somebody moved theirs up
	raw, err := below.Encode()
	require.NoError(t, err)
	back, _ := merged(t, b, string(raw), flags.Change{Segments: []string{"beta", "staff"}})
	require.Equal(t, one.Rules, back.Rules)

	grown, _ := merged(t, b, string(raw), flags.Change{Segments: []string{"beta", "staff", "more"}})
	require.Len(t, grown.Rules, 2, "a growing list replaces the rule")
	require.Equal(t, []any{"beta", "more", "staff"}, grown.Rules[0].Clauses[0].Values)

	other, _ := merged(t, b, string(raw), flags.Change{Segments: []string{"more"}})
	require.Len(t, other.Rules, 3, "who is served true already stays so")

	const theirs = `{"on": true, "offVariation": 1, "fallthrough": {"variation": 1}, "rules": [
		{"variation": 0, "clauses": [{"attribute": "", "contextKind": "", "op": "segmentMatch", "values": ["beta"]}]},
		{"variation": 1, "clauses": [{"attribute": "segmentMatch", "op": "segmentMatch", "values": ["beta"]}]}]}`
	same, _ := merged(t, b, theirs, flags.Change{Segments: []string{"beta"}})
	require.Len(t, same.Rules, 2, "that is on top already, whoever made it")
	kept, _ := merged(t, b, theirs, flags.Change{Segments: []string{"beta", "more"}})
	require.Len(t, kept.Rules, 3, "a rule that somebody else made is never replaced")
}

func TestOneContextIsExcludedByName(t *testing.T) {
	t.Parallel()
	b := targeting.Boolean{True: 0, False: 1}
	want, state := merged(t, b, furnished, flags.Change{Exclude: &flags.Context{Kind: "user", Key: "cleo"}})
	require.Equal(t, []targeting.Target{{ContextKind: "user", Variation: 1, Values: []string{"anna", "bert", "cleo"}}}, want.Targets)
	require.Equal(t, "on: 0 % true, 5 targets, 1 rule", state.Summary)
	const off = `{"on": false, "offVariation": 1, "fallthrough": {"variation": 0}}`
	want, _ = merged(t, b, off, flags.Change{Exclude: &flags.Context{Kind: "user", Key: "cleo"}})
	require.Equal(t, []targeting.Target{{ContextKind: "user", Variation: 1, Values: []string{"cleo"}}}, want.Targets, "for when the flag goes on")
}

func TestStagesAreServedByARollout(t *testing.T) {
	t.Parallel()
	s := targeting.Stages{Index: [6]int{0, 1, 2, 3, 4, 5}, ContextKind: "account"}
	const off = `{"on": false, "offVariation": 0, "fallthrough": {"rollout": {"contextKind": "org", "variations":
		[{"variation": 0, "weight": 100000}, {"variation": 3, "weight": 0}]}}}`
	want, state := merged(t, s, off, flags.Change{Stage: flags.StageShadow})
	require.Equal(t, &targeting.Rollout{ContextKind: "org", Variations: []targeting.Weight{{Variation: 2, Weight: 100_000}}}, want.Fallthrough.Rollout)
	require.Equal(t, "on: stage shadow", state.Summary)
	require.Equal(t, flags.StageShadow, state.Stage)
	require.Zero(t, state.Percent)

	want, state = merged(t, s, `{"on": true, "offVariation": 0, "fallthrough": {"variation": 1}, "rules": [{"variation": 0}, {"variation": 5}]}`,
		flags.Change{Stage: flags.StageComplete})
	require.Equal(t, "account", want.Fallthrough.Rollout.ContextKind)
	require.Equal(t, "on: stage complete, 2 rules", state.Summary)
	require.Equal(t, []string{"1 rule"}, state.Exceptions)

	for raw, summary := range map[string]string{
		`{"on": true, "offVariation": 0, "fallthrough": {"variation": 5}, "rules": [{"variation": 5}]}`:  "off",
		`{"on": true, "offVariation": 5, "fallthrough": {"variation": 5}}`:                               "off",
		`{"on": false, "offVariation": 5, "fallthrough": {"variation": 5}, "rules": [{"variation": 5}]}`: "off",
	} {
		_, state = merged(t, s, raw, flags.Change{Stage: flags.StageOff})
		require.Equal(t, summary, state.Summary)
		require.Equal(t, flags.StageOff, state.Stage)
	}
	split, err := s.State("p", "k", 1, false, decode(t, `{"on": true, "offVariation": 0, "fallthrough": {"rollout": {"variations":
		[{"variation": 3, "weight": 75000}, {"variation": 2, "weight": 25000}]}}, "prerequisites": [{"key": "a"}]}`))
	require.NoError(t, err)
	require.Equal(t, "on: 25 % shadow, 75 % live, 1 prerequisite", split.Summary)
	require.Empty(t, split.Stage)
	elsewhere, err := s.State("p", "k", 1, false, decode(t, `{"on": false, "offVariation": 5, "fallthrough": {"variation": 0}}`))
	require.NoError(t, err)
	require.Equal(t, "off: stage complete", elsewhere.Summary)
}

func TestAContextIsExcludedFromStagesByARule(t *testing.T) {
	t.Parallel()
	s := targeting.Stages{Index: [6]int{5, 4, 3, 2, 1, 0}}
	const live = `{"on": true, "offVariation": 5, "fallthrough": {"variation": 2},
		"rules": [{"variation": 0, "description": "theirs", "clauses": [{"attribute": "key", "op": "in", "values": ["anna"]}]}]}`
	exclude := func(raw, kind, key string) (string, flags.State) {
		want, state := merged(t, s, raw, flags.Change{Exclude: &flags.Context{Kind: kind, Key: key}})
		out, err := want.Encode()
		require.NoError(t, err)
		return string(out), state
	}
	raw, state := exclude(live, "user", "zoe")
	require.Equal(t, "on: stage live, 2 rules", state.Summary)
	raw, _ = exclude(raw, "user", "anna")
	raw, _ = exclude(raw, "org", "acme")
	raw, state = exclude(raw, "user", "bert")
	require.Equal(t, "on: stage live, 3 rules", state.Summary, "one rule for each kind")
	rules := decode(t, raw).Rules
	require.Equal(t, []any{"acme"}, rules[0].Clauses[0].Values)
	require.Equal(t, []any{"anna", "bert", "zoe"}, rules[1].Clauses[0].Values)
	require.Equal(t, "theirs", rules[2].Description)
	for _, r := range rules[:2] {
		require.Equal(t, []targeting.Weight{{Variation: 5, Weight: 100_000}}, r.Rollout.Variations)
	}
	require.NotContains(t, state.Summary, "zoe")

	moved := decode(t, raw)
	moved.Rules = []targeting.Rule{rules[2], rules[1]}
	below, err := moved.Encode()
	require.NoError(t, err)
	raw, _ = exclude(string(below), "user", "anna")
	require.Equal(t, []targeting.Rule{rules[1], rules[2]}, decode(t, raw).Rules)

	const off = `{"on": false, "offVariation": 5, "fallthrough": {"variation": 2}}`
	raw, _ = exclude(off, "user", "anna")
	require.Equal(t, []any{"anna"}, decode(t, raw).Rules[0].Clauses[0].Values, "for when the flag goes on")
}

func TestAChangeIsOfTheFlagsOwnKind(t *testing.T) {
	t.Parallel()
	b, s := targeting.Boolean{True: 0, False: 1}, targeting.Stages{Index: [6]int{0, 1, 2, 3, 4, 5}}
	on := decode(t, `{"on": true, "offVariation": 0, "fallthrough": {"variation": 0}}`)
	_, err := b.Want("k", on, flags.Change{Stage: flags.StageLive})
	require.ErrorIs(t, err, flags.ErrInvalid)
	require.ErrorContains(t, err, "percentages")
	for _, c := range []flags.Change{{}, {Percent: 50}, {Segments: []string{"a"}}, {Targets: map[string][]string{"user": {"a"}}}} {
		_, err = s.Want("k", on, c)
		require.ErrorIs(t, err, flags.ErrNotBoolean)
		require.ErrorContains(t, err, "shadow")
	}
	_, err = s.Want("k", on, flags.Change{Stage: "half"})
	require.ErrorIs(t, err, flags.ErrInvalid)
	experiment := decode(t, `{"on": true, "offVariation": 0, "fallthrough": {"rollout": {"kind": "experiment", "variations": [{"variation": 0, "weight": 100000}]}}}`)
	_, err = s.Want("k", experiment, flags.Change{Stage: flags.StageLive})
	require.ErrorIs(t, err, flags.ErrNotRestorable)
}

func TestAStrangersStateIsShownBesideOurs(t *testing.T) {
	t.Parallel()
	s := targeting.Stages{Index: [6]int{0, 1, 2, 3, 4, 5}}
	state := func(raw string, archived bool) flags.State {
		out, err := s.State("p", "k", 1, archived, decode(t, raw))
		require.NoError(t, err)
		return out
	}
	before := state(`{"on": false, "offVariation": 0, "fallthrough": {"variation": 0}}`, false)
	ours := state(`{"on": true, "offVariation": 0, "fallthrough": {"variation": 2}}`, false)
	theirs := state(`{"on": true, "offVariation": 0, "fallthrough": {"variation": 3}}`, false)
	for _, c := range []struct {
		current, ours flags.State
		want          flags.Stranger
	}{
		{theirs, ours, flags.Stranger{Key: "k", Ours: "on: stage shadow", Theirs: "on: stage live",
			Differs: []string{"the default rule serves something else"}}},
		{theirs, flags.State{}, flags.Stranger{Key: "k", Theirs: "on: stage live",
			Differs: []string{"it was turned on", "the default rule serves something else"}}},
		{state(`{"on": true, "offVariation": 0, "fallthrough": {"variation": 2}}`, true), ours,
			flags.Stranger{Key: "k", Ours: "on: stage shadow", Theirs: "archived", Differs: []string{"it was archived"}}},
	} {
		_, _, err := targeting.Restoration(c.current, before, c.ours)
		var stranger *flags.Stranger
		require.ErrorAs(t, err, &stranger)
		require.Equal(t, &c.want, stranger)
	}
	want, done, err := targeting.Restoration(ours, before, ours)
	require.NoError(t, err)
	require.False(t, done)
	require.Equal(t, decode(t, string(before.Config)), want)
}

func TestAChangedRuleHasAnotherEffect(t *testing.T) {
	t.Parallel()
	b := targeting.Boolean{True: 0, False: 1}
	one, _ := merged(t, b, furnished, flags.Change{Segments: []string{"beta"}})
	two, _ := merged(t, b, furnished, flags.Change{Segments: []string{"beta", "staff"}})
	require.False(t, two.SameEffect(one), "as many rules are not the same rules")
	told := decode(t, `{"on": true, "offVariation": 1, "fallthrough": {"variation": 1}, "rules": [
		{"id": "x", "variation": 0, "clauses": [{"attribute": "", "op": "segmentMatch", "values": ["beta"], "negate": false}]},
		{"id": "y", "variation": 1, "clauses": [{"contextKind": "user", "attribute": "/country", "op": "in", "values": ["de"]}]}]}`)
	told.Targets, told.ContextTargets = one.Targets, one.ContextTargets
	require.True(t, one.SameEffect(told))
}
