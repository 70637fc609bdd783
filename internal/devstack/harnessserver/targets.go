package harnessserver

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
)

// UnknownTargets is what a patch does with targets that the environment doesn't know, which is documented nowhere.
type UnknownTargets string

const (
	RefuseUnknown   UnknownTargets = ""          // with 404
	LeaveOutUnknown UnknownTargets = "leave out" // and answer 200
	TakeUnknown     UnknownTargets = "take"
)

// targetIdentifier is the pattern of https://developer.harness.io/docs/feature-flags/use-ff/ff-target-management/add-targets
var targetIdentifier = regexp.MustCompile(`^[A-Za-z0-9.@_-]+$`)

// CreateTargets makes targets that the environment knows, as an SDK does that evaluates for them.
func (s *Server) CreateTargets(identifiers ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range identifiers {
		s.targets[one] = true
	}
}

// ForgetTargets lets targets expire.
func (s *Server) ForgetTargets(identifiers ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range identifiers {
		delete(s.targets, one)
	}
}

// Targets that the environment knows, in no order.
func (s *Server) Targets() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for one := range s.targets {
		out = append(out, one)
	}
	return out
}

// target is the admin API's.
type target struct {
	Identifier  string         `json:"identifier"`
	Name        string         `json:"name"`
	Anonymous   bool           `json:"anonymous"`
	Attributes  map[string]any `json:"attributes"`
	Account     string         `json:"account"`
	Org         string         `json:"org"`
	Project     string         `json:"project"`
	Environment string         `json:"environment"`
}

func (s *Server) getTarget(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	identifier, query := r.PathValue("identifier"), r.URL.Query()
	if !s.targets[identifier] || query.Get("projectIdentifier") != s.options.Project || query.Get("environmentIdentifier") != s.options.Environment {
		refuse(w, http.StatusNotFound, "The specified resource was not found")
		return
	}
	answer(w, http.StatusOK, target{
		identifier, identifier, false, map[string]any{}, s.options.Account, s.options.Organization, s.options.Project, s.options.Environment,
	})
}

func (s *Server) createTarget(w http.ResponseWriter, r *http.Request) {
	var t target
	if err := json.NewDecoder(r.Body).Decode(&t); err != nil {
		refuse(w, http.StatusBadRequest, "Malformed JSON")
		return
	}
	if !targetIdentifier.MatchString(t.Identifier) || t.Name == "" || t.Account != s.options.Account || t.Org != s.options.Organization ||
		t.Project != s.options.Project || t.Environment != s.options.Environment {
		refuse(w, http.StatusBadRequest, "A target needs identifier, name, account, org, project and environment")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.targets[t.Identifier] {
		refuse(w, http.StatusConflict, "The specified resource already exists")
		return
	}
	s.targets[t.Identifier] = true
	w.WriteHeader(http.StatusCreated)
}

// known leaves targets that the environment doesn't know to its way with them; false refuses the patch. Whom the flag names already stays
// known. The caller holds mu.
func (s *Server) known(p *parameters, of Feature) bool {
	unknown := func(one string) bool {
		return !s.targets[one] && !slices.ContainsFunc(of.EnvProperties.VariationMap, func(m VariationMap) bool {
			return slices.ContainsFunc(m.Targets, func(t Target) bool { return t.Identifier == one })
		})
	}
	switch s.options.UnknownTargets {
	case RefuseUnknown:
		return !slices.ContainsFunc(p.Targets, unknown)
	case LeaveOutUnknown:
		p.Targets = slices.DeleteFunc(p.Targets, unknown)
	}
	return true
}
