package launchdarkly_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/devstack/flagserver"
)

const probeTarget = "/api/v2/flags/shop/plain?dryRun=true&ignoreConflicts=true"

// conditional are the patches that were JSON patches.
func (w *wire) conditional() []recorded {
	var out []recorded
	for _, r := range w.patches() {
		if r.header.Get("Content-Type") == "application/json" {
			out = append(out, r)
		}
	}
	return out
}

// prove lets the provider find out how the service takes conditions, by a change of another flag.
func (b bundle) prove(t *testing.T) {
	t.Helper()
	require.NoError(t, b.server.CreateFlag("another"))
	_, err := b.provider.Apply(t.Context(), "another", flags.Change{Percent: 100}, "", nil)
	require.NoError(t, err)
	b.wire.mu.Lock()
	defer b.wire.mu.Unlock()
	b.wire.seen = nil
}

func TestOneConditionalPatchPerChangeAsDocumented(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.provider.Apply(t.Context(), plain, flags.Change{Percent: 25, Targets: map[string][]string{"user": {"ann"}, "device": {"phone"}}},
		"split-address, step write-new", nil)
	require.NoError(t, err)
	probes := b.wire.probes()
	require.Len(t, probes, 3)
	for i, version := range []int{0, 1, 0} {
		require.Equal(t, probeTarget, probes[i].target)
		require.JSONEq(t, fmt.Sprintf(`{"patch": [{"op": "test", "path": "/environments/production/version", "value": %d}]}`, version), probes[i].body)
	}
	patches := b.wire.patches()
	require.Len(t, patches, 1)
	require.Equal(t, "/api/v2/flags/shop/plain", patches[0].target)
	require.Equal(t, token, patches[0].header.Get("Authorization"))
	require.Equal(t, "20240415", patches[0].header.Get("LD-API-Version"))
	require.Equal(t, "application/json", patches[0].header.Get("Content-Type"))
	require.JSONEq(t, `{"comment": "split-address, step write-new", "patch": [
		{"op": "test", "path": "/environments/production/version", "value": 1},
		{"op": "replace", "path": "/environments/production/targets", "value": [{"contextKind": "user", "variation": 0, "values": ["ann"]}]},
		{"op": "replace", "path": "/environments/production/contextTargets", "value": [{"contextKind": "device", "variation": 0, "values": ["phone"]}]},
		{"op": "replace", "path": "/environments/production/fallthrough", "value": {"rollout": {"contextKind": "user",
			"variations": [{"variation": 0, "weight": 25000}, {"variation": 1, "weight": 75000}]}}},
		{"op": "replace", "path": "/environments/production/on", "value": true}]}`, patches[0].body)

	yes, _ := b.ids(t, plain)
	b.instruct(t, plain, `{"kind": "updateOffVariation", "variationId": "`+yes+`"}, {"kind": "replaceTargets", "targets": []}`)
	_, err = b.provider.Apply(t.Context(), plain, flags.Change{}, "", nil)
	require.NoError(t, err)
	require.JSONEq(t, `{"patch": [{"op": "test", "path": "/environments/production/version", "value": 3},
		{"op": "replace", "path": "/environments/production/offVariation", "value": 1},
		{"op": "replace", "path": "/environments/production/on", "value": false}]}`, b.wire.patches()[1].body)

	b.stage(t, "staged", "account")
	_, err = b.provider.Apply(t.Context(), "staged", flags.Change{Stage: flags.StageShadow}, "", nil)
	require.NoError(t, err)
	require.Contains(t, b.wire.patches()[2].body, `{"rollout":{"contextKind":"account","variations":[{"variation":0,"weight":0},`+
		`{"variation":1,"weight":0},{"variation":2,"weight":100000},{"variation":3,"weight":0},{"variation":4,"weight":0},{"variation":5,"weight":0}]}}`)
	require.Len(t, b.wire.probes(), 3, "it is proved once")
}

