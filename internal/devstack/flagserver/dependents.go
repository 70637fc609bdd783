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

// dependent is a flag that needs another in an environment.
type dependent struct{ environment, flag string }

// Depend lets a flag need another in another environment of the project.
func (s *Server) Depend(environment, flag, on string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.needed[on] = append(s.needed[on], dependent{environment, flag})
}

// dependents lists archived flags as well: whether LaunchDarkly does is not documented. The caller holds mu.
func (s *Server) dependents(key string) []dependent {
	var out []dependent
	for _, other := range slices.Sorted(maps.Keys(s.flags)) {
		if s.flags[other].needs(key, s.options.Environment) {
			out = append(out, dependent{s.options.Environment, other})
		}
	}
	return append(out, s.needed[key]...)
}

func (s *Server) site(key string) link {
	return link{"/" + s.options.Project + "/~/features/" + key, "text/html"}
}

func (s *Server) flagLink(key string) link {
	return jsonLink("/api/v2/flags/" + s.options.Project + "/" + key)
}

// dependentsOf answers 404 itself, and 403 to who does not ask for a beta resource: https://launchdarkly.com/docs/api#beta-resources
// The caller holds mu.
func (s *Server) dependentsOf(w http.ResponseWriter, r *http.Request) ([]dependent, bool) {
	if r.Header.Get("LD-API-Version") != betaVersion {
		refuse(w, http.StatusForbidden)
		return nil, false
	}
	flag, ok := s.find(w, r)
	return s.dependents(flag.Key), ok
}

func (s *Server) answerDependents(w http.ResponseWriter, r *http.Request, items []any) {
	key := r.PathValue("key")
	answer(w, http.StatusOK, map[string]any{
		"items": items, "_site": s.site(key), "_links": map[string]link{"self": jsonLink(r.URL.Path), "parent": s.flagLink(key)},
	})
}

func (s *Server) listDependents(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, ok := s.dependentsOf(w, r)
	if !ok || !s.ours(w, r) {
		return
	}
	items := []any{}
	for _, d := range all {
		if d.environment == s.options.Environment {
			items = append(items, map[string]any{
				"key": d.flag, "name": s.flags[d.flag].Name, "_site": s.site(d.flag), "_links": map[string]link{"self": s.flagLink(d.flag)},
			})
		}
	}
	s.answerDependents(w, r, items)
}

// listDependentsAnywhere has one item for each flag, with its environments.
func (s *Server) listDependentsAnywhere(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, ok := s.dependentsOf(w, r)
	if !ok {
		return
	}
	environments := map[string][]any{}
	for _, d := range all {
		environments[d.flag] = append(environments[d.flag], map[string]any{
			"key": d.environment, "name": d.environment,
			"_links": map[string]link{"self": jsonLink("/api/v2/projects/" + s.options.Project + "/environments/" + d.environment)},
			"_site":  link{"/" + s.options.Project + "/" + d.environment + "/features/" + d.flag, "text/html"},
		})
	}
	items := []any{}
	for _, key := range slices.Sorted(maps.Keys(environments)) {
		items = append(items, map[string]any{
			"key": key, "name": s.flags[key].Name, "environments": environments[key],
			"_site": s.site(key), "_links": map[string]link{"self": s.flagLink(key)},
		})
	}
	s.answerDependents(w, r, items)
}

func (f Flag) needs(key, environment string) bool {
	return slices.ContainsFunc(f.Environments[environment].Prerequisites, func(p Prerequisite) bool { return p.Key == key })
}
