package harnessserver

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// maxBody in bytes is far above any patch or batch of metrics.
const maxBody = 4 << 20

func (s *Server) routes() http.Handler {
	admin := http.NewServeMux()
	admin.HandleFunc("POST /gateway/cf/admin/features", s.with(toEdit, s.createFeature))
	admin.HandleFunc("GET /gateway/cf/admin/features", s.with(toView, s.listFeatures))
	admin.HandleFunc("GET /gateway/cf/admin/features/{identifier}", s.with(toView, s.getFeature))
	admin.HandleFunc("PATCH /gateway/cf/admin/features/{identifier}", s.patchFeature)
	admin.HandleFunc("DELETE /gateway/cf/admin/features/{identifier}", s.with(toDelete, s.deleteFeature))
	admin.HandleFunc("GET /gateway/cf/admin/features/{identifier}/dependants", s.with(toView, s.listDependants))
	admin.HandleFunc("GET /gateway/cf/admin/segments/{identifier}", s.with(toViewGroups, s.getSegment))
	admin.HandleFunc("GET /gateway/cf/admin/targets/{identifier}", s.with(toViewGroups, s.getTarget))
	admin.HandleFunc("POST /gateway/cf/admin/targets", s.with(toEditGroups, s.createTarget))
	admin.HandleFunc("GET /gateway/ng/api/environmentsV2", s.with(toViewEnvironments, s.listEnvironments))

	all := http.NewServeMux()
	all.Handle("/gateway/", s.adminGate(admin))
	all.HandleFunc("POST /api/1.0/client/auth", s.authenticate)
	all.Handle("GET /api/1.0/client/env/{environment}/feature-configs", s.sdkGate(s.listConfigs))
	all.Handle("GET /api/1.0/client/env/{environment}/feature-configs/{identifier}", s.sdkGate(s.getConfig))
	all.Handle("GET /api/1.0/client/env/{environment}/target-segments", s.sdkGate(s.listSegments))
	all.Handle("GET /api/1.0/client/env/{environment}/target-segments/{identifier}", s.sdkGate(s.giveSegment))
	all.Handle("GET /api/1.0/stream", s.sdkGate(s.stream))
	all.Handle("POST /api/1.0/metrics/{environment}", s.sdkGate(s.metrics))
	return all
}

