package backfill_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/backfill"
	"github.com/contraflow/contraflow/internal/devstack/pgproxy"
	"github.com/contraflow/contraflow/internal/pg"
)

// overheard is the bundle's engine behind a proxy that calls back before each statement.
func (b bundle) overheard(t *testing.T, before func(sql string)) *backfill.Engine {
	t.Helper()
	p := pgproxy.Start(t, b.DSN)
	p.OnStatement(func(s pgproxy.Statement) { before(s.SQL) })
	return backfill.New(openWith(t, p.DSN(), pg.Settings{ApplicationName: "contraflow backfill", MaxConns: 4}))
}

func TestALookUpThatFailsEndsTheAttempt(t *testing.T) {
	t.Parallel()
	b := setup(t, `create type size as enum ('s', 'm', 'l', 'xl');
		create table shirts (size size primary key, n integer not null default 0);
		insert into shirts (size) values ('s'), ('m'), ('l'), ('xl'); analyze shirts`)
	spec := counting("shirts")
	spec.ChunkRows, spec.MaxRejects = 1, 10
	_, err := b.Prepare(t.Context(), spec)
	require.NoError(t, err)
	b.exec(t, "update contraflow.backfill_lane set cursor = '{m}'")
	b.exec(t, "alter type size rename value 'm' to 'medium'")
	_, err = b.RunLane(t.Context(), spec, 0, backfill.LaneOptions{})
	require.ErrorContains(t, err, "22P02")
	require.Zero(t, scalar[int64](t, b, "select count(*) from contraflow.backfill_reject"))
}

func TestNobodyIsBlamedForAStatementTrigger(t *testing.T) {
	t.Parallel()
	b := setup(t, numbers(0), `create function frozen() returns trigger language plpgsql as $$ begin raise exception 'frozen'; end $$;
		create trigger frozen before update on numbers execute function frozen()`)
	spec := counting("numbers")
	spec.MaxRejects = 10
	_, err := b.Prepare(t.Context(), spec)
	require.NoError(t, err)
	_, err = b.RunLane(t.Context(), spec, 0, backfill.LaneOptions{})
	require.ErrorContains(t, err, "P0001")
	require.Zero(t, scalar[int64](t, b, "select count(*) from contraflow.backfill_reject"))
}

func TestARowIsNotBlamedForOneThatCameInBetween(t *testing.T) {
	t.Parallel()
	b := setup(t, numbers(5)) // 3, 6, 9, 12, 15
	b.exec(t, "update numbers set label = '1'")
	application := b.Connect(t)
	came := false
	engine := b.overheard(t, func(sql string) {
		if !came && strings.Contains(sql, "contraflow_chunk as (update") {
			came = true
			_, err := application.Exec(t.Context(), "insert into numbers values (2, 0, 'bad')")
			require.NoError(t, err)
		}
	})
	spec := counting("numbers")
	spec.Set[0].Expr = "n + label::integer"
	spec.ChunkRows, spec.MaxRejects = 1, 1
	_, err := engine.Prepare(t.Context(), spec)
	require.NoError(t, err)
	came = false // the statement was explained before
	_, err = b.pool.Exec(t.Context(), "delete from numbers where id = 2")
	require.NoError(t, err)
	_, err = engine.RunLane(t.Context(), spec, 0, backfill.LaneOptions{})
	require.NoError(t, err)
	require.True(t, came)
	require.EqualValues(t, 5, scalar[int64](t, b, "select count(*) from numbers where n = 1"))
	require.Equal(t, "{2}", scalar[string](t, b, "select key::text from contraflow.backfill_reject"))
}

func TestARejectThatPeopleHaveMendedIsForgotten(t *testing.T) {
	t.Parallel()
	b := setup(t, poisoned(100))
	spec := casting()
	_, err := b.Prepare(t.Context(), spec)
	require.NoError(t, err)
	_, err = b.RunLane(t.Context(), spec, 0, backfill.LaneOptions{})
	require.ErrorIs(t, err, backfill.ErrRejects)
	_, err = b.RunLane(t.Context(), spec, 0, backfill.LaneOptions{})
	require.ErrorIs(t, err, backfill.ErrRejects, "the limit holds for the next attempt too")
	b.exec(t, "update numbers set label = '7' where label = 's3cr3t'")
	_, err = b.Prepare(t.Context(), spec)
	require.NoError(t, err)
	_, err = b.RunLane(t.Context(), spec, 0, backfill.LaneOptions{})
	require.ErrorIs(t, err, backfill.ErrRejects, "a row that still has to be filled stays set aside")
	b.exec(t, "update numbers set n = 7 where label = '7'")
	proof := b.run(t, spec)
	require.Zero(t, proof.Rejects)
	require.Zero(t, scalar[int64](t, b, "select count(*) from numbers where n = 0"))
}

func TestAProofWaitsForALaneThatWasSplitMeanwhile(t *testing.T) {
	t.Parallel()
	b := setup(t, numbers(100))
	spec := counting("numbers")
	_, err := b.Prepare(t.Context(), spec)
	require.NoError(t, err)
	_, err = b.RunLane(t.Context(), spec, 0, backfill.LaneOptions{})
	require.NoError(t, err)
	split := false
	helper := b.Connect(t)
	engine := b.overheard(t, func(sql string) {
		if !split && strings.Contains(sql, "with sealed as") {
			split = true
			_, err := helper.Exec(t.Context(), `insert into contraflow.backfill_lane (plan, step, lane, target, hash, lower_key, total)
				select plan, step, 1, target, hash, '{300}', 0 from contraflow.backfill_lane`)
			require.NoError(t, err)
			_, err = helper.Exec(t.Context(), "insert into numbers (id) values (1000)")
			require.NoError(t, err)
		}
	})
	proof, err := engine.Finish(t.Context(), spec, backfill.LaneOptions{})
	require.NoError(t, err)
	require.True(t, split)
	require.EqualValues(t, 101, proof.Rows)
	require.NoError(t, b.Reset(t.Context(), spec.Plan, spec.Step))
	_, err = b.Finish(t.Context(), spec, backfill.LaneOptions{})
	require.ErrorIs(t, err, backfill.ErrNotPrepared)
}

func TestReadingsFromTheFutureAreTakenAgain(t *testing.T) {
	t.Parallel()
	b := setup(t, numbers(100))
	spec := counting("numbers")
	spec.Throttles = []backfill.Throttle{{Signal: backfill.Query, Name: "queue", Query: "select 0", Max: 1}}
	_, err := b.Prepare(t.Context(), spec)
	require.NoError(t, err)
	// The server's clock was set back, as by a failover to another machine.
	b.exec(t, "update contraflow.backfill_control set read_at = clock_timestamp() + interval '10 min'")
	b.exec(t, `insert into contraflow.backfill_reading (plan, step, name, reading, maximum, holding, message, read_at)
		values ($1, $2, 'queue', 5, 1, true, 'queue 5, above 1', clock_timestamp() + interval '10 min')`, spec.Plan, spec.Step)
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	_, err = b.RunLane(ctx, spec, 0, backfill.LaneOptions{})
	require.NoError(t, err)
	require.EqualValues(t, 0, scalar[float64](t, b, "select reading from contraflow.backfill_reading where name = 'queue'"))
}
