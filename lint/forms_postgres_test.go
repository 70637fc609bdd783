package lint

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/ddl"
	"github.com/contraflow/contraflow/internal/devstack/pgtest"
)

// otherEnds are rules whose forms end in another state by design: a column beside the old one, a view, a check or a constraint that
// the form itself speaks of.
var otherEnds = []string{
	"changing-column-type", "renaming-column", "renaming-table", "require-concurrent-partition-detach", "ban-alter-domain-with-add-constraint",
	"backfill-in-ddl", "ban-drop-column", "ban-drop-table", "ban-drop-object",
}

// whole is what the database holds, in lines. The order of columns doesn't count, nor what is not validated yet, nor
// the name of a NOT NULL, which has one since Postgres 18.
const whole = `
select 'relation ' || c.oid::regclass || ' ' || c.relkind::text || ' ' || coalesce(c.reloptions::text, '') || ' ' || coalesce(pg_get_expr(c.relpartbound, c.oid), '') || ' ' || c.relpersistence::text
  from pg_class c where c.relnamespace = any (array(select oid from pg_namespace where nspname !~ '^(pg_|information_schema)'))
union all
select 'column ' || a.attrelid::regclass || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull || ' ' || a.attidentity::text || a.attgenerated::text || ' ' || a.attcollation || ' ' || coalesce(pg_get_expr(d.adbin, d.adrelid), '')
  from pg_attribute a join pg_class c on c.oid = a.attrelid left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
  where a.attnum > 0 and not a.attisdropped and c.relkind in ('r', 'p', 'v', 'm') and c.relnamespace = any (array(select oid from pg_namespace where nspname !~ '^(pg_|information_schema)'))
union all
select 'constraint ' || coalesce(nullif(conrelid, 0)::regclass::text, contypid::regtype::text) || ' ' || case contype when 'n' then '' else conname end || ' ' || pg_get_constraintdef(oid)
  from pg_constraint where connamespace = any (array(select oid from pg_namespace where nspname !~ '^(pg_|information_schema)'))
union all
select 'index ' || pg_get_indexdef(indexrelid) || ' ' || indisvalid || ' ' || coalesce((select inhparent::regclass::text from pg_inherits where inhrelid = indexrelid), '')
  from pg_index join pg_class c on c.oid = indexrelid where c.relnamespace = any (array(select oid from pg_namespace where nspname !~ '^(pg_|information_schema)'))
union all
select 'sequence ' || seqrelid::regclass || ' ' || format_type(seqtypid, null) || ' ' || seqstart || ' ' || coalesce((select refobjid::regclass || '.' || refobjsubid from pg_depend where objid = seqrelid and deptype in ('a', 'i') and refobjsubid > 0 and classid = 'pg_class'::regclass), '')
  from pg_sequence
order by 1`

func readWhole(t *testing.T, conn *pgx.Conn) []string {
	t.Helper()
	rows, err := conn.Query(t.Context(), whole)
	require.NoError(t, err)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return lines
}

// formed is a file whose findings may have forms, and what it stands on.
type formed struct {
	base, sql string
	findings  []Finding
}

// A form that is pasted must run, and lead where the original would: Postgres has the word.
func TestSafeFormsLeadWhereTheOriginalDoes(t *testing.T) {
	t.Parallel()
	bases := map[string]pgtest.Database{}
	var all []formed
	for _, text := range slices.Concat(judgedFiles(), hazards) {
		all = append(all, formed{base, text, lintFiles(t, false, map[string]string{"000002_change.up.sql": text}).Findings})
	}
	shop, samples := readCorpus(t)
	for _, s := range samples {
		all = append(all, formed{shop, s.text, s.check(t, shop)})
	}
	ran, equal := 0, 0
	for _, f := range all {
		if _, ok := bases[f.base]; !ok {
			bases[f.base] = pgtest.New(t)
			bases[f.base].Exec(t, f.base)
		}
		shared := bases[f.base].Connect(t)
		want, err := end(t, shared, f.base, []pasted{{"000002_change.up.sql", f.sql}})
		if err != nil {
			require.NoError(t, shared.Close(t.Context()))
			continue // it is found for that
		}
		seen := map[string]bool{}
		for _, found := range f.findings {
			if !slices.ContainsFunc(statementRules, func(r statementRule) bool { return r.ID == found.Rule }) {
				continue
			}
			requirePlan(t, found.Safe)
			if found.Safe == "" || seen[found.Safe] || strings.HasPrefix(found.Safe, "- name: ") || !strings.Contains(found.File, "2_") {
				continue
			}
			seen[found.Safe] = true
			ran++
			got, err := end(t, shared, f.base, paste(t, f.sql, found))
			if err != nil {
				t.Errorf("%s: %v\n%s\n---\n%s", found.Rule, err, f.sql, found.Safe)
				continue
			}
			if !slices.Contains(otherEnds, found.Rule) {
				equal++
				if !slices.Equal(want, got) {
					t.Errorf("%s:\n%s\n---\n%s\n%s", found.Rule, f.sql, found.Safe, strings.Join(changes(want, got), "\n"))
				}
			}
		}
		require.NoError(t, shared.Close(t.Context()))
	}
	require.Greater(t, ran, 150)
	require.Greater(t, equal, 100)
}

