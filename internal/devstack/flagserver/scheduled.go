package flagserver

import (
	"net/http"
	"time"

	"github.com/google/uuid"
)

// scheduledChange is a change that waits for its time; here it only stands in the way of others.
type scheduledChange struct {
	ID            string          `json:"_id"`
	CreationDate  int64           `json:"_creationDate"` // epoch ms
	MaintainerID  string          `json:"_maintainerId"`
	Version       int             `json:"_version"`
	ExecutionDate int64           `json:"executionDate"` // epoch ms
	Instructions  []any           `json:"instructions"`
	Conflicts     []any           `json:"conflicts"`
	Links         map[string]link `json:"_links"`
}

// Schedule makes a change of the flag wait until then: changes that would make it fail are refused, and here all would.
func (s *Server) Schedule(key string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scheduled[key] = append(s.scheduled[key], scheduledChange{
		ID: objectID(uuid.NewString()), CreationDate: time.Now().UnixMilli(), MaintainerID: objectID("somebody"), Version: 1,
		ExecutionDate: at.UnixMilli(), Instructions: []any{map[string]string{"kind": "turnFlagOn"}}, Conflicts: []any{},
		Links: map[string]link{},
	})
}

func (s *Server) listScheduled(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if flag, ok := s.find(w, r); ok && s.ours(w, r) {
		answer(w, http.StatusOK, map[string]any{
			"items":  append([]scheduledChange{}, s.scheduled[flag.Key]...),
			"_links": map[string]link{"self": jsonLink(r.URL.Path)},
		})
	}
}
