package backfill_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/backfill"
)

func TestLanesAreEvenWhateverTheKeysAndWhereverTheRows(t *testing.T) {
	t.Parallel()
	const rows, lanes = 100_000, 4
	for name, sql := range map[string]string{
		"in order":      "create table t as select i as id from generate_series(1, 100000) i; alter table t add primary key (id)",
		"skewed":        "create table t as select (i::numeric ^ 3)::bigint as id from generate_series(1, 100000) i; alter table t add primary key (id)",
		"a large gap":   "create table t as select i + case when i > 90000 then 9000000000000000000 else 0 end as id from generate_series(1, 100000) i; alter table t add primary key (id)",
		"few prefixes":  "create table t as select i % 2 as a, (i % 100 = 0)::int as b, i as id from generate_series(1, 100000) i; alter table t add primary key (a, b, id)",
		"one prefix":    "create table t as select 'all' as a, i as id from generate_series(1, 100000) i; alter table t add primary key (a, id)",
		"not clustered": "create table t as select md5(i::text)::uuid as id from generate_series(1, 100000) i; alter table t add primary key (id)",
		"partly so":     "create table t as select i % 50 as a, i as id from generate_series(1, 100000) i; alter table t add primary key (a, id)",
		"sampled":       "create table t as select i as id, repeat('x', 700) as pad from generate_series(1, 100000) i; alter table t add primary key (id)",
		"full of holes": "create table t as select i as id from generate_series(1, 200000) i; delete from t where id % 20000 < 10000; alter table t add primary key (id)",
		"uneven partitions": `create table t (id int primary key) partition by range (id); create table t0 partition of t for values from (0) to (90000);
			create table t1 partition of t for values from (90000) to (200000); insert into t select generate_series(1, 100000)`,
		"never analyzed since it was small": `create table t (id int primary key) with (autovacuum_enabled = off); insert into t values (0); analyze t;
			insert into t select generate_series(1, 99999)`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, sql, "alter table t add n int")
			spec := counting("t")
			spec.Where, spec.Lanes, spec.ChunkRows = "n > 0", lanes, 10_000 // which no row does
			run, err := b.Prepare(t.Context(), spec)
			require.NoError(t, err)
			require.Len(t, run.Lanes, lanes)
			for _, l := range run.Lanes {
				walked, err := b.RunLane(t.Context(), spec, l.Lane, backfill.LaneOptions{})
				require.NoError(t, err)
				require.InEpsilon(t, rows/lanes, walked.Scanned, 0.2, "lane %d", l.Lane)
			}
		})
	}
}
