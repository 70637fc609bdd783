package flagserver

import (
	"net/http"
	"time"
)

// heard is what an environment knows of those who ask for a flag.
type heard struct {
	name          string    // of the status
	lastRequested time.Time // zero for never
}

func (h heard) answer() map[string]any {
	out := map[string]any{"name": h.name, "lastRequested": nil, "default": nil}
	if !h.lastRequested.IsZero() {
		out["lastRequested"] = h.lastRequested.UTC().Format(time.RFC3339Nano)
	}
	return out
}

// Elsewhere says what another environment of the project has heard of a flag: its status by name, and when it was last asked
// for, zero for never. That is all there is of the environment.
func (s *Server) Elsewhere(environment, key, status string, lastRequested time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.elsewhere[key] == nil {
		s.elsewhere[key] = map[string]heard{}
	}
	s.elsewhere[key][environment] = heard{status, lastRequested}
}

func (s *Server) getStatusAcross(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	flag, ok := s.find(w, r)
	if !ok {
		return
	}
	environments := map[string]any{s.options.Environment: s.status(flag)}
	for environment, h := range s.elsewhere[flag.Key] {
		environments[environment] = h.answer()
	}
	answer(w, http.StatusOK, map[string]any{
		"key": flag.Key, "environments": environments,
		"_links": map[string]link{"self": jsonLink(r.URL.Path), "parent": jsonLink("/api/v2/flag-status")},
	})
}
