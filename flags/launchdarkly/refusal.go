package launchdarkly

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/contraflow/contraflow/flags"
)

// said is the common format of errors, https://launchdarkly.com/docs/api#errors. Access names what a role lacks: not in the
// reference, but seen in https://github.com/launchdarkly/ldcli/pull/87
type said struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Access  struct {
		Action   string `json:"action"`
		Resource string `json:"resource"`
	} `json:"access"`
}

// refused is an answer that is no success, with its meaning.
type refused struct {
	status int
	error
}

func (r *refused) Unwrap() error { return r.error }

// refusal gives each status LaunchDarkly's meaning: https://launchdarkly.com/docs/api#errors, and for changes
// https://launchdarkly.com/docs/api/feature-flags/patch-feature-flag, "Required approvals" and "Conflicts".
func (p *Provider) refusal(ctx context.Context, r request, target string, response *http.Response, raw []byte) error {
	var said said
	_ = json.Unmarshal(raw, &said) // a proxy may answer anything; the status stands
	if r.discreet {
		said.Message = ""
	}
	at := strings.TrimSpace(fmt.Sprintf("flag %q: %s %s answered %d %s", r.key, r.method, target, response.StatusCode, p.discreet(said.Code)))
	if said.Message != "" {
		at += " (" + p.discreet(said.Message) + ")"
	}
	switch response.StatusCode {
	case http.StatusBadRequest:
		if r.method == http.MethodPatch && !r.probe {
			return fmt.Errorf("%s: %s: %w", at, p.conflicting(ctx, r.key), flags.ErrInvalid)
		}
	case http.StatusUnauthorized: // which is said of valid tokens, too, that lack a right
		return fmt.Errorf("%s: renew the API token if it is not valid any more, or give it %s: %w", at, p.lacking(said), flags.ErrUnauthorized)
	case http.StatusForbidden:
		return fmt.Errorf("%s: give the API token %s: %w", at, p.lacking(said), flags.ErrUnauthorized)
	case http.StatusNotFound:
		return fmt.Errorf("%s: %s: %w", at, p.missing(ctx, r), flags.ErrNotFound)
	case http.StatusMethodNotAllowed:
		if p.wantsApproval(ctx, r, said) {
			return fmt.Errorf("%s: environment %q asks for an approval of this change: %w", at, p.config.Environment, flags.ErrApprovalRequired)
		}
		return fmt.Errorf("%s: LaunchDarkly takes a %s there, so something between, a proxy or firewall, seems to refuse it: let it through, or "+
			"correct the API URL: %w", at, r.method, flags.ErrInvalid)
	case http.StatusConflict:
		return fmt.Errorf("%s: %w", at, flags.ErrConflict)
	case http.StatusUnprocessableEntity:
		return fmt.Errorf("%s: LaunchDarkly does not understand the instructions; the flag may be of a kind that this version of "+
			"contraflow does not know: %w", at, flags.ErrInvalid)
	case http.StatusTooManyRequests:
		return fmt.Errorf("%s: %s: %w", at, limited(response.Header), &flags.RateLimited{Until: reset(response.Header)})
	}
	if response.StatusCode/100 == 3 {
		return fmt.Errorf("%s: it sends elsewhere, where the API token must not go: correct the API URL: %w", at, flags.ErrInvalid)
	}
	if response.StatusCode/100 == 4 {
		return fmt.Errorf("%s: %w", at, flags.ErrInvalid)
	}
	return fmt.Errorf("%s: LaunchDarkly has a problem, try again later", at)
}

// lacking names what a role lacks.
func (p *Provider) lacking(said said) string {
	if said.Access.Action == "" {
		return fmt.Sprintf("the rights to read and update flags of project %q, environment %q", p.config.Project, p.config.Environment)
	}
	return fmt.Sprintf("the action %q on %q", p.discreet(said.Access.Action), p.discreet(said.Access.Resource))
}

// wantsApproval tells a change that LaunchDarkly wants approved from a method that somebody on the way refuses, as firewalls do that
// let GET and POST alone through: "Method overriding" of https://launchdarkly.com/docs/api. LaunchDarkly's own answer has a code;
// where it is lost, the settings tell.
func (p *Provider) wantsApproval(ctx context.Context, r request, said said) bool {
	if r.method != http.MethodPatch || r.path != p.flagPath(r.key) {
		return false
	}
	if said.Code != "" || r.probe {
		return true
	}
	known := p.settings(ctx, r.key)
	return known != nil && (known.Approval.Required || len(known.Approval.RequiredApprovalTags) > 0)
}

