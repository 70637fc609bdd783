package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/contraflow/contraflow/flags"
)

const (
	// maxAnswer in bytes is far above a flag with all the targets a person would name.
	maxAnswer = 32 << 20
	// unnamedReset is the wait after a 429 that names no moment, which is the rule: Harness counts by the minute, and the
	// next attempts wait as long again.
	unnamedReset = time.Second
)

// featureState is how Harness writes on and off.
type featureState string

func stateOf(on bool) featureState {
	if on {
		return "on"
	}
	return "off"
}

// feature is the part of the admin API's representation that matters here.
type feature struct {
	Archived      bool           `json:"archived"`
	Variations    []variation    `json:"variations"`
	Prerequisites []prerequisite `json:"prerequisites"`
	EnvProperties *environment   `json:"envProperties"`
	Status        struct {
		Status     string `json:"status"`
		LastAccess int64  `json:"lastAccess"` // epoch ms; the year 1754, Go's zero time, where there was none
	} `json:"status"`
}

type variation struct {
	Identifier string `json:"identifier"`
	Value      any    `json:"value"`
}

// environment has the same shape for SDKs, but for the name of the variation map.
type environment struct {
	State        featureState    `json:"state"`
	OffVariation string          `json:"offVariation"`
	DefaultServe serve           `json:"defaultServe"`
	VariationMap []targetMapping `json:"variationMap"`
	Rules        []servingRule   `json:"rules"`
	Version      int             `json:"version"`
	Piped        bool            `json:"pipelineConfigured"`
}

type targetMapping struct {
	Variation string `json:"variation"`
	Targets   []struct {
		Identifier string `json:"identifier"`
	} `json:"targets"`
	TargetSegments []string `json:"targetSegments"`
}

type servingRule struct {
	RuleID string `json:"ruleId"`
	rule
}

func (e environment) configuration(prerequisites []prerequisite) configuration {
	c := configuration{
		On: e.State == stateOf(true), OffVariation: e.OffVariation, DefaultServe: e.DefaultServe, Prerequisites: prerequisites,
	}
	for _, m := range e.VariationMap {
		named := mapping{Variation: m.Variation, Segments: m.TargetSegments}
		for _, t := range m.Targets {
			named.Targets = append(named.Targets, t.Identifier)
		}
		c.Targets = append(c.Targets, named)
	}
	for _, r := range e.Rules {
		c.Rules = append(c.Rules, r.rule)
	}
	c.normalize()
	return c
}

// read looks among the archived flags too: whether Harness shows an archived flag unasked is not documented.
func (p *Provider) read(ctx context.Context, key string) (snapshot, error) {
	f, err := p.feature(ctx, key, nil)
	if errors.Is(err, flags.ErrNotFound) {
		if archived, again := p.feature(ctx, key, url.Values{"archived": {"true"}}); again == nil {
			f, err = archived, nil
		} else if !errors.Is(again, flags.ErrNotFound) {
			err = again
		}
	}
	if err != nil {
		return snapshot{}, err
	}
	return p.snapshot(key, f)
}

func (p *Provider) feature(ctx context.Context, key string, query url.Values) (feature, error) {
	var f feature
	return f, p.do(ctx, request{method: http.MethodGet, key: key, query: query}, &f)
}

// patch returns the pipeline execution that makes the change instead of Harness itself, if there is one.
func (p *Provider) patch(ctx context.Context, key string, body patch, discreet bool) (pipeline string, err error) {
	var answer struct {
		Details struct {
			PipelineMetadata struct {
				PipelineExecutionID string `json:"pipelineExecutionId"`
			} `json:"pipelineMetadata"`
		} `json:"details"`
	}
	err = p.do(ctx, request{method: http.MethodPatch, key: key, body: body, discreet: discreet}, &answer)
	return answer.Details.PipelineMetadata.PipelineExecutionID, err
}

// archive never deletes for good.
func (p *Provider) archive(ctx context.Context, key string) error {
	return p.do(ctx, request{method: http.MethodDelete, key: key, query: url.Values{"forceDelete": {"false"}}}, nil)
}

