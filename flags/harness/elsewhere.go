package harness

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/internal/retry"
)

var _ flags.Widely = (*Provider)(nil)

// Elsewhere asks for the flag in all other environments of the project that the API key may see: Harness archives in all of them
// (https://developer.harness.io/docs/feature-flags/use-ff/ff-creating-flag/edit-and-delete-a-feature-flag).
func (p *Provider) Elsewhere(ctx context.Context, key string) (map[string]flags.Status, error) {
	others, err := p.others(ctx, key)
	if err != nil {
		return nil, err
	}
	out := map[string]flags.Status{}
	for _, other := range others {
		status, err := p.status(ctx, key, other)
		if errors.Is(err, flags.ErrNotFound) { // nor is there anybody who asks
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("environment %q: %w", other, err)
		}
		out[other] = status
	}
	return out, nil
}

// environmentsPage is as large as Harness makes one unasked.
const environmentsPage = 100

// others are the environments of the project beside the provider's own.
// https://apidocs.harness.io/tag/Environments#operation/getEnvironmentList
func (p *Provider) others(ctx context.Context, key string) ([]string, error) {
	var all []string
	for page := 0; ; page++ {
		var answer struct {
			Data struct {
				Content []struct {
					Environment struct {
						Identifier string `json:"identifier"`
					} `json:"environment"`
				} `json:"content"`
			} `json:"data"`
		}
		query := url.Values{environmentParameter: nil, "page": {strconv.Itoa(page)}, "size": {strconv.Itoa(environmentsPage)}}
		_, err := retry.Do(ctx, service, func() (struct{}, error) {
			return struct{}{}, p.do(ctx, request{method: http.MethodGet, path: "/ng/api/environmentsV2", key: key, query: query}, &answer)
		})
		switch {
		case errors.Is(err, flags.ErrNotFound): // which is said of no flag here
			return nil, fmt.Errorf("list the environments of project %q: there is no such list, correct the API URL and the identifiers: %w",
				p.config.Project, flags.ErrInvalid)
		case errors.Is(err, flags.ErrUnauthorized):
			return nil, fmt.Errorf("give the API key %s for all environments of project %q, since a flag is archived in all of them: %w",
				toViewEnvironments, p.config.Project, flags.ErrUnauthorized)
		case err != nil:
			return nil, fmt.Errorf("list the environments of project %q: %w", p.config.Project, err)
		}
		before := len(all)
		for _, one := range answer.Data.Content {
			if !slices.Contains(all, one.Environment.Identifier) {
				all = append(all, one.Environment.Identifier)
			}
		}
		if len(all) == before { // past the last page
			return slices.DeleteFunc(all, func(one string) bool { return one == p.config.Environment || one == "" }), nil
		}
	}
}

// Dependents asks in each environment, since nothing public says whether they share their prerequisites.
func (p *Provider) Dependents(ctx context.Context, key string) ([]string, error) {
	out, err := p.dependents(ctx, key, p.config.Environment)
	if err != nil {
		return nil, err
	}
	others, err := p.others(ctx, key)
	if err != nil {
		return nil, err
	}
	here := slices.Clone(out)
	for _, other := range others {
		there, err := p.dependents(ctx, key, other)
		if err != nil {
			return nil, err
		}
		for _, one := range there {
			if !slices.Contains(here, one) {
				out = append(out, fmt.Sprintf("%s (environment %s)", one, other))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// dependents as one environment shows them.
func (p *Provider) dependents(ctx context.Context, key, environment string) ([]string, error) {
	all, err := p.listed(ctx, key, ofFlag(key)+"/dependants", environment)
	if errors.Is(err, flags.ErrNotFound) { // a Harness that doesn't know this yet
		all, err = p.listed(ctx, key, allFlags, environment)
		all = slices.DeleteFunc(all, func(f feature) bool {
			return !slices.ContainsFunc(f.Prerequisites, func(pre prerequisite) bool { return pre.Feature == key })
		})
	}
	if err != nil {
		return nil, fmt.Errorf("list the flags that depend on another in environment %q: %w", environment, err)
	}
	var out []string
	for _, f := range all {
		if !f.Archived {
			out = append(out, f.Identifier)
		}
	}
	return out, nil
}

// pageSize of a listing of flags; Harness may give less, and says how many pages there are then.
const pageSize = 100

// listed are the flags of all pages.
func (p *Provider) listed(ctx context.Context, key, path, environment string) ([]feature, error) {
	var out []feature
	for page, more := 0, true; more; page++ {
		var answer struct {
			PageCount int       `json:"pageCount"`
			Features  []feature `json:"features"`
		}
		query := url.Values{
			environmentParameter: {environment}, "pageNumber": {strconv.Itoa(page)}, "pageSize": {strconv.Itoa(pageSize)},
			"sortByField": {"identifier"}, "sortOrder": {"ASCENDING"},
		}
		_, err := retry.Do(ctx, service, func() (struct{}, error) {
			return struct{}{}, p.do(ctx, request{method: http.MethodGet, path: path, key: key, query: query}, &answer)
		})
		if err != nil {
			return nil, err
		}
		out = append(out, answer.Features...)
		more = len(answer.Features) > 0 && page+1 < answer.PageCount
	}
	return out, nil
}