// discreet keeps the token out of what a server, or a proxy that echoes requests, has said.
func (p *Provider) discreet(text string) string {
	return strings.ReplaceAll(text, p.config.Token, "…")
}

// limited names the limit that was met: https://launchdarkly.com/docs/api#rate-limiting
func limited(header http.Header) string {
	switch {
	case header.Get("X-Ratelimit-Route-Remaining") == "0":
		return "the account's limit of such requests is used up"
	case header.Get("X-Ratelimit-Global-Remaining") == "0":
		return "the account's limit of requests is used up"
	case header.Get("Retry-After") != "":
		return "the limit of requests from this address is used up"
	}
	return "a limit of requests is used up"
}

// missing tells which of flag, environment and project a 404 is about; the answer itself does not.
func (p *Provider) missing(ctx context.Context, r request) string {
	if r.probe {
		return "correct the keys of project and environment"
	}
	flag := fmt.Sprintf("create the flag in project %q, or correct its key", p.config.Project)
	_, err := p.environment(ctx, r.key)
	if !errors.Is(err, flags.ErrNotFound) {
		return flag // also where the token may not look
	}
	err = p.do(ctx, request{method: http.MethodGet, key: r.key, path: p.projectPath(), probe: true}, &struct{}{})
	if errors.Is(err, flags.ErrNotFound) {
		return fmt.Sprintf("there is no project %q that the API token may see: correct the project key", p.config.Project)
	}
	return fmt.Sprintf("there is no environment %q in project %q: correct the environment key", p.config.Environment, p.config.Project)
}

// conflicting tells what a 400 to a change is about: a change that would make a scheduled one, or an approval request, fail is
// refused so, too.
func (p *Provider) conflicting(ctx context.Context, key string) string {
	var scheduled struct {
		Items []struct {
			ExecutionDate int64 `json:"executionDate"`
		} `json:"items"`
	}
	// https://launchdarkly.com/docs/api/scheduled-changes/get-flag-config-scheduled-changes
	path := p.environmentOf(key) + "/scheduled-changes"
	var pending []string
	if p.do(ctx, request{method: http.MethodGet, key: key, path: path, probe: true}, &scheduled) == nil {
		for _, item := range scheduled.Items {
			pending = append(pending, "the change that is scheduled for "+moment(item.ExecutionDate))
		}
	}
	if requests, err := p.requests(ctx, key); err == nil {
		for _, request := range requests {
			if request.Status == "pending" {
				pending = append(pending, fmt.Sprintf("the approval request %s", request.ID))
			}
		}
	}
	if len(pending) == 0 {
		return "the change is malformed, or impossible on this flag: correct what it names"
	}
	return "it may be that it would make fail " + strings.Join(pending, ", ") + ": carry that out or take it back, if so; " +
		"else correct what it names"
}

// settings are an environment's, as far as they concern approvals.
// https://launchdarkly.com/docs/api/environments/get-environment; it holds the SDK key as well, which is not decoded.
type settings struct {
	Approval struct {
		Required             bool     `json:"required"`
		MinNumApprovals      int      `json:"minNumApprovals"`
		ServiceKind          string   `json:"serviceKind"`
		RequiredApprovalTags []string `json:"requiredApprovalTags"`
	} `json:"approvalSettings"`
}

// guard tells whether changes of a flag with these tags need approval: approvals are required of all flags or of those with
// certain tags, and LaunchDarkly refuses to take both settings.
// https://launchdarkly.com/docs/api/environments/patch-environment, "Approval settings"
func (s settings) guard(tags []string) bool {
	of := s.Approval.RequiredApprovalTags
	if len(of) == 0 {
		return s.Approval.Required
	}
	return slices.ContainsFunc(tags, func(tag string) bool { return slices.Contains(of, tag) })
}

func (s settings) service() string { return cmp.Or(s.Approval.ServiceKind, Name) }

// settings are nil where they can't be read.
func (p *Provider) settings(ctx context.Context, key string) *settings {
	found, err := p.environment(ctx, key)
	if err != nil {
		return nil
	}
	return &found
}

func (p *Provider) environment(ctx context.Context, key string) (settings, error) {
	var s settings
	path := p.projectPath() + "/environments/" + escape(p.config.Environment)
	err := p.do(ctx, request{method: http.MethodGet, key: key, path: path, probe: true}, &s)
	return s, err
}
