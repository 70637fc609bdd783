package launchdarkly_test

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
)

// answered is what the server says, in place of what it would.
func answered(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
}

func TestSegmentsAreLookedUpBeforeAnythingChanges(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.NoError(t, b.server.PutSegment("beta", nil))
	change := flags.Change{Percent: 10, Segments: []string{"beta", "betta"}}
	_, previewErr := b.provider.Preview(t.Context(), plain, change)
	_, applyErr := b.provider.Apply(t.Context(), plain, change, "", nil)
	for _, err := range []error{previewErr, applyErr, b.provider.Rehearse(t.Context(), plain, change)} {
		requireDiscreet(t, err)
		require.ErrorIs(t, err, flags.ErrInvalid)
		require.ErrorContains(t, err, `there is no segment "betta" in project "shop", environment "production"`)
	}
	require.Empty(t, b.wire.patches())

	change.Segments = []string{"beta"}
	for _, c := range []struct {
		status     int
		body, says string
		is         error
	}{
		{http.StatusOK, `{"key": "beta", "deleted": true}`, `no segment "beta"`, flags.ErrInvalid},
		{http.StatusForbidden, `{"code": "forbidden", "access": {"action": "viewSegment", "resource": "proj/shop"}}`, `segment "beta"`, flags.ErrUnauthorized},
	} {
		b.wire.instead = func(r *http.Request) *http.Response {
			if !strings.HasSuffix(r.URL.Path, "/segments/shop/production/beta") {
				return nil
			}
			return answered(c.status, c.body)
		}
		_, err := b.provider.Preview(t.Context(), plain, change)
		require.ErrorIs(t, err, c.is)
		require.ErrorContains(t, err, c.says)
	}
}

func TestTargetsAndRulesAreChangedOneByOne(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.furnish(t, "furnished")
	require.NoError(t, b.server.PutSegment("beta", nil))
	yes, no := b.ids(t, "furnished")
	theirs := b.environment(t, "furnished").Rules[0].ID
	before, err := b.provider.Get(t.Context(), "furnished")
	require.NoError(t, err)
	ours, err := b.provider.Apply(t.Context(), "furnished", flags.Change{
		Percent: 25, Segments: []string{"beta"}, Targets: map[string][]string{"user": {"user-1", "anna"}, "device": {"phone"}},
	}, "", nil)
	require.NoError(t, err)
	require.JSONEq(t, strings.NewReplacer("YES", yes, "NO", no, "THEIRS", theirs).Replace(`{"environmentKey": "production", "instructions": [
		{"kind": "removeTargets", "contextKind": "user", "variationId": "NO", "values": ["user-1"]},
		{"kind": "addTargets", "contextKind": "user", "variationId": "YES", "values": ["anna", "user-1"]},
		{"kind": "addRule", "beforeRuleId": "THEIRS", "variationId": "YES", "description": "contraflow: segments that go first",
		 "clauses": [{"contextKind": "user", "attribute": "segmentMatch", "op": "segmentMatch", "values": ["beta"], "negate": false}]}]}`),
		b.wire.patches()[0].body)
	_, err = b.provider.Restore(t.Context(), "furnished", before, ours, "", nil)
	require.NoError(t, err)
	require.Contains(t, b.wire.patches()[1].body, `"removeRule"`)
	require.Equal(t, theirs, b.environment(t, "furnished").Rules[0].ID, "it was never touched")
}

func TestWhoIsTargetedByAStrangerAtTheSameMomentStaysSo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	yes, _ := b.ids(t, plain)
	raced := false
	b.wire.instead = func(r *http.Request) *http.Response {
		if r.Method == http.MethodPatch && !raced {
			raced = true
			b.instruct(t, plain, `{"kind": "addTargets", "values": ["theirs"], "variationId": "`+yes+`"}`)
		}
		return nil
	}
	state, err := b.provider.Apply(t.Context(), plain, flags.Change{Targets: map[string][]string{"user": {"ours"}}}, "", nil)
	require.NoError(t, err)
	require.Equal(t, "on: 0 % true, 2 targets", state.Summary)
}

func TestRulesThatTrackEventsComeBackWhole(t *testing.T) {
	t.Parallel()
	b := setup(t)
	yes, _ := b.ids(t, plain)
	b.instruct(t, plain, `{"kind": "replaceRules", "rules": [{"variationId": "`+yes+`", "description": "tracked", "trackEvents": true,
		"clauses": [{"contextKind": "user", "attribute": "email", "op": "endsWith", "values": ["@example.com"], "negate": false}]}]}`)
	before, err := b.provider.Get(t.Context(), plain)
	require.NoError(t, err)
	b.instruct(t, plain, `{"kind": "replaceRules", "rules": []}`)
	ours, err := b.provider.Get(t.Context(), plain)
	require.NoError(t, err)
	_, err = b.provider.Restore(t.Context(), plain, before, ours, "", nil)
	require.NoError(t, err)
	require.Contains(t, b.wire.patches()[0].body, `"replaceRules"`, "no trackEvents are documented of addRule")
}

