package postgres

import (
	"context"
	"time"

	"github.com/contraflow/contraflow/flags"
)

// lately is how long a flag that is not asked for counts as in use: LaunchDarkly's own seven days, which outlast a weekly job.
const lately = 7 * 24 * time.Hour

// Status reads what applications have reported in contraflow.flag_seen. A flag that nobody has ever reported is Unknown: those
// who ask contraflow.flag_is_on leave no trace.
func (p *Provider) Status(ctx context.Context, key string) (flags.Status, error) {
	f, err := read(ctx, p.pool, key, "")
	if err != nil {
		return flags.Status{}, err
	}
	var last *time.Time
	var recent bool
	if err := p.pool.QueryRow(ctx, `select max(at), coalesce(max(at) > now() - $2::interval, false) from contraflow.flag_seen where flag = $1`,
		key, lately).Scan(&last, &recent); err != nil {
		return flags.Status{}, told(err, "read who asks for", key)
	}
	if last == nil {
		return flags.Status{Activity: flags.Unknown}, nil
	}
	out := flags.Status{Activity: flags.Active, LastRequested: last.UTC()}
	yes, no := f.Targets.count()
	switch {
	case !recent:
		out.Activity = flags.Inactive
	case f.On && f.Weight == fullWeight && len(f.exceptions(yes, no)) == 0:
		out.Activity = flags.Launched
	}
	return out, nil
}
