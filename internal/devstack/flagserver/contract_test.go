package flagserver_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// documented is an answer of the public API as its reference shows it.
type documented struct {
	Name     string
	Sources  []string
	Status   int
	Headers  []string
	Optional []string // fields that need not be there
	Maps     []string // objects whose keys are names
	Any      []string // fields of any type
	Answer   any
}

func reference(t *testing.T) map[string]documented {
	t.Helper()
	raw, err := os.ReadFile("testdata/documented.json")
	require.NoError(t, err)
	var all []documented
	require.NoError(t, json.Unmarshal(raw, &all))
	out := map[string]documented{}
	for _, d := range all {
		require.NotEmpty(t, d.Sources, d.Name)
		require.NotContains(t, out, d.Name)
		out[d.Name] = d
	}
	return out
}

// fields of a JSON value by their path, with their type: "environments.*.rules[].clauses[].op".
func fields(value any, path string, named []string, out map[string]string) {
	switch v := value.(type) {
	case map[string]any:
		out[path] = "object"
		for key, inner := range v {
			if slices.Contains(named, path) {
				key = "*"
			}
			fields(inner, strings.TrimPrefix(path+"."+key, "."), named, out)
		}
	case []any:
		out[path] = "array"
		for _, inner := range v {
			fields(inner, path+"[]", named, out)
		}
	case nil:
		if out[path] == "" {
			out[path] = "null"
		}
	default:
		out[path] = fmt.Sprintf("%T", v)
	}
}

// parent is the object that a field is in.
func parent(path string) string {
	if at := strings.LastIndex(path, "."); at >= 0 {
		return path[:at]
	}
	return ""
}

// requireAlike checks that an answer has every field that the reference calls required, no field that it does not know, and each
// of its type.
func (d documented) requireAlike(t *testing.T, status int, header http.Header, answer any) {
	t.Helper()
	require.Equal(t, d.Status, status)
	for _, name := range d.Headers {
		require.NotEmpty(t, header.Get(name), name)
	}
	want, got := map[string]string{}, map[string]string{}
	fields(d.Answer, "", d.Maps, want)
	fields(answer, "", d.Maps, got)
	for path, kind := range got {
		require.Contains(t, want, path, "the reference knows no such field")
		if kind != "null" && !slices.Contains(d.Any, path) {
			require.Equal(t, want[path], kind, path)
		}
	}
	for path := range want {
		if path == "" || strings.HasSuffix(path, "[]") || strings.HasSuffix(path, ".*") || slices.Contains(d.Optional, path) {
			continue
		}
		if _, there := got[parent(path)]; there {
			require.Contains(t, got, path, "the reference requires it")
		}
	}
}

// TestAnswersHaveTheDocumentedShape holds this server to the public reference, field by field.
func TestAnswersHaveTheDocumentedShape(t *testing.T) {
	t.Parallel()
	const (
		flags    = "/api/v2/flags/shop"
		inside   = "/api/v2/projects/shop/flags/full/environments/production"
		requests = inside + "/approval-requests"
		turnOn   = `{"environmentKey": "production", "comment": "x", "instructions": [{"kind": "turnFlagOn"}]}`
		made     = `{"key": "made", "name": "Made", "purpose": "migration", "migrationSettings": {"stageCount": 6, "contextKind": "device"}, "maintainerId": "m"}`
		filing   = `{"description": "please", "instructions": [{"kind": "turnFlagOn"}], "notifyMemberIds": ["m"]}`
	)
	answers := map[string]struct {
		given              func(*testing.T, *bundle)
		method, path, body string
	}{
		"flag":            {nil, "GET", flags + "/full", ""},
		"migration flag":  {migrating, "GET", flags + "/staged?expand=migrationSettings", ""},
		"list of flags":   {nil, "GET", flags + "?env=production&filter=filterEnv:production&summary=0", ""},
		"dependent flags": {beta, "GET", flags + "/production/new-page/dependent-flags", ""},
		"dependent flags of all environments": {func(t *testing.T, b *bundle) {
			beta(t, b)
			b.server.Depend("staging", "full", "new-page")
		}, "GET", flags + "/new-page/dependent-flags", ""},
		"segment": {func(t *testing.T, b *bundle) {
			require.NoError(t, b.server.PutSegment("beta", map[string][]string{"user": {"anna"}, "device": {"phone"}}))
		}, "GET", "/api/v2/segments/shop/production/beta", ""},
		"patched flag": {nil, "PATCH", flags + "/full", turnOn},
		"created flag": {nil, "POST", flags, made},
		"flag status":  {nil, "GET", "/api/v2/flag-statuses/shop/production/full", ""},
		"flag status across environments": {func(_ *testing.T, b *bundle) {
			b.server.Elsewhere("staging", "full", "active", time.Now())
		}, "GET", "/api/v2/flag-status/shop/full", ""},
		"project":                  {nil, "GET", "/api/v2/projects/shop", ""},
		"environment":              {nil, "GET", "/api/v2/projects/shop/environments/production", ""},
		"approval request":         {nil, "POST", requests, filing},
		"approval requests":        {approved, "GET", requests, ""},
		"applied approval request": {approved, "POST", requests + "/ID/apply", "{}"},
		"scheduled changes": {func(_ *testing.T, b *bundle) { b.server.Schedule("full", time.Now()) }, "GET",
			inside + "/scheduled-changes", ""},
		"error 400": {nil, "PATCH", flags + "/full", `{`},
		"error 401": {func(_ *testing.T, b *bundle) { b.header.Set("Authorization", "nobody") }, "GET", flags + "/full", ""},
		"error 403": {func(_ *testing.T, b *bundle) { b.server.Deny("updateOn") }, "PATCH", flags + "/full", turnOn},
		"error 404": {nil, "GET", flags + "/none", ""},
		"error 405": {func(_ *testing.T, b *bundle) { b.server.Require(1) }, "PATCH", flags + "/full", turnOn},
		"error 409": {injected(409), "PATCH", flags + "/full", turnOn},
		"error 422": {injected(422), "PATCH", flags + "/full", turnOn},
		"error 429": {injected(429), "GET", flags + "/full", ""},
		"error 503": {injected(503), "GET", flags + "/full", ""},
	}
	all := reference(t)
	require.ElementsMatch(t, slices.Collect(maps.Keys(all)), slices.Collect(maps.Keys(answers)), "each documented answer is asked for")
	for name, c := range answers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.furnish(t)
			if c.given != nil {
				c.given(t, &b)
			}
			path := c.path
			if filed := b.server.Approvals("full"); len(filed) > 0 {
				path = strings.ReplaceAll(path, "ID", filed[0].ID)
			}
			status, answer, header := b.whole(t, c.method, path, c.body)
			all[name].requireAlike(t, status, header, answer)
		})
	}
}

