package backfill_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/backfill"
)

func TestPartitionedTablesAreWalkedThroughTheParent(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"list": `create table t (id int, part int, primary key (id, part)) partition by list (part);
			create table t0 partition of t for values in (0, 1); create table t2 partition of t default`,
		"range, along the key": `create table t (id int primary key, part int) partition by range (id);
			create table t0 partition of t for values from (minvalue) to (200);
			create table t1 partition of t for values from (200) to (201);
			create table t2 partition of t for values from (201) to (maxvalue)`,
		"range, across the key": `create table t (id int, part int, primary key (id, part)) partition by range (part);
			create table t0 partition of t for values from (0) to (2); create table t2 partition of t for values from (2) to (3)`,
		"hash": `create table t (id int primary key, part int) partition by hash (id);
			create table t0 partition of t for values with (modulus 2, remainder 0); create table t1 partition of t for values with (modulus 2, remainder 1)`,
		"partitions of partitions": `create table t (id int, part int, primary key (part, id)) partition by list (part);
			create table t0 partition of t for values in (0) partition by hash (id);
			create table t00 partition of t0 for values with (modulus 3, remainder 0); create table t01 partition of t0 for values with (modulus 3, remainder 1);
			create table t02 partition of t0 for values with (modulus 3, remainder 2); create table t1 partition of t default`,
		"columns in other places": `create table t (id int, part int, primary key (id, part)) partition by list (part);
			create table t0 (gone text, part int not null, id int not null); alter table t0 drop gone; alter table t attach partition t0 for values in (0);
			create table t1 partition of t default`,
		"unique index, descending": `create table t (id int not null, part int not null) partition by list (part); create unique index on t (id desc, part desc);
			create table t0 partition of t for values in (0, 1); create table t2 partition of t default`,
	} {
		for _, lanes := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s, %d lanes", name, lanes), func(t *testing.T) {
				t.Parallel()
				b := setup(t, sql, fmt.Sprintf("insert into t (id, part) select i, i %% 3 from generate_series(1, %d) i", keyRows))
				var key []string
				if name == "unique index, descending" {
					key = []string{"id", "part"}
				}
				b.changesEveryRowOnce(t, "t", key, lanes)
			})
		}
	}
}

func TestAPartitionMayBeWalkedAlone(t *testing.T) {
	t.Parallel()
	b := setup(t, `create table t (id int, part int not null, n int not null default 0) partition by list (part)`,
		"create table t0 partition of t for values in (0)", "create table t1 partition of t for values in (1)",
		"create unique index on t0 (id)", "alter table t0 alter id set not null",
		"insert into t select i, i % 2 from generate_series(1, 100) i")
	spec := counting("t")
	spec.Key = []string{"id"}
	err := b.refused(t, spec)
	require.ErrorIs(t, err, backfill.ErrNoKey)
	require.ErrorContains(t, err, `create unique index on only "public"."t"`)
	require.ErrorContains(t, err, "name each partition as the table of a step of its own")

	// An index of the parent that one partition lacks is not valid, and cannot lead through it.
	b.exec(t, "create unique index half on only t (id, part)")
	b.exec(t, "alter table t alter id set not null")
	spec.Key = []string{"id", "part"}
	require.ErrorContains(t, b.refused(t, spec), `unique index "half" is missing on some partitions`)

	spec = counting("t0")
	spec.Key = []string{"id"}
	require.EqualValues(t, 50, b.run(t, spec).Rows)
	require.Equal(t, 50, scalar[int](t, b, "select count(*)::int from t where n = 1 and part = 0"))
	require.Equal(t, 50, scalar[int](t, b, "select count(*)::int from t where n = 0 and part = 1"))
}

func TestRowsThatMoveBetweenPartitionsAreMetOnce(t *testing.T) {
	t.Parallel()
	b := setup(t, `create table t (id int, part int, n int not null default 0, primary key (id, part)) partition by list (part)`,
		"create table t0 partition of t for values in (0)", "create table t1 partition of t for values in (1)",
		"insert into t select i, i % 2 from generate_series(1, 200) i")
	spec := counting("t")
	spec.Where = "n = 0"
	_, err := b.Prepare(t.Context(), spec)
	require.NoError(t, err)
	// After every chunk some of its rows, and some that are still to come, move to the other partition; one is attached as well.
	moved := 0
	_, err = b.RunLane(t.Context(), spec, 0, backfill.LaneOptions{Report: func(p backfill.Progress) {
		if moved == 0 {
			b.exec(t, "create table t2 partition of t for values in (2)")
		}
		b.exec(t, "update t set part = 1 - part where id % 20 = $1 and part < 2", moved%20)
		b.exec(t, "insert into t values ($1, 2)", 1000+moved)
		moved++
	}})
	require.NoError(t, err)
	require.Positive(t, moved)
	_, err = b.Finish(t.Context(), spec, backfill.LaneOptions{})
	require.NoError(t, err)
	require.Equal(t, 200+moved, scalar[int](t, b, "select count(*)::int from t where n = 1"))
}

