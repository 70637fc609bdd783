package backfill_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/backfill"
	"github.com/contraflow/contraflow/internal/pg"
)

// The type of a column that is read changes between two chunks: what the session has prepared no longer fits.
func TestAColumnThatIsReadMayBeRetypedMeanwhile(t *testing.T) {
	t.Parallel()
	f := counted()
	f.Rows = each(func(row []any) []any { return []any{fmt.Sprintf("row %d", row[1]), fmt.Sprintf("%d", row[0])} })
	b, spec := transforming(t, f, numbers(2000), "update numbers set n = id")
	b.pool = openWith(t, b.DSN, pg.Settings{ApplicationName: "contraflow backfill", MaxConns: 2})
	b.Engine = backfill.New(b.pool, backfill.WithTransforms(map[string]backfill.Transform{"f": f}))
	_, err := b.Prepare(t.Context(), spec)
	require.NoError(t, err)
	admin, chunks := b.Connect(t), 0
	lane, err := b.RunLane(t.Context(), spec, 0, backfill.LaneOptions{Report: func(backfill.Progress) {
		if chunks++; chunks == 2 { // the first chunk's statement is another one
			if _, err := admin.Exec(t.Context(), "alter table numbers alter column n type bigint"); err != nil {
				t.Errorf("not retyped: %v", err)
			}
		}
	}})
	statement, ok := errors.AsType[*backfill.StatementError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, "0A000", statement.Code)
	require.False(t, backfill.Permanent(err))
	require.Less(t, lane.Rows, int64(2000))
	require.EqualValues(t, 2000, b.run(t, spec).Rows)
	require.EqualValues(t, 2000, scalar[int64](t, b, "select count(*) from numbers where n = id and label = 'row ' || id"))
}

// A transform may take longer than the server lets transactions be idle.
func TestASlowTransformGetsThrough(t *testing.T) {
	t.Parallel()
	f := counted()
	once, slow := f.Rows, func() {}
	f.Rows = func(ctx context.Context, rows [][]any) ([][]any, error) {
		slow()
		return once(ctx, rows)
	}
	b, spec := transforming(t, f, numbers(3))
	b.exec(t, "alter role current_user in database "+b.Name+" set idle_in_transaction_session_timeout = '3s'")
	b.pool.Reset()
	slow = func() {
		require.Eventually(t, func() bool {
			return scalar[bool](t, b, `select coalesce(bool_and(clock_timestamp() - state_change > interval '4 s'), true) from pg_stat_activity
				where application_name = 'contraflow backfill' and datname = current_database() and state = 'idle in transaction'`)
		}, soon, tick, "the transaction is idle for long, or is gone")
	}
	require.EqualValues(t, 3, b.run(t, spec).Rows)

	spec.Where, spec.Step = "n < 3", "again"
	b.aside(t, spec, "3")
	done, err := b.RetryRejects(t.Context(), spec)
	require.NoError(t, err)
	require.Equal(t, 1, done.Filled)
}
