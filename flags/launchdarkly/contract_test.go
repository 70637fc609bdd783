package launchdarkly_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/launchdarkly"
)

// TestTheDocumentedAnswersAreUnderstood feeds the client the public reference's own examples, to which the stand-in is held too.
func TestTheDocumentedAnswersAreUnderstood(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../internal/devstack/flagserver/testdata/documented.json")
	require.NoError(t, err)
	var all []struct {
		Name   string
		Status int
		Answer json.RawMessage
	}
	require.NoError(t, json.Unmarshal(raw, &all))
	type example struct {
		status int
		body   json.RawMessage
	}
	examples := map[string]example{}
	for _, one := range all {
		examples[one.Name] = example{one.Status, one.Answer}
	}
	const inside = "/api/v2/projects/my-project/flags/flag-key-123abc/environments/my-environment"
	const dependents = "/api/v2/flags/my-project/flag-key-123abc/dependent-flags"
	routes := map[string]string{
		"GET /api/v2/flags/my-project/flag-key-123abc":                        "flag",
		"PATCH /api/v2/flags/my-project/flag-key-123abc":                      "error 405",
		"GET /api/v2/flag-statuses/my-project/my-environment/flag-key-123abc": "flag status",
		"GET /api/v2/flag-status/my-project/flag-key-123abc":                  "flag status across environments",
		"GET /api/v2/flags/my-project/migration-flag-key-123abc":              "migration flag",
		"GET /api/v2/flags/my-project/dependent-flag-key-123abc":              "flag",
		"GET /api/v2/flags/my-project/other-flag":                             "flag",
		"GET /api/v2/flags/my-project":                                        "list of flags",
		"GET " + dependents:                                                   "dependent flags of all environments",
		"GET /api/v2/segments/my-project/my-environment/beta":                 "segment",
		"GET /api/v2/projects/my-project":                                     "project",
		"GET /api/v2/projects/my-project/environments/my-environment":         "environment",
		"GET " + inside + "/approval-requests":                                "approval requests",
		"POST " + inside + "/approval-requests":                               "approval request",
		"GET " + inside + "/scheduled-changes":                                "scheduled changes",
	}
	open := func(t *testing.T, other map[string]string) *launchdarkly.Provider {
		t.Helper()
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			request := r.Method + " " + r.URL.Path
			name := routes[request]
			if instead, ok := other[request]; ok {
				name = instead
			}
			answer, ok := examples[name]
			if !ok {
				answer = examples["error 404"]
			}
			if answer.status == http.StatusTooManyRequests {
				w.Header().Set("Retry-After", "3600")
			}
			w.WriteHeader(answer.status)
			_, _ = w.Write(answer.body)
		}))
		t.Cleanup(server.Close)
		p, err := launchdarkly.New(t.Context(), launchdarkly.Config{APIURL: server.URL, StreamURL: server.URL, Token: token,
			SDKKey: sdkKey, Project: "my-project", Environment: "my-environment", RequestApprovals: true})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, p.Close()) })
		return p
	}
	const key = "flag-key-123abc"
	all100 := flags.Change{Percent: 100}

	p := open(t, nil)
	state, err := p.Get(t.Context(), key)
	require.NoError(t, err)
	require.Equal(t, "off", state.Summary)
	require.Equal(t, 1, state.Version)
	for _, part := range []string{"user-key-123abc", "device-key-123abc", "@example.com", "other-flag", `"offVariation":1`} {
		require.Contains(t, string(state.Config), part)
	}
	status, err := p.Status(t.Context(), key)
	require.NoError(t, err)
	require.Equal(t, flags.Status{
		Activity: flags.Inactive, LastRequested: time.Date(2020, 2, 5, 18, 17, 1, 514_000_000, time.UTC),
	}, status)

	elsewhere, err := p.Elsewhere(t.Context(), key)
	require.NoError(t, err)
	require.Equal(t, map[string]flags.Status{"production": status}, elsewhere)

	// The default rule of the example runs an experiment, by its seed, which is left alone.
	_, err = p.Apply(t.Context(), key, all100, note, nil)
	require.ErrorIs(t, err, flags.ErrNotRestorable)
	plainFlag := examples["flag"]
	plainFlag.body = json.RawMessage(strings.ReplaceAll(string(plainFlag.body), `"seed"`, `"was"`))
	examples["flag"] = plainFlag
	_, err = p.Apply(t.Context(), key, all100, note, nil)
	var required *flags.ApprovalRequired
	require.ErrorAs(t, err, &required)
	require.Contains(t, required.Who, "1 approval (service launchdarkly)")
	require.Contains(t, required.Who, "/default/my-environment/features/client-side-flag")
	require.Contains(t, required.Who, "approve the request 12ab3c45de678910abc12345")

	preview, err := p.Preview(t.Context(), key, flags.Change{Percent: 100, Segments: []string{"beta"}})
	require.NoError(t, err)
	require.Equal(t, "on: 100 % true, 2 targets, 2 rules, 1 prerequisite", preview.Summary)
	needed, err := p.Dependents(t.Context(), key)
	require.NoError(t, err)
	require.Equal(t, []string{"dependent-flag-key-123abc (environment environment-key-123abc)"}, needed)
	needed, err = p.Dependents(t.Context(), "other-flag") // not told here, and so found in the list
	require.NoError(t, err)
	require.Equal(t, []string{key}, needed)

	state, err = p.Get(t.Context(), "migration-flag-key-123abc")
	require.NoError(t, err)
	require.Equal(t, flags.StageOff, state.Stage)
	preview, err = p.Preview(t.Context(), "migration-flag-key-123abc", flags.Change{Stage: flags.StageLive})
	require.NoError(t, err)
	require.Equal(t, "on: stage live, 1 rule", preview.Summary)
	_, err = p.Preview(t.Context(), "migration-flag-key-123abc", flags.Change{Exclude: &flags.Context{Kind: "user", Key: "anna"}})
	require.ErrorIs(t, err, flags.ErrInvalid)
	require.ErrorContains(t, err, `of kind "device"`)

	for name, want := range map[string]struct {
		is   error
		says string
	}{
		"error 400": {flags.ErrInvalid, "scheduled for 2021-11-10T"},
		"error 401": {flags.ErrUnauthorized, "renew the API token"},
		"error 403": {flags.ErrUnauthorized, `action "createFlag" on "proj/default:env/test:flag/my-new-flag"`},
		"error 404": {flags.ErrNotFound, "create the flag"},
		"error 409": {flags.ErrConflict, "optimistic_locking_error"},
		"error 422": {flags.ErrInvalid, "patch_failed"},
		"error 429": {nil, "rate limited until"},
		"error 503": {nil, "service_unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := open(t, map[string]string{"PATCH /api/v2/flags/my-project/" + key: name}).Apply(t.Context(), key, all100, note, nil)
			requireDiscreet(t, err)
			if want.is != nil {
				require.ErrorIs(t, err, want.is)
			}
			require.ErrorContains(t, err, want.says)
		})
	}
}