func TestAParentOfInheritanceIsRefusedAndItsChildrenAreNot(t *testing.T) {
	t.Parallel()
	b := setup(t, "create table parent (id int primary key, n int not null default 0)",
		"create table child (primary key (id)) inherits (parent)",
		"insert into parent values (1); insert into child values (1), (2)")
	err := b.refused(t, counting("parent"))
	require.ErrorIs(t, err, backfill.ErrNoKey)
	require.ErrorContains(t, err, "inherit from")
	require.EqualValues(t, 2, b.run(t, counting("child")).Rows)
	require.Equal(t, 2, scalar[int](t, b, "select count(*)::int from parent where n = 1"))
	require.Equal(t, 1, scalar[int](t, b, "select count(*)::int from only parent where n = 0"))
}

func TestAnUnloggedTableIsWalkedLikeAny(t *testing.T) {
	t.Parallel()
	b := setup(t, "create unlogged table t (id int primary key)", "insert into t select generate_series(1, 100)")
	b.changesEveryRowOnce(t, "t", nil, 1)
}

func TestTriggersFireAsForAnyUpdate(t *testing.T) {
	t.Parallel()
	b := setup(t, numbers(100), "alter table numbers add stamped int not null default 0, add twice int generated always as (n * 2) stored",
		"create table seen (rows bigint, twice bigint)",
		`create function stamp() returns trigger language plpgsql as $$ begin new.stamped = new.stamped + 1; return new; end $$;
		 create trigger stamp before update on numbers for each row execute function stamp();
		 create function look() returns trigger language plpgsql as $$ begin
			insert into seen select count(*), sum(twice) from changed; return null; end $$;
		 create trigger look after update on numbers referencing new table as changed for each statement execute function look()`)
	proof := b.run(t, counting("numbers"))
	require.EqualValues(t, 100, proof.Rows)
	require.Equal(t, 100, scalar[int](t, b, "select count(*)::int from numbers where (n, stamped, twice) = (1, 1, 2)"))
	require.Equal(t, []int64{100, 200}, []int64{scalar[int64](t, b, "select sum(rows)::bigint from seen"), scalar[int64](t, b, "select sum(twice)::bigint from seen")})
}

func TestATriggerThatKeepsRowsBackIsFoundOut(t *testing.T) {
	t.Parallel()
	b := setup(t, numbers(100),
		`create function keep() returns trigger language plpgsql as $$ begin if new.id = 30 then return null; end if; return new; end $$;
		 create trigger keep before update on numbers for each row execute function keep()`)
	spec := counting("numbers")
	spec.Where = "n = 0"
	_, err := b.Prepare(t.Context(), spec)
	require.NoError(t, err)
	lane, err := b.RunLane(t.Context(), spec, 0, backfill.LaneOptions{})
	require.NoError(t, err)
	require.Equal(t, []int64{99, 100}, []int64{lane.Rows, lane.Scanned})
	_, err = b.Finish(t.Context(), spec, backfill.LaneOptions{})
	require.ErrorIs(t, err, backfill.ErrRemaining)
}

func TestGeneratedColumnsAreReadLikeOthers(t *testing.T) {
	t.Parallel()
	kinds := []string{"stored"}
	b := setup(t)
	if scalar[int](t, b, "select current_setting('server_version_num')::int") >= 180000 {
		kinds = append(kinds, "virtual")
	}
	for _, kind := range kinds {
		b.exec(t, "create table "+kind+" (id int primary key, half int, whole int generated always as (half * 2) "+kind+", n int not null default 0)")
		b.exec(t, "insert into "+kind+" (id, half) select i, i from generate_series(1, 100) i")
		spec := counting(kind)
		spec.Step = kind
		spec.Set[0].Expr = "whole + 1"
		spec.Where = "whole > 100 and n = 0"
		require.EqualValues(t, 50, b.run(t, spec).Rows)
		require.Equal(t, 50, scalar[int](t, b, "select count(*)::int from "+kind+" where n = id * 2 + 1"))
	}
}
