package backfill

import (
	"context"
	"fmt"
)

// Synced tells whether anything stands that InstallSync has made for the step.
func (e *Engine) Synced(ctx context.Context, plan, step string) (bool, error) {
	var there bool
	err := e.pool.QueryRow(ctx, "select exists (select from "+syncFunction+")", syncName(plan, step)).Scan(&there)
	return there, e.failed(ctx, planError(fmt.Sprintf("backfill step %q of plan %q: look for its sync trigger", step, plan), err))
}
