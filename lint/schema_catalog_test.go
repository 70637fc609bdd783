package lint

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/ddl"
	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/internal/sqltree"
)

// what Postgres says of the tables, in the words of account. Since 17 a partition has its table's identity; the schema, which reads
// files for any version, claims that only of the table.
const catalog = `
select 'table ' || c.relname || case when c.relkind = 'p' then ' partitioned' else '' end, c.oid::regclass::text
  from pg_class c where c.relkind in ('r', 'p') and c.relnamespace::regnamespace::text !~ '^pg_|information_schema'
union all
select format('column %s %s%s%s', a.attname, format_type(a.atttypid, a.atttypmod), case when a.attnotnull then ' not null' else '' end,
         case when a.attgenerated <> '' then ' generated' when a.attidentity <> '' and not (c.relispartition and current_setting('server_version_num')::int >= 170000) then ' identity' when a.atthasdef then ' default' else '' end), c.oid::regclass::text
  from pg_attribute a join pg_class c on c.oid = a.attrelid
  where c.relkind in ('r', 'p') and a.attnum > 0 and not a.attisdropped and c.relnamespace::regnamespace::text !~ '^pg_|information_schema'
union all
select format('constraint %s %s%s %s', k.conname, k.contype, case when k.convalidated then '' else ' not valid' end,
         (select string_agg(attname, ',' order by attname) from pg_attribute where attrelid = k.conrelid and attnum = any (k.conkey))), k.conrelid::regclass::text
  from pg_constraint k where k.conrelid <> 0 and k.contype in ('c', 'f', 'u', 'p', 'x') and k.connamespace::regnamespace::text !~ '^pg_|information_schema'
union all
select format('index %s%s%s', i.relname, case when x.indisunique then ' unique' else '' end, case when x.indpred is null then '' else ' partial' end), x.indrelid::regclass::text
  from pg_index x join pg_class i on i.oid = x.indexrelid where i.relnamespace::regnamespace::text !~ '^pg_|information_schema'`

var letters = map[constraintKind]string{checkConstraint: "c", foreignKey: "f", uniqueConstraint: "u", primaryKey: "p", exclusionConstraint: "x"}

// account of one table.
func (t *table) account() (lines []string) {
	text := func(yes bool, s string) string {
		if yes {
			return s
		}
		return ""
	}
	lines = append(lines, "table "+bare(t.name)+text(t.partitioned, " partitioned"))
	for _, c := range t.columns {
		kind := text(c.standard != "", " default")
		if c.identity {
			kind = " identity"
		}
		if c.generated {
			kind = " generated"
		}
		lines = append(lines, "column "+c.name+" "+c.typ+text(c.notNull, " not null")+kind)
	}
	for _, k := range t.constraints {
		lines = append(lines, fmt.Sprintf("constraint %s %s%s %s", k.name, letters[k.kind], text(!k.validated, " not valid"), strings.Join(slices.Sorted(slices.Values(k.columns)), ",")))
	}
	for _, i := range t.indexes {
		lines = append(lines, "index "+i.name+text(i.unique, " unique")+text(i.where != "", " partial"))
	}
	return lines
}

// compare runs the texts on Postgres and on the schema: what the schema claims to know must be so.
func compare(t *testing.T, conn *pgx.Conn, texts ...string) {
	t.Helper()
	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	for _, text := range texts {
		statements, err := sqltree.Parse(text)
		require.NoError(t, err)
		for _, st := range statements {
			if st.Node.GetTransactionStmt() == nil {
				_, err := tx.Exec(t.Context(), st.Text, pgx.QueryExecModeSimpleProtocol)
				require.NoError(t, err, st.Text)
			}
		}
	}
	rows, err := tx.Query(t.Context(), catalog)
	require.NoError(t, err)
	real := map[string][]string{}
	for rows.Next() {
		var line, table string
		require.NoError(t, rows.Scan(&line, &table))
		real[table] = append(real[table], line)
	}
	require.NoError(t, rows.Err())
	require.NoError(t, tx.Rollback(t.Context()))

	s := schemaAfter(t, texts...)
	if s.opaque {
		return // it claims nothing
	}
	for name, table := range s.tables {
		if !table.known {
			continue
		}
		require.ElementsMatch(t, real[quotedName(name)], table.account(), name)
	}
	for name := range real {
		require.Contains(t, s.tables, strings.ReplaceAll(name, `"`, ""))
	}
}

