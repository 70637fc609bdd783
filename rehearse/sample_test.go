package rehearse

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/pgtest"
)

const fill = `
steps:
  - name: fill
    backfill: {table: customers, set: {number: "split_part(address, ' ', 1)::int"}, where: number is null}
`

const marker = "S3CRET-ROW"

func (r *run) count(t *testing.T, query string) (n int) {
	t.Helper()
	require.NoError(t, r.conn.QueryRow(t.Context(), query).Scan(&n))
	return n
}

func TestASampleNamesTheRowsThatFail(t *testing.T) {
	t.Parallel()
	const before = `create type mood as enum ('sad', 'glad'); create table customers (id bigint primary key, address text, moods mood[], at timestamptz default now())`
	r := onScratch(t, fill, before+`; alter table customers add number int`,
		before+`; insert into customers select i, case when i % 50 = 0 then '`+marker+`' else i::text end || ' Street', '{glad,sad}' from generate_series(1, 200) i`)
	r.Sample = 1_000
	require.NoError(t, r.sample(t.Context(), r.Plan.Steps[0]))
	require.Empty(t, r.report.Notes)
	require.Empty(t, r.report.Trials)
	require.Len(t, r.report.Samples, 1)
	s := r.report.Samples[0]
	var keys []string
	for _, f := range s.Failures {
		require.Len(t, f.Key, 1)
		require.Equal(t, "22P02", f.Code)
		require.NotContains(t, f.Message, marker)
		keys = append(keys, f.Key[0])
	}
	require.ElementsMatch(t, []string{"50", "100", "150", "200"}, keys)
	s.Failures = nil
	require.Equal(t, Sample{Step: "fill", Table: "customers", Rows: 200, Filled: 196, Refused: 4}, s)
	raw, err := json.Marshal(r.report)
	require.NoError(t, err)
	require.NotContains(t, string(raw), "150", "no key")
	require.Zero(t, r.count(t, "select count(*) from customers"), "later statements meet no row")
}

func TestASampleIsOfTheSizeAskedForAndFromAllOverTheTable(t *testing.T) {
	t.Parallel()
	const before = `create table customers (id bigint primary key, address text)`
	r := onScratch(t, fill, before+`; alter table customers add number int`,
		before+`; insert into customers select i, 'none ' || repeat('x', 100) from generate_series(1, 20000) i; analyze customers`)
	r.Sample = 200
	require.NoError(t, r.sample(t.Context(), r.Plan.Steps[0]))
	require.Empty(t, r.report.Notes)
	s := r.report.Samples[0]
	require.Equal(t, int64(200), s.Rows)
	require.Equal(t, int64(200), s.Refused)
	tenths := map[string]bool{}
	for _, f := range s.Failures {
		var id int
		_, err := fmt.Sscan(f.Key[0], &id)
		require.NoError(t, err)
		tenths[fmt.Sprint((id-1)/2000)] = true
	}
	require.Greater(t, len(tenths), 7, "of ten")
}

func TestForeignKeysTriggersAndUncheckedConstraintsDoNotHoldASampleUp(t *testing.T) {
	t.Parallel()
	const before = `create table shops (id bigint primary key);
		create table customers (id bigint primary key, address text, shop bigint not null references shops);
		create function refuse() returns trigger language plpgsql as $$ begin raise exception 'no row'; end $$;
		create trigger refuse before insert on customers for each row execute function refuse()`
	const expand = `; alter table customers add number int; alter table customers add constraint short check (length(address) < 3) not valid`
	r := onScratch(t, fill, before+expand, before+`; alter table customers disable trigger refuse; insert into shops values (1);
		insert into customers values (1, '12', 1), (2, '345 Street', 1)`)
	r.Sample = 10
	catalog := `select md5(string_agg(conname || pg_get_constraintdef(oid) || convalidated, ' ' order by conname)) || (select string_agg(tgname || tgenabled::text, ' ' order by oid) from pg_trigger where tgrelid in ('customers'::regclass, 'shops'::regclass))
		from pg_constraint where conrelid in ('customers'::regclass, 'shops'::regclass)`
	var was, is string
	require.NoError(t, r.conn.QueryRow(t.Context(), catalog).Scan(&was))
	require.NoError(t, r.sample(t.Context(), r.Plan.Steps[0]))
	require.NoError(t, r.conn.QueryRow(t.Context(), catalog).Scan(&is))
	require.Equal(t, was, is)
	require.Empty(t, r.report.Notes)
	s := r.report.Samples[0]
	require.Equal(t, []int64{2, 1, 1}, []int64{s.Rows, s.Filled, s.Refused}, "new values must hold to the check, old ones need not to be copied")
	require.Equal(t, []string{"2"}, s.Failures[0].Key)
	require.Equal(t, "23514", s.Failures[0].Code)
}

