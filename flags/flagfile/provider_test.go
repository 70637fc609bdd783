package flagfile_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	ld "github.com/launchdarkly/go-server-sdk/v7"
	"github.com/launchdarkly/go-server-sdk/v7/ldcomponents"
	"github.com/launchdarkly/go-server-sdk/v7/ldfiledata"
	"github.com/launchdarkly/go-server-sdk/v7/ldfilewatch"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/flagfile"
	"github.com/contraflow/contraflow/flags/flagstest"
)

const furnished = `{
  "flags": {
    "furnished": {
      "key": "furnished", "version": 7, "on": true, "variations": [true, false], "salt": "pepper", "trackEvents": true,
      "fallthrough": {"rollout": {"contextKind": "user", "variations": [{"variation": 0, "weight": 25000}, {"variation": 1, "weight": 75000}]}},
      "offVariation": 1,
      "targets": [{"variation": 1, "values": ["user-1"]}],
      "contextTargets": [{"contextKind": "device", "variation": 0, "values": ["phone"]}, {"contextKind": "user", "variation": 1, "values": []}],
      "rules": [{"id": "rule-id-kept", "variation": 0, "clauses": [{"contextKind": "user", "attribute": "key", "op": "endsWith", "values": ["77"], "negate": false}]}],
      "prerequisites": []
    },
    "staged": {
      "key": "staged", "version": 3, "on": false, "salt": "staged", "offVariation": 3, "migration": {"checkRatio": 2},
      "variations": ["complete", "live", "shadow", "off", "dualwrite", "rampdown"],
      "fallthrough": {"rollout": {"contextKind": "user", "variations": [{"variation": 3, "weight": 100000}]}}
    },
    "inverted": {"key": "inverted", "version": 2, "on": false, "variations": [false, true], "fallthrough": {"variation": 1}, "offVariation": 1, "salt": "i"},
    "text": {"key": "text", "version": 1, "on": false, "variations": ["a", "b"], "fallthrough": {"variation": 0}, "offVariation": 1}
  },
  "flagValues": {"simple": true},
  "segments": {"staff": {"key": "staff", "version": 3, "included": ["ann@staff", "bob@staff"]}},
  "comment": {"by": "ops"}
}`

// bundle is a flag file with one provider.
type bundle struct {
	path     string
	provider *flagfile.Provider
}

func setup(t *testing.T, content string) bundle {
	t.Helper()
	b := bundle{path: filepath.Join(t.TempDir(), "flags.json")}
	if content != "" {
		require.NoError(t, os.WriteFile(b.path, []byte(content), 0o600))
	}
	provider, err := flagfile.New(b.path)
	require.NoError(t, err)
	b.provider = provider
	return b
}

// application is the SDK's own file source.
func application(t *testing.T, path string) *ld.LDClient {
	t.Helper()
	client, err := ld.MakeCustomClient("sdk-key", ld.Config{
		DataSource: ldfiledata.DataSource().FilePaths(path).Reloader(ldfilewatch.WatchFiles),
		Events:     ldcomponents.NoEvents(),
		Logging:    ldcomponents.NoLogging(),
	}, time.Minute)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

// edit changes a flag as a person with an editor would.
func edit(t *testing.T, path, key string, change func(flag map[string]any)) {
	t.Helper()
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	var file map[string]map[string]any
	require.NoError(t, json.Unmarshal(raw, &file))
	flag := file["flags"][key].(map[string]any)
	change(flag)
	flag["version"] = flag["version"].(float64) + 1
	raw, err = json.Marshal(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path+".edited", raw, 0o600))
	require.NoError(t, os.Rename(path+".edited", path))
}

func TestConformance(t *testing.T) {
	t.Parallel()
	flagstest.Run(t, func(t *testing.T) flagstest.Fixture {
		b := setup(t, furnished)
		require.NoError(t, b.provider.Create(t.Context(), "plain", flags.NewFlag{}))
		return flagstest.Fixture{
			Provider: b.provider, Plain: "plain", Furnished: "furnished", Text: "text", Migration: "staged", Inverted: "inverted",
			KindAlone: true, Ordered: true,
			Segment: "staff", Members: []string{"ann@staff", "bob@staff"},
			Application: func(t *testing.T) flagstest.Reader { return flagstest.LaunchDarkly(application(t, b.path)) },
			Target: func(t *testing.T, key, user string) {
				edit(t, b.path, key, func(flag map[string]any) {
					flag["targets"] = []any{map[string]any{"variation": 0, "values": []string{user}}}
				})
			},
			Rule: func(t *testing.T, key, user string) {
				edit(t, b.path, key, func(flag map[string]any) {
					flag["rules"] = append([]any{map[string]any{"variation": 1, "clauses": []any{
						map[string]any{"attribute": "key", "op": "in", "values": []string{user}},
					}}}, flag["rules"].([]any)...)
				})
			},
			Depend: func(t *testing.T, key, on string) {
				edit(t, b.path, key, func(flag map[string]any) {
					flag["prerequisites"] = []any{map[string]any{"key": on, "variation": 0}}
				})
			},
		}.LikeLaunchDarkly()
	})
}

// spoilFile writes it as a person's editor does.
func spoilFile(t *testing.T, path string, spoil func(file, flags map[string]any)) {
	t.Helper()
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	var file map[string]any
	require.NoError(t, json.Unmarshal(raw, &file))
	spoil(file, file["flags"].(map[string]any))
	raw, err = json.Marshal(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, raw, 0o600))
}
