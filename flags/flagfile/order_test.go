package flagfile_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/launchdarkly/go-sdk-common/v3/ldcontext"
	ldeval "github.com/launchdarkly/go-server-sdk-evaluation/v3"
	"github.com/launchdarkly/go-server-sdk-evaluation/v3/ldmodel"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/flagfile"
)

// read is a file's flags as the SDK's evaluator gets them.
type read map[string]*ldmodel.FeatureFlag

func (r read) GetFeatureFlag(key string) *ldmodel.FeatureFlag { return r[key] }
func (r read) GetSegment(string) *ldmodel.Segment             { return nil }

// evaluator is the SDK's own, on the bytes of the file.
func evaluator(t require.TestingT, path string) func(contexts ...flags.Context) string {
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	var file struct{ Flags map[string]json.RawMessage }
	require.NoError(t, json.Unmarshal(raw, &file))
	r := read{}
	for key, raw := range file.Flags {
		flag, err := ldmodel.NewJSONDataModelSerialization().UnmarshalFeatureFlag(raw)
		require.NoError(t, err)
		r[key] = &flag
	}
	e := ldeval.NewEvaluator(r)
	return func(contexts ...flags.Context) string {
		mixed := ldcontext.NewMultiBuilder()
		for _, one := range contexts {
			mixed.Add(ldcontext.NewWithKind(ldcontext.Kind(one.Kind), one.Key))
		}
		return e.Evaluate(r["f"], mixed.Build(), nil).Detail.Value.JSONString()
	}
}

// fileOf is a file with the flag f, beside others.
func fileOf(t require.TestingT, folder, body string, others ...string) bundle {
	b := bundle{path: filepath.Join(folder, "flags.json")}
	flag := `"f": {"key": "f", "version": 1, "salt": "s", "variations": [true, false], ` + body + `}`
	require.NoError(t, os.WriteFile(b.path, []byte(`{"flags": {`+strings.Join(append(others, flag), ", ")+`}}`), 0o600))
	var err error
	b.provider, err = flagfile.New(b.path)
	require.NoError(t, err)
	return b
}

// list is a target of the SDK's model.
type list struct {
	ContextKind string   `json:"contextKind,omitempty"`
	Variation   int      `json:"variation"`
	Values      []string `json:"values"`
}

func drawLists(r *rapid.T, name string, kinds ...string) (out []list) {
	for i := range rapid.IntRange(0, 4).Draw(r, name) {
		out = append(out, list{
			rapid.SampledFrom(kinds).Draw(r, fmt.Sprint(name, i, " kind")), rapid.IntRange(0, 1).Draw(r, fmt.Sprint(name, i, " variation")),
			rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c"}), 0, 2).Draw(r, fmt.Sprint(name, i, " values")),
		})
	}
	return out
}

// requests are all of an application: one context, or two of different kinds.
func requests() (out [][]flags.Context) {
	keys := []string{"a", "b", "c", "x", ""}
	for _, userKey := range keys {
		for _, deviceKey := range keys {
			var one []flags.Context
			if userKey != "" {
				one = append(one, flags.Context{Kind: "user", Key: userKey})
			}
			if deviceKey != "" {
				one = append(one, flags.Context{Kind: "device", Key: deviceKey})
			}
			if len(one) > 0 {
				out = append(out, one)
			}
		}
	}
	return out
}

// However the targets of a file stand, a change reaches whom it names by the SDK's own evaluator, and nobody else, and Restore
// reaches all.
func TestTargetsAreWhatTheSDKLooksAt(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	rapid.Check(t, func(r *rapid.T) {
		targets, err := json.Marshal(drawLists(r, "targets", ""))
		require.NoError(r, err)
		contextTargets, err := json.Marshal(drawLists(r, "contextTargets", "", "user", "device", "org"))
		require.NoError(r, err)
		b := fileOf(r, folder, `"on": true, "offVariation": 1, "fallthrough": {"variation": 1}, "targets": `+string(targets)+
			`, "contextTargets": `+string(contextTargets))
		before, err := b.provider.Get(t.Context(), "f")
		require.NoError(r, err)
		ours, start := before, evaluator(r, b.path)
		for range rapid.IntRange(1, 3).Draw(r, "changes") {
			was := evaluator(r, b.path)
			who := flags.Context{Kind: rapid.SampledFrom([]string{"user", "device"}).Draw(r, "kind"), Key: rapid.SampledFrom([]string{"a", "b", "x"}).Draw(r, "key")}
			change := flags.Change{Exclude: &who}
			if rapid.Bool().Draw(r, "target") {
				change = flags.Change{Targets: map[string][]string{who.Kind: {who.Key}}}
			}
			ours, err = b.provider.Apply(t.Context(), "f", change, "", nil)
			require.NoError(r, err)
			again, err := b.provider.Apply(t.Context(), "f", change, "", nil)
			require.NoError(r, err)
			require.Equal(r, ours, again)
			now := evaluator(r, b.path)
			for _, request := range requests() {
				switch named := len(request) > 0 && (request[0] == who || request[len(request)-1] == who); {
				case !named:
					require.Equal(r, was(request...), now(request...), "%v is not named", request)
				case change.Exclude != nil:
					require.Equal(r, "false", now(request...), "%v", request)
				case len(request) == 1:
					require.Equal(r, "true", now(request...), "%v", request)
				}
			}
		}
		after, err := b.provider.Restore(t.Context(), "f", before, ours, "", nil)
		require.NoError(r, err)
		require.True(r, after.Equal(before))
		now := evaluator(r, b.path)
		for _, request := range requests() {
			require.Equal(r, start(request...), now(request...), "%v", request)
		}
	})
}

