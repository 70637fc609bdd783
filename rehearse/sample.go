package rehearse

import (
	"context"

	"github.com/contraflow/contraflow/plan"
)

// sample copies rows from r.target to r.conn and tries the step's backfill on them.
func (r *run) sample(ctx context.Context, step plan.Step) error { return nil }