func TestNobodyElsesTargetsAreTouchedByAConditionalPatch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.prove(t)
	yes, no := b.ids(t, plain)
	b.instruct(t, plain, strings.NewReplacer("YES", yes, "NO", no).Replace(`{"kind": "addTargets", "values": ["zoe", "ann", "kim"], "variationId": "NO"},
		{"kind": "addTargets", "values": ["bob"], "variationId": "YES"}, {"kind": "addTargets", "values": ["tablet", "phone"], "variationId": "NO", "contextKind": "device"}`))
	before, err := b.provider.Get(t.Context(), plain)
	require.NoError(t, err)
	ours, err := b.provider.Apply(t.Context(), plain, flags.Change{Percent: 100, Targets: map[string][]string{"user": {"ann", "new"}, "device": {"clock"}}}, "", nil)
	require.NoError(t, err)
	require.Len(t, b.wire.conditional(), 1)
	e := b.environment(t, plain)
	require.Equal(t, []flagserver.Target{
		{ContextKind: "user", Variation: 1, Values: []string{"zoe", "kim"}}, {ContextKind: "user", Variation: 0, Values: []string{"bob", "ann", "new"}},
	}, e.Targets, "the others keep their order")
	require.Equal(t, []flagserver.Target{
		{ContextKind: "device", Variation: 1, Values: []string{"tablet", "phone"}}, {ContextKind: "device", Variation: 0, Values: []string{"clock"}},
	}, e.ContextTargets)
	after, err := b.provider.Restore(t.Context(), plain, before, ours, "", nil)
	require.NoError(t, err)
	require.JSONEq(t, string(before.Config), string(after.Config))
	require.Equal(t, []string{"zoe", "kim", "ann"}, b.environment(t, plain).Targets[0].Values)
	require.Len(t, b.wire.conditional(), 2)
}

func TestAnEnvironmentsKeyIsEscapedInPointers(t *testing.T) {
	t.Parallel()
	const environment = "a~b/c"
	server := flagserver.New(flagserver.Options{Project: "shop", Environment: environment, APIToken: token, SDKKey: sdkKey})
	require.NoError(t, server.Start("127.0.0.1:0"))
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	require.NoError(t, server.CreateFlag(plain))
	b := bundle{server: server, wire: &wire{}}
	b.config.APIURL, b.config.StreamURL, b.config.Token, b.config.SDKKey = server.URL(), server.URL(), token, sdkKey
	b.config.Project, b.config.Environment, b.config.HTTPClient = "shop", environment, &http.Client{Transport: b.wire}
	state, err := b.open(t, b.config).Apply(t.Context(), plain, flags.Change{Percent: 50}, "", nil)
	require.NoError(t, err)
	require.True(t, state.On)
	require.Len(t, b.wire.conditional(), 1)
	require.Contains(t, b.wire.conditional()[0].body, `"/environments/a~0b~1c/on"`)
}

func TestWhatTheAnswerLeavesOutIsAdded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.prove(t)
	b.wire.instead = func(r *http.Request) *http.Response {
		if r.Method != http.MethodGet {
			return nil
		}
		response, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			return nil
		}
		defer response.Body.Close()
		raw, _ := io.ReadAll(response.Body)
		response.Body = io.NopCloser(strings.NewReader(strings.Replace(string(raw), `"contextTargets":[],`, "", 1)))
		response.ContentLength = -1
		return response
	}
	_, err := b.provider.Apply(t.Context(), plain, flags.Change{Percent: 100, Targets: map[string][]string{"user": {"ann"}, "device": {"phone"}}}, "", nil)
	require.NoError(t, err)
	require.Contains(t, b.wire.conditional()[0].body, `{"op":"replace","path":"/environments/production/targets"`)
	require.Contains(t, b.wire.conditional()[0].body, `{"op":"add","path":"/environments/production/contextTargets"`)
}

// only is a Still that knows one state.
func only(known flags.State) flags.Still {
	return func(_ context.Context, found flags.State) error {
		if !found.Equal(known) {
			return &flags.Stranger{Key: found.Key, Ours: known.Summary, Theirs: found.Summary}
		}
		return nil
	}
}

