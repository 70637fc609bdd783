package backfill_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/backfill"
	"github.com/contraflow/contraflow/internal/pg"
)

func openSuper(t *testing.T, b bundle) *pgxpool.Pool { return openWith(t, b.SuperDSN, pg.Settings{}) }

// poisoned has labels that are numbers, but for those of every 50th row.
func poisoned(rows int) string {
	return strings.Replace(numbers(rows), "analyze", "update numbers set label = case when id % 150 = 0 then 's3cr3t' else id::text end; analyze", 1)
}

func casting() backfill.Spec {
	spec := counting("numbers")
	spec.Set[0].Expr = "label::integer"
	spec.Where = "n = 0"
	spec.ChunkRows, spec.ChunkTime = 64, 5*time.Millisecond
	return spec
}

func TestPoisonRowsAreSetAside(t *testing.T) {
	t.Parallel()
	const rows, poison = 1000, 20
	b := setup(t, poisoned(rows))
	spec := casting()
	spec.MaxRejects = poison
	proof := b.run(t, spec)
	require.EqualValues(t, rows-poison, proof.Rows)
	require.EqualValues(t, poison, proof.Rejects)
	require.EqualValues(t, rows-poison, scalar[int64](t, b, "select count(*) from numbers where n = id"))
	require.EqualValues(t, rows, scalar[int64](t, b, "select scanned from contraflow.backfill_lane"))
	require.EqualValues(t, poison, scalar[int64](t, b, `select count(*) from contraflow.backfill_reject r join numbers on id = key[1]::bigint
		where label = 's3cr3t' and code = '22P02' and message like '%integer%' and message not like '%s3cr3t%'`))
}

func TestOneRejectTooManyFailsTheBackfill(t *testing.T) {
	t.Parallel()
	b := setup(t, poisoned(1000))
	spec := casting()
	spec.MaxRejects = 3
	_, err := b.Prepare(t.Context(), spec)
	require.NoError(t, err)
	_, err = b.RunLane(t.Context(), spec, 0, backfill.LaneOptions{})
	require.ErrorIs(t, err, backfill.ErrRejects)
	require.True(t, backfill.Permanent(err))
	why, ok := errors.AsType[*backfill.StatementError](err)
	require.True(t, ok, "the reason is told along")
	require.Equal(t, "22P02", why.Code)
	require.NotContains(t, err.Error(), "s3cr3t")
	require.EqualValues(t, 4, scalar[int64](t, b, "select count(*) from contraflow.backfill_reject"), "the last one is recorded too")
	require.NoError(t, b.Reset(t.Context(), spec.Plan, spec.Step))
	require.EqualValues(t, 4, scalar[int64](t, b, "select count(*) from contraflow.backfill_reject"), "people still have to look at them")
	_, err = b.Prepare(t.Context(), spec)
	require.NoError(t, err)
	require.Zero(t, scalar[int64](t, b, "select count(*) from contraflow.backfill_reject"))
}

func TestAStatementThatIsWrongForAllRowsIsNoPoison(t *testing.T) {
	t.Parallel()
	b := setup(t, numbers(100), `create function gone() returns trigger language plpgsql as $$ begin perform missing(); return new; end $$;
		create trigger gone before update on numbers for each row execute function gone()`)
	spec := counting("numbers")
	spec.MaxRejects = 1000
	_, err := b.Prepare(t.Context(), spec)
	require.NoError(t, err)
	_, err = b.RunLane(t.Context(), spec, 0, backfill.LaneOptions{})
	require.Error(t, err)
	require.True(t, backfill.Permanent(err))
	require.Zero(t, scalar[int64](t, b, "select count(*) from contraflow.backfill_reject"))
}

func TestARowThatNeverEndsInTimeIsSetAside(t *testing.T) {
	t.Parallel()
	b := setup(t, numbers(40))
	b.Engine = backfill.New(openWith(t, b.DSN, pg.Settings{ApplicationName: "contraflow backfill", StatementTimeout: time.Second}))
	spec := counting("numbers")
	spec.Set[0].Expr = "n + 1 + case when id = 60 then (select count(pg_sleep(3)) - 1 from generate_series(1, 1)) else 0 end"
	spec.MaxRejects = 1
	proof := b.run(t, spec)
	require.EqualValues(t, 1, proof.Rejects)
	require.EqualValues(t, 39, scalar[int64](t, b, "select count(*) from numbers where n = 1"))
	require.Equal(t, "57014", scalar[string](t, b, "select code from contraflow.backfill_reject where key = '{60}'"))
}
