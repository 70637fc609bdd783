package repair_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/repair"
)

// An object of the same name is why most files fail: it isn't the file's.
func TestAnotherObjectOfTheNameIsNotTakenForTheFiles(t *testing.T) {
	t.Parallel()
	const tables = `create table c (id int primary key, a int, b int, s text); create table o (cid int); create type mood as enum ('x', 'y');
		create function tf() returns trigger language plpgsql as 'begin return new; end'; create function tf2() returns trigger language plpgsql as 'begin return new; end';
		create table parted (d date) partition by range (d); create table p1 (d date);`
	for file, stands := range map[string]string{
		"create unique index i on c (b)":                                                               "create index i on c (a)",
		"create index i on c (a)":                                                                      "create index i on c (a) where a > 0",
		"create index i on c (a) where a > 0":                                                          "create index i on c (a) where a > 1",
		"create index i on c (a, b)":                                                                   "create index i on c (b, a)",
		"create index i on c (lower(s))":                                                               "create index i on c (upper(s))",
		"create index i on c (a desc)":                                                                 "create index i on c (a)",
		"create index if not exists i on c (a) include (b)":                                            "create index i on c (a)",
		"create index i on c using hash (a)":                                                           "create index i on c (a)",
		"alter table c add constraint k check (id > 0)":                                                "alter table c add constraint k check (id > 100000) not valid",
		"alter table c add constraint k check (id > 1)":                                                "alter table c add constraint k check (id > 1) not valid",
		"alter table c add constraint k unique (a)":                                                    "alter table c add constraint k unique (b)",
		"alter table c add constraint k unique (a) ":                                                   "alter table c add constraint k unique (a) deferrable",
		"alter table o add constraint fk foreign key (cid) references c (id) on delete cascade":        "alter table o add constraint fk foreign key (cid) references c (id)",
		"alter table o add constraint fk foreign key (cid) references c (id)":                          "alter table o add constraint fk foreign key (cid) references c (id) not valid",
		"create table n (id bigint primary key, x text not null unique)":                               "create table n (id int, x int, junk text)",
		"create table n (id int)":                                                                      "create table n (id int, junk text)",
		"create table n (id int) ":                                                                     "create table n (id int primary key)",
		"create table n (id int primary key)":                                                          "create table n (id int not null)",
		"create table n (id int default 1)":                                                            "create table n (id int default 2)",
		"create table n (id int not null)":                                                             "create table n (id int)",
		"create table n (id int check (id > 0))":                                                       "create table n (id int check (id > 1))",
		"create table if not exists n (id int references c)":                                           "create table n (id int)",
		"create table n (id serial)":                                                                   "create table n (id int not null)",
		"create table n (id int generated always as (1 + 1) stored)":                                   "create table n (id int generated always as (1 + 2) stored)",
		"create table n (k int) partition by range (k)":                                                "create table n (k int)",
		"create table n partition of parted for values from ('2024-01-01') to ('2025-01-01')":          "create table n partition of parted for values from ('2023-01-01') to ('2024-01-01')",
		"create unlogged table n (id int)":                                                             "create table n (id int)",
		"alter table c add column e int not null default 5 references c (id)":                          "alter table c add column e int",
		"alter table c add column e varchar(10)":                                                       "alter table c add column e varchar(20)",
		"alter table c add column if not exists e int default 5":                                       "alter table c add column e int default 6",
		"create type m as enum ('x', 'y', 'z')":                                                        "create type m as enum ('x')",
		"create type m as (x int, y text)":                                                             "create type m as (x int)",
		"create type m as range (subtype = int8)":                                                      "create type m as range (subtype = int4)",
		"create domain dd as text check (value <> '')":                                                 "create domain dd as int",
		"create domain dd as text":                                                                     "create domain dd as text not null",
		"create domain dd as varchar(10)":                                                              "create domain dd as varchar(20)",
		"create view v as select id, a from c":                                                         "create view v as select id from c",
		"create view v as select id as x from c":                                                       "create view v as select a as x from c",
		"create or replace view v as select id from c where a = 1":                                     "create view v as select id from c where a = 2",
		"create view v with (security_barrier) as select id from c":                                    "create view v as select id from c",
		"create view v as select b from c":                                                             "create view v with (security_barrier) as select b from c",
		"create materialized view v as select id, a from c":                                            "create materialized view v as select id from c",
		"create materialized view v as select a from c with no data":                                   "create materialized view v as select a from c",
		"create trigger t before insert or update on c for each row execute function tf()":             "create trigger t before insert on c for each row execute function tf2()",
		"create trigger t before insert on c for each row execute function tf()":                       "create trigger t before insert on c for each row execute function tf2()",
		"create trigger t before update on c for each row when (old.a <> new.a) execute function tf()": "create trigger t before update on c for each row when (old.a <> new.b) execute function tf()",
		"create policy p on c using (id > 5)":                                                          "create policy p on c using (true)",
		"create policy p on c for select using (id > 5)":                                               "create policy p on c using (id > 5)",
		"create sequence s start 1000 increment 5":                                                     "create sequence s",
		"create sequence s":                                                                            "create sequence s increment 5",
		"create or replace function f() returns text language sql security definer as $$select 'a'$$":  "create function f() returns text language sql as $$select 'a'$$",
		"create function f() returns text language sql as $$select 'a'$$":                              "create function f() returns text language sql as $$select 'b'$$",
		"create function f() returns text language sql stable as $$select 'a'$$":                       "create function f() returns text language sql as $$select 'a'$$",
		"alter table parted attach partition p1 for values from ('2024-01-01') to ('2025-01-01')":      "alter table parted attach partition p1 for values from ('2010-01-01') to ('2025-01-01')",
		"alter table c alter id add generated always as identity":                                      "alter table c alter id add generated by default as identity",
		"create table n as select 1 as x":                                                              "create table n (x text)",
		"create rule q as on update to o do also select 1":                                             "create rule q as on update to o do also select 2",
		"create schema z authorization pg_database_owner":                                              "create schema z",
		"alter type mood add value 'w' before 'x'":                                                     "alter type mood add value 'w'",
	} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			b := setup(t, map[string]string{"1_a.up.sql": file + ";"})
			b.super(t, tables+stands)
			r := b.dirty(t)
			st := r.Files[0].Statements[0]
			require.Equal(t, repair.Untold, st.Standing, st.Why)
			require.Contains(t, st.Why, "it may be another")
			require.Empty(t, r.Way, r.Verdict)
		})
	}
}