// SDKs of all languages find users by an entry without values, and each user once.
func TestUsersStandWhereAllSDKsLook(t *testing.T) {
	t.Parallel()
	b := fileOf(t, t.TempDir(), `"on": true, "offVariation": 1, "fallthrough": {"variation": 0}, "targets": [{"variation": 0, "values": ["a"]}],
		"contextTargets": [{"contextKind": "user", "variation": 0, "values": []}, {"contextKind": "device", "variation": 0, "values": ["d"]}]`)
	_, err := b.provider.Apply(t.Context(), "f", flags.Change{Exclude: &flags.Context{Kind: "user", Key: "x"}}, "", nil)
	require.NoError(t, err)
	flag, err := json.Marshal(content(t, b.path)["flags"]["f"])
	require.NoError(t, err)
	var written struct{ Targets, ContextTargets []list }
	require.NoError(t, json.Unmarshal(flag, &written))
	require.Equal(t, []list{{"user", 1, []string{"x"}}, {"user", 0, []string{"a"}}}, written.Targets)
	require.Equal(t, []list{{"user", 1, []string{}}, {"user", 0, []string{}}, {"device", 0, []string{"d"}}}, written.ContextTargets)
}

func TestTheFirstListThatNamesAContextDecides(t *testing.T) {
	t.Parallel()
	b := fileOf(t, t.TempDir(), `"on": true, "offVariation": 1, "fallthrough": {"variation": 1}, "targets": [{"variation": 1, "values": ["a"]},
		{"variation": 0, "values": ["a", "b"]}, {"variation": 1, "values": ["b"]}, {"variation": 0, "values": ["c"]}]`)
	before, err := b.provider.Get(t.Context(), "f")
	require.NoError(t, err)
	require.Equal(t, "on: 0 % true, 3 targets", before.Summary)
	require.Equal(t, []string{"2 targets"}, before.Exceptions)
	start := evaluator(t, b.path)
	ours, err := b.provider.Apply(t.Context(), "f", flags.Change{Targets: map[string][]string{"device": {"d"}}}, "", nil)
	require.NoError(t, err)
	require.Equal(t, "on: 0 % true, 4 targets", ours.Summary)
	now := evaluator(t, b.path)
	_, err = b.provider.Restore(t.Context(), "f", before, ours, "", nil)
	require.NoError(t, err)
	for key, want := range map[string]string{"a": "false", "b": "true", "c": "true", "x": "false"} {
		who := flags.Context{Kind: "user", Key: key}
		require.Equal(t, want, start(who))
		require.Equal(t, want, now(who))
		require.Equal(t, want, evaluator(t, b.path)(who))
	}
}

