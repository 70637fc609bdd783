package backfill_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/backfill"
)

func labelling() backfill.Spec {
	return backfill.Spec{Plan: "plan", Step: "fill", Table: "numbers", Where: "label is null", ChunkRows: 50,
		Set: []backfill.Assignment{{Column: "label", Expr: "'no ' || id"}, {Column: "n", Expr: "n + 1"}}}
}

func TestRowsWrittenMeanwhileAreIncluded(t *testing.T) {
	t.Parallel()
	b := setup(t, numbers(4000))
	spec := labelling()
	_, err := b.Prepare(t.Context(), spec)
	require.NoError(t, err)
	// A writer of the old kind puts rows before, behind and beside the cursor until the lane is through.
	writer := b.Connect(t)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	written := 0
	wg.Go(func() {
		for i := 1; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := writer.Exec(t.Context(), "insert into numbers (id) values (-$1::int), (3 * $1 + 1), (1000000 + $1)", i); err != nil {
				t.Error(err)
				return
			}
			written += 3
		}
	})
	behind := 0 // one row at least, however slow the writer is
	_, err = b.RunLane(t.Context(), spec, 0, backfill.LaneOptions{Report: func(p backfill.Progress) {
		if p.Rows > 0 && behind == 0 {
			b.exec(t, "insert into numbers (id) values (-1000000)")
			behind = 1
		}
	}})
	require.NoError(t, err)
	close(stop)
	wg.Wait()
	written += behind
	left, err := b.Remaining(t.Context(), spec)
	require.NoError(t, err)
	require.Positive(t, left)

	proof, err := b.Finish(t.Context(), spec, backfill.LaneOptions{})
	require.NoError(t, err)
	require.Equal(t, backfill.Proof{Rows: int64(4000 + written), Sweeps: 1, Counted: true}, proof)
	require.EqualValues(t, 4000+written, scalar[int64](t, b, "select count(*) from numbers where n = 1 and label = 'no ' || id"))
	o, err := b.Overview(t.Context(), spec)
	require.NoError(t, err)
	require.Equal(t, 2, o.Sweep)
}

func TestRowsThatKeepMatchingEndInAnError(t *testing.T) {
	t.Parallel()
	b := setup(t, numbers(100))
	spec := labelling()
	spec.Set[0].Expr = "case when id > 15 then 'x' end"
	_, err := b.Prepare(t.Context(), spec)
	require.NoError(t, err)
	_, err = b.Finish(t.Context(), spec, backfill.LaneOptions{})
	require.ErrorIs(t, err, backfill.ErrRemaining)
	require.ErrorContains(t, err, "5 after 3 more sweeps")
	require.True(t, backfill.Permanent(err))
	require.EqualValues(t, 95, scalar[int64](t, b, "select count(*) from numbers where n = 1"), "rows that were done are left alone")
}

func TestPoisonIsPermanentAndNamesNoValue(t *testing.T) {
	t.Parallel()
	const secret = "s3cr3t \"quoted\" 4711"
	for name, c := range map[string]struct {
		expr, schema, code string
	}{
		"a cast":       {"(case when id = 300 then label else '1' end)::int", "", "22P02"},
		"a check":      {"n + 1", "alter table numbers add check (id <> 300 or n = 0)", "23514"},
		"a trigger":    {"n + 1", `create function no() returns trigger language plpgsql as $$ begin raise exception 'bad %', new.label; end $$; create trigger no before update on numbers for each row when (new.id = 300) execute function no()`, "P0001"},
		"out of range": {"case when id = 300 then 99999999999 else 1 end", "", "22003"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, numbers(200))
			b.exec(t, "update numbers set label = $1", secret)
			b.exec(t, c.schema)
			spec := counting("numbers")
			spec.Set[0].Expr = c.expr
			_, err := b.Prepare(t.Context(), spec)
			require.NoError(t, err)
			lane, err := b.RunLane(t.Context(), spec, 0, backfill.LaneOptions{})
			require.Error(t, err)
			require.True(t, backfill.Permanent(err))
			failed, ok := errors.AsType[*backfill.StatementError](err)
			require.True(t, ok)
			require.Equal(t, c.code, failed.Code)
			require.NotEmpty(t, failed.Condition)
			require.Less(t, lane.Rows, int64(100), "the chunk of the bad row is rolled back")
			require.Equal(t, lane.Rows, scalar[int64](t, b, "select rows from contraflow.backfill_lane"))
			for _, part := range append(strings.Fields(secret), "99999999999") {
				require.NotContains(t, err.Error(), strings.Trim(part, `"`))
			}
			_, leaks := errors.AsType[*pgconn.PgError](err)
			require.False(t, leaks, "the original error holds DETAIL and must not travel along")
		})
	}
}
