package lint

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const oneStep = `name: p
database: d
migrations: migrations
steps:
  - name: change
    migrate: {to: 2}
`

func TestADownFileTakesBackWhatItsUpFileDoes(t *testing.T) {
	t.Parallel()
	const before = `create table t (id bigint primary key, a text not null default 'x', b int references o on delete cascade);
		create index i on t (a) where b > 0; create type mood as enum ('a', 'b'); create view v as select 1;`
	for name, test := range map[string]struct {
		up, down string
		want     []string // messages
		safe     string   // of the first
	}{
		"the columns are dropped":              {"alter table t add c int, add d int unique", "alter table t drop c, drop d", nil, ""},
		"a column stays":                       {"alter table t add c int, add d int", "alter table t drop c", []string{"down leaves column t.d"}, "alter table t drop column d;"},
		"a table stays, and is one finding":    {"create table n (a int primary key); create index on n (a)", "select 1", []string{"down leaves table n"}, "drop table n;"},
		"a table goes":                         {"create table n (a int primary key)", "drop table n", nil, ""},
		"a column isn't brought back":          {"alter table t drop column b", "select 1", []string{"down doesn't bring back column t.b", "down doesn't bring back constraint t.t_b_fkey", "down doesn't bring back index i"}, "alter table t add column b integer;"},
		"the order of columns doesn't count":   {"alter table t drop column a", "alter table t add column a text not null default 'x'; create index i on t (a) where (b>0)", nil, ""},
		"another type, and no default":         {"alter table t drop column a", "alter table t add column a varchar(9) not null; create index i on t (a) where b > 0", []string{"down leaves column t.a as character varying(9) not null; it was text default 'x' not null"}, ""},
		"a foreign key that does other things": {"alter table t drop constraint t_b_fkey", "alter table t add foreign key (b) references o", []string{"down leaves constraint t.t_b_fkey as FOREIGN KEY (b) REFERENCES o; it was FOREIGN KEY (b) REFERENCES o ON DELETE CASCADE"}, ""},
		"an index isn't brought back":          {"drop index i", "", []string{"down doesn't bring back index i"}, "CREATE INDEX i ON t USING btree (a) WHERE b > 0;"},
		"an index comes back concurrently":     {"drop index i", "create index concurrently if not exists i on t (a) where b > 0", nil, ""},
		"a value of an enum stays":             {"alter type mood add value 'c'", "select 1", []string{"down leaves type mood as a, b, c; it was a, b"}, ""},
		"a renaming that is taken back":        {"alter table t rename a to z; alter table t rename to u", "alter table u rename to t; alter table t rename z to a", nil, ""},
		"a renaming that is forgotten":         {"alter view v rename to w", "select 1", []string{"down doesn't bring back view v", "down leaves view w"}, ""},
		"a check that is validated":            {"alter table t add constraint k check (b > 0) not valid; alter table t validate constraint k", "alter table t drop constraint k", nil, ""},
		"a function that perhaps was there":    {"create or replace function f() returns int language sql as 'select 1'", "create or replace function f() returns int language sql as 'select 2'", nil, ""},
		"a function that goes":                 {"create or replace function f() returns int language sql as 'select 1'", "drop function f()", nil, ""},
		"a trigger that stays":                 {"create trigger x before insert on t for each row execute function f()", "select 1", []string{"down leaves trigger x on t"}, "drop trigger x on t;"},
		"tables that no file made":             {"alter table far add a int, drop column b, alter c type bigint; drop table away", "alter table far drop a, add column b int, alter c type int; create table away (a int)", nil, ""},
		"tables that no file made, forgotten": {"alter table far add a int, drop column b; drop table away; drop index ii", "select 1",
			[]string{"down doesn't bring back column far.b", "down doesn't bring back index ii", "down doesn't bring back table away", "down leaves column far.a"}, ""},
		"renamed tables that no file made": {"alter table far rename a to b; alter table far rename to near", "alter table near rename to far; alter table far rename b to a", nil, ""},
		"down makes too much":              {"select 1", "alter table t add q int", []string{"down makes column t.q, which was not there before"}, ""},
		"a block that nobody sees into":    {"do $$ begin execute 'alter table t add z int'; end $$; alter table t add q int", "do $$ begin end $$", nil, ""},
		"a row that changes":               {"update t set a = 'y'", "", nil, ""},
		"a mistake in the up file":         {"alter table t add q int; selec", "select 1", nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found := only(Check(inputOf(t, oneStep, map[string]string{"1_a.up.sql": before, "2_b.up.sql": test.up, "2_b.down.sql": test.down})), "down-not-inverse")
			if len(test.want) == 0 {
				require.Empty(t, found)
				return
			}
			require.Len(t, found, 1, "one finding, however much there is")
			require.Equal(t, "migrations/2_b.down.sql", found[0].File)
			require.Equal(t, strings.Join(test.want, "; "), found[0].Message)
			if test.safe != "" {
				require.True(t, strings.HasPrefix(found[0].Safe, test.safe), found[0].Safe)
			}
		})
	}
}

func TestAReversibleVersionNeedsADownFile(t *testing.T) {
	t.Parallel()
	files := map[string]string{"1_a.up.sql": "select 1", "2_b.up.sql": "select 1", "3_c.up.sql": "select 1", "3_c.down.sql": "select 1", "4_d.up.sql": "select 1"}
	found := only(Check(inputOf(t, twoSteps, files)), "down-missing")
	require.Len(t, found, 2)
	require.Equal(t, [3]any{"plan.yaml", 6, 19}, [3]any{found[0].File, found[0].Line, found[0].Column})
	require.Contains(t, found[0].Message, "add 2_b.down.sql")
	require.Equal(t, 8, found[1].Line)
}
