package backfill_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/backfill"
)

// keyRows is no multiple of any chunk.
const keyRows = 523

// keyCase is a table to walk. Its rows come from values, over i from 1 to keyRows; then runs after that.
type keyCase struct {
	table, columns, into, values string
	key                          []string
	then                         string
}

func TestEveryRowIsChangedOnceWhateverTheKey(t *testing.T) {
	t.Parallel()
	// Texts that collations order in surprising ways, and that arrays and casts have to quote.
	const odd = `(array['-', '_', ' ', 'ß', 'ss', 'Z', 'a', 'Ä', e'\t', '\', '{', ',', '"', '', 'é', e'e\u0301', 'NULL', '''', '😀', e'\n'])[1 + i % 20]`
	for name, k := range map[string]keyCase{
		"smallint":           {columns: "id smallint primary key", values: "i - 300"},
		"int":                {columns: "id int primary key", values: "i"},
		"bigint with gaps":   {columns: "id bigint primary key", values: "i::bigint * i * 1000000 - 40000000"},
		"bigint at its ends": {columns: "id bigint primary key", values: "case when i % 2 = 0 then 9223372036854775807 - i else -9223372036854775808 + i end"},
		"uuid":               {columns: "id uuid primary key", values: "md5(i::text)::uuid"},
		"text":               {columns: "id text primary key", values: `'k'',"\{}' || md5(i::text)`},
		"odd text":           {columns: "id text primary key", values: odd + " || i"},
		"collated text":      {columns: `id text collate "C" primary key`, values: "chr(64 + i % 60) || i"},
		"ICU text":           {columns: "id text collate swedish primary key", values: odd + " || i"},
		"text without case":  {columns: "id text collate nocase primary key", values: "(case i % 2 when 0 then 'Key ' else 'kEY ' end) || i"},
		"char":               {columns: "id char(8) primary key", values: "left(md5(i::text), 6)"},
		"char without case":  {columns: "id char(12) collate nocase, part int, primary key (part, id)", values: "case i % 2 when 0 then 'Ab ' || i else 'aB ' || i end, i % 3"},
		"varchar":            {columns: "id varchar(40) primary key", values: "md5(i::text) || '   '"},
		"name":               {columns: "id name primary key", values: odd + " || i"},
		"single byte":        {columns: `kind "char", id int, primary key (kind, id)`, values: `chr(33 + i % 90)::"char", i`},
		"timestamp":          {columns: "at timestamp(3) primary key", values: "case i when 1 then 'infinity' when 2 then '-infinity' when 3 then '0044-03-15 BC' else timestamp '2024-02-03 04:05:06.789' - i * interval '1 month 1 ms' end"},
		"timestamptz":        {columns: "at timestamptz primary key", values: "case i when 1 then 'infinity' when 2 then '-infinity' when 3 then '0044-03-15 BC' else timestamptz '2024-02-03 00:00Z' + i * interval '7 hours 1.000001 s' end"},
		"date":               {columns: "at date primary key", values: "case i when 1 then 'infinity' when 2 then '-infinity' else date '2024-02-03' + i end"},
		"time":               {columns: "at timetz primary key", values: "timetz '04:05:06.789+05:30' + i * interval '1 s'"},
		"interval":           {columns: "at interval primary key", values: "i * interval '-1 day 3 hours 0.5 s'"},
		"numeric":            {columns: "id numeric(30, 10) primary key", values: "i / 7.0 - 30"},
		"numeric, any":       {columns: "id numeric primary key", values: "case i when 1 then 'NaN' when 2 then 'Infinity' when 3 then '-Infinity' else (1000 * i + 1) * ('1e' || i % 60 - 30)::numeric end"},
		"float":              {columns: "id float8 primary key", values: "case i when 1 then 'NaN' when 2 then 'Infinity' when 3 then '-Infinity' when 4 then '-0' when 5 then '5e-324' else (i - 200.5) * sqrt(i) * 1e290 end"},
		"real":               {columns: "id float4 primary key", values: "case i when 1 then 'NaN' when 2 then '-0' else sqrt(i) - 10.1 end"},
		"bytea":              {columns: "id bytea primary key", values: "decode(md5(i::text), 'hex')"},
		"boolean":            {columns: "yes boolean, id int, primary key (yes, id)", values: "i % 3 = 0, i"},
		"inet":               {columns: "id inet primary key", values: "inet '10.0.0.0/8' + i"},
		"bits":               {columns: "id bit varying primary key", values: "i::bit(12)"},
		"array":              {columns: "id text[] primary key", values: "array[null, 'NULL', '', " + odd + ", i::text]"},
		"jsonb":              {columns: "id jsonb primary key", values: `jsonb_build_object('k"', i, 'x', ` + odd + `)`},
		"range":              {columns: "id int4range primary key", values: "int4range(nullif(i % 9, 0), i + 10, '[]')"},
		"enum":               {columns: "kind mood, id int, primary key (kind, id)", values: "(case i % 3 when 0 then 'sad' when 1 then 'Ok, fine' else 'glad' end)::mood, i"},
		"domain of a domain": {columns: `id "Code" primary key`, values: odd + " || i"},
		"recollated domain":  {columns: `id "Code" collate swedish primary key`, values: odd + " || i"},
		"violated domain":    {columns: `id "Code" primary key`, values: odd + " || i", then: `alter domain "Code" add check (value < '0') not valid`},
		"composite":          {columns: "tenant int, id uuid, primary key (tenant, id)", values: "i % 5, md5(i::text)::uuid"},
		"three columns":      {columns: "a text, b int, c date, primary key (b, a, c)", values: "'x' || i % 3, i % 7, date '2024-01-01' + i"},
		"five columns": {columns: `a numeric, b text collate swedish, c timestamptz, d uuid, e mood, primary key (e, b, a, c, d)`,
			values: "i % 2, " + odd + ", timestamptz '2024-02-03 00:00Z' + (i % 4) * interval '1 s', md5(i::text)::uuid, 'sad'"},
		"mixed case":   {table: `"My ""Table"".x"`, columns: `"Id No" int primary key`, values: "i"},
		"other schema": {table: `other."T"`, columns: "id int primary key", values: "i"},
		"unique index": {columns: `id int unique not null, "Part" int not null, no int not null, unique (no, "Part") include (id)`,
			values: "i, i % 10, i / 10", key: []string{`"Part"`, "NO"}},
		"descending": {columns: "id int not null", values: "i", key: []string{"id"}, then: "create unique index on t (id desc)"},
		"descending, two columns": {columns: "a int not null, b text not null", values: "i % 4, " + odd + " || i", key: []string{"a", "b"},
			then: "create unique index on t (a desc, b desc)"},
		"deferrable":        {columns: "id int primary key deferrable initially deferred", values: "i"},
		"deferrable unique": {columns: "id int not null unique deferrable", values: "i", key: []string{"id"}},
		"identity":          {columns: "x int, id int generated always as identity primary key", into: "(x)", values: "i"},
		"generated":         {columns: "x int, id int generated always as (x * 2) stored primary key", into: "(x)", values: "i"},
		"no row":            {columns: "id int primary key", values: "i", then: "truncate t"},
	} {
		for _, lanes := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s, %d lanes", name, lanes), func(t *testing.T) {
				t.Parallel()
				b := setupKeys(t)
				if k.table == "" {
					k.table = "t"
				}
				b.exec(t, "create table "+k.table+" ("+k.columns+")")
				b.exec(t, fmt.Sprintf("insert into %s %s select %s from generate_series(1, %d) i", k.table, k.into, k.values, keyRows))
				if k.then != "" {
					b.exec(t, k.then)
				}
				b.changesEveryRowOnce(t, k.table, k.key, lanes)
			})
		}
	}
}

