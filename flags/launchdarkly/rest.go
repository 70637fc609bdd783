package launchdarkly

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/internal/targeting"
)

const (
	apiVersion  = "20240415" // pins the shapes below
	betaVersion = "beta"     // without which a beta resource answers 403: https://launchdarkly.com/docs/api#beta-resources
	patchType   = "application/json; domain-model=launchdarkly.semanticpatch"
	// jsonType is of every other body, and makes a JSON patch of a PATCH: https://launchdarkly.com/docs/api#updates
	jsonType = "application/json"
	// maxAnswer in bytes is far above a flag with all the targets LaunchDarkly allows.
	maxAnswer = 32 << 20
)

// flag is the part of the REST representation that matters here.
type flag struct {
	Archived   bool `json:"archived"`
	Variations []struct {
		ID    string `json:"_id"`
		Value any    `json:"value"`
	} `json:"variations"`
	Tags         []string `json:"tags"`
	MaintainerID string   `json:"maintainerId"`
	// https://launchdarkly.com/docs/api/feature-flags/post-feature-flag: a member or a team
	MaintainerTeam string                     `json:"maintainerTeamKey"`
	Purpose        string                     `json:"_purpose"` // "migration", or empty
	Migration      migrationSettings          `json:"migrationSettings"`
	Environments   map[string]json.RawMessage `json:"environments"`
}

func (f flag) values() []any {
	var values []any
	for _, v := range f.Variations {
		values = append(values, v.Value)
	}
	return values
}

func (f flag) variationIDs() []string {
	var ids []string
	for _, v := range f.Variations {
		ids = append(ids, v.ID)
	}
	return ids
}

func escape(part string) string { return url.PathEscape(part) }

func (p *Provider) flagsPath() string { return "/api/v2/flags/" + escape(p.config.Project) }

func (p *Provider) flagPath(key string) string { return p.flagsPath() + "/" + escape(key) }

func (p *Provider) projectPath() string { return "/api/v2/projects/" + escape(p.config.Project) }

// environmentOf is the path of what concerns the flag in this environment alone.
func (p *Provider) environmentOf(key string) string {
	return p.projectPath() + "/flags/" + escape(key) + "/environments/" + escape(p.config.Environment)
}

func (p *Provider) requestsPath(key string) string {
	return p.environmentOf(key) + "/approval-requests"
}

func (p *Provider) flag(ctx context.Context, key string) (flag, error) {
	var f flag
	query := url.Values{"env": {p.config.Environment}, "expand": {"migrationSettings"}}
	return f, p.do(ctx, request{method: http.MethodGet, key: key, path: p.flagPath(key), query: query}, &f)
}

func (p *Provider) read(ctx context.Context, key string) (snapshot, error) {
	f, err := p.flag(ctx, key)
	if err != nil {
		return snapshot{}, err
	}
	return p.snapshot(key, f)
}

// Query parameters of a patch: https://launchdarkly.com/docs/api/feature-flags/patch-feature-flag
const (
	dryRun          = "dryRun"          // changes nothing and answers as if it had
	ignoreConflicts = "ignoreConflicts" // goes before what is scheduled, or waits for an approval, and would fail by it
)

// patch makes the change. Options are query parameters that shall be true.
func (p *Provider) patch(ctx context.Context, key string, body any, options ...string) (snapshot, error) {
	r := request{method: http.MethodPatch, key: key, path: p.flagPath(key), query: url.Values{}, body: body, discreet: true}
	for _, option := range options {
		r.query.Set(option, "true")
	}
	if flags.IsUrgent(ctx) { // else a change that is scheduled for tomorrow disarms the kill switch tonight
		r.query.Set(ignoreConflicts, "true")
	}
	if err := flags.Late(ctx); err != nil {
		return snapshot{}, fmt.Errorf("too late to change flag %q: %w", key, err)
	}
	var f flag
	if err := p.do(ctx, r, &f); err != nil {
		return snapshot{}, err
	}
	return p.snapshot(key, f)
}

