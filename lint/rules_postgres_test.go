package lint

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/ddl"
	"github.com/contraflow/contraflow/internal/devstack/pgtest"
)

// touched are the messages with which Postgres says, at level debug1, that it goes through a table's rows under the lock.
var touched = regexp.MustCompile(`^(?:rewriting|verifying) table "([^"]+)"|^building index "[^"]+" on table "([^"]+)"|^validating foreign key constraint "([^"]+)"`)

// Whatever Postgres rewrites, scans or indexes under its lock, of tables that were there before, is an error of some rule's.
func TestPostgresScansNothingThatTheRulesPassed(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Exec(t, base)
	config, err := pgx.ParseConfig(db.SuperDSN)
	require.NoError(t, err)
	var said []string
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { said = append(said, n.Message) }
	conn, err := pgx.ConnectConfig(t.Context(), config)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(t.Context())) }()
	_, err = conn.Exec(t.Context(), "set client_min_messages = debug1")
	require.NoError(t, err)

	ran, scanned := 0, 0
	for _, text := range judgedFiles() {
		if strings.HasPrefix(text, "-- contraflow: no-transaction") {
			continue
		}
		existing := map[string]bool{}
		rows, err := conn.Query(t.Context(), "select relname::text from pg_class where relkind in ('r', 'p', 'm') and relnamespace = 'public'::regnamespace")
		require.NoError(t, err)
		names, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		for _, n := range names {
			existing[n] = true
		}
		said = nil
		_, err = conn.Exec(t.Context(), "begin")
		require.NoError(t, err)
		script, err := ddl.ReadFiles(fstest.MapFS{"000002_change.up.sql": {Data: []byte(text)}})
		require.NoError(t, err)
		up, _ := script.Script(2, ddl.Up)
		failed := up.Problem
		for _, st := range up.Statements {
			if failed == nil {
				_, failed = conn.Exec(t.Context(), st.Text)
			}
		}
		var seen []string
		for _, s := range said {
			m := touched.FindStringSubmatch(s)
			if m == nil {
				continue
			}
			on := m[1] + m[2]
			if m[3] != "" && failed == nil {
				require.NoError(t, conn.QueryRow(t.Context(), "select conrelid::regclass::text from pg_constraint where conname = $1", m[3]).Scan(&on))
			}
			if existing[on] && failed == nil && locked(t, conn, on) {
				seen = append(seen, s)
			}
		}
		_, err = conn.Exec(t.Context(), "rollback")
		require.NoError(t, err)
		if failed != nil {
			continue // what it did before it was refused doesn't tell much
		}
		ran++
		if len(seen) == 0 {
			continue
		}
		scanned++
		report := lintFiles(t, false, map[string]string{"000002_change.up.sql": text})
		errors := 0
		for _, f := range report.Findings {
			if f.Severity == Error && strings.HasPrefix(f.File, "000002") {
				errors++
			}
		}
		require.NotZero(t, errors, "%s\nPostgres: %s", text, strings.Join(seen, "; "))
	}
	require.Greater(t, ran, 150)
	require.Greater(t, scanned, 30)
}

// locked tells whether the transaction keeps writers from a table.
func locked(t *testing.T, conn *pgx.Conn, table string) (strong bool) {
	t.Helper()
	require.NoError(t, conn.QueryRow(t.Context(), `select exists (select from pg_locks where pid = pg_backend_pid() and relation = to_regclass($1)
		and mode in ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'))`, table).Scan(&strong))
	return strong
}

// judgedFiles are the files of all judgements, in a steady order.
func judgedFiles() []string {
	var all []string
	table := judgements()
	for _, id := range slices.Sorted(maps.Keys(table)) {
		for _, j := range slices.Concat(table[id].hits, table[id].misses) {
			all = append(all, j.sql)
		}
	}
	return all
}
