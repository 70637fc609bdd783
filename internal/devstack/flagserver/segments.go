package flagserver

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"
)

// Segment is the REST representation of a list of contexts: https://launchdarkly.com/docs/api/segments/get-segment
type Segment struct {
	Key              string          `json:"key"`
	Name             string          `json:"name"`
	Tags             []string        `json:"tags"`
	CreationDate     int64           `json:"creationDate"`     // epoch ms
	LastModifiedDate int64           `json:"lastModifiedDate"` // epoch ms
	Included         []string        `json:"included"`         // of kind user
	Excluded         []string        `json:"excluded"`
	IncludedContexts []SegmentTarget `json:"includedContexts"` // of all other kinds
	ExcludedContexts []SegmentTarget `json:"excludedContexts"`
	Rules            []any           `json:"rules"`
	Version          int             `json:"version"`
	Deleted          bool            `json:"deleted"`
	Unbounded        bool            `json:"unbounded"`
	Generation       int             `json:"generation"`
	Links            map[string]link `json:"_links"`

	salt string
}

// SegmentTarget lists the contexts of one kind.
type SegmentTarget struct {
	ContextKind string   `json:"contextKind"`
	Values      []string `json:"values"`
}

// sdkSegment is the same segment as SDKs receive it.
type sdkSegment struct {
	Key              string          `json:"key"`
	Included         []string        `json:"included"`
	Excluded         []string        `json:"excluded"`
	IncludedContexts []SegmentTarget `json:"includedContexts"`
	ExcludedContexts []SegmentTarget `json:"excludedContexts"`
	Salt             string          `json:"salt"`
	Rules            []any           `json:"rules"`
	Version          int             `json:"version"`
	Deleted          bool            `json:"deleted"`
}

func (s Segment) forSDK() sdkSegment {
	return sdkSegment{
		s.Key, s.Included, s.Excluded, s.IncludedContexts, s.ExcludedContexts, s.salt, s.Rules, s.Version, s.Deleted,
	}
}

// PutSegment makes a segment of these contexts, by their kind, or gives it other ones.
func (s *Server) PutSegment(key string, members map[string][]string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	segment, exists := s.segments[key]
	if !exists {
		segment = s.newSegment(key, key)
	}
	segment.Version++
	segment.LastModifiedDate = time.Now().UnixMilli()
	segment.Included, segment.IncludedContexts = []string{}, []SegmentTarget{}
	for _, contextKind := range slices.Sorted(maps.Keys(members)) {
		if values := slices.Clone(members[contextKind]); contextKind == "user" {
			segment.Included = values
		} else {
			segment.IncludedContexts = append(segment.IncludedContexts, SegmentTarget{contextKind, values})
		}
	}
	return s.putSegment(segment)
}

func (s *Server) newSegment(key, name string) Segment {
	now := time.Now().UnixMilli()
	path := s.segmentsPath() + "/" + key
	return Segment{
		Key: key, Name: name, Tags: []string{}, CreationDate: now, LastModifiedDate: now, Included: []string{}, Excluded: []string{},
		IncludedContexts: []SegmentTarget{}, ExcludedContexts: []SegmentTarget{}, Rules: []any{}, Generation: 1, salt: uuid.NewString(),
		Links: map[string]link{"self": jsonLink(path), "parent": jsonLink(s.segmentsPath())},
	}
}

func (s *Server) segmentsPath() string {
	return "/api/v2/segments/" + s.options.Project + "/" + s.options.Environment
}

// putSegment stores a segment and tells the streams. The caller holds mu.
func (s *Server) putSegment(segment Segment) error {
	raw, err := json.Marshal(map[string]any{"path": "/segments/" + segment.Key, "data": segment.forSDK()})
	if err != nil {
		return err
	}
	s.segments[segment.Key] = segment
	s.broadcast(event{"patch", string(raw)})
	return nil
}

func (s *Server) getSegment(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ours(w, r) {
		return
	}
	segment, ok := s.segments[r.PathValue("key")]
	if !ok {
		refuse(w, http.StatusNotFound)
		return
	}
	answer(w, http.StatusOK, segment)
}

// createSegment makes one without members: https://launchdarkly.com/docs/api/segments/post-segment
func (s *Server) createSegment(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Key  string `json:"key"`
		Name string `json:"name"`
	}
	if json.NewDecoder(r.Body).Decode(&body) != nil || !flagKey.MatchString(body.Key) || body.Name == "" {
		refuse(w, http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ours(w, r) {
		return
	}
	if _, exists := s.segments[body.Key]; exists {
		explain(w, http.StatusConflict, "A segment with this key exists")
		return
	}
	segment := s.newSegment(body.Key, body.Name)
	segment.Version = 1
	if err := s.putSegment(segment); err != nil {
		explain(w, http.StatusInternalServerError, err.Error())
		return
	}
	answer(w, http.StatusCreated, segment)
}
