package launchdarkly

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/contraflow/contraflow/flags"
)

// pageSize is what one request asks for, instead of the default of 20; where fewer come, the next goes on behind them.
const pageSize = 100

// Dependents asks LaunchDarkly. Where it does not say, because prerequisites are a matter of the account's plan or of the token's
// role, all flags of the project are looked at.
func (p *Provider) Dependents(ctx context.Context, key string) ([]string, error) {
	return retry(ctx, func() ([]string, error) { return p.dependents(ctx, key) })
}

func (p *Provider) dependents(ctx context.Context, key string) ([]string, error) {
	out, err := p.told(ctx, key)
	if flags.Permanent(err) {
		out, err = p.found(ctx, key)
	}
	slices.Sort(out)
	return slices.Compact(out), err
}

// told is what https://launchdarkly.com/docs/api/feature-flags-beta/get-dependent-flags-by-env answers. It is a beta resource, and
// whether archived flags are among it is not documented.
func (p *Provider) told(ctx context.Context, key string) ([]string, error) {
	var answer struct {
		Items []struct {
			Key string `json:"key"`
		} `json:"items"`
	}
	path := p.flagsPath() + "/" + escape(p.config.Environment) + "/" + escape(key) + "/dependent-flags"
	if err := p.do(ctx, request{method: http.MethodGet, key: key, path: path, beta: true, probe: true}, &answer); err != nil {
		return nil, err
	}
	var out []string
	for _, item := range answer.Items {
		other, err := p.flag(ctx, item.Key)
		if errors.Is(err, flags.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if !other.Archived {
			out = append(out, item.Key)
		}
	}
	return out, nil
}

// found looks at all flags that are not archived: https://launchdarkly.com/docs/api/feature-flags/get-feature-flags. Their
// prerequisites come with summary=0, and for an environment that the reference wants named by env, the changelog of versions
// (https://launchdarkly.com/docs/api#versioning) by filterEnv.
func (p *Provider) found(ctx context.Context, key string) ([]string, error) {
	if _, err := p.flag(ctx, key); err != nil {
		return nil, err
	}
	var out []string
	for offset := 0; ; {
		var answer struct {
			Items []struct {
				Key          string `json:"key"`
				Archived     bool   `json:"archived"`
				Environments map[string]struct {
					Prerequisites []struct {
						Key string `json:"key"`
					} `json:"prerequisites"`
				} `json:"environments"`
			} `json:"items"`
			TotalCount int `json:"totalCount"`
		}
		query := url.Values{
			"env": {p.config.Environment}, "filter": {"filterEnv:" + p.config.Environment}, "summary": {"0"}, "sort": {"key"},
			"limit": {strconv.Itoa(pageSize)}, "offset": {strconv.Itoa(offset)},
		}
		if err := p.do(ctx, request{method: http.MethodGet, key: key, path: p.flagsPath(), query: query}, &answer); err != nil {
			return nil, err
		}
		for _, item := range answer.Items {
			environment, ok := item.Environments[p.config.Environment]
			if !ok {
				return nil, fmt.Errorf("LaunchDarkly lists flag %q without environment %q: what depends on flag %q is not known: %w",
					item.Key, p.config.Environment, key, flags.ErrNotFound)
			}
			for _, prerequisite := range environment.Prerequisites {
				if prerequisite.Key == key && !item.Archived {
					out = append(out, item.Key)
				}
			}
		}
		offset += len(answer.Items)
		if len(answer.Items) == 0 || answer.TotalCount > 0 && offset >= answer.TotalCount {
			return out, nil
		}
	}
}
