package launchdarkly

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/contraflow/contraflow/flags"
)

// segments checks that all of them exist: nobody matches one that does not, and whether LaunchDarkly refuses a rule for it is not
// documented.
// https://launchdarkly.com/docs/api/segments/get-segment
func (p *Provider) segments(ctx context.Context, key string, segments []string) error {
	for _, segment := range segments {
		var answer struct {
			Deleted bool `json:"deleted"`
		}
		path := "/api/v2/segments/" + escape(p.config.Project) + "/" + escape(p.config.Environment) + "/" + escape(segment)
		err := p.do(ctx, request{method: http.MethodGet, key: key, path: path, probe: true}, &answer)
		if errors.Is(err, flags.ErrNotFound) || err == nil && answer.Deleted {
			return fmt.Errorf("flag %q: there is no segment %q in project %q, environment %q: create it there, or correct its key: %w",
				key, segment, p.config.Project, p.config.Environment, flags.ErrInvalid)
		}
		if err != nil {
			return fmt.Errorf("segment %q: %w", segment, err)
		}
	}
	return nil
}