// The SDK gives what is missing to 100 % to the last variation.
func TestWeightsThatDoNotAddUpAreThoseOfTheSDK(t *testing.T) {
	t.Parallel()
	for weights, summary := range map[string]string{
		`{"variation": 0, "weight": 25000}, {"variation": 1, "weight": 0}`:      "on: 25 % true",
		`{"variation": 0, "weight": 25000}, {"variation": 1, "weight": 10000}`:  "on: 25 % true",
		`{"variation": 1, "weight": 90000}, {"variation": 0, "weight": 90000}`:  "on: 10 % true",
		`{"variation": 0, "weight": 25000}`:                                     "on: 100 % true",
		`{"variation": 1, "weight": 120000}, {"variation": 0, "weight": 50000}`: "on: 0 % true",
	} {
		b := fileOf(t, t.TempDir(), `"on": true, "offVariation": 1, "fallthrough": {"rollout": {"variations": [`+weights+`]}}`)
		before, err := b.provider.Get(t.Context(), "f")
		require.NoError(t, err)
		require.Equal(t, summary, before.Summary)
		start := evaluator(t, b.path)
		ours, err := b.provider.Apply(t.Context(), "f", flags.Change{}, "", nil)
		require.NoError(t, err)
		if before.Percent > 0 {
			ours, err = b.provider.Apply(t.Context(), "f", flags.Change{Percent: 100}, "", nil)
			require.NoError(t, err)
		}
		_, err = b.provider.Restore(t.Context(), "f", before, ours, "", nil)
		require.NoError(t, err)
		now, yes := evaluator(t, b.path), 0
		for i := range 2000 {
			who := flags.Context{Kind: "user", Key: fmt.Sprint("user-", i)}
			require.Equal(t, start(who), now(who))
			if now(who) == "true" {
				yes++
			}
		}
		require.InDelta(t, before.Percent, float64(yes)/20, 5)
	}
}

func TestWhoeverIsServedOffAnywayIsNotSaidToBeExcluded(t *testing.T) {
	t.Parallel()
	const needed = `"needed": {"key": "needed", "version": 1, "on": false, "variations": [true, false], "offVariation": 1, "fallthrough": {"variation": 0}}`
	b := fileOf(t, t.TempDir(), `"on": true, "offVariation": 0, "fallthrough": {"variation": 0}, "prerequisites": [{"key": "needed", "variation": 0}]`, needed)
	who := flags.Context{Kind: "user", Key: "S3CRET"}
	_, err := b.provider.Apply(t.Context(), "f", flags.Change{Exclude: &who}, "", nil)
	require.ErrorIs(t, err, flags.ErrInvalid)
	require.ErrorContains(t, err, "prerequisite needed")
	require.NotContains(t, err.Error(), "S3CRET")
	require.Equal(t, "true", evaluator(t, b.path)(who))
	_, err = b.provider.Apply(t.Context(), "f", flags.Change{}, "", nil)
	require.NoError(t, err)
	require.Equal(t, "false", evaluator(t, b.path)(who))
}

// A rollout that goes on keeps its order, so that nobody loses what he is served; a new one begins with false.
func TestARolloutKeepsItsOrder(t *testing.T) {
	t.Parallel()
	for _, weights := range []string{
		`{"variation": 0, "weight": 30000}, {"variation": 1, "weight": 70000}`, `{"variation": 1, "weight": 70000}, {"variation": 0, "weight": 30000}`,
	} {
		b := fileOf(t, t.TempDir(), `"on": true, "offVariation": 1, "fallthrough": {"rollout": {"variations": [`+weights+`]}}`)
		was := evaluator(t, b.path)
		_, err := b.provider.Apply(t.Context(), "f", flags.Change{Percent: 60}, "", nil)
		require.NoError(t, err)
		now := evaluator(t, b.path)
		for i := range 1000 {
			who := flags.Context{Kind: "user", Key: fmt.Sprint("user-", i)}
			require.False(t, was(who) == "true" && now(who) == "false")
		}
	}
}

func TestStageOffRaisesNobody(t *testing.T) {
	t.Parallel()
	for _, on := range []string{"true", "false"} {
		b := fileOf(t, t.TempDir(), `"on": `+on+`, "offVariation": 2, "fallthrough": {"variation": 4}, "rules": [{"id": "r", "variation": 3, "clauses":
			[{"contextKind": "user", "attribute": "key", "op": "startsWith", "values": ["beta"]}]}]`)
		edit(t, b.path, "f", func(flag map[string]any) { flag["variations"] = flags.Stages() })
		before, err := b.provider.Get(t.Context(), "f")
		require.NoError(t, err)
		start := evaluator(t, b.path)
		ours, err := b.provider.Apply(t.Context(), "f", flags.Change{Stage: flags.StageOff}, "", nil)
		require.NoError(t, err)
		require.Equal(t, "off", ours.Summary)
		_, err = b.provider.Apply(t.Context(), "f", flags.Change{Stage: flags.StageOff}, "", nil)
		require.NoError(t, err)
		killed := evaluator(t, b.path)
		_, err = b.provider.Restore(t.Context(), "f", before, ours, "", nil)
		require.NoError(t, err)
		back := evaluator(t, b.path)
		for _, key := range []string{"beta-1", "ann"} {
			who := flags.Context{Kind: "user", Key: key}
			require.Equal(t, `"off"`, killed(who))
			require.Equal(t, start(who), back(who))
		}
	}
}
