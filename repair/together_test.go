package repair_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/repair"
)

// A file that goes on changing what it has made is proved all the same.
func TestWhatALaterLineChangesIsNotHeldAgainstAnEarlierOne(t *testing.T) {
	t.Parallel()
	for _, file := range []string{
		"create table n (id int, a int not null default 1, b text); alter table n alter id type bigint; alter table n alter a drop default; alter table n alter a drop not null; alter table n rename b to c; alter table n add d int;",
		"create table n (id int, a int); alter table n add constraint n_pk primary key (id); alter table n add constraint n_a unique (a); alter table n drop constraint n_a;",
		"create table n (id int, a int); alter table n add constraint k check (a > 0) not valid; alter table n validate constraint k;",
		"create table n (id int, constraint k check (id > 0)); alter table n drop constraint k; alter table n add constraint l check (id > 1);",
		"create table n (id int); alter table n set unlogged; create table p (id int) partition by range (id); alter table n set logged;",
		"create type m as enum ('a', 'b'); alter type m rename value 'b' to 'c'; alter type m add value 'd'; create table n (m m not null default 'a');",
		"create type m as enum ('a'); alter type m add value 'z'; alter type m add value 'd' before 'z';",
		"create table p (k int) partition by range (k); create table p1 partition of p for values from (0) to (10); create table p2 (k int); alter table p attach partition p2 for values from (10) to (20);",
		"create table n (id int); create unique index ui on n (id); alter table n alter id set not null; alter table n add constraint n_pk primary key using index ui;",
		"create table n (id int generated always as identity); alter table n alter id drop identity;",
		"create table n (id int); create table m (n_id int); alter table n add primary key (id); alter table m add constraint m_n foreign key (n_id) references n;",
		"create table n (id int); alter table n add primary key (id); create table m (n_id int); alter table m add check (n_id > 5); create table l (n_id int); alter table l add foreign key (n_id) references n (id) not valid;",
		"create table n (id int); alter table n add e int, add f text default 'x' not null, add constraint k check (e > 0);",
		"create function f() returns trigger language plpgsql as 'begin return new; end'; create table n (id int); create trigger t before insert on n for each row execute function f();",
		"create function f() returns trigger language plpgsql as 'begin return new; end'; create table n (id int); create constraint trigger a after insert on n for each row execute function f(); alter table n add check (id > 0);",
	} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			b := setup(t, map[string]string{"1_a.up.sql": file})
			require.NotContains(t, standings(b.dirty(t)), repair.Applied)
			b.exec(t, file)
			r := b.dirty(t)
			for _, st := range r.Files[0].Statements {
				require.NotContains(t, st.Why, "it may be another", st.Summary)
				require.NotEqual(t, repair.NotApplied, st.Standing, st.Why)
			}
			b.refused(t, repair.AsUnapplied, "is not unapplied")
		})
	}
}

// One of its commands would have been refused, and so all of them.
func TestAStatementThatOneCommandKeptBackIsNotApplied(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{"1_a.up.sql": "alter table c add column e int, add constraint k check (id > 0);"})
	b.exec(t, "create table c (id int, constraint k check (id > 5))")
	st := b.dirty(t).Files[0].Statements[0]
	require.Equal(t, repair.Untold, st.Standing)
	require.Contains(t, st.Why, "constraint c.k is there, but")
	require.Contains(t, st.Why, "there is no column c.e")
	b.refused(t, repair.Finish, "can't tell")
}
