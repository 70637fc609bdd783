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

// Dependents asks LaunchDarkly, also for those in the project's other environments, which keep a flag from being archived as well:
// they are named with theirs, "other (environment staging)". Where it does not say, because prerequisites are a matter of the
// account's plan or of the token's role, all flags of the project are looked at, in this environment alone.
func (p *Provider) Dependents(ctx context.Context, key string) ([]string, error) {
	out, err := retry(ctx, func() ([]string, error) { return p.told(ctx, key) })
	if flags.Permanent(err) {
		out, err = p.found(ctx, key)
	}
	slices.Sort(out)
	return slices.Compact(out), err
}

// told is what https://launchdarkly.com/docs/api/feature-flags-beta/get-dependent-flags answers. It is a beta resource, and
// whether archived flags are among it is not documented.
func (p *Provider) told(ctx context.Context, key string) ([]string, error) {
	var answer struct {
		Items []struct {
			Key          string `json:"key"`
			Environments []struct {
				Key string `json:"key"`
			} `json:"environments"`
		} `json:"items"`
	}
	path := p.flagPath(key) + "/dependent-flags"
	if err := p.do(ctx, request{method: http.MethodGet, key: key, path: path, beta: true, probe: true}, &answer); err != nil {
		return nil, err
	}
	var out []string
	for _, item := range answer.Items {
		other, err := p.flag(ctx, item.Key)
		if errors.Is(err, flags.ErrNotFound) || err == nil && other.Archived {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, environment := range item.Environments {
			if environment.Key == p.config.Environment {
				out = append(out, item.Key)
			} else {
				out = append(out, fmt.Sprintf("%s (environment %s)", item.Key, environment.Key))
			}
		}
	}
	return out, nil
}

// found looks at all flags that are not archived: https://launchdarkly.com/docs/api/feature-flags/get-feature-flags. Their
// prerequisites come with summary=0, and for an environment that the reference wants named by env, the changelog of versions
// (https://launchdarkly.com/docs/api#versioning) by filterEnv.
func (p *Provider) found(ctx context.Context, key string) ([]string, error) {
	if _, err := retry(ctx, func() (flag, error) { return p.flag(ctx, key) }); err != nil {
		return nil, err
	}
	var out []string
	for offset := 0; ; {
		// One page after the other: a limit that is met on the way must not begin a long list anew.
		page, err := retry(ctx, func() (listOfFlags, error) { return p.page(ctx, key, offset) })
		if err != nil {
			return nil, err
		}
		for _, item := range page.Items {
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
		offset += len(page.Items)
		if len(page.Items) == 0 || page.TotalCount > 0 && offset >= page.TotalCount {
			return out, nil
		}
	}
}

// listOfFlags is one page of it.
type listOfFlags struct {
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

func (p *Provider) page(ctx context.Context, key string, offset int) (out listOfFlags, err error) {
	query := url.Values{
		"env": {p.config.Environment}, "filter": {"filterEnv:" + p.config.Environment}, "summary": {"0"}, "sort": {"key"},
		"limit": {strconv.Itoa(pageSize)}, "offset": {strconv.Itoa(offset)},
	}
	return out, p.do(ctx, request{method: http.MethodGet, key: key, path: p.flagsPath(), query: query}, &out)
}