// What a stranger does in the last moment before our request leaves, to the very thing that we change, is never overwritten.
func TestAStrangersChangeInTheLastMomentStands(t *testing.T) {
	t.Parallel()
	for name, stranger := range map[string]string{
		"on":            `{"kind": "turnFlagOn"}`,
		"default rule":  `{"kind": "updateFallthroughVariationOrRollout", "rolloutWeights": {"YES": 70000, "NO": 30000}}`,
		"off variation": `{"kind": "updateOffVariation", "variationId": "YES"}`,
		"targets":       `{"kind": "addTargets", "values": ["theirs"], "variationId": "NO"}`,
		"other targets": `{"kind": "addTargets", "values": ["theirs"], "variationId": "NO", "contextKind": "device"}`,
		"rules":         `{"kind": "addRule", "variationId": "NO", "clauses": [{"attribute": "key", "op": "in", "values": ["theirs"]}]}`,
	} {
		for _, taken := range []flagserver.JSONPatches{flagserver.Tested, flagserver.TestedAs400} {
			t.Run(fmt.Sprint(name, " ", taken), func(t *testing.T) {
				t.Parallel()
				b := setup(t)
				b.server.TakeJSONPatches(taken)
				yes, no := b.ids(t, plain)
				act := func() { b.instruct(t, plain, strings.NewReplacer("YES", yes, "NO", no).Replace(stranger)) }
				off, err := b.provider.Get(t.Context(), plain)
				require.NoError(t, err)
				ours := flags.Change{Percent: 50, Targets: map[string][]string{"user": {"ann"}, "device": {"phone"}}}
				b.wire.before(act)
				_, err = b.provider.Apply(t.Context(), plain, ours, "", only(off))
				require.Error(t, err)
				require.True(t, errors.Is(err, flags.ErrStranger) || name == "off variation" && errors.Is(err, flags.ErrInvalid), err)
				require.Len(t, b.wire.conditional(), 1)
				require.Equal(t, 2, b.environment(t, plain).Version, "theirs is the only change")

				// The same when it is put back.
				reset := func() {
					b.instruct(t, plain, `{"kind": "turnFlagOff"}, {"kind": "replaceTargets", "targets": []}, {"kind": "replaceRules", "rules": []},
						{"kind": "updateOffVariation", "variationId": "`+no+`"}, {"kind": "updateFallthroughVariationOrRollout", "variationId": "`+yes+`"}`)
				}
				reset()
				on, err := b.provider.Apply(t.Context(), plain, ours, "", nil)
				require.NoError(t, err)
				reset()
				off, err = b.provider.Get(t.Context(), plain)
				require.NoError(t, err)
				last := off.Version
				b.wire.before(act)
				_, err = b.provider.Restore(t.Context(), plain, on, off, "", nil)
				require.ErrorIs(t, err, flags.ErrStranger)
				require.Equal(t, last+1, b.environment(t, plain).Version)
			})
		}
	}
}

func TestWithoutAnObjectionTheChangeIsDecidedAnew(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, no := b.ids(t, plain)
	b.wire.before(func() {
		b.instruct(t, plain, `{"kind": "addTargets", "values": ["theirs"], "variationId": "`+no+`"}`)
	})
	state, err := b.provider.Apply(t.Context(), plain, flags.Change{Percent: 100, Targets: map[string][]string{"user": {"ours"}}}, "", nil)
	require.NoError(t, err)
	require.Equal(t, "on: 100 % true, 2 targets", state.Summary)
	require.Len(t, b.wire.conditional(), 2)
}

// A worker is frozen when its request has not left, and everything is put back meanwhile: the flag looks as it did when the worker
// looked at it, and its request is refused all the same.
func TestAFrozenRequestIsRefusedByTheService(t *testing.T) {
	t.Parallel()
	b := setup(t)
	config := b.config
	config.HTTPClient = nil
	other := b.open(t, config)
	before, err := other.Get(t.Context(), plain)
	require.NoError(t, err)
	superseded := false
	b.wire.before(func() {
		ours, err := other.Apply(t.Context(), plain, flags.Change{Percent: 50}, "the same step, elsewhere", nil)
		require.NoError(t, err)
		_, err = other.Restore(t.Context(), plain, before, ours, "its compensation", nil)
		require.NoError(t, err)
		superseded = true
	})
	still := func(context.Context, flags.State) error {
		if superseded {
			return flags.ErrSuperseded
		}
		return nil
	}
	_, err = b.provider.Apply(t.Context(), plain, flags.Change{Percent: 50}, "", still)
	require.ErrorIs(t, err, flags.ErrSuperseded)
	require.Len(t, b.wire.patches(), 1, "it has left")
	now, err := other.Get(t.Context(), plain)
	require.NoError(t, err)
	require.True(t, now.Equal(before))
	require.Equal(t, 3, now.Version)
}

func TestWhatSpeaksOfRulesIsASemanticPatch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.prove(t)
	b.furnish(t, "furnished")
	require.NoError(t, b.server.PutSegment("beta", nil))
	_, err := b.provider.Apply(t.Context(), "furnished", flags.Change{Percent: 100, Segments: []string{"beta"}}, "", nil)
	require.NoError(t, err)
	require.Len(t, b.wire.patches(), 1)
	require.Empty(t, b.wire.conditional())
}
