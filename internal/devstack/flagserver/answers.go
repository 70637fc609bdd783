package flagserver

import (
	"net/http"
	"slices"
	"strings"
)

// link is the place and type of a related resource.
type link struct {
	Href string `json:"href"`
	Type string `json:"type"`
}

func jsonLink(href string) link { return link{href, "application/json"} }

// flagAnswer is a flag as the REST API shows it: what is stored, and what goes without saying.
type flagAnswer struct {
	Flag
	IncludeInSnippet       bool                         `json:"includeInSnippet"`
	ClientSideAvailability clientSideAvailability       `json:"clientSideAvailability"`
	Links                  map[string]link              `json:"_links"`
	GoalIDs                []string                     `json:"goalIds"`
	Experiments            experiments                  `json:"experiments"`
	CustomProperties       map[string]any               `json:"customProperties"`
	Deprecated             bool                         `json:"deprecated"`
	Environments           map[string]environmentAnswer `json:"environments,omitempty"`
}

type clientSideAvailability struct {
	UsingMobileKey     bool `json:"usingMobileKey"`
	UsingEnvironmentID bool `json:"usingEnvironmentId"`
}

type experiments struct {
	BaselineIdx int   `json:"baselineIdx"`
	Items       []any `json:"items"`
}

type environmentAnswer struct {
	*Environment
	Site            link   `json:"_site"`
	EnvironmentName string `json:"_environmentName"`
}

// view is what of a flag somebody wants to see.
type view struct{ environments, expand []string }

// flagAnswer has the migration settings only where they are expanded.
func (s *Server) flagAnswer(f Flag, v view) flagAnswer {
	f = filtered(f, v.environments)
	if !slices.Contains(strings.Split(strings.Join(v.expand, ","), ","), "migrationSettings") {
		f.Migration = nil
	}
	path := "/api/v2/flags/" + s.options.Project
	out := flagAnswer{
		Flag: f, GoalIDs: []string{}, Experiments: experiments{Items: []any{}}, CustomProperties: map[string]any{},
		Links:        map[string]link{"parent": jsonLink(path), "self": jsonLink(path + "/" + f.Key)},
		Environments: map[string]environmentAnswer{},
	}
	for name, e := range f.Environments {
		shown := *e
		shown.ContextTargets = e.allTargets()
		out.Environments[name] = environmentAnswer{
			&shown, link{"/" + s.options.Project + "/" + name + "/features/" + f.Key, "text/html"}, name,
		}
	}
	return out
}

// projectAnswer leaves the environments out, as LaunchDarkly does unless they are asked for.
type projectAnswer struct {
	Links                     map[string]link        `json:"_links"`
	ID                        string                 `json:"_id"`
	Key                       string                 `json:"key"`
	Name                      string                 `json:"name"`
	IncludeInSnippetByDefault bool                   `json:"includeInSnippetByDefault"`
	ClientSideAvailability    clientSideAvailability `json:"defaultClientSideAvailability"`
	Tags                      []string               `json:"tags"`
}

func (s *Server) getProject(w http.ResponseWriter, r *http.Request) {
	if r.PathValue("project") != s.options.Project {
		refuse(w, http.StatusNotFound)
		return
	}
	self := "/api/v2/projects/" + s.options.Project
	answer(w, http.StatusOK, projectAnswer{
		Links: map[string]link{"self": jsonLink(self), "environments": jsonLink(self + "/environments")},
		ID:    objectID(s.options.Project), Key: s.options.Project, Name: s.options.Project, Tags: []string{},
	})
}

type fullEnvironment struct {
	Links              map[string]link   `json:"_links"`
	ID                 string            `json:"_id"`
	Key                string            `json:"key"`
	Name               string            `json:"name"`
	APIKey             string            `json:"apiKey"` // the SDK key
	MobileKey          string            `json:"mobileKey"`
	Color              string            `json:"color"`
	DefaultTTL         int               `json:"defaultTtl"` // minutes
	SecureMode         bool              `json:"secureMode"`
	DefaultTrackEvents bool              `json:"defaultTrackEvents"`
	RequireComments    bool              `json:"requireComments"`
	ConfirmChanges     bool              `json:"confirmChanges"`
	Tags               []string          `json:"tags"`
	ApprovalSettings   *ApprovalSettings `json:"approvalSettings,omitempty"`
	Critical           bool              `json:"critical"`
}

func (s *Server) getEnvironment(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ours(w, r) {
		return
	}
	name := s.options.Environment
	settings := s.approvals
	answer(w, http.StatusOK, fullEnvironment{
		Links: map[string]link{"self": jsonLink("/api/v2/projects/" + s.options.Project + "/environments/" + name)},
		ID:    objectID(name), Key: name, Name: name, APIKey: s.options.SDKKey, MobileKey: "mob-" + objectID(name), Color: "ff0000",
		Tags: []string{}, ApprovalSettings: &settings,
	})
}