func (p *Provider) snapshot(key string, f feature) (snapshot, error) {
	if f.EnvProperties == nil {
		return snapshot{}, fmt.Errorf("flag %q has no environment %q in project %q: correct the environment identifier: %w",
			key, p.config.Environment, p.config.Project, flags.ErrNotFound)
	}
	out := snapshot{
		configuration: f.EnvProperties.configuration(f.Prerequisites), variations: f.Variations, rules: f.EnvProperties.Rules,
		piped: f.EnvProperties.Piped,
	}
	for i := range out.rules { // alike rules are found by their normal form
		one := configuration{Rules: []rule{out.rules[i].rule}}
		one.normalize()
		out.rules[i].rule = one.Rules[0]
	}
	var err error
	if out.boolean, err = newBoolean(key, f.Variations); err != nil {
		return snapshot{}, err
	}
	out.state, err = out.boolean.state(key, f.EnvProperties.Version, f.Archived, out.configuration)
	out.status = f.activity()
	return out, err
}

// activity in Harness's words: https://apidocs.harness.io/feature-flags/getallfeatures, parameter status. Potentially
// stale is not inactive: Harness also says it of flags that are read all the time and only have not changed for long.
func (f feature) activity() flags.Status {
	out := flags.Status{Activity: flags.Unknown}
	if f.Status.LastAccess > 0 {
		out.LastRequested = time.UnixMilli(f.Status.LastAccess)
	}
	switch f.Status.Status {
	case "never-requested":
		out.Activity = flags.New
	case "active", "recently-accessed":
		out.Activity = flags.Active
	}
	return out
}

type request struct {
	method, key string
	query       url.Values
	body        any
	discreet    bool // keep the server's words out of errors
}

// do makes one request and maps its answer; it never retries.
func (p *Provider) do(ctx context.Context, r request, out any) error {
	at := p.api.String() + "/cf/admin/features/" + url.PathEscape(r.key)
	query := url.Values{
		"accountIdentifier": {p.config.Account}, "orgIdentifier": {p.config.Organization},
		"projectIdentifier": {p.config.Project}, "environmentIdentifier": {p.config.Environment},
	}
	for name, values := range r.query {
		query[name] = values
	}
	var body io.Reader
	if r.body != nil {
		raw, err := json.Marshal(r.body)
		if err != nil {
			return fmt.Errorf("encode the change of flag %q: %w", r.key, err)
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, at+"?"+query.Encode(), body)
	if err != nil {
		return fmt.Errorf("flag %q: %w", r.key, err)
	}
	req.Header.Set("x-api-key", p.config.APIKey)
	req.Header.Set("User-Agent", "contraflow")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	response, err := p.config.HTTPClient.Do(req)
	if err != nil {
		return fmt.Errorf("no answer from Harness on flag %q, check the API URL and the network: %w", r.key, err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read Harness's answer on flag %q (%s %s): %w", r.key, r.method, p.api.Redacted(), err)
	}
	if response.StatusCode/100 != 2 {
		return p.refusal(r, response, raw)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("%s %s answered on flag %q something that is not of Harness's documented shape: check the API URL",
			r.method, p.api.Redacted(), r.key)
	}
	return nil
}

// refusal gives each status Harness's meaning; 409, 412 and 429 mean what HTTP says.
func (p *Provider) refusal(r request, response *http.Response, raw []byte) error {
	var said struct {
		Message string `json:"message"`
	}
	_ = json.Unmarshal(raw, &said) // a proxy may answer anything; the status stands
	if r.discreet {
		said.Message = ""
	}
	said.Message = strings.ReplaceAll(said.Message, p.config.APIKey, "…")
	at := fmt.Sprintf("flag %q: %s %s answered %d", r.key, r.method, p.api.Redacted(), response.StatusCode)
	if said.Message != "" {
		at += " (" + said.Message + ")"
	}
	switch response.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("%s: give the API key the rights to view and edit flags of project %q, environment %q: %w",
			at, p.config.Project, p.config.Environment, flags.ErrUnauthorized)
	case http.StatusNotFound:
		return fmt.Errorf("%s: create the flag in project %q, or correct its identifier: %w", at, p.config.Project, flags.ErrNotFound)
	case http.StatusConflict, http.StatusPreconditionFailed:
		return fmt.Errorf("%s: %w", at, flags.ErrConflict)
	case http.StatusTooManyRequests:
		return fmt.Errorf("%s: %w", at, &flags.RateLimited{Until: reset(response.Header)})
	}
	if response.StatusCode/100 == 4 {
		return fmt.Errorf("%s: resolve what it names (a policy of the project, or another flag that depends on this one, counts): %w",
			at, flags.ErrInvalid)
	}
	return fmt.Errorf("%s: Harness has a problem, try again later", at)
}

// reset is the moment a 429 names, if it does.
func reset(header http.Header) time.Time {
	if s, err := strconv.Atoi(header.Get("Retry-After")); err == nil {
		return time.Now().Add(time.Duration(s) * time.Second)
	}
	return time.Now().Add(unnamedReset)
}
