package pg_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/contraflow/contraflow/internal/pg"
)

func TestNamesAreReadAsSQLReadsThem(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]pgx.Identifier{
		"customers":         {"customers"},
		"Customers":         {"customers"},
		" shop.Customers ":  {"shop", "customers"},
		`"My Table"`:        {"My Table"},
		`shop."a.b""c"`:     {"shop", `a.b"c`},
		`"Shop".t1$`:        {"Shop", "t1$"},
		"größe":             {"größe"},
		`"select; drop"`:    {"select; drop"},
		`"with 'quotes'".x`: {"with 'quotes'", "x"},
	} {
		got, err := pg.ParseName(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"", " ", "my table", "a.", ".a", "a..b", "1st", `"open`, `""`, `a"b"`, `"a"b`, "a;b", "a-b", "a -- b"} {
		_, err := pg.ParseName(text)
		require.ErrorIs(t, err, pg.ErrName, text)
	}
}

func TestQuotedNamesComeBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		name := pgx.Identifier(rapid.SliceOfN(rapid.StringMatching(`[^\x00]+`), 1, 3).Draw(t, "name"))
		got, err := pg.ParseName(name.Sanitize())
		require.NoError(t, err)
		require.Equal(t, name, got)
	})
}
