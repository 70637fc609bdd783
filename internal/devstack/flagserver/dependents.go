package flagserver

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
)

const (
	// pageSize is how many flags a list has where nobody says: https://launchdarkly.com/docs/api/feature-flags/get-feature-flags
	// mostFlags is how many it has at most here; LaunchDarkly documents no number.
	pageSize  = 20
	mostFlags = 100
)

// listFlags shows environments only where both env, which the reference wants, and filterEnv, which the changelog of versions
// wants, name one; and of these only a summary unless summary=0.
func (s *Server) listFlags(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	query := r.URL.Query()
	if r.PathValue("project") != s.options.Project {
		refuse(w, http.StatusNotFound)
		return
	}
	limit, offset := pageSize, 0
	for name, number := range map[string]*int{"limit": &limit, "offset": &offset} {
		var err error
		if query.Has(name) {
			*number, err = strconv.Atoi(query.Get(name))
		}
		if err != nil || *number < 0 {
			explain(w, http.StatusBadRequest, name+" is not a number")
			return
		}
	}
	keys := slices.DeleteFunc(slices.Sorted(maps.Keys(s.flags)), func(key string) bool { return s.flags[key].Archived })
	items := []any{}
	for _, key := range keys[min(offset, len(keys)):min(offset+min(limit, mostFlags), len(keys))] {
		flag := s.flagAnswer(s.flags[key], view{environments: query["env"], expand: query["expand"]})
		if env := query.Get("env"); env == "" || query.Get("filter") != "filterEnv:"+env {
			flag.Environments = nil
		}
		item, err := listed(flag, query.Get("summary") == "0")
		if err != nil {
			explain(w, http.StatusInternalServerError, err.Error())
			return
		}
		items = append(items, item)
	}
	answer(w, http.StatusOK, map[string]any{
		"items": items, "totalCount": len(keys), "_links": map[string]link{"self": jsonLink(r.URL.RequestURI())},
	})
}

// listed leaves out what a list has not.
func listed(flag flagAnswer, whole bool) (map[string]any, error) {
	raw, err := json.Marshal(flag)
	if err != nil {
		return nil, err
	}
	var out map[string]any
	if err := json.Unmarshal(raw, &out); err != nil || whole {
		return out, err
	}
	environments, _ := out["environments"].(map[string]any)
	for _, environment := range environments {
		for _, long := range []string{"prerequisites", "targets", "contextTargets", "rules"} {
			delete(environment.(map[string]any), long)
		}
	}
	return out, nil
}

// listDependents lists archived flags as well: whether LaunchDarkly does is not documented. It is a beta resource:
// https://launchdarkly.com/docs/api#beta-resources
func (s *Server) listDependents(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("LD-API-Version") != betaVersion {
		refuse(w, http.StatusForbidden)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	flag, ok := s.find(w, r)
	if !ok || !s.ours(w, r) {
		return
	}
	site := func(key string) link { return link{"/" + s.options.Project + "/~/features/" + key, "text/html"} }
	items := []any{}
	for _, key := range slices.Sorted(maps.Keys(s.flags)) {
		if s.flags[key].needs(flag.Key, s.options.Environment) {
			items = append(items, map[string]any{
				"key": key, "name": s.flags[key].Name, "_site": site(key),
				"_links": map[string]link{"self": jsonLink("/api/v2/flags/" + s.options.Project + "/" + key)},
			})
		}
	}
	answer(w, http.StatusOK, map[string]any{
		"items": items, "_site": site(flag.Key),
		"_links": map[string]link{"self": jsonLink(r.URL.Path), "parent": jsonLink("/api/v2/flags/" + s.options.Project + "/" + flag.Key)},
	})
}

func (f Flag) needs(key, environment string) bool {
	return slices.ContainsFunc(f.Environments[environment].Prerequisites, func(p Prerequisite) bool { return p.Key == key })
}