// adminGate checks the key and the scope, and answers with injected statuses.
func (s *Server) adminGate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !same(r.Header.Get("x-api-key"), s.options.APIKey) {
			refuse(w, http.StatusUnauthorized, "Unauthenticated")
			return
		}
		if status, ok := s.takeInjected(r.Method); ok {
			refuse(w, status, "injected")
			return
		}
		query := r.URL.Query()
		if query.Get("accountIdentifier") != s.options.Account || query.Get("orgIdentifier") != s.options.Organization {
			refuse(w, http.StatusForbidden, "Unauthorized")
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

// Rights of the API key, by their ids.
const (
	toView             = "ff_featureflag_view"
	toToggle           = "ff_featureflag_toggle"
	toEdit             = "ff_featureflag_edit"
	toDelete           = "ff_featureflag_delete"
	toViewGroups       = "ff_targetgroup_view"
	toEditGroups       = "ff_targetgroup_edit" // and targets
	toViewEnvironments = "core_environment_view"
)

// with refuses who lacks the right.
func (s *Server) with(right string, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		denied := slices.Contains(s.denied, right)
		s.mu.Unlock()
		if denied {
			refuse(w, http.StatusForbidden, "Unauthorized")
			return
		}
		next(w, r)
	}
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

func refuse(w http.ResponseWriter, status int, message string) {
	answer(w, status, map[string]string{"code": strconv.Itoa(status), "message": message})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the reader is gone, nobody to tell
}

// find answers 404 itself. The caller holds mu.
func (s *Server) find(w http.ResponseWriter, r *http.Request) (Feature, bool) {
	f, ok := s.flags[r.PathValue("identifier")]
	query := r.URL.Query()
	if !ok || query.Get("projectIdentifier") != s.options.Project || f.Archived && query.Get("archived") != "true" {
		refuse(w, http.StatusNotFound, "The specified resource was not found")
		return Feature{}, false
	}
	return f, true
}

func (s *Server) getFeature(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f, ok := s.find(w, r); ok {
		answer(w, http.StatusOK, s.shown(f, r))
	}
}

// shown is a flag as the admin API shows it: its status, which is metrics data, to those who ask for that. The caller holds mu.
func (s *Server) shown(f Feature, r *http.Request) Feature {
	f.Status = s.status(f)
	if environment := r.URL.Query().Get("environmentIdentifier"); environment != s.options.Environment {
		s.shownElsewhere(&f, environment)
	} else if s.pipeline != "" {
		piped := *f.EnvProperties
		piped.Piped = true
		f.EnvProperties = &piped
	}
	if r.URL.Query().Get("metrics") != "true" {
		f.Status = nil
	}
	return f
}

// maxPage is the most flags of one page, whatever is asked for.
const maxPage = 50

// listFeatures gives one page, without archived flags unless asked for those alone.
func (s *Server) listFeatures(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.URL.Query().Get("projectIdentifier") != s.options.Project {
		refuse(w, http.StatusNotFound, "The specified resource was not found")
		return
	}
	s.answerPage(w, r, func(Feature) bool { return true })
}

// listDependants gives one page of those flags that have a flag as a prerequisite in the environment.
func (s *Server) listDependants(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.find(w, r)
	if !ok {
		return
	}
	s.answerPage(w, r, func(other Feature) bool {
		return slices.ContainsFunc(other.Prerequisites, func(p Prerequisite) bool { return p.Feature == f.Identifier })
	})
}

// answerPage with those flags of the environment that are listed. The caller holds mu.
func (s *Server) answerPage(w http.ResponseWriter, r *http.Request, listed func(Feature) bool) {
	query := r.URL.Query()
	all := []Feature{}
	for _, key := range slices.Sorted(maps.Keys(s.flags)) {
		f := s.flags[key]
		if shown := s.shown(f, r); f.Archived == (query.Get("archived") == "true") && listed(shown) {
			all = append(all, shown)
		}
	}
	index, _ := strconv.Atoi(query.Get("pageNumber")) // 0 where none is named
	size, err := strconv.Atoi(query.Get("pageSize"))
	if err != nil || size < 1 {
		size = maxPage
	}
	size = min(size, maxPage)
	from := min(max(index, 0)*size, len(all))
	answer(w, http.StatusOK, map[string]any{
		"features": all[from:min(from+size, len(all))], "itemCount": len(all), "pageCount": (len(all) + size - 1) / size,
		"pageIndex": index, "pageSize": size,
	})
}

// status of a flag. The caller holds mu.
func (s *Server) status(f Feature) *Status {
	at, evaluated := s.accessed[f.Identifier]
	if !evaluated {
		never := neverRequested()
		return &never
	}
	return &Status{"active", at.UnixMilli()}
}

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_$.-]*$`)

func (s *Server) createFeature(w http.ResponseWriter, r *http.Request) {
	var f Feature
	if err := json.NewDecoder(r.Body).Decode(&f); err != nil {
		refuse(w, http.StatusBadRequest, "Malformed JSON")
		return
	}
	kinds := []string{"boolean", "int", "string", "json"}
	if !identifier.MatchString(f.Identifier) || f.Name == "" || !slices.Contains(kinds, f.Kind) || len(f.Variations) < 2 ||
		!f.has(f.DefaultOnVariation) || !f.has(f.DefaultOffVariation) || f.Project != s.options.Project {
		refuse(w, http.StatusBadRequest, "A flag needs identifier, name, kind, project, two variations and which of them are its defaults")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, exists := s.flags[f.Identifier]; exists {
		refuse(w, http.StatusConflict, "The specified resource already exists")
		return
	}
	f.Archived, f.Status = false, nil
	f.equip(s.options.Environment, time.Now())
	s.put(f, "create")
	answer(w, http.StatusCreated, map[string]any{"details": map[string]any{}})
}

func (s *Server) patchFeature(w http.ResponseWriter, r *http.Request) {
	var p patch
	if err := json.NewDecoder(r.Body).Decode(&p); err != nil {
		refuse(w, http.StatusBadRequest, "Malformed JSON")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.find(w, r)
	if !ok {
		return
	}
	if r.URL.Query().Get("environmentIdentifier") != s.options.Environment {
		refuse(w, http.StatusNotFound, "Environment not found")
		return
	}
	if slices.ContainsFunc(p.rights(), func(right string) bool { return slices.Contains(s.denied, right) }) {
		refuse(w, http.StatusForbidden, "Unauthorized")
		return
	}
	changed, err := f.apply(p, s.known)
	if errors.Is(err, errUnknownTarget) {
		refuse(w, http.StatusNotFound, err.Error())
		return
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	details := map[string]any{}
	if s.pipeline != "" {
		details["pipelineMetadata"] = map[string]string{"pipelineExecutionId": s.pipeline}
	} else {
		changed.EnvProperties.Version++
		changed.EnvProperties.ModifiedAt, changed.ModifiedAt = time.Now().UnixMilli(), time.Now().UnixMilli()
		s.comments[f.Identifier] = append(s.comments[f.Identifier], p.Comment)
		s.put(changed, "patch")
	}
	answer(w, http.StatusOK, map[string]any{"details": details})
}

// deleteFeature archives, or forgets for good when forced to.
func (s *Server) deleteFeature(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.find(w, r)
	if !ok {
		return
	}
	for _, other := range s.flags {
		if slices.ContainsFunc(other.Prerequisites, func(p Prerequisite) bool { return p.Feature == f.Identifier }) {
			refuse(w, http.StatusBadRequest, "The flag is a prerequisite of "+other.Identifier)
			return
		}
	}
	gone, err := f.clone()
	if err != nil {
		refuse(w, http.StatusInternalServerError, "The flag cannot be copied")
		return
	}
	gone.Archived = true
	gone.EnvProperties.Version++
	s.put(gone, "delete")
	if r.URL.Query().Get("forceDelete") != "false" {
		delete(s.flags, f.Identifier)
	}
	w.WriteHeader(http.StatusNoContent)
}
