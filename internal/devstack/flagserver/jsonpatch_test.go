package flagserver_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/flagserver"
)

// json makes the bundle's requests JSON patches.
func (b *bundle) json() { b.header.Set("Content-Type", "application/json") }

func (b *bundle) jsonPatch(t *testing.T, body string) int {
	t.Helper()
	status, _, _ := b.rest(t, http.MethodPatch, flagPath, body)
	return status
}

// The bodies are those of https://launchdarkly.com/docs/api#updates-using-json-patch and "Updates with comments", of
// https://launchdarkly.com/docs/api/feature-flags/patch-feature-flag, "Using JSON patches on a feature flag", and of buildFFEPatches in
// resource_feature_flag_environment_framework.go of https://github.com/launchdarkly/terraform-provider-launchdarkly.
func TestJSONPatchesAreThoseOfTheDocumentation(t *testing.T) {
	t.Parallel()
	for _, contentType := range []string{"application/json", "application/json-patch+json"} {
		b := setup(t)
		b.header.Set("Content-Type", contentType)
		for _, body := range []string{
			`[{"op": "add", "path": "/environments/production/targets/-", "value": {"variation": 0, "values": ["TestClient9"]}}]`,
			`[{"op": "add", "path": "/environments/production/targets/0/values/-", "value": "TestClient10"}]`,
			`{"comment": "This is a comment string", "patch": [{"op": "test", "path": "/environments/production/version", "value": 3},
				{"op": "replace", "path": "/environments/production/on", "value": true}]}`,
			`{"comment": "Terraform", "patch": [
				{"op": "replace", "path": "/environments/production/offVariation", "value": 0},
				{"op": "replace", "path": "/environments/production/contextTargets", "value": [{"contextKind": "device", "variation": 1, "values": ["phone"]}]},
				{"op": "replace", "path": "/environments/production/fallthrough", "value": {"rollout": {"contextKind": "device",
					"variations": [{"variation": 0, "weight": 25000}, {"variation": 1, "weight": 75000}]}}}]}`,
		} {
			before := b.snapshot(t).Environments["production"].Version
			require.Equal(t, http.StatusOK, b.jsonPatch(t, body), body)
			require.Equal(t, before+1, b.snapshot(t).Environments["production"].Version)
		}
		e := b.snapshot(t).Environments["production"]
		require.True(t, e.On)
		require.Equal(t, 0, *e.OffVariation)
		require.Equal(t, []flagserver.Target{{ContextKind: "user", Variation: 0, Values: []string{"TestClient9", "TestClient10"}}}, e.Targets)
		require.Equal(t, []flagserver.Target{{ContextKind: "device", Variation: 1, Values: []string{"phone"}}}, e.ContextTargets)
		require.Equal(t, flagserver.Serve{Rollout: &flagserver.Rollout{
			ContextKind: "device", Variations: []flagserver.Weight{{Variation: 0, Weight: 25000}, {Variation: 1, Weight: 75000}},
		}}, e.Fallthrough)
		require.Equal(t, http.StatusOK, b.jsonPatch(t, `[{"op": "replace", "path": "/environments/production/on", "value": true}]`))
		require.Equal(t, http.StatusOK, b.jsonPatch(t, `[{"op": "test", "path": "/environments/production/version", "value": 5}]`))
		require.Equal(t, 5, b.snapshot(t).Environments["production"].Version, "nothing was changed")
	}
}

func TestAJSONPatchHappensWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	const on = `{"op": "replace", "path": "/environments/production/on", "value": true}`
	for name, operation := range map[string]string{
		"a field of the server":   `{"op": "replace", "path": "/_version", "value": 7}`,
		"the version":             `{"op": "replace", "path": "/environments/production/version", "value": 7}`,
		"rules":                   `{"op": "replace", "path": "/environments/production/rules", "value": []}`,
		"another environment":     `{"op": "replace", "path": "/environments/staging/on", "value": true}`,
		"nothing to replace":      `{"op": "replace", "path": "/environments/production/targets/4", "value": {}}`,
		"nothing to remove":       `{"op": "remove", "path": "/environments/production/targets/0"}`,
		"weights":                 `{"op": "replace", "path": "/environments/production/fallthrough", "value": {"rollout": {"variations": [{"variation": 0, "weight": 1}]}}}`,
		"both":                    `{"op": "replace", "path": "/environments/production/fallthrough", "value": {"variation": 0, "rollout": {"variations": [{"variation": 0, "weight": 100000}]}}}`,
		"unknown variation":       `{"op": "replace", "path": "/environments/production/fallthrough", "value": {"variation": 2}}`,
		"unknown off variation":   `{"op": "replace", "path": "/environments/production/offVariation", "value": 2}`,
		"a target twice":          `{"op": "add", "path": "/environments/production/targets", "value": [{"variation": 0, "values": ["a"]}, {"variation": 1, "values": ["a"]}]}`,
		"a user among others":     `{"op": "add", "path": "/environments/production/contextTargets", "value": [{"variation": 0, "values": ["a"]}]}`,
		"something else":          `{"op": "replace", "path": "/environments/production/on", "value": "yes"}`,
		"a copy":                  `{"op": "copy", "from": "/environments/production/on", "path": "/environments/production/on"}`,
		"an unknown operation":    `{"op": "turn", "path": "/environments/production/on", "value": true}`,
		"instructions, unmarked":  `{"kind": "turnFlagOn"}`,
		"no condition that holds": `{"op": "test", "path": "/environments/production/nothing", "value": 1}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.json()
			before := b.snapshot(t)
			status := b.jsonPatch(t, `[`+on+`, `+operation+`]`)
			require.Contains(t, []int{http.StatusBadRequest, http.StatusConflict}, status)
			require.Equal(t, before, b.snapshot(t))
			require.Equal(t, http.StatusOK, b.jsonPatch(t, `[`+on+`]`))
		})
	}
}

func TestAConditionThatDoesNotHoldIsRefused(t *testing.T) {
	t.Parallel()
	const stale = `[{"op": "test", "path": "/environments/production/version", "value": 0},
		{"op": "replace", "path": "/environments/production/on", "value": true}]`
	const plainly = `[{"op": "replace", "path": "/environments/production/offVariation", "value": 0}]`
	for taken, want := range map[flagserver.JSONPatches]struct{ stale, plainly int }{
		flagserver.Tested: {409, 200}, flagserver.TestedAs400: {400, 200}, flagserver.Untested: {200, 200}, flagserver.Refused: {400, 400},
	} {
		b := setup(t)
		b.json()
		b.server.TakeJSONPatches(taken)
		require.Equal(t, want.stale, b.jsonPatch(t, stale))
		require.Equal(t, want.stale == 200, b.snapshot(t).Environments["production"].On)
		require.Equal(t, want.plainly, b.jsonPatch(t, plainly))
	}
}

// The endpoint's answers are documented for all its formats.
func TestJSONPatchesAreAnsweredAsDocumented(t *testing.T) {
	t.Parallel()
	all := reference(t)
	const on = `[{"op": "replace", "path": "/environments/production/on", "value": true}]`
	for name, c := range map[string]struct {
		given func(*bundle)
		body  string
	}{
		"patched flag": {func(*bundle) {}, on},
		"error 400":    {func(*bundle) {}, `{"merge": {"description": "a merge patch"}}`},
		"error 403":    {func(b *bundle) { b.server.Deny("updateOn") }, on},
		"error 405":    {func(b *bundle) { b.server.Require(1) }, on},
		"error 409":    {func(*bundle) {}, `[{"op": "test", "path": "/environments/production/version", "value": 0}]`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.furnish(t)
			b.json()
			c.given(&b)
			status, answer, header := b.whole(t, "PATCH", "/api/v2/flags/shop/full", c.body)
			all[name].requireAlike(t, status, header, answer)
		})
	}
}

func TestADryJSONPatchAndOneThatGoesBeforeWhatIsScheduled(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.json()
	const on = `[{"op": "replace", "path": "/environments/production/on", "value": true}]`
	b.server.Schedule("new-page", time.Now().Add(time.Hour))
	require.Equal(t, http.StatusBadRequest, b.jsonPatch(t, on))
	status, answer, _ := b.rest(t, http.MethodPatch, flagPath+"?dryRun=true&ignoreConflicts=true", on)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, true, answer["environments"].(map[string]any)["production"].(map[string]any)["on"])
	require.False(t, b.snapshot(t).Environments["production"].On)
	status, _, _ = b.rest(t, http.MethodPatch, flagPath+"?ignoreConflicts=true", on)
	require.Equal(t, http.StatusOK, status)
	require.True(t, b.snapshot(t).Environments["production"].On)
}

func TestMigrationFlagsAreHeldToTheirRulesByJSONPatchesToo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	migrating(t, &b)
	b.json()
	patch := func(member, value string) int {
		status, _, _ := b.rest(t, http.MethodPatch, "/api/v2/flags/shop/staged",
			`[{"op": "replace", "path": "/environments/production/`+member+`", "value": `+value+`}]`)
		return status
	}
	require.Equal(t, http.StatusOK, patch("fallthrough", `{"rollout": {"contextKind": "device", "variations": [{"variation": 3, "weight": 100000}]}}`))
	for _, wrong := range [][2]string{
		{"fallthrough", `{"variation": 3}`}, {"fallthrough", `{"rollout": {"variations": [{"variation": 3, "weight": 100000}]}}`},
		{"offVariation", "1"}, {"targets", `[{"variation": 0, "values": ["a"]}]`},
	} {
		require.Equal(t, http.StatusBadRequest, patch(wrong[0], wrong[1]), wrong)
	}
	b.header.Set("Content-Type", "application/json; domain-model=launchdarkly.semanticpatch")
	status, _, _ := b.rest(t, http.MethodPatch, "/api/v2/flags/shop/staged", `{"instructions": [{"kind": "archiveFlag"}]}`)
	require.Equal(t, http.StatusOK, status)
	b.json()
	require.Equal(t, http.StatusBadRequest, patch("on", "true"), "it is archived")
}
