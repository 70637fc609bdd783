package flagserver

import (
	"cmp"
	"net/http"
)

// roles of the API token: a built-in one, or custom ones. What it may do says Deny.
type roles struct {
	builtIn string
	custom  []string // their ids
}

// Role gives the API token a built-in role ("reader", "writer", "admin"), or custom ones by their ids. It is a writer's before.
func (s *Server) Role(builtIn string, custom ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.roles = roles{builtIn, custom}
}

// tokenDate in epoch ms is when the token was made, by somebody who is called member.
const (
	tokenDate = 1_700_000_000_000
	member    = "member"
)

// getCaller follows https://launchdarkly.com/docs/api/other/get-caller-identity
func (s *Server) getCaller(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{
		"accountId": objectID("account"), "authKind": "token", "tokenKind": "auth", "tokenId": objectID(s.options.APIToken),
		"tokenName": "contraflow", "memberId": objectID(member), "serviceToken": true, "scopes": []string{},
	})
}

// getToken follows https://launchdarkly.com/docs/api/access-tokens/get-token; fields as in docs/Token.md of launchdarkly/api-client-go.
func (s *Server) getToken(w http.ResponseWriter, r *http.Request) {
	id := objectID(s.options.APIToken)
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.PathValue("id") != id {
		refuse(w, http.StatusNotFound)
		return
	}
	body := map[string]any{
		"_id": id, "ownerId": objectID(member), "memberId": objectID(member), "name": "contraflow", "serviceToken": true,
		"creationDate": tokenDate, "lastModified": tokenDate, "lastUsed": tokenDate, "defaultApiVersion": 20240415,
		"_links": map[string]link{"self": jsonLink(r.URL.Path), "parent": jsonLink("/api/v2/tokens")},
	}
	if len(s.roles.custom) > 0 {
		body["customRoleIds"] = s.roles.custom
	} else {
		body["role"] = cmp.Or(s.roles.builtIn, "writer")
	}
	answer(w, http.StatusOK, body)
}
