package flagserver

import (
	"encoding/hex"
	"hash/fnv"
	"net/http"
	"strconv"
	"time"
)

// refusal is the common format of errors: https://launchdarkly.com/docs/api#errors
type refusal struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	// Access and Reason come with 403 alone, where a role lacks an action.
	Access *access `json:"access,omitempty"`
	Reason *reason `json:"reason,omitempty"`
}

type access struct {
	Action   string `json:"action"`
	Resource string `json:"resource"`
}

type reason struct {
	Effect string `json:"effect"`
}

// documented are the code and message that the API's documentation shows for a status.
func documented(status int) refusal {
	switch status {
	case http.StatusBadRequest:
		return refusal{Code: "invalid_request", Message: "Invalid request body"}
	case http.StatusUnauthorized:
		return refusal{Code: "unauthorized", Message: "Invalid access token"}
	case http.StatusForbidden:
		return refusal{Code: "forbidden", Message: "Forbidden. Access to the requested resource was denied."}
	case http.StatusNotFound:
		return refusal{Code: "not_found", Message: "Invalid resource identifier"}
	case http.StatusMethodNotAllowed:
		return refusal{Code: "method_not_allowed", Message: "Method not allowed"}
	case http.StatusConflict:
		return refusal{Code: "optimistic_locking_error", Message: "Conflict. Optimistic lock error. Try again later."}
	case http.StatusUnprocessableEntity:
		return refusal{Code: "patch_failed", Message: "Unprocessable entity. Could not apply patch."}
	case http.StatusTooManyRequests:
		return refusal{Code: "rate_limited", Message: "You've exceeded the API rate limit. Try again later."}
	case http.StatusServiceUnavailable:
		return refusal{Code: "service_unavailable", Message: "Requested service unavailable"}
	default:
		return refusal{Code: "internal_service_error", Message: "Internal service error"}
	}
}

func refuse(w http.ResponseWriter, status int) { answer(w, status, documented(status)) }

// explain refuses with a message of its own: LaunchDarkly's messages vary, its codes do not.
func explain(w http.ResponseWriter, status int, message string) {
	body := documented(status)
	body.Message = message
	answer(w, status, body)
}

// Deny lets the token's role lack these actions, named as in https://launchdarkly.com/docs/home/account/roles/role-actions
func (s *Server) Deny(actions ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.denied = map[string]bool{}
	for _, action := range actions {
		s.denied[action] = true
	}
}

// allowed answers 403 itself. The caller holds mu.
func (s *Server) allowed(w http.ResponseWriter, key string, actions ...string) bool {
	for _, action := range actions {
		if s.denied[action] {
			s.forbid(w, action, key)
			return false
		}
	}
	return true
}

func (s *Server) forbid(w http.ResponseWriter, action, key string) {
	body := documented(http.StatusForbidden)
	body.Access = &access{action, "proj/" + s.options.Project + ":env/" + s.options.Environment + ":flag/" + key}
	body.Reason = &reason{"deny"}
	answer(w, http.StatusForbidden, body)
}

// actions the instructions need.
func (p *patch) actions() []string {
	var out []string
	for _, in := range p.Instructions {
		switch in.Kind {
		case "turnFlagOn", "turnFlagOff":
			out = append(out, "updateOn")
		case "updateFallthroughVariationOrRollout":
			out = append(out, "updateFallthrough")
		case "updateOffVariation":
			out = append(out, "updateOffVariation")
		case "addTargets", "removeTargets", "replaceTargets":
			out = append(out, "updateTargets")
		case "addRule", "removeRule", "replaceRules":
			out = append(out, "updateRules")
		case "replacePrerequisites":
			out = append(out, "updatePrerequisites")
		case "archiveFlag":
			out = append(out, "updateGlobalArchived")
		}
	}
	return out
}

const (
	// injectedReset is when an injected 429 may be tried again: soon, so that tests stay fast.
	injectedReset = 50 * time.Millisecond
	// window is LaunchDarkly's for global and route limits.
	window = 10 * time.Second
	// plenty is a remainder that no test uses up.
	plenty = 1000
)

// limits tells what is left: https://launchdarkly.com/docs/api#rate-limiting
func limits(w http.ResponseWriter, remaining int, reset time.Duration) {
	for _, which := range []string{"Global", "Route"} {
		w.Header().Set("X-Ratelimit-"+which+"-Remaining", strconv.Itoa(remaining))
	}
	w.Header().Set("X-Ratelimit-Reset", strconv.FormatInt(time.Now().Add(reset).UnixMilli(), 10))
}

// objectID has the form of LaunchDarkly's ids, and is the same for the same name.
func objectID(name string) string {
	h := fnv.New128a()
	_, _ = h.Write([]byte(name)) // never fails
	return hex.EncodeToString(h.Sum(nil))[:24]
}
