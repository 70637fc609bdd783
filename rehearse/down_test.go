package rehearse

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/pgtest"
)

// rehearse a plan of one step on an own server of the test's.
func rehearsed(t *testing.T, up, down string) *Report {
	t.Helper()
	target := pgtest.New(t)
	target.Exec(t, shop)
	bodies := map[string]string{"1_base.up.sql": "select 1", "2_x.up.sql": up}
	if down != "" {
		bodies["2_x.down.sql"] = down
	}
	report, err := Run(t.Context(), Options{Plan: planOf(t, "  - name: x\n    migrate: {to: 2}"), Files: files(t, bodies), Target: target.DSN, Scratch: scratchFor(t)})
	require.NoError(t, err)
	return report
}

func TestAWayDownThatLeavesSomethingIsShown(t *testing.T) {
	t.Parallel()
	report := rehearsed(t, "alter table customers add street text; create index left_behind on customers (code)", "alter table customers drop street, alter code drop not null")
	require.Equal(t, []uint{2}, report.Down.Versions)
	require.False(t, report.Down.Identical)
	require.Contains(t, report.Down.Differences, "+CREATE INDEX left_behind ON public.customers USING btree (code);")
	require.Contains(t, report.Down.Problem, `2_x.up.sql: relation "left_behind" already exists (SQLSTATE 42P07)`, "the second time up")
}

func TestAWayDownThatLosesSomethingIsShown(t *testing.T) {
	t.Parallel()
	report := rehearsed(t, "drop function twice", "create function twice(n bigint) returns bigint language sql as 'select n + n'")
	require.False(t, report.Down.Identical)
	require.Contains(t, report.Down.Differences, "-    AS $$ select n * 2; -- two")
	require.Contains(t, report.Down.Differences, "+    AS $$select n + n$$;")
	require.Empty(t, report.Down.Problem)
}

func TestAWayDownThatFailsOrIsMissingIsTold(t *testing.T) {
	t.Parallel()
	report := rehearsed(t, "alter table customers add street text", "alter table customers\n drop strete")
	require.Contains(t, report.Down.Problem, "2_x.down.sql: ")
	require.Contains(t, report.Down.Problem, `column "strete"`)
	require.Empty(t, report.Down.Versions)

	report = rehearsed(t, "alter table customers add street text", "")
	require.Contains(t, report.Down.Problem, "version 2 has no .down.sql")
	require.Len(t, report.Statements, 1)
}

func TestAStatementThatFailsEndsTheRehearsal(t *testing.T) {
	t.Parallel()
	report := rehearsed(t, "alter table customers add street text;\nselect id,\n  cod from customers;\nselect 1", "select 1")
	require.Len(t, report.Statements, 2)
	require.Equal(t, `line 3: column "cod" does not exist (SQLSTATE 42703)`, report.Statements[1].Problem)
	require.Equal(t, 2, report.Statements[1].Line)
	require.Nil(t, report.Down)

	report = rehearsed(t, "select 'secret'::int", "select 1")
	require.Equal(t, `invalid input syntax for type integer (SQLSTATE 22P02)`, report.Statements[0].Problem)
}

func TestADifferenceNamesWhatIsNearIt(t *testing.T) {
	t.Parallel()
	require.Empty(t, difference([]string{"a"}, []string{"a"}))
	before := []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "a", "b"}
	after := []string{"1", "2", "3", "4", "5", "x", "7", "8", "9", "a", "b", "password 'p'"}
	require.Equal(t, []string{"@@", " 3", " 4", " 5", "-6", "+x", " 7", " 8", " 9", " a", " b", "+(withheld: it may hold a password)"}, difference(before, after))
}