// changes are the lines that only one side has.
func changes(want, got []string) (all []string) {
	for _, l := range want {
		if !slices.Contains(got, l) {
			all = append(all, "- "+l)
		}
	}
	for _, l := range got {
		if !slices.Contains(want, l) {
			all = append(all, "+ "+l)
		}
	}
	return all
}

// end is the catalog after the files have run: in a transaction that is rolled back or, where one of them can't run in any, in
// a database of its own.
func end(t *testing.T, shared *pgx.Conn, base string, files []pasted) ([]string, error) {
	t.Helper()
	fs, apart := fstest.MapFS{}, false
	for _, f := range files {
		fs[f.name] = &fstest.MapFile{Data: []byte(f.sql)}
	}
	require.Len(t, fs, len(files), "two files of one name")
	read, err := ddl.ReadFiles(fs)
	require.NoError(t, err)
	var scripts []ddl.Script
	for _, v := range read.Versions() {
		s, _ := read.Script(v, ddl.Up)
		if s.Problem != nil {
			return nil, s.Problem
		}
		apart = apart || s.NoTransaction && !strings.Contains(s.Text, "VALIDATE CONSTRAINT")
		scripts = append(scripts, s)
	}
	conn := shared
	if apart {
		own := pgtest.New(t)
		own.Exec(t, base)
		conn = own.Connect(t)
		defer func() { require.NoError(t, conn.Close(t.Context())) }()
	} else {
		_, err := conn.Exec(t.Context(), "begin")
		require.NoError(t, err)
		defer func() {
			_, err := conn.Exec(t.Context(), "rollback")
			require.NoError(t, err)
		}()
	}
	for _, s := range scripts {
		for _, st := range s.Statements {
			if _, err := conn.Exec(t.Context(), st.Text, pgx.QueryExecModeSimpleProtocol); err != nil {
				return nil, err
			}
		}
	}
	return readWhole(t, conn), nil
}

// hazards are statements whose forms are easy to get wrong: what stands beside the hazard must not be lost.
var hazards = []string{
	`alter table orders add column "publicId" uuid default gen_random_uuid()`,
	`alter table orders rename column state to "no"`,
	`update orders set "order" = 1`,
	"alter table orders add column stage text not null default 'a' check (stage <> '')",
	"alter table orders add column stage text not null default gen_random_uuid()",
	"alter table orders add column n serial not null unique",
	"alter table orders add column n bigint generated always as identity",
	"alter table orders add column n int generated always as (1) stored",
	"alter table orders add column token uuid not null unique default gen_random_uuid() references widths_key check (token is not null)",
	"alter table orders add column agent bigint default 5 references customers deferrable initially deferred",
	"alter table orders add column agent bigint, add constraint agent_fk foreign key (agent) references customers (id) on delete cascade",
	"alter table orders add column code2 text default 'x' unique deferrable initially deferred",
	"alter table orders add constraint u unique (state) with (fillfactor = 70) deferrable initially deferred",
	"alter table orders add unique nulls not distinct (state) include (note)",
	"alter table orders drop constraint orders_pkey cascade, add primary key (customer)",
	"alter table orders add check (amount >= 0), alter column state set default 'x'",
	"alter table orders add check (amount > customer)",
	"alter table orders alter column customer set default 0, alter column customer set not null",
	"alter table items add foreign key (order_id) references orders",
	"alter table orders add constraint c check (id > 0) not valid, validate constraint c",
	"alter table orders add constraint c check (state is not null) not valid;\nalter table orders validate constraint c;\nalter table orders alter column state set not null;",
	"alter table orders add column w text;\nalter table orders alter column state set not null;\nalter table orders add column z text;",
	"alter table spare detach partition spare_rest",
	"create unique index on events (id, at)",
	"create index on events (at)",
	"create index on orders (note) include (state)",
	"create table events_9 partition of events for values from ('2025-03-01') to ('2025-04-01')",
	"drop index orders_state;\ncreate index orders_state on orders (state, note);",
}
