package harnessserver

import (
	"maps"
	"net/http"
	"slices"
)

// Segment is a target group, as the admin API and SDKs are shown it. It has no rules here: its members are named.
type Segment struct {
	Identifier  string          `json:"identifier"`
	Name        string          `json:"name"`
	Environment string          `json:"environment"`
	Included    []SegmentTarget `json:"included"`
	Excluded    []SegmentTarget `json:"excluded"`
	Version     int             `json:"version"`
}

// SegmentTarget is a target in a target group.
type SegmentTarget struct {
	Identifier  string `json:"identifier"`
	Name        string `json:"name"`
	Account     string `json:"account"`
	Org         string `json:"org"`
	Project     string `json:"project"`
	Environment string `json:"environment"`
}

// CreateSegment makes a target group of these targets, or replaces it.
func (s *Server) CreateSegment(identifier string, included, excluded []string) {
	named := func(identifiers []string) []SegmentTarget {
		out := []SegmentTarget{}
		for _, one := range identifiers {
			out = append(out, SegmentTarget{one, one, s.options.Account, s.options.Organization, s.options.Project, s.options.Environment})
		}
		return out
	}
	s.CreateTargets(slices.Concat(included, excluded)...)
	s.mu.Lock()
	defer s.mu.Unlock()
	version := s.segments[identifier].Version + 1
	s.segments[identifier] = Segment{
		Identifier: identifier, Name: identifier, Environment: s.options.Environment, Version: version,
		Included: named(included), Excluded: named(excluded),
	}
	s.broadcast(event{Event: "patch", Domain: "target-segment", Identifier: identifier, Version: version})
}

// getSegment is the admin API's.
func (s *Server) getSegment(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	if query.Get("projectIdentifier") != s.options.Project || query.Get("environmentIdentifier") != s.options.Environment {
		refuse(w, http.StatusNotFound, "The specified resource was not found")
		return
	}
	s.giveSegment(w, r)
}

func (s *Server) giveSegment(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	segment, ok := s.segments[r.PathValue("identifier")]
	if !ok {
		refuse(w, http.StatusNotFound, "The specified resource was not found")
		return
	}
	answer(w, http.StatusOK, segment)
}

func (s *Server) listSegments(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []Segment{}
	for _, key := range slices.Sorted(maps.Keys(s.segments)) {
		out = append(out, s.segments[key])
	}
	answer(w, http.StatusOK, out)
}