func injected(status int) func(*testing.T, *bundle) {
	return func(_ *testing.T, b *bundle) { b.server.Inject(status, 1) }
}

// beta asks for resources that are still called so.
func beta(_ *testing.T, b *bundle) { b.header.Set("LD-API-Version", "beta") }

func TestBetaResourcesWantTheirHeader(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const path = "/api/v2/flags/shop/production/new-page/dependent-flags"
	status, _, _ := b.whole(t, "GET", path, "")
	require.Equal(t, http.StatusForbidden, status)
	beta(t, &b)
	status, _, _ = b.whole(t, "GET", path, "")
	require.Equal(t, http.StatusOK, status)
}

// furnish makes the flag full, which has one of everything.
func (b *bundle) furnish(t *testing.T) {
	t.Helper()
	status, _, _ := b.whole(t, "POST", "/api/v2/flags/shop", `{"key": "full", "name": "Full", "tags": ["a"], "maintainerId": "m"}`)
	require.Equal(t, http.StatusCreated, status)
	flag, _ := b.server.Snapshot("full")
	parent := b.snapshot(t).Variations[0].ID
	status, answer, _ := b.whole(t, "PATCH", "/api/v2/flags/shop/full", strings.NewReplacer("YES", flag.Variations[0].ID,
		"NO", flag.Variations[1].ID, "PARENT", parent).Replace(`{"environmentKey": "production", "instructions": [
		{"kind": "updateFallthroughVariationOrRollout", "rolloutWeights": {"YES": 25000, "NO": 75000}, "rolloutBucketBy": "key"},
		{"kind": "addTargets", "values": ["anna"], "variationId": "YES"},
		{"kind": "addTargets", "values": ["phone"], "variationId": "YES", "contextKind": "device"},
		{"kind": "addRule", "description": "staff", "rolloutWeights": {"YES": 25000, "NO": 75000},
			"clauses": [{"attribute": "email", "op": "endsWith", "values": ["@example.com"]}]},
		{"kind": "replacePrerequisites", "prerequisites": [{"key": "new-page", "variationId": "PARENT"}]}]}`))
	require.Equal(t, http.StatusOK, status, answer)
}

func TestListsOfUsersArePointedTo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.furnish(t)
	_, answer, _ := b.rest(t, http.MethodGet, "/api/v2/flags/shop/full", "")
	raw, err := json.Marshal(answer["environments"].(map[string]any)["production"].(map[string]any)["contextTargets"])
	require.NoError(t, err)
	require.JSONEq(t, `[{"contextKind": "user", "variation": 0, "values": []}, {"contextKind": "device", "variation": 0, "values": ["phone"]}]`, string(raw))
}

// migrating makes the migration flag staged, with a cohort.
func migrating(t *testing.T, b *bundle) {
	t.Helper()
	status, _, _ := b.whole(t, "POST", "/api/v2/flags/shop", `{"key": "staged", "name": "Staged", "purpose": "migration", "tags": ["a"],
		"migrationSettings": {"stageCount": 6, "contextKind": "device"}, "maintainerId": "m"}`)
	require.Equal(t, http.StatusCreated, status)
	flag, _ := b.server.Snapshot("staged")
	status, answer, _ := b.whole(t, "PATCH", "/api/v2/flags/shop/staged", strings.ReplaceAll(`{"environmentKey": "production",
		"instructions": [{"kind": "addRule", "description": "one device", "rolloutContextKind": "device", "rolloutBucketBy": "key",
		"rolloutWeights": {"SHADOW": 100000}, "clauses": [{"contextKind": "device", "attribute": "key", "op": "in", "values": ["phone"]}]}]}`,
		"SHADOW", flag.Variations[2].ID))
	require.Equal(t, http.StatusOK, status, answer)
}

// approved files a request that somebody has approved.
func approved(t *testing.T, b *bundle) {
	t.Helper()
	status, _, _ := b.whole(t, "POST", "/api/v2/projects/shop/flags/full/environments/production/approval-requests",
		`{"description": "please", "instructions": [{"kind": "turnFlagOn"}]}`)
	require.Equal(t, http.StatusCreated, status)
	b.server.Review("full", "erika", "approve")
}

// whole is rest for answers of any type.
func (b *bundle) whole(t *testing.T, method, path, body string) (int, any, http.Header) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, b.server.URL()+path, strings.NewReader(body))
	require.NoError(t, err)
	request.Header = b.header.Clone()
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	var answer any
	require.NoError(t, json.Unmarshal(raw, &answer), "%s", raw)
	return response.StatusCode, answer, response.Header
}
