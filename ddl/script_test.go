package ddl

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestSplitCutsWherePsqlWould(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string]int{
		"":                         0,
		" ; -- nothing; at all\n;": 0,
		"select 1":                 1,
		"select ';'; select 'it''s; one'; select E'\\';'":                                                                   3,
		`select ";" from "a"";b"; select 1`:                                                                                 2,
		"select $$;$$, $a$;$$;$a$; select $1":                                                                               2,
		"/* ; /* ; */ ; */ select 1; --;\nselect 2":                                                                         2,
		"create rule r as on insert to t do also (delete from a; delete from b); select 1":                                  2,
		"create or replace function f() returns int begin atomic select 1; select case when true then 1 end; end; select 1": 2,
		"begin; select 1; end":                                                                                              3,
		"select 'type'; create type e":                                                                                      2,
		"select a$b$c; select 1":                                                                                            2, // $ inside a word opens no dollar quote
		"insert into t values (';', 1);\r\nselect é;":                                                                       2,
	} {
		require.Len(t, split(sql), want, sql)
	}
}

func TestSplitKeepsOffsetsInside(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOf(rapid.SampledFrom([]rune("ab é;'\"$-/*()\\\n0Ee"))).Draw(t, "sql")
		last := 0
		for _, st := range split(text) {
			require.NotEmpty(t, st.tokens)
			require.Equal(t, st.start, st.tokens[0].start)
			for _, token := range st.tokens {
				require.GreaterOrEqual(t, token.start, last)
				require.Greater(t, token.end, token.start)
				last = token.end
			}
		}
		require.LessOrEqual(t, last, len(text))
	})
}

func TestTransactionControlIsRefused(t *testing.T) {
	t.Parallel()
	for _, sql := range []string{
		"create table a (); commit; create table b ()",
		"begin; create table a ()",
		"begin isolation level serializable; create table a (); commit",
		"begin; create table a (); commit and chain",
		"begin; create table a (); commit; begin; create table b (); commit",
		"start transaction; select 1; rollback",
		"prepare transaction 'x'",
	} {
		_, err := parseScript(sql)
		require.ErrorIs(t, err, ErrScript, sql)
	}
	for _, sql := range []string{
		"savepoint s; create table a (); rollback to s; release s",
		"prepare p as select 1; execute p",
		"create function f() returns void language plpgsql as $$ begin commit; end $$",
	} {
		_, err := parseScript(sql)
		require.NoError(t, err, sql)
	}
}

func TestAnOuterTransactionIsOurs(t *testing.T) {
	t.Parallel()
	s, err := parseScript("-- é\nBEGIN WORK;\ncreate table a ();\nEND;\n")
	require.NoError(t, err)
	require.Len(t, s.statements, 1)
	require.Equal(t, "-- é\n          ;\ncreate table a ();\n   ;\n", s.text)
}

func TestNoTransactionHeader(t *testing.T) {
	t.Parallel()
	s, err := parseScript("-- contraflow: no-transaction\r\nvacuum a;\r\n")
	require.NoError(t, err)
	require.True(t, s.noTransaction)
	for _, sql := range []string{
		"-- contraflow: no-transaction\nvacuum a; vacuum b",
		"-- contraflow: no-transaction\n",
		"-- contraflow: no-transactions\nvacuum a",
		"-- a comment\n-- contraflow: no-transaction\nvacuum a",
		"-- contraflow: no-transaction\ncreate index concurrently on t (a)", // no name to look for
	} {
		_, err := parseScript(sql)
		require.ErrorIs(t, err, ErrScript, sql)
	}
}

// It would wait for data without end, with the locks of the statements before it.
func TestCopyThroughTheClientIsRefused(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a + ", maxTokens)
	for _, sql := range []string{
		"create table a ();\n\nCOPY public.a (id) FROM stdin;\n1\n\\.\n",
		"select 1;\n\ncopy a to stdout with (format csv)",
		"select 1;\n\ncopy (select " + long + "1 from t) to /* there */ StdOut",
		"select 1;\n\ncopy a from stdout",
	} {
		_, err := parseScript(sql)
		require.ErrorIs(t, err, ErrScript, sql)
		require.ErrorContains(t, err, "line 3")
		require.ErrorContains(t, err, "write INSERTs")
	}
	for _, sql := range []string{`copy a from '/tmp/stdin'`, `copy (select 1 from "stdin") to program 'x'`, "comment on table a is 'copy from stdin'"} {
		_, err := parseScript(sql)
		require.NoError(t, err, sql)
	}
}

func TestWhatIsMeantAsADirectiveIsNotPassedOver(t *testing.T) {
	t.Parallel()
	for _, head := range []string{"--contraflow: no-transaction", "-- Contraflow: no-transaction", "-- contraflow no-transaction", "-- contraflow : no-transaction"} {
		_, err := parseScript(head + "\nvacuum")
		require.ErrorIs(t, err, ErrScript, head)
		require.ErrorContains(t, err, "line 1", head)
	}
	for _, head := range []string{"-- contraflow: ignore lifts-lock-timeout because", "--contraflow: ignore x", "-- contraflow does no more here"} {
		_, err := parseScript(head + "\nselect 1")
		require.NoError(t, err, head)
	}
	_, err := parseScript("select 1;\nselect pg_advisory_unlock_all()")
	require.ErrorIs(t, err, ErrScript)
	require.ErrorContains(t, err, "line 2")
}
