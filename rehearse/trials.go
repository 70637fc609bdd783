package rehearse

import (
	"context"

	"github.com/contraflow/contraflow/plan"
)

// try explains the step's own SQL on r.conn, with the schema at r.at.
func (r *run) try(ctx context.Context, step plan.Step) error { return nil }

// tryChecks explains the checks of the guard that are watched once step r.step has run.
func (r *run) tryChecks(ctx context.Context) error { return nil }