func (p *Provider) snapshot(key string, f flag) (snapshot, error) {
	raw, ok := f.Environments[p.config.Environment]
	if !ok {
		return snapshot{}, fmt.Errorf("flag %q has no environment %q in project %q: correct the environment key: %w",
			key, p.config.Environment, p.config.Project, flags.ErrNotFound)
	}
	var environment struct {
		Version  int  `json:"version"`
		Archived bool `json:"archived"`
		Site     struct {
			Href string `json:"href"`
		} `json:"_site"`
		Rules []struct {
			ID string `json:"_id"`
		} `json:"rules"`
		standing
	}
	if err := json.Unmarshal(raw, &environment); err != nil {
		return snapshot{}, fmt.Errorf("LaunchDarkly's answer on flag %q is not of the documented shape", key)
	}
	out := snapshot{variationIDs: f.variationIDs(), tags: f.Tags, maintainer: f.MaintainerID, maintainerTeam: f.MaintainerTeam, page: environment.Site.Href, lists: environment.standing}
	var err error
	if out.members, err = members(raw); err != nil {
		return snapshot{}, fmt.Errorf("LaunchDarkly's answer on flag %q is not of the documented shape", key)
	}
	if out.targeting, err = targeting.Decode(raw); err != nil {
		return snapshot{}, fmt.Errorf("LaunchDarkly's answer on flag %q: %w", key, err)
	}
	for _, r := range environment.Rules {
		out.ruleIDs = append(out.ruleIDs, r.ID)
	}
	if out.variations, err = targeting.New(key, f.values()); err != nil {
		return snapshot{}, err
	}
	if stages, ok := out.variations.(targeting.Stages); ok {
		stages.ContextKind = f.Migration.ContextKind
		out.variations, out.contextKind = stages, f.Migration.ContextKind
	}
	archived := f.Archived || environment.Archived
	out.state, err = out.variations.State(Name, key, environment.Version, archived, out.targeting)
	return out, err
}

type statusAnswer struct {
	Name          flags.Activity `json:"name"`
	LastRequested *time.Time     `json:"lastRequested"`
}

func (a statusAnswer) status() flags.Status {
	status := flags.Status{Activity: a.Name}
	if a.LastRequested != nil {
		status.LastRequested = *a.LastRequested
	}
	return status
}

func (p *Provider) status(ctx context.Context, key string) (flags.Status, error) {
	var answer statusAnswer
	path := "/api/v2/flag-statuses/" + escape(p.config.Project) + "/" + escape(p.config.Environment) + "/" + escape(key)
	if err := p.do(ctx, request{method: http.MethodGet, key: key, path: path}, &answer); err != nil {
		return flags.Status{}, err
	}
	return answer.status(), nil
}

type request struct {
	method, key, path string
	query             url.Values
	body              any
	// discreet keeps the server's words out of errors: to what is asked of a targeting it may answer with people's keys, those
	// in the instructions or those in other people's pending changes that would fail.
	discreet bool
	beta     bool // a resource that LaunchDarkly still calls beta
	probe    bool // asked to explain another answer: take this one as it is
}

// do makes one request and maps its answer; it never retries.
func (p *Provider) do(ctx context.Context, r request, out any) error {
	target := p.api.String() + r.path // not JoinPath: it would unescape the key
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	var body io.Reader
	if r.body != nil {
		raw, err := json.Marshal(r.body)
		if err != nil {
			return fmt.Errorf("encode the change of flag %q: %w", r.key, err)
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, body)
	if err != nil {
		return fmt.Errorf("flag %q: %w", r.key, err)
	}
	req.Header.Set("Authorization", p.config.Token) // bare, without "Bearer"
	req.Header.Set("LD-API-Version", apiVersion)
	if r.beta {
		req.Header.Set("LD-API-Version", betaVersion)
	}
	req.Header.Set("User-Agent", "contraflow")
	if _, semantic := r.body.(semanticPatch); semantic {
		req.Header.Set("Content-Type", patchType)
	} else if body != nil {
		req.Header.Set("Content-Type", jsonType)
	}
	response, err := p.config.HTTPClient.Do(req)
	if err != nil {
		return fmt.Errorf("LaunchDarkly does not answer on flag %q, check the API URL and the network: %w", r.key, err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err == nil && len(raw) > maxAnswer {
		return fmt.Errorf("LaunchDarkly's answer on flag %q (%s %s) is larger than %d MB: move its individual targets into a segment: %w",
			r.key, r.method, req.URL.Redacted(), maxAnswer>>20, flags.ErrInvalid)
	}
	if err != nil {
		return fmt.Errorf("read LaunchDarkly's answer on flag %q (%s %s): %w", r.key, r.method, req.URL.Redacted(), err)
	}
	if response.StatusCode/100 != 2 {
		return &refused{response.StatusCode, p.refusal(ctx, r, req.URL.Redacted(), response, raw)}
	}
	if response.StatusCode == http.StatusNoContent {
		return nil
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("%s %s answered something that is not LaunchDarkly's JSON: check the API URL", r.method, req.URL.Redacted())
	}
	return nil
}