func TestTheSchemaIsWhatPostgresMakes(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"types": `create type mood as enum ('a'); create schema my; create domain my.zip as text; create table t (
			a varchar(20), b varchar, c char, d char(3), e bpchar, f "char", g text, h numeric, i numeric(10, 2), j decimal(4), k int2, l int, m int8, n float, o float(10), p real,
			q timestamp, r timestamptz, s timestamp(3), u timestamptz(0), v time, w timetz(2), x date, y interval, z interval(3), aa interval day to second, ab interval year, ac interval hour to second(2),
			ad int[], ae varchar(9)[][], af int array[3], ag bit, ah bit(3), ai bit varying(4), aj bool, ak jsonb, al uuid, am mood, an public.mood[], ao my.zip, ap serial, aq bigserial, ar pg_catalog.int4, "as" bytea, at name)`,
		"names that Postgres gives": `create table o (id int primary key, x int, unique (id, x)); create table "T" (id bigint primary key, a int unique check (a > 0), b int references o on delete cascade,
			c int unique deferrable initially deferred, "D e" int check ("D e" > 1), unique (a, b) include (c), check (a < b), check (a < 9), check (true), foreign key (a, b) references o (id, x));
			create index on "T" (a); create index on "T" (a); create index on "T" (lower(a::text), b) include (c) where a > 1; create unique index on "T" ((a + b)); create index on "T" (coalesce(a, b));
			create index on "T" (cast(a as text)); create index on "T" ((a is null))`,
		"long names": `create table a_table_with_a_name_that_is_rather_long_for_a_table (a_column_with_a_name_that_is_rather_long_for_a_column int unique references
			a_table_with_a_name_that_is_rather_long_for_a_table check (a_column_with_a_name_that_is_rather_long_for_a_column > 0), id int primary key);
			create index on a_table_with_a_name_that_is_rather_long_for_a_table (a_column_with_a_name_that_is_rather_long_for_a_column, id)`,
		"columns that change": `create table t (id int primary key, a int default 3, b text, c int generated always as (a + 1) stored, d int not null, e int);
			alter table t add f int not null default 0 check (f >= 0), add g bigserial, drop c, alter a drop default, alter b set default 'x', alter b type varchar(9), alter d drop not null,
			alter e set not null, alter e add generated by default as identity`,
		"what goes with a column": `create table t (id int primary key, a int, b int, check (a > b), unique (a, b), constraint only_b check (b > 0)); create index i on t (a) where b > 0; create index j on t (abs(b)); create index k on t (b);
			alter table t rename b to bb; alter table t drop column a`,
		"constraints that change": `create table t (id int, a int not null, b int); create unique index u on t (a); create unique index pk on t (id); alter table t alter id set not null, add constraint "K" unique using index u, add primary key using index pk;
			alter table t add constraint c check (b > 0) not valid, add check (b < 9), add exclude using btree (b with =); alter table t validate constraint c; alter table t rename constraint "K" to kk;
			alter index pk rename to the_key; alter table t drop constraint kk; alter table t drop constraint if exists nothing`,
		"tables that move": `create schema s; create table t (id int primary key); create table u (t int references t, v int); create index i on u (v); alter table t rename to tt; alter table tt set schema s; alter table s.tt add a int unique;
			alter schema s rename to s2; create table v (a int); drop table v; drop index i; drop table s2.tt cascade`,
		"partitions and children": `create table w as select 1 as a; create table p (id int, at date not null, primary key (id, at)) partition by range (at); create table p1 partition of p default; create table c () inherits (w); create table l (like p including all);
			create table q (id int not null, at date not null); alter table p detach partition p1; alter table p attach partition l default; create table if not exists q (z int)`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			compare(t, pgtest.New(t).Connect(t), text)
		})
	}
}

func TestTheSchemaFollowsTheCorpus(t *testing.T) {
	t.Parallel()
	base, all := readCorpus(t)
	conn := pgtest.New(t).Connect(t)
	major := majorOf(t, conn)
	for _, s := range all {
		script, ok := s.files(t, base).Script(2, ddl.Up)
		require.True(t, ok)
		if s.runsOn(major) && !script.NoTransaction {
			t.Run(s.name, func(t *testing.T) { compare(t, conn, base, s.text) }) // one after the other: they lock the same tables
		}
	}
}