func TestAFunctionOfOtherArgumentsIsAnother(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{"1_a.up.sql": "create function f(text) returns int language sql as $$select 1$$;"})
	b.exec(t, "create function f(int) returns int language sql as $$select 1$$")
	require.Equal(t, repair.AsUnapplied, b.dirty(t).Way)
	b.exec(t, "create function f(text) returns int language sql as $$select 1$$")
	require.Equal(t, repair.AsApplied, b.dirty(t).Way)
}

// What Postgres rewrites is proved all the same.
func TestADefinitionThatPostgresRewritesIsProved(t *testing.T) {
	t.Parallel()
	const tables = `create schema s authorization migrator; create type mood as enum ('x', 'y'); create table c (id bigint primary key, a int, b numeric(10,2), s varchar(20), m mood, at timestamptz, "Odd" text);
		create table o (cid bigint); create function tf() returns trigger language plpgsql as 'begin return new; end';`
	for _, file := range []string{
		"create index concurrently i on c (a asc nulls last, b desc nulls first)", "create index i on c (lower(s), (a + 1)) where s in ('x', 'y') and m = 'x'",
		"create unique index i on public.c using btree (a) include (b) where at > '2024-01-01' and a is not null",
		"create index i on only c using gin (to_tsvector('english', s))", `create index i on c ("Odd" text_pattern_ops, lower("Odd"))`,
		"alter table c add constraint k check (s in ('x', 'y') or c.a between 1 and 5)", "alter table c add constraint k check (m <> 'x' and a > -1) not valid",
		"alter table o add constraint k foreign key (cid) references c on delete cascade deferrable initially deferred", "alter table o add constraint k foreign key (cid) references public.c (id) not valid",
		"alter table c add constraint k unique (a, b)", "alter table c add constraint k exclude using btree (a with =)",
		"alter table c add e bigint not null default -1 check (e > -5) references c", "alter table c add e text default 'x'", "alter table c add e mood not null default 'x'", "alter table c add e boolean not null default false",
		"alter table c add e timestamptz not null default now()", "alter table c add e jsonb default '{}'", "alter table c add e uuid default gen_random_uuid()", "alter table c add e numeric(12, 2) default 0", "alter table c add e text[] not null default '{}'",
		"alter table c add e bigserial", "alter table c add e bigint generated always as (a * 2) stored", "alter table c add e int unique", "alter table c add e varchar(5) default null",
		"create table n (id bigint generated always as identity primary key, c_id bigint not null references c (id), s varchar(10) default 'x' check (s <> ''), at timestamptz default current_timestamp, unique (c_id, s), constraint k check (c_id > 0))",
		"create table n (k int, v text, primary key (k)) partition by list (k)", "create table if not exists s.n (a smallserial, m mood default 'y')", "create unlogged table n (like_it boolean)",
		"create view v (x, y) as select id, lower(s) from c where m = 'x' and s in ('x', 'y') order by a limit 5", "create or replace view v as select count(*), c.a from c join o on cid = id group by c.a",
		"create materialized view v as with w as (select * from c) select * from w", "create view s.v as select * from c",
		"create or replace function f(x int, y text default 'q') returns table (z int) language plpgsql stable security definer set search_path = public as $$begin return; end$$",
		"create function f(mood, int[]) returns setof c language sql strict parallel safe as 'select * from c'", "create procedure f(inout a int) language plpgsql as 'begin end'",
		"create trigger t after insert or update of a, b on c for each row when (new.a > 5) execute procedure tf('x')", "create constraint trigger t after delete on c deferrable for each row execute function tf()",
		"create trigger t before update on c for each row when (old.* is distinct from new.* and old.s = 'x') execute function tf()",
		"create policy p on c as restrictive for update to pg_monitor, pg_database_owner using (a > 5 and s = 'x') with check (true)",
		"create sequence q start 1000 increment 5 cache 10", "create domain dd as numeric(10,2) not null", "create type m as enum ('b', 'a')", "create type m as (x int, y varchar(5))",
	} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			b := setup(t, map[string]string{"1_a.up.sql": file + ";"})
			b.super(t, tables)
			require.Equal(t, repair.NotApplied, b.dirty(t).Files[0].Statements[0].Standing)
			b.super(t, file)
			st := b.dirty(t).Files[0].Statements[0]
			require.Equal(t, repair.Applied, st.Standing, st.Why)
		})
	}
}

func TestADefaultThatOnlyBeginsAlikeIsAnother(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{"1_a.up.sql": "alter table c alter s set default 'x';"})
	b.exec(t, "create table c (s text default 'x'::text || 'y'::text)")
	require.Equal(t, []repair.Standing{repair.Untold}, standings(b.dirty(t)))
	b.exec(t, "alter table c alter s set default 'xy'")
	require.Equal(t, []repair.Standing{repair.NotApplied}, standings(b.dirty(t)))
}

// Before version 18 nothing can be marked so, and the column simply may be null.
func TestAColumnWhoseRowsArentProvedMayBeNull(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]repair.Standing{
		"create table c (id int not null);":    repair.Untold,
		"alter table c alter id set not null;": repair.NotApplied,
	} {
		b := setup(t, map[string]string{"1_a.up.sql": file})
		b.exec(t, "create table c (id int)")
		b.exec(t, `do $$ begin
			if current_setting('server_version_num')::int >= 180000 then execute 'alter table c add constraint proved_later not null id not valid'; end if;
		end $$`)
		st := b.dirty(t).Files[0].Statements[0]
		require.Equal(t, want, st.Standing, st.Why)
	}
}