// setupKeys makes a database whose formats do not read back as written, unless the engine sees to it.
func setupKeys(t *testing.T) bundle {
	t.Helper()
	b := setup(t, "create schema other", "create type mood as enum ('sad', 'Ok, fine', 'glad')",
		"create domain short as varchar(40)", `create domain "Code" as short collate "C"`,
		"create collation swedish (provider = icu, locale = 'sv')",
		"create collation nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
	for _, setting := range []string{"datestyle = 'SQL, DMY'", "intervalstyle = 'sql_standard'", "extra_float_digits = -5",
		"timezone = 'Asia/Kolkata'", "bytea_output = 'escape'"} {
		b.exec(t, "alter role current_user in database "+b.Name+" set "+setting)
	}
	b.pool.Reset()
	return b
}

// changesEveryRowOnce adds a column n to a table and counts in it.
func (b bundle) changesEveryRowOnce(t *testing.T, table string, key []string, lanes int) {
	t.Helper()
	b.exec(t, "alter table "+table+" add n integer not null default 0")
	spec := counting(table)
	spec.Key, spec.Lanes = key, lanes
	proof := b.run(t, spec)

	want := scalar[int64](t, b, "select count(*) from "+table)
	require.Equal(t, want, proof.Rows)
	require.Equal(t, want, scalar[int64](t, b, "select count(*) from "+table+" where n = 1"))
	o, err := b.Overview(t.Context(), spec)
	require.NoError(t, err)
	require.Equal(t, want, o.Scanned)
	require.Equal(t, o.Lanes, o.LanesDone)
	if want > 0 {
		require.Equal(t, lanes, o.Lanes)
	}
	// Checkpoints outlive the run: nothing is changed again.
	b.run(t, spec)
	require.Equal(t, want, scalar[int64](t, b, "select count(*) from "+table+" where n = 1"))
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
