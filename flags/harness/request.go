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

// staying is a client that follows no redirection: Go would send the key after it, to whatever host, and make a GET of a PATCH.
func staying(client *http.Client) *http.Client {
	out := *client
	out.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &out
}

// request of the admin API about the flag key.
type request struct {
	method, path, key string
	query             url.Values
	body              any
	rights            []string // it takes. Defaults to viewing flags
	discreet          bool     // keep the path and the server's words out of errors
}

// Rights of API keys, each with its own id: https://developer.harness.io/docs/platform/automation/api/api-permissions-reference.
// Which request takes which is what Harness's console asks for (FlagOptionsMenuButton.tsx, useFeatureEnabled.ts) and harness-core
// checks of a pipeline's flag step: setting the state takes its own right, all other instructions take that to edit.
const (
	toView             = "ff_featureflag_view"
	toToggle           = "ff_featureflag_toggle"
	toEdit             = "ff_featureflag_edit"
	toDelete           = "ff_featureflag_delete"
	toViewGroups       = "ff_targetgroup_view"
	toEditGroups       = "ff_targetgroup_edit" // and targets
	toViewEnvironments = "core_environment_view"
)

// environmentParameter of a query is the provider's own environment unless a request names another, or none.
const environmentParameter = "environmentIdentifier"

// allFlags is the path of the project's flags.
const allFlags = "/cf/admin/features"

func ofFlag(key string) string { return allFlags + "/" + url.PathEscape(key) }

// do makes one request and maps its answer; it never retries.
func (p *Provider) do(ctx context.Context, r request, out any) error {
	query := url.Values{
		"accountIdentifier": {p.config.Account}, "orgIdentifier": {p.config.Organization},
		"projectIdentifier": {p.config.Project}, environmentParameter: {p.config.Environment},
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
	req, err := http.NewRequestWithContext(ctx, r.method, p.api.String()+r.path+"?"+query.Encode(), body)
	if err != nil {
		return fmt.Errorf("flag %q: %w", r.key, err)
	}
	req.Header.Set("x-api-key", p.config.APIKey)
	req.Header.Set("User-Agent", "contraflow")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	response, err := p.config.HTTPClient.Do(req)
	if failed, ok := errors.AsType[*url.Error](err); ok && r.discreet {
		err = failed.Err // without its path
	}
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
		if len(r.rights) == 0 {
			r.rights = []string{toView}
		}
		return fmt.Errorf("%s: see that the API key is valid, and has %s in project %q and its environment %q: %w",
			at, strings.Join(r.rights, " and "), p.config.Project, p.config.Environment, flags.ErrUnauthorized)
	case http.StatusNotFound:
		return fmt.Errorf("%s: create the flag in project %q, or correct its identifier: %w", at, p.config.Project, flags.ErrNotFound)
	case http.StatusConflict, http.StatusPreconditionFailed:
		return fmt.Errorf("%s: %w", at, flags.ErrConflict)
	case http.StatusTooManyRequests:
		return fmt.Errorf("%s: %w", at, &flags.RateLimited{Until: reset(response.Header)})
	}
	switch {
	case response.StatusCode == http.StatusRequestTimeout: // a gateway gave up waiting
	case response.StatusCode/100 == 3:
		return fmt.Errorf("%s, a redirection, which no API key is sent after: correct the API URL: %w", at, flags.ErrInvalid)
	case response.StatusCode/100 == 4:
		return fmt.Errorf("%s: resolve what it names (a policy or the Git repository of the project, a prerequisite that is not met, or a "+
			"flag that depends on this one, counts): %w", at, flags.ErrInvalid)
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
