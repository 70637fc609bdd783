package sqltree_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/sqltree"
)

func TestCommentsAreWhatPostgresTakesForThem(t *testing.T) {
	t.Parallel()
	text := "-- ä first \nselect '-- ü no', $$\n-- no\n$$ /* -- no */; -- second\r\nselect 1 -- third"
	found := sqltree.Comments(text)
	require.Len(t, found, 4)
	require.Equal(t, sqltree.Comment{Text: "/* -- no */", Start: 44, Line: 4, Column: 4}, found[1])
	require.Equal(t, sqltree.Comment{Text: "-- ä first", Start: 0, Line: 1, Column: 1}, found[0])
	require.Equal(t, "-- second", found[2].Text)
	require.Equal(t, [2]int{4, 17}, [2]int{found[2].Line, found[2].Column})
	require.Equal(t, "-- third", found[3].Text)
	require.Empty(t, sqltree.Comments("select 1 - -1"))
	require.Empty(t, sqltree.Comments("-- a\nselect 'open"))
}
