package launchdarkly

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/internal/targeting"
)

const (
	apiVersion = "20240415" // pins the shapes below
	patchType  = "application/json; domain-model=launchdarkly.semanticpatch"
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
	Environments map[string]json.RawMessage `json:"environments"`
}

func (f flag) variationIDs() []string {
	var ids []string
	for _, v := range f.Variations {
		ids = append(ids, v.ID)
	}
	return ids
}

func (p *Provider) flagPath(key string) string {
	return "/api/v2/flags/" + url.PathEscape(p.config.Project) + "/" + url.PathEscape(key)
}

func (p *Provider) flag(ctx context.Context, key string) (flag, error) {
	var f flag
	query := url.Values{"env": {p.config.Environment}}
	return f, p.do(ctx, request{method: http.MethodGet, key: key, path: p.flagPath(key), query: query}, &f)
}

func (p *Provider) read(ctx context.Context, key string) (snapshot, error) {
	f, err := p.flag(ctx, key)
	if err != nil {
		return snapshot{}, err
	}
	return p.snapshot(key, f)
}

func (p *Provider) patch(ctx context.Context, key string, patch semanticPatch) (snapshot, error) {
	// LaunchDarkly may quote what it refuses, and targets and rules hold people's keys.
	quotable := !slices.ContainsFunc(patch.Instructions, func(in any) bool {
		switch in.(type) {
		case targetsInstruction, rulesInstruction:
			return true
		}
		return false
	})
	if err := flags.Late(ctx); err != nil {
		return snapshot{}, fmt.Errorf("too late to change flag %q: %w", key, err)
	}
	var f flag
	err := p.do(ctx, request{
		method: http.MethodPatch, key: key, path: p.flagPath(key), body: patch, discreet: !quotable,
	}, &f)
	if err != nil {
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
	}
	if err := json.Unmarshal(raw, &environment); err != nil {
		return snapshot{}, fmt.Errorf("LaunchDarkly's answer on flag %q is not of the documented shape", key)
	}
	out := snapshot{variationIDs: f.variationIDs()}
	var err error
	if out.targeting, err = targeting.Decode(raw); err != nil {
		return snapshot{}, fmt.Errorf("LaunchDarkly's answer on flag %q: %w", key, err)
	}
	var values []any
	for _, v := range f.Variations {
		values = append(values, v.Value)
	}
	if out.boolean, err = targeting.NewBoolean(key, values); err != nil {
		return snapshot{}, err
	}
	archived := f.Archived || environment.Archived
	out.state, err = out.boolean.State(Name, key, environment.Version, archived, out.targeting)
	return out, err
}

func (p *Provider) status(ctx context.Context, key string) (flags.Status, error) {
	var answer struct {
		Name          flags.Activity `json:"name"`
		LastRequested *time.Time     `json:"lastRequested"`
	}
	path := "/api/v2/flag-statuses/" + url.PathEscape(p.config.Project) + "/" +
		url.PathEscape(p.config.Environment) + "/" + url.PathEscape(key)
	if err := p.do(ctx, request{method: http.MethodGet, key: key, path: path}, &answer); err != nil {
		return flags.Status{}, err
	}
	status := flags.Status{Activity: answer.Name}
	if answer.LastRequested != nil {
		status.LastRequested = *answer.LastRequested
	}
	return status, nil
}

type request struct {
	method, key, path string
	query             url.Values
	body              any
	discreet          bool // keep the server's words out of errors
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
	req.Header.Set("User-Agent", "contraflow")
	if body != nil {
		req.Header.Set("Content-Type", patchType)
	}
	response, err := p.config.HTTPClient.Do(req)
	if err != nil {
		return fmt.Errorf("LaunchDarkly does not answer on flag %q, check the API URL and the network: %w", r.key, err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read LaunchDarkly's answer on flag %q (%s %s): %w", r.key, r.method, req.URL.Redacted(), err)
	}
	if response.StatusCode/100 != 2 {
		return p.refusal(r, req.URL.Redacted(), response, raw)
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("%s %s answered something that is not LaunchDarkly's JSON: check the API URL", r.method, req.URL.Redacted())
	}
	return nil
}

// refusal gives each status LaunchDarkly's meaning: https://launchdarkly.com/docs/api#errors
func (p *Provider) refusal(r request, target string, response *http.Response, raw []byte) error {
	var said struct{ Code, Message string }
	_ = json.Unmarshal(raw, &said) // a proxy may answer anything; the status stands
	if r.discreet {
		said.Message = ""
	}
	said.Message = strings.ReplaceAll(said.Message, p.config.Token, "…")
	at := fmt.Sprintf("flag %q: %s %s answered %d %s", r.key, r.method, target, response.StatusCode, said.Code)
	if said.Message != "" {
		at += " (" + said.Message + ")"
	}
	switch response.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("%s: give the API token the rights to read and update flags of project %q, environment %q: %w",
			at, p.config.Project, p.config.Environment, flags.ErrUnauthorized)
	case http.StatusNotFound:
		return fmt.Errorf("%s: create the flag in project %q, or correct its key: %w", at, p.config.Project, flags.ErrNotFound)
	case http.StatusMethodNotAllowed:
		return fmt.Errorf("%s: environment %q asks for an approval of every change; let the API token bypass it, or change "+
			"the flag by hand: %w", at, p.config.Environment, flags.ErrApprovalRequired)
	case http.StatusConflict:
		return fmt.Errorf("%s: %w", at, flags.ErrConflict)
	case http.StatusTooManyRequests:
		return fmt.Errorf("%s: %w", at, &flags.RateLimited{Until: reset(response.Header)})
	}
	if response.StatusCode/100 == 4 {
		return fmt.Errorf("%s: resolve what it names (a scheduled change or an open approval request counts): %w",
			at, flags.ErrInvalid)
	}
	return fmt.Errorf("%s: LaunchDarkly has a problem, try again later", at)
}
