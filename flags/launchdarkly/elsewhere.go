package launchdarkly

import (
	"context"
	"net/http"

	"github.com/contraflow/contraflow/flags"
)

var _ flags.Widely = (*Provider)(nil)

// Elsewhere asks LaunchDarkly, which archives a flag in all environments of its project:
// https://launchdarkly.com/docs/api/feature-flags/get-feature-flag-status-across-environments
func (p *Provider) Elsewhere(ctx context.Context, key string) (map[string]flags.Status, error) {
	return retry(ctx, func() (map[string]flags.Status, error) {
		var answer struct {
			Environments map[string]statusAnswer `json:"environments"`
		}
		path := "/api/v2/flag-status/" + escape(p.config.Project) + "/" + escape(key)
		if err := p.do(ctx, request{method: http.MethodGet, key: key, path: path}, &answer); err != nil {
			return nil, err
		}
		out := map[string]flags.Status{}
		for environment, status := range answer.Environments {
			if environment != p.config.Environment {
				out[environment] = status.status()
			}
		}
		return out, nil
	})
}
