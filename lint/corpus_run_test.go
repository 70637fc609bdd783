package lint

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/ddl"
	"github.com/contraflow/contraflow/internal/devstack/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// What the corpus says is compared with what Postgres does elsewhere; here, that Postgres does it at all.
func TestTheCorpusRunsOnPostgres(t *testing.T) {
	t.Parallel()
	base, all := readCorpus(t)
	shared := pgtest.New(t)
	shared.Exec(t, base)
	major := majorOf(t, shared.Connect(t))
	for _, s := range all {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			err := s.run(t, base, shared)
			if s.runsOn(major) {
				require.NoError(t, err)
			} else {
				require.Error(t, err, "it runs after all")
			}
		})
	}
}

// majorOf is the version of the server at hand.
func majorOf(t *testing.T, conn *pgx.Conn) (major int) {
	t.Helper()
	require.NoError(t, conn.QueryRow(t.Context(), "select current_setting('server_version_num')::int / 10000").Scan(&major))
	return major
}

// run applies the sample to the base: in a transaction that is rolled back or, where there is none, in a database of its own.
func (s sample) run(t *testing.T, base string, shared pgtest.Database) error {
	t.Helper()
	script, ok := s.files(t, base).Script(2, ddl.Up)
	require.True(t, ok)
	if script.Problem != nil {
		return script.Problem
	}
	if script.NoTransaction {
		own := pgtest.New(t)
		own.Exec(t, base)
		_, err := own.Connect(t).Exec(t.Context(), s.text)
		return err
	}
	conn := shared.Connect(t)
	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "select pg_advisory_xact_lock(1)") // one after the other, for they take the same locks in any order
	require.NoError(t, err)
	for _, st := range script.Statements {
		if _, err := tx.Exec(t.Context(), st.Text, pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
	}
	return tx.Rollback(t.Context())
}