func TestWhatKeepsRowsFromBeingSampledIsSaid(t *testing.T) {
	t.Parallel()
	const before = `create table customers (id bigint primary key, address text)`
	for title, c := range map[string]struct{ here, there, note, problem string }{
		"a table to come":   {there: `select 1`, note: "step fill: no rows were sampled: the target has no table customers yet"},
		"a policy":          {there: before + `; alter table customers enable row level security; alter table customers force row level security`, note: "step fill: no rows were sampled: row-level security would hide some of them: use a role with BYPASSRLS, or exempt it from the table's policies"},
		"no right":          {there: before + `; insert into customers values (1, 'a'); revoke all on customers from migrator`, note: "step fill: no rows were sampled: the target refuses to give them: SQLSTATE 42501: permission denied for table customers"},
		"a column to fill":  {here: `; alter table customers add must text not null`, there: before + `; insert into customers values (1, '` + marker + `')`, problem: `the table, as it is by then, refuses rows of the target: SQLSTATE 23502: null value in column "must" of relation "customers" violates not-null constraint`},
		"a column retyped":  {here: `; alter table customers alter address type int using 0`, there: before + `; insert into customers values (1, '` + marker + `')`, problem: `the table, as it is by then, refuses rows of the target: SQLSTATE 22P02`},
		"an empty table":    {there: before},
		"a column of wider": {here: `; alter table customers alter id type numeric`, there: before + `; insert into customers values (1, '1')`},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			r := onScratch(t, fill, before+`; alter table customers add number int`+c.here, c.there)
			r.Sample = 10
			require.NoError(t, r.sample(t.Context(), r.Plan.Steps[0]))
			var problem string
			for _, trial := range r.report.Trials {
				require.Equal(t, KindSample, trial.Kind)
				problem = trial.Problem
			}
			require.Equal(t, c.problem, problem)
			if c.note == "" {
				require.Empty(t, r.report.Notes)
			} else {
				require.Equal(t, []string{c.note}, r.report.Notes)
			}
			require.Equal(t, c.note == "" && c.problem == "", len(r.report.Samples) == 1)
		})
	}
}

func TestAConditionThatTheExpressionsLeaveTrueIsFound(t *testing.T) {
	t.Parallel()
	const before = `create table customers (id bigint primary key, address text)`
	r := onScratch(t, fill, before+`; alter table customers add number int`, before+`; insert into customers values (1, null)`)
	r.Sample = 10
	require.NoError(t, r.sample(t.Context(), r.Plan.Steps[0]))
	require.Empty(t, r.report.Samples)
	require.Len(t, r.report.Trials, 1)
	require.Contains(t, r.report.Trials[0].Problem, "rows still match the condition: 1 after")
	require.Zero(t, r.count(t, "select count(*) from customers"))
}

func TestAPartitionedTableIsSampledAsOne(t *testing.T) {
	t.Parallel()
	const before = `create table shops (id bigint primary key);
		create table customers (id bigint primary key generated always as identity, address text, shop bigint not null references shops, size int generated always as (length(address)) stored)
			partition by range (id);
		create table customers_a partition of customers for values from (1) to (1000);
		create table customers_b partition of customers for values from (1000) to (9000)`
	r := onScratch(t, fill, before+`; alter table customers add number int`,
		before+`; insert into shops values (1); insert into customers (address, shop) select i || ' Street', 1 from generate_series(1, 5000) i; analyze customers`)
	r.Sample = 500
	require.NoError(t, r.sample(t.Context(), r.Plan.Steps[0]))
	require.Empty(t, r.report.Notes)
	require.Empty(t, r.report.Trials)
	require.Equal(t, Sample{Step: "fill", Table: "customers", Rows: 500, Filled: 500}, r.report.Samples[0])
	require.Zero(t, r.count(t, "select count(*) from customers"))
	require.Zero(t, r.count(t, "select count(*) from pg_trigger where tgenabled <> 'O'"), "foreign keys are back")
}

func TestARoleThatCannotSilenceTriggersSamplesNothing(t *testing.T) {
	t.Parallel()
	const before = `create table customers (id bigint primary key, address text)`
	r := onScratch(t, fill, before+`; alter table customers add number int`, before+`; insert into customers values (1, '1')`)
	r.Sample = 10
	r.scratch.sampler.User = pgtest.Role
	require.NoError(t, r.sample(t.Context(), r.Plan.Steps[0]))
	require.Equal(t, []string{"step fill: no rows were sampled: " + errNoReplica.Error()}, r.report.Notes)
	require.Zero(t, r.count(t, "select count(*) from customers"))
}
