package flagserver

import (
	"cmp"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"slices"
	"time"
)

const (
	apiVersion    = "20240415"                   // the LD-API-Version these shapes are of
	betaVersion   = "beta"                       // the one that beta resources want
	semanticPatch = "launchdarkly.semanticpatch" // the domain-model that makes a PATCH a semantic one
	jsonPatchType = "application/json-patch+json"
	maxBody       = 4 << 20 // bytes; far above any patch or batch of events
)

func (s *Server) routes() http.Handler {
	rest := http.NewServeMux()
	rest.HandleFunc("GET /api/v2/flags/{project}", s.listFlags)
	rest.HandleFunc("POST /api/v2/flags/{project}", s.createFlag)
	rest.HandleFunc("GET /api/v2/flags/{project}/{key}", s.getFlag)
	rest.HandleFunc("PATCH /api/v2/flags/{project}/{key}", s.patchFlag)
	rest.HandleFunc("DELETE /api/v2/flags/{project}/{key}", s.deleteFlag)
	rest.HandleFunc("GET /api/v2/flags/{project}/{key}/dependent-flags", s.listDependentsAnywhere)
	rest.HandleFunc("GET /api/v2/flags/{project}/{environment}/{key}/dependent-flags", s.listDependents)
	rest.HandleFunc("POST /api/v2/segments/{project}/{environment}", s.createSegment)
	rest.HandleFunc("GET /api/v2/segments/{project}/{environment}/{key}", s.getSegment)
	rest.HandleFunc("GET /api/v2/projects/{project}", s.getProject)
	rest.HandleFunc("GET /api/v2/projects/{project}/environments/{environment}", s.getEnvironment)
	rest.HandleFunc("GET /api/v2/caller-identity", s.getCaller)
	rest.HandleFunc("GET /api/v2/tokens/{id}", s.getToken)
	const approvals = "/api/v2/projects/{project}/flags/{key}/environments/{environment}/approval-requests"
	rest.HandleFunc("GET "+approvals, s.listApprovals)
	rest.HandleFunc("POST "+approvals, s.createApproval)
	rest.HandleFunc("GET "+approvals+"/{id}", s.getApproval)
	rest.HandleFunc("DELETE "+approvals+"/{id}", s.deleteApproval)
	rest.HandleFunc("POST "+approvals+"/{id}/apply", s.applyApproval)
	rest.HandleFunc("GET /api/v2/projects/{project}/flags/{key}/environments/{environment}/scheduled-changes", s.listScheduled)
	rest.HandleFunc("GET /api/v2/flag-status/{project}/{key}", s.getStatusAcross)
	rest.HandleFunc("GET /api/v2/flag-statuses/{project}/{environment}", s.listStatuses)
	rest.HandleFunc("GET /api/v2/flag-statuses/{project}/{environment}/{key}", s.getStatus)

	all := http.NewServeMux()
	all.Handle("/api/v2/", s.restGate(rest))
	all.Handle("GET /all", s.sdkGate(s.stream))
	all.Handle("GET /sdk/latest-all", s.sdkGate(s.poll))
	all.Handle("POST /bulk", s.sdkGate(s.events))
	all.Handle("POST /diagnostic", s.sdkGate(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusAccepted)
	}))
	return all
}

// restGate checks the token and answers with injected statuses.
func (s *Server) restGate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, bypass := r.Header.Get("Authorization"), s.options.BypassToken
		if !same(token, s.options.APIToken) && (bypass == "" || !same(token, bypass)) {
			refuse(w, http.StatusUnauthorized)
			return
		}
		if v := r.Header.Get("LD-API-Version"); v != "" && v != apiVersion && v != betaVersion {
			explain(w, http.StatusBadRequest, "Unsupported LD-API-Version")
			return
		}
		limits(w, plenty, window)
		if status, ok := s.takeInjected(r.Method); ok {
			switch status {
			case http.StatusTooManyRequests:
				limits(w, 0, injectedReset)
				refuse(w, status)
			case http.StatusForbidden:
				s.forbid(w, "updateOn", "any")
			default:
				refuse(w, status)
			}
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the reader is gone, nobody to tell
}

// find answers 404 itself. The caller holds mu.
func (s *Server) find(w http.ResponseWriter, r *http.Request) (Flag, bool) {
	flag, ok := s.flags[r.PathValue("key")]
	if !ok || r.PathValue("project") != s.options.Project {
		refuse(w, http.StatusNotFound)
		return Flag{}, false
	}
	return flag, true
}

func (s *Server) getFlag(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if flag, ok := s.find(w, r); ok {
		query := r.URL.Query()
		answer(w, http.StatusOK, s.flagAnswer(flag, view{environments: query["env"], expand: query["expand"]}))
	}
}

// filtered leaves only the environments asked for.
func filtered(flag Flag, environments []string) Flag {
	if len(environments) > 0 {
		flag.Environments = maps.Clone(flag.Environments)
		maps.DeleteFunc(flag.Environments, func(name string, _ *Environment) bool {
			return !slices.Contains(environments, name)
		})
	}
	return flag
}

