package backfill_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/backfill"
)

func TestEveryRowIsChangedOnceWhateverTheKey(t *testing.T) {
	t.Parallel()
	const rows = 523 // no multiple of any chunk
	for name, k := range map[string]struct {
		table, columns, values string
		key                    []string
	}{
		"int":              {"t", "id int primary key", "i", nil},
		"bigint with gaps": {"t", "id bigint primary key", "i::bigint * i * 1000000 - 40000000", nil},
		"uuid":             {"t", "id uuid primary key", "md5(i::text)::uuid", nil},
		"text":             {"t", "id text primary key", `'k'',"\{}' || md5(i::text)`, nil},
		"collated text":    {"t", `id text collate "C" primary key`, "chr(64 + i % 60) || i", nil},
		"char":             {"t", "id char(8) primary key", "left(md5(i::text), 6)", nil},
		"varchar":          {"t", "id varchar(40) primary key", "md5(i::text) || '   '", nil},
		"timestamptz":      {"t", "at timestamptz primary key", "timestamptz '2024-02-03 00:00Z' + i * interval '7 hours 1.000001 s'", nil},
		"date":             {"t", "at date primary key", "date '2024-02-03' + i", nil},
		"interval":         {"t", "at interval primary key", "i * interval '-1 day 3 hours 0.5 s'", nil},
		"numeric":          {"t", "id numeric(30, 10) primary key", "i / 7.0 - 30", nil},
		"float":            {"t", "id float8 primary key", "sqrt(i)", nil},
		"bytea":            {"t", "id bytea primary key", "decode(md5(i::text), 'hex')", nil},
		"inet":             {"t", "id inet primary key", "inet '10.0.0.0/8' + i", nil},
		"enum":             {"t", "kind mood, id int, primary key (kind, id)", "(case i % 3 when 0 then 'sad' when 1 then 'Ok, fine' else 'glad' end)::mood, i", nil},
		"composite":        {"t", "tenant int, id uuid, primary key (tenant, id)", "i % 5, md5(i::text)::uuid", nil},
		"three columns":    {"t", "a text, b int, c date, primary key (b, a, c)", "'x' || i % 3, i % 7, date '2024-01-01' + i", nil},
		"mixed case":       {`"My ""Table"".x"`, `"Id No" int primary key`, "i", nil},
		"other schema":     {`other."T"`, "id int primary key", "i", nil},
		"unique index":     {"t", `id int unique not null, "Part" int not null, no int not null, unique (no, "Part") include (id)`, "i, i % 10, i / 10", []string{`"Part"`, "NO"}},
		"descending":       {"t", "id int not null", "i", []string{"id"}},
		"no row":           {"t", "id int primary key", "i", nil},
		"partitioned":      {"p", "", "i, i % 3", nil},
	} {
		for _, lanes := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s, %d lanes", name, lanes), func(t *testing.T) {
				t.Parallel()
				b := setup(t, "create schema other", "create type mood as enum ('sad', 'Ok, fine', 'glad')")
				// Formats that do not read back as written, unless the engine sees to it.
				for _, setting := range []string{"datestyle = 'SQL, DMY'", "intervalstyle = 'sql_standard'", "extra_float_digits = -5", "timezone = 'Asia/Kolkata'"} {
					b.exec(t, "alter role current_user in database "+b.Name+" set "+setting)
				}
				b.pool.Reset()
				if name == "partitioned" {
					b.exec(t, `create table p (id int, part int, primary key (id, part)) partition by list (part);
						create table p0 partition of p for values in (0, 1); create table p2 partition of p for values in (2)`)
				} else {
					b.exec(t, "create table "+k.table+" ("+k.columns+")")
				}
				if name == "descending" {
					b.exec(t, "create unique index on t (id desc)")
				}
				if name != "no row" {
					b.exec(t, fmt.Sprintf("insert into %s select %s from generate_series(1, %d) i", k.table, k.values, rows))
				}
				b.exec(t, "alter table "+k.table+" add n integer not null default 0")

				spec := counting(k.table)
				spec.Key, spec.Lanes = k.key, lanes
				proof := b.run(t, spec)

				want := scalar[int64](t, b, "select count(*) from "+k.table)
				require.Equal(t, want, proof.Rows)
				require.Equal(t, want, scalar[int64](t, b, "select count(*) from "+k.table+" where n = 1"))
				o, err := b.Overview(t.Context(), spec)
				require.NoError(t, err)
				require.Equal(t, want, o.Scanned)
				require.Equal(t, o.Lanes, o.LanesDone)
				if lanes == 3 && name != "no row" {
					require.Equal(t, 3, o.Lanes)
				}
				// Checkpoints outlive the run: nothing is changed again.
				b.run(t, spec)
				require.Equal(t, want, scalar[int64](t, b, "select count(*) from "+k.table+" where n = 1"))
			})
		}
	}
}

func TestBadSpecsAreRefusedAndChangeNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, numbers(10), "create table heap (n int)", "create table nullable (id int unique, n int)", "create view seen as select * from numbers",
		`create table mixed ("Id" int not null, n int not null, "nCount" int); create unique index on mixed ("Id") where n > 0; create unique index on mixed (n, "Id")`)
	set := func(column, expr string) []backfill.Assignment {
		return []backfill.Assignment{{Column: column, Expr: expr}}
	}
	n := set("n", "n + 1")
	for name, c := range map[string]struct {
		spec  backfill.Spec
		is    error
		texts []string
	}{
		"no such table":       {backfill.Spec{Table: "nombers", Set: n}, backfill.ErrNoTable, []string{`"nombers"`}},
		"table name":          {backfill.Spec{Table: "my table", Set: n}, backfill.ErrSpec, []string{"double quotes"}},
		"a view":              {backfill.Spec{Table: "seen", Set: n}, backfill.ErrNoTable, []string{"neither"}},
		"no key":              {backfill.Spec{Table: "heap", Set: n}, backfill.ErrNoKey, []string{"no primary key", "create unique index concurrently"}},
		"a nullable key":      {backfill.Spec{Table: "nullable", Key: []string{"id"}, Set: n}, backfill.ErrNoKey, []string{"nullable", "not null"}},
		"a partial index":     {backfill.Spec{Table: "mixed", Key: []string{`"Id"`}, Set: n}, backfill.ErrNoKey, []string{`("Id")`}},
		"an unknown key":      {backfill.Spec{Table: "numbers", Key: []string{"no"}, Set: n}, backfill.ErrNoColumn, []string{`"no"`}},
		"an unknown column":   {backfill.Spec{Table: "numbers", Set: set("m", "1")}, backfill.ErrNoColumn, []string{`"m"`, "migrate step"}},
		"unquoted capitals":   {backfill.Spec{Table: "mixed", Key: []string{`"Id"`, "n"}, Set: set("nCount", "1")}, backfill.ErrNoColumn, []string{`write "nCount" with its double quotes`}},
		"the key is set":      {backfill.Spec{Table: "numbers", Set: set("id", "id + 1")}, backfill.ErrSpec, []string{`"id"`}},
		"nothing is set":      {backfill.Spec{Table: "numbers"}, backfill.ErrSpec, []string{"neither set nor transform"}},
		"negative lanes":      {backfill.Spec{Table: "numbers", Set: n, Lanes: -1}, backfill.ErrSpec, []string{"lanes"}},
		"syntax of set":       {backfill.Spec{Table: "numbers", Set: set("n", "n +")}, nil, []string{"42601", "syntax_error"}},
		"a column in set":     {backfill.Spec{Table: "numbers", Set: set("n", "m + 1")}, nil, []string{"42703", `column "m" does not exist`}},
		"the type of set":     {backfill.Spec{Table: "numbers", Set: set("n", "label")}, nil, []string{"42804"}},
		"a function in where": {backfill.Spec{Table: "numbers", Set: n, Where: "nix(n)"}, nil, []string{"42883"}},
	} {
		t.Run(name, func(t *testing.T) {
			c.spec.Plan, c.spec.Step = "plan", "fill"
			_, err := b.Inspect(t.Context(), c.spec)
			require.Error(t, err)
			if c.is != nil {
				require.ErrorIs(t, err, c.is)
			}
			for _, text := range c.texts {
				require.ErrorContains(t, err, text)
			}
			require.True(t, backfill.Permanent(err))
			_, err = b.Prepare(t.Context(), c.spec)
			require.Error(t, err)
			require.Zero(t, scalar[int](t, b, "select count(*)::int from contraflow.backfill_lane"))
		})
	}
}

func TestInspectTellsWhatAwaits(t *testing.T) {
	t.Parallel()
	b := setup(t, numbers(5000), "update numbers set n = 1 where id > 12000; analyze numbers")
	spec := counting("numbers")
	spec.Where = "n = 0 -- not yet"
	spec.Set[0].Expr = "n + 1 -- one more"
	target, err := b.Inspect(t.Context(), spec)
	require.NoError(t, err)
	require.Equal(t, `"public"."numbers"`, target.Table)
	require.Equal(t, []string{`"id"`}, target.Key)
	require.EqualValues(t, 5000, target.Rows)
	require.InDelta(t, 4000, target.Matching, 200)
	require.Positive(t, target.Bytes)
	require.Zero(t, scalar[int](t, b, "select count(*)::int from contraflow.backfill_lane"))
}
