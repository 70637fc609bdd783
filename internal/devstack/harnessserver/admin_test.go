package harnessserver_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/harnessserver"
)

// page is Pagination of the API's specification, with features.
type page struct {
	ItemCount int                     `json:"itemCount"`
	PageCount int                     `json:"pageCount"`
	PageIndex int                     `json:"pageIndex"`
	PageSize  int                     `json:"pageSize"`
	Features  []harnessserver.Feature `json:"features"`
}

func TestFlagsAreListedPageByPage(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for i := range 52 {
		b.server.CreateFlag(fmt.Sprintf("flag-%02d", i))
	}
	status, _ := b.admin(t, http.MethodDelete, "/flag-00"+scope+"&forceDelete=false", "")
	require.Equal(t, http.StatusNoContent, status)
	list := func(query string) page {
		status, answer := b.admin(t, http.MethodGet, scope+query, "")
		require.Equal(t, http.StatusOK, status)
		var out page
		strictly(t, answer, &out)
		return out
	}
	first, last := list("&pageSize=20"), list("&pageSize=20&pageNumber=2")
	require.Equal(t, [4]int{51, 3, 0, 20}, [4]int{first.ItemCount, first.PageCount, first.PageIndex, first.PageSize})
	require.Equal(t, "flag-01", first.Features[0].Identifier, "without the archived one")
	require.NotNil(t, first.Features[0].EnvProperties)
	require.Len(t, first.Features, 20)
	require.Len(t, last.Features, 11)
	require.Empty(t, list("&pageSize=20&pageNumber=3").Features)
	require.Equal(t, 50, list("&pageSize=1000").PageSize, "no page is as large as one likes")
	require.Len(t, list("&archived=true").Features, 1)
	status, _ = b.admin(t, http.MethodGet, strings.Replace(scope, "=shop", "=other", 1), "")
	require.Equal(t, http.StatusNotFound, status)
}

func TestTargetGroupsAreOfTheEnvironment(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.server.CreateSegment("beta", []string{"anna"}, nil)
	get := func(path string) (int, []byte) {
		return b.do(t, http.MethodGet, "/gateway/cf/admin/segments"+path, "", http.Header{"X-Api-Key": {apiKey}})
	}
	status, answer := get("/beta" + scope)
	require.Equal(t, http.StatusOK, status)
	var group harnessserver.Segment
	strictly(t, answer, &group)
	require.Equal(t, "anna", group.Included[0].Identifier)
	for _, path := range []string{"/gamma" + scope, "/beta" + strings.Replace(scope, "=production", "=staging", 1)} {
		status, _ = get(path)
		require.Equal(t, http.StatusNotFound, status, path)
	}
}

func TestRulesAreNumberedAnewAndPrerequisitesComeAndGo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.server.CreateFlag("flag")
	add := func(id string) string {
		return `{"kind": "addRule", "parameters": {"uuid": "` + id + `", "priority": 7, "serve": {"variation": "true"}, "clauses": [{"op": "in", "values": []}]}}`
	}
	status, answer := b.admin(t, http.MethodPatch, "/flag"+scope, `{"instructions": [`+add("a")+`,`+add("b")+`,
		{"kind": "reorderRules", "parameters": {"rules": ["b", "a"]}},
		{"kind": "addPrerequisite", "parameters": {"feature": "base", "variations": ["true"]}}]}`)
	require.Equal(t, http.StatusOK, status, "%s", answer)
	flag, _ := b.server.Snapshot("flag")
	require.Equal(t, "a", flag.EnvProperties.Rules[0].RuleID)
	require.Equal(t, 2, flag.EnvProperties.Rules[0].Priority)
	require.Equal(t, 1, flag.EnvProperties.Rules[1].Priority)
	require.Equal(t, []harnessserver.Prerequisite{{Feature: "base", Variations: []string{"true"}}}, flag.Prerequisites)
	status, _ = b.admin(t, http.MethodPatch, "/flag"+scope, `{"instructions": [{"kind": "removePrerequisite", "parameters": {"feature": "base"}}]}`)
	require.Equal(t, http.StatusOK, status)
	flag, _ = b.server.Snapshot("flag")
	require.Empty(t, flag.Prerequisites)
}

func TestSDKsMayCountVersionsOtherwise(t *testing.T) {
	t.Parallel()
	b := setupWith(t, harnessserver.Options{SDKVersions: 100})
	b.server.CreateFlag("flag")
	header, environment := b.sdk(t)
	_, answer := b.do(t, http.MethodGet, client+"/client/env/"+environment+"/feature-configs/flag", "", header)
	var told struct{ Version int }
	require.NoError(t, json.Unmarshal(answer, &told))
	require.Equal(t, 101, told.Version)
}

// environments is ResponseDTOPageResponseEnvironmentResponse, as far as the stand-in answers it.
type environments struct {
	Status, CorrelationID string
	MetaData              any
	Data                  struct {
		TotalPages, TotalItems, PageItemCount, PageSize, PageIndex int
		Empty                                                      bool
		Content                                                    []struct {
			CreatedAt, LastModifiedAt int64
			Environment               struct {
				AccountID, OrgIdentifier, ProjectIdentifier, Identifier, Name, Type string
				Deleted                                                             bool
				Tags                                                                map[string]string
			}
		}
	}
}

func TestEnvironmentsAreListedPageByPage(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.server.Elsewhere("staging", "another", "on", harnessserver.Status{Status: "active", LastAccess: 1})
	list := func(query string) environments {
		status, answer := b.do(t, http.MethodGet, "/gateway/ng/api/environmentsV2"+scope+query, "", http.Header{"X-Api-Key": {apiKey}})
		require.Equal(t, http.StatusOK, status)
		var out environments
		strictly(t, answer, &out)
		return out
	}
	both, last := list(""), list("&page=1&size=1")
	require.Equal(t, "SUCCESS", both.Status)
	require.Equal(t, 1, both.Data.TotalPages)
	require.Equal(t, "staging", both.Data.Content[0].Environment.Identifier)
	require.Equal(t, []int{2, 2, 1}, []int{last.Data.TotalPages, last.Data.TotalItems, last.Data.PageItemCount})
	require.Equal(t, "production", last.Data.Content[0].Environment.Identifier)
	require.True(t, list("&page=2&size=1").Data.Empty)
	status, _ := b.do(t, http.MethodGet, "/gateway/ng/api/environmentsV2"+scope, "", nil)
	require.Equal(t, http.StatusUnauthorized, status)
}
