package harness

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/internal/retry"
)

// featureStatus is metrics data: https://apidocs.harness.io/feature-flags/getallfeatures, parameters metrics and status
type featureStatus struct {
	Status     string `json:"status"`
	LastAccess int64  `json:"lastAccess"` // epoch ms; the year 1754, Go's zero time, where there was none
}

// Status is Harness's own, which hears of evaluations only where SDKs send metrics, and with a delay of minutes.
func (p *Provider) Status(ctx context.Context, key string) (flags.Status, error) {
	return p.status(ctx, key, p.config.Environment)
}

// status of a flag in an environment. An answer that doesn't tell it is an error: Harness does hear of readers, and to take this
// for a flag that nobody is known to read would let it be archived.
func (p *Provider) status(ctx context.Context, key, environment string) (flags.Status, error) {
	f, err := retry.Do(ctx, service, func() (feature, error) {
		return p.feature(ctx, key, url.Values{"metrics": {"true"}, environmentParameter: {environment}})
	})
	if err != nil {
		return flags.Status{}, err
	}
	out := f.activity()
	if out.Activity == flags.Unknown {
		return flags.Status{}, fmt.Errorf("flag %q: Harness's answer doesn't tell who asks for it in environment %q (its status is %q): see that the "+
			"flag has a status on Harness's own list of flags: %w", key, environment, f.Status.Status, flags.ErrInvalid)
	}
	return out, nil
}

// lately is how long ago the last evaluation of a flag is that Harness calls potentially stale for it:
// https://developer.harness.io/docs/feature-flags/ff-creating-flag/manage-stale-flags/
const lately = 60 * 24 * time.Hour

// activity in Harness's words. Potentially stale is not inactive by itself: Harness also says it of flags that are read all the
// time and only have not changed for long.
func (f feature) activity() flags.Status {
	out := flags.Status{Activity: flags.Unknown}
	if f.Status.LastAccess > 0 {
		out.LastRequested = time.UnixMilli(f.Status.LastAccess)
	}
	switch f.Status.Status {
	case "never-requested":
		out.Activity = flags.New
	case "inactive":
		out.Activity = flags.Inactive
	case "active", "recently-accessed":
		out.Activity = flags.Active
	case "potentially-stale":
		switch {
		case out.LastRequested.IsZero():
		case time.Since(out.LastRequested) > lately:
			out.Activity = flags.Inactive
		default:
			out.Activity = flags.Active
		}
	}
	if out.Activity == flags.Active && f.EnvProperties != nil && f.EnvProperties.configuration(f.Prerequisites).launched() {
		out.Activity = flags.Launched
	}
	return out
}
