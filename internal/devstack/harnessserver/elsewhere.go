package harnessserver

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// inEnvironment is what another environment has of a flag.
type inEnvironment struct {
	state         string // on or off
	status        Status
	prerequisites []Prerequisite
}

// Elsewhere says what another environment of the project has of a flag: whether it is on there, for everybody, and what its status
// is. That is all there is of the environment.
func (s *Server) Elsewhere(environment, identifier, state string, status Status) {
	s.inOther(environment, identifier, func(in *inEnvironment) { in.state, in.status = state, status })
}

// Depend lets a flag need another to serve true in another environment of the project.
func (s *Server) Depend(environment, identifier, on string) {
	s.inOther(environment, identifier, func(in *inEnvironment) {
		in.prerequisites = append(slices.Clone(in.prerequisites), Prerequisite{Feature: on, Variations: []string{"true"}})
	})
}

func (s *Server) inOther(environment, identifier string, change func(*inEnvironment)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.elsewhere[environment] == nil {
		s.elsewhere[environment] = map[string]inEnvironment{}
	}
	in, ok := s.elsewhere[environment][identifier]
	if !ok {
		in = inEnvironment{state: "off", status: neverRequested()}
	}
	change(&in)
	s.elsewhere[environment][identifier] = in
}

func neverRequested() Status { return Status{"never-requested", time.Time{}.UnixMilli()} }

// shownElsewhere makes a flag what another environment shows of it. The caller holds mu.
func (s *Server) shownElsewhere(f *Feature, environment string) {
	flags, ok := s.elsewhere[environment]
	if !ok {
		f.EnvProperties = nil
		return
	}
	in, ok := flags[f.Identifier]
	if !ok {
		in = inEnvironment{state: "off", status: neverRequested()}
	}
	f.Status = &in.status
	f.Prerequisites = append(slices.Clone(f.Prerequisites), in.prerequisites...)
	f.EnvProperties = &Environment{
		Environment: environment, State: in.state, OffVariation: f.DefaultOffVariation, Version: 1,
		DefaultServe: Serve{Variation: f.DefaultOnVariation}, VariationMap: []VariationMap{}, Rules: []Rule{},
	}
}

// listEnvironments gives one page, as large as it is asked for.
func (s *Server) listEnvironments(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	query := r.URL.Query()
	all := append(slices.Sorted(maps.Keys(s.elsewhere)), s.options.Environment)
	if query.Get("projectIdentifier") != s.options.Project {
		all = nil
	}
	index, _ := strconv.Atoi(query.Get("page")) // 0 where none is named
	size, err := strconv.Atoi(query.Get("size"))
	if err != nil || size < 1 {
		size = 100
	}
	from := min(max(index, 0)*size, len(all))
	content := []map[string]any{}
	for _, environment := range all[from:min(from+size, len(all))] {
		content = append(content, map[string]any{"createdAt": 0, "lastModifiedAt": 0, "environment": map[string]any{
			"accountId": s.options.Account, "orgIdentifier": s.options.Organization, "projectIdentifier": s.options.Project,
			"identifier": environment, "name": environment, "type": "PreProduction", "deleted": false, "tags": map[string]string{},
		}})
	}
	answer(w, http.StatusOK, map[string]any{"status": "SUCCESS", "metaData": nil, "correlationId": "", "data": map[string]any{
		"totalPages": (len(all) + size - 1) / size, "totalItems": len(all), "pageItemCount": len(content), "pageSize": size,
		"content": content, "pageIndex": index, "empty": len(content) == 0,
	}})
}