func (s *Server) createFlag(w http.ResponseWriter, r *http.Request) {
	var body newFlagBody
	if err := strictly(r.Body, &body); err != nil {
		explain(w, http.StatusBadRequest, fmt.Sprintf("Malformed flag: %v", err))
		return
	}
	if err := body.complete(); err != nil {
		explain(w, http.StatusBadRequest, err.Error())
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.PathValue("project") != s.options.Project {
		refuse(w, http.StatusNotFound)
		return
	}
	if _, exists := s.flags[body.Key]; exists {
		explain(w, http.StatusConflict, "A flag with this key exists")
		return
	}
	if !s.allowed(w, body.Key, "createFlag") {
		return
	}
	flag := s.counting(body.flag(s.options.Environment, time.Now()))
	if err := s.put(flag); err != nil {
		explain(w, http.StatusInternalServerError, err.Error())
		return
	}
	answer(w, http.StatusCreated, s.flagAnswer(flag, view{}))
}

// patching is what a PATCH may be.
type patching interface {
	actions() []string // of the role that it needs
	// apply returns the patched copy of a flag. The caller holds mu.
	apply(s *Server, flag Flag) (Flag, error)
}

func (s *Server) patchFlag(w http.ResponseWriter, r *http.Request) {
	mediaType, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	var body patching
	switch semantic := parameters["domain-model"] == semanticPatch; {
	case err == nil && mediaType == "application/json" && semantic:
		body = &patch{}
	case err == nil && (mediaType == "application/json" || mediaType == jsonPatchType) && !semantic:
		body = &jsonPatch{}
	default:
		explain(w, http.StatusBadRequest, "Content-Type must be application/json, with domain-model="+semanticPatch+" or without")
		return
	}
	if r.Header.Get("LD-API-Version") == "" {
		explain(w, http.StatusBadRequest, "LD-API-Version is missing")
		return
	}
	if err := strictly(r.Body, body); err != nil {
		explain(w, http.StatusBadRequest, fmt.Sprintf("Malformed patch: %v", err))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	flag, ok := s.find(w, r)
	if !ok {
		return
	}
	if !s.allowed(w, flag.Key, body.actions()...) {
		return
	}
	dryRun := r.URL.Query().Get("dryRun") == "true"
	if !dryRun && s.guarded(flag, r) { // whether a dry run is refused as well is not documented; the settings tell in any case
		refuse(w, http.StatusMethodNotAllowed)
		return
	}
	changed, err := body.apply(s, flag)
	if errors.Is(err, errCondition) {
		refuse(w, http.StatusConflict)
		return
	}
	if err == nil && r.URL.Query().Get("ignoreConflicts") != "true" {
		err = s.conflict(flag, changed)
	}
	if err != nil {
		explain(w, http.StatusBadRequest, err.Error())
		return
	}
	if !dryRun {
		if err := s.put(changed); err != nil {
			explain(w, http.StatusInternalServerError, err.Error())
			return
		}
	}
	answer(w, http.StatusOK, s.flagAnswer(changed, view{}))
}

func (s *Server) deleteFlag(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	flag, ok := s.find(w, r)
	if !ok {
		return
	}
	if err := s.drop(flag); err != nil {
		explain(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// conflict is why a change is refused that would make a pending one fail. The caller holds mu.
func (s *Server) conflict(flag, changed Flag) error {
	if len(s.scheduled[flag.Key]) > 0 {
		return errors.New("a pending scheduled change would fail")
	}
	for _, request := range s.requests[flag.Key] {
		if request.Status != "pending" {
			continue
		}
		_, before := s.apply(flag, request.patch)
		if _, behind := s.apply(changed, request.patch); before == nil && behind != nil {
			return fmt.Errorf("the approval request %s would fail: %w", request.ID, behind)
		}
	}
	return nil
}

// quiet is LaunchDarkly's own.
const quiet = 7 * 24 * time.Hour

// status follows LaunchDarkly's "Flag statuses". The caller holds mu.
func (s *Server) status(flag Flag) map[string]any {
	quiet := cmp.Or(s.options.Quiet, quiet)
	last, asked := s.requested[flag.Key]
	environment := flag.Environments[s.options.Environment]
	name := "active"
	switch {
	case !asked && time.Since(time.UnixMilli(flag.CreationDate)) < quiet:
		name = "new"
	case !asked || time.Since(last) > quiet:
		name = "inactive"
	case environment.On && environment.uniform():
		name = "launched"
	}
	return heard{name, last}.answer()
}

func (s *Server) linkedStatus(flag Flag) map[string]any {
	out := s.status(flag)
	out["_links"] = map[string]link{"parent": jsonLink("/api/v2/flags/" + s.options.Project + "/" + flag.Key)}
	return out
}

func (s *Server) listStatuses(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ours(w, r) {
		return
	}
	items := []map[string]any{}
	for _, key := range slices.Sorted(maps.Keys(s.flags)) {
		items = append(items, s.linkedStatus(s.flags[key]))
	}
	answer(w, http.StatusOK, map[string]any{"items": items})
}

func (s *Server) getStatus(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ours(w, r) {
		return
	}
	if flag, ok := s.find(w, r); ok {
		answer(w, http.StatusOK, s.linkedStatus(flag))
	}
}

func (s *Server) ours(w http.ResponseWriter, r *http.Request) bool {
	if r.PathValue("project") == s.options.Project && r.PathValue("environment") == s.options.Environment {
		return true
	}
	refuse(w, http.StatusNotFound)
	return false
}
