package flagserver_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// The references' own examples give a type for each field, and no more.
func TestTheTokenIsDescribedAsDocumented(t *testing.T) {
	t.Parallel()
	b := setup(t)
	status, caller, header := b.whole(t, http.MethodGet, "/api/v2/caller-identity", "")
	documented{
		Name: "caller identity", Sources: []string{"https://launchdarkly.com/docs/api/other/get-caller-identity"}, Status: http.StatusOK,
		Optional: []string{"environmentId", "projectId", "environmentName", "projectName", "clientId"},
		Answer: map[string]any{
			"accountId": "", "environmentId": "", "projectId": "", "environmentName": "", "projectName": "", "authKind": "", "tokenKind": "",
			"clientId": "", "tokenName": "", "tokenId": "", "memberId": "", "serviceToken": true, "scopes": []any{""},
		},
	}.requireAlike(t, status, header, caller)

	token := documented{
		Name: "access token", Sources: []string{"https://launchdarkly.com/docs/api/access-tokens/get-token"}, Status: http.StatusOK,
		Optional: []string{"_member", "description", "customRoleIds", "inlineRole", "role", "token"}, Maps: []string{"_links"},
		Answer: map[string]any{
			"_id": "", "ownerId": "", "memberId": "", "_member": map[string]any{}, "name": "", "description": "", "creationDate": 1.0,
			"lastModified": 1.0, "customRoleIds": []any{""}, "inlineRole": []any{}, "role": "", "token": "", "serviceToken": true,
			"_links": map[string]any{"self": map[string]any{"href": "", "type": ""}}, "defaultApiVersion": 1.0, "lastUsed": 1.0,
		},
	}
	path := "/api/v2/tokens/" + caller.(map[string]any)["tokenId"].(string)
	for _, custom := range [][]string{nil, {"shop-flags"}} {
		b.server.Role("reader", custom...)
		status, answer, header := b.whole(t, http.MethodGet, path, "")
		token.requireAlike(t, status, header, answer)
		require.Equal(t, custom == nil, answer.(map[string]any)["role"] == "reader")
	}
	status, _, _ = b.whole(t, http.MethodGet, path+"0", "")
	require.Equal(t, http.StatusNotFound, status)
}
