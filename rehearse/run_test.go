package rehearse

import (
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/ddl"
	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/plan"
)

// files of a migrations folder.
func files(t *testing.T, bodies map[string]string) *ddl.Files {
	t.Helper()
	folder := fstest.MapFS{}
	for name, body := range bodies {
		folder[name] = &fstest.MapFile{Data: []byte(body)}
	}
	read, err := ddl.ReadFiles(folder)
	require.NoError(t, err)
	return read
}

func planOf(t *testing.T, document string) *plan.Plan {
	t.Helper()
	p, err := plan.Decode("plan.yaml", []byte("name: p\ndatabase: shop\nmigrations: m\n"+document))
	require.NoError(t, err)
	return p
}

const shop = `create table customers (id bigint primary key, address text not null, code varchar(10));
	insert into customers select n, 'street ' || n from generate_series(1, 12345) n; analyze customers;
	create table schema_migrations (version bigint not null primary key, dirty boolean not null);
	insert into schema_migrations values (1, false);`

func TestARehearsalTellsWhatThePlanWouldDoToTheTarget(t *testing.T) {
	t.Parallel()
	target := pgtest.New(t)
	target.Exec(t, shop)
	report, err := Run(t.Context(), Options{
		Plan: planOf(t, `
steps:
  - name: expand
    migrate: {to: 2}
  - name: wider
    migrate: {to: 3}
`),
		Files: files(t, map[string]string{
			"1_base.up.sql": "select 1", "1_base.down.sql": "select 1",
			"2_street.up.sql":   "alter table customers add street text;\n\nalter table customers add number uuid default gen_random_uuid();",
			"2_street.down.sql": "alter table customers drop number, drop street;",
			"3_wider.up.sql":    "-- contraflow: no-transaction\ncreate index concurrently customers_code on customers (code)",
			"3_wider.down.sql":  "-- contraflow: no-transaction\ndrop index concurrently customers_code",
		}),
		Target: target.DSN, Report: func(line string) { t.Log(line) },
	})
	require.NoError(t, err)
	for _, s := range report.Statements {
		t.Logf("%s: %s: %s", s.Where(), s.Verdict, s.Detail())
	}
	require.Equal(t, &Down{Versions: []uint{3, 2}, Identical: true}, report.Down)
	left, err := filepath.Glob(filepath.Join(os.TempDir(), "contraflow-*"))
	require.NoError(t, err)
	t.Log(left)
}