func TestDependentsAreFoundWhereTheServiceDoesNotTell(t *testing.T) {
	t.Parallel()
	b := setup(t)
	yes, _ := b.ids(t, plain)
	for i := range 120 { // more than one page
		require.NoError(t, b.server.CreateFlag("flag-"+strconv.Itoa(100+i)))
	}
	want := []string{"flag-103", "flag-219"}
	for _, key := range append(want, "flag-150") {
		b.instruct(t, key, `{"kind": "replacePrerequisites", "prerequisites": [{"key": "plain", "variationId": "`+yes+`"}]}`)
	}
	b.rest(t, http.MethodPatch, "/api/v2/flags/shop/flag-150", `{"instructions": [{"kind": "archiveFlag"}]}`)
	got, err := b.provider.Dependents(t.Context(), plain)
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.Empty(t, b.wire.all(http.MethodGet, "offset=0&sort=key&summary=0"), "told is enough")

	for _, status := range []int{http.StatusForbidden, http.StatusNotFound} {
		b.wire.instead = func(r *http.Request) *http.Response {
			if !strings.HasSuffix(r.URL.Path, "/dependent-flags") {
				return nil
			}
			return answered(status, `{"code": "forbidden", "message": "Prerequisites are not part of your plan"}`)
		}
		got, err = b.provider.Dependents(t.Context(), plain)
		require.NoError(t, err)
		require.Equal(t, want, got)
		_, err = b.provider.Dependents(t.Context(), "absent")
		require.ErrorIs(t, err, flags.ErrNotFound)
	}
	require.Len(t, b.wire.all(http.MethodGet, "offset=100&sort=key&summary=0"), 2)
}

func TestAListIsReadToItsEndWhereNobodyCountsIt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const item = `{"items": [{"key": "KEY", "environments": {"production": {"prerequisites": [{"key": "plain", "variation": 0}]}}}]}`
	pages := map[string]string{
		"0": strings.ReplaceAll(item, "KEY", "one"), "1": strings.ReplaceAll(item, "KEY", "two"), "2": `{"items": []}`,
	}
	b.wire.instead = func(r *http.Request) *http.Response {
		if strings.HasSuffix(r.URL.Path, "/dependent-flags") {
			return answered(http.StatusForbidden, "")
		}
		if page, ok := pages[r.URL.Query().Get("offset")]; ok {
			return answered(http.StatusOK, page)
		}
		return nil
	}
	got, err := b.provider.Dependents(t.Context(), plain)
	require.NoError(t, err)
	require.Equal(t, []string{"one", "two"}, got)

	pages["1"] = `{"items": [{"key": "two"}]}` // of no environment
	_, err = b.provider.Dependents(t.Context(), plain)
	require.ErrorContains(t, err, `lists flag "two" without environment "production"`)
}

func TestAPrerequisiteIsNotArchivedAndNamed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.NoError(t, b.server.CreateFlag("child"))
	yes, _ := b.ids(t, plain)
	b.instruct(t, "child", `{"kind": "replacePrerequisites", "prerequisites": [{"key": "plain", "variationId": "`+yes+`"}]}`)
	err := b.provider.Archive(t.Context(), plain, "")
	require.ErrorIs(t, err, flags.ErrInvalid)
	require.ErrorContains(t, err, "a prerequisite of child")
}

func TestAPrerequisiteThatIsGoneIsNamed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ method, body, says string }{
		{http.MethodDelete, "", "is no more"},
		{http.MethodPatch, `{"instructions": [{"kind": "archiveFlag"}]}`, "is archived"},
	} {
		b := setup(t)
		require.NoError(t, b.server.CreateFlag("parent"))
		parent, _ := b.ids(t, "parent")
		b.instruct(t, plain, `{"kind": "replacePrerequisites", "prerequisites": [{"key": "parent", "variationId": "`+parent+`"}]}`)
		before, err := b.provider.Get(t.Context(), plain)
		require.NoError(t, err)
		b.instruct(t, plain, `{"kind": "replacePrerequisites", "prerequisites": []}`)
		ours, err := b.provider.Get(t.Context(), plain)
		require.NoError(t, err)
		b.rest(t, c.method, "/api/v2/flags/shop/parent", c.body)
		_, err = b.provider.Restore(t.Context(), plain, before, ours, "", nil)
		require.ErrorIs(t, err, flags.ErrNotRestorable)
		require.ErrorContains(t, err, `the prerequisite "parent", which `+c.says)
		require.True(t, flags.Permanent(err))
	}
}
