package backfill

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/contraflow/contraflow/internal/pg"
)

// syncOwner finds step and plan in the comment of a sync trigger's function.
var syncOwner = regexp.MustCompile(`step ("(?:[^"\\]|\\.)*") of plan ("(?:[^"\\]|\\.)*")`)

// Synced lists the steps of the plan for which anything stands that InstallSync has made, whether the plan still has them or not.
func (e *Engine) Synced(ctx context.Context, plan string) ([]string, error) {
	doing := fmt.Sprintf("look for the sync triggers of plan %q", plan)
	rows, err := e.pool.Query(ctx, `select f.proname, coalesce(obj_description(f.oid, 'pg_proc'), '') from pg_proc f
		where f.pronamespace = (select n.oid from pg_namespace n where n.nspname = $1) and f.proname like 'sync\_%'`, pg.Schema)
	if err != nil {
		return nil, e.failed(ctx, planError(doing, err))
	}
	var steps []string
	var name, comment string
	_, err = pgx.ForEachRow(rows, []any{&name, &comment}, func() error {
		found := syncOwner.FindStringSubmatch(comment)
		if found == nil {
			return nil
		}
		step, stepErr := strconv.Unquote(found[1])
		owner, ownerErr := strconv.Unquote(found[2])
		if stepErr == nil && ownerErr == nil && owner == plan && name == syncName(plan, step) {
			steps = append(steps, step)
		}
		return nil
	})
	slices.Sort(steps)
	return steps, e.failed(ctx, planError(doing, err))
}
