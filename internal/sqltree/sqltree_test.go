package sqltree_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/sqltree"
)

func TestStatementsKnowTheirPlace(t *testing.T) {
	t.Parallel()
	all, err := sqltree.Parse("-- a /* comment\n/* and /* one */ more */ select 'ä;ö';\n\n  create table t (\n a int); -- the end\n")
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.Equal(t, "select 'ä;ö'", all[0].Text)
	require.Equal(t, [2]int{2, 26}, [2]int{all[0].Line, all[0].Column})
	require.NotNil(t, all[0].Node.GetSelectStmt())
	require.Equal(t, "create table t (\n a int)", all[1].Text)
	require.Equal(t, [2]int{4, 3}, [2]int{all[1].Line, all[1].Column})
	require.Equal(t, "t", all[1].Node.GetCreateStmt().GetRelation().GetRelname())
}

func TestASyntaxErrorHasItsPlace(t *testing.T) {
	t.Parallel()
	_, err := sqltree.Parse("select 'ä';\nselect\n  frm x y z")
	var failed *sqltree.SyntaxError
	require.ErrorAs(t, err, &failed)
	require.Equal(t, 3, failed.Line)
	require.Contains(t, failed.Message, "syntax error at or near")
	_, err = sqltree.Parse("select (")
	require.EqualError(t, err, "line 1, column 9: syntax error at end of input")
	all, err := sqltree.Parse(" -- nothing\n")
	require.NoError(t, err)
	require.Empty(t, all)
}

func TestWhatTheParserWouldMisreadIsRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"\ufeffselect 1":                       "line 1, column 1: the text begins with a byte order mark, which Postgres takes for a word: save it without",
		"select 1;\n select \x00 drop table t": "line 2, column 9: there is a zero byte, behind which nothing would be read: remove it",
		"select '\u00e4',\n '\xe4'":            "line 2, column 3: this is not UTF-8: save the text as UTF-8",
	} {
		_, err := sqltree.Parse(text)
		require.EqualError(t, err, want)
	}
}
