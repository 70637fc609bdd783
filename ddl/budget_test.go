package ddl

import (
	"context"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// limitOf reads how long our session, which waits for a lock of the table, lets it wait.
func (b bundle) limitOf(t *testing.T, ctx context.Context, table string) (limit time.Duration) {
	t.Helper()
	require.Eventually(t, func() bool {
		var query string
		_ = b.conn.QueryRow(ctx, `select query from pg_stat_activity a where datname = current_database() and application_name = 'ddl test'
			and exists (select from pg_locks l where l.pid = a.pid and not l.granted and l.relation = $1::text::regclass)`, table).Scan(&query)
		if found := regexp.MustCompile(`set local lock_timeout = (\d+)`).FindStringSubmatch(query); found != nil {
			milliseconds, err := strconv.Atoi(found[1])
			require.NoError(t, err)
			limit = time.Duration(milliseconds) * time.Millisecond
		}
		return limit > 0
	}, patience, look)
	return limit
}

// While the second table is waited for the first one is locked: what that wait takes is taken off the third's.
func TestTheStatementsOfAFileShareOneLockTimeout(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{
		"1_a.up.sql": "create table t1 (); create table t2 (); create table t3 (); create table t4 (); create table t5 ()",
		"2_b.up.sql": "set lock_timeout = 0; alter table t1 add c int; alter table t2 add c int; alter table t3 add c int; alter table t4 add c int; alter table t5 add c int",
	})
	require.NoError(t, b.engine("p").Up(t.Context(), 1, ""))
	const lockTimeout, first = 12 * time.Second, 4 * time.Second // far from the end of the attempt, also on a slow machine
	ends := map[string]func(){}
	for _, table := range []string{"t2", "t3", "t4", "t5"} {
		reader := b.db.Connect(t)
		_, err := reader.Exec(t.Context(), "begin; select from "+table)
		require.NoError(t, err)
		ends[table] = func() {
			_, err := reader.Exec(t.Context(), "commit")
			require.NoError(t, err)
		}
	}
	result := make(chan error, 1)
	go func() {
		result <- New(b.pool, b.files, Options{Plan: "p", LockTimeout: lockTimeout}).Up(t.Context(), 2, "")
	}()
	whole := b.limitOf(t, t.Context(), "t2")
	require.LessOrEqual(t, whole, lockTimeout)
	began := time.Now()
	application := b.db.Connect(t)
	answered := make(chan error, 1)
	go func() {
		_, err := application.Exec(t.Context(), "select from t1")
		answered <- err
	}()
	b.exec(t, "select pg_sleep($1)", first.Seconds())
	waited := time.Since(began)
	ends["t2"]()
	left := b.limitOf(t, t.Context(), "t3")
	require.LessOrEqual(t, left, max(lockTimeout-waited/2, lockTimeout/leastShare), "a look may come late, but all of them see the wait")
	require.NoError(t, <-answered, "the first table is free although the third has its reader")
	require.Empty(t, result)
	for _, table := range []string{"t3", "t4", "t5"} {
		ends[table]()
	}
	require.NoError(t, <-result)
	b.requireState(t, at(2))
}

// Work is no wait.
func TestWorkLeavesLockTimeoutAsItIs(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{"1_a.up.sql": "create table a ()",
		"2_b.up.sql": "select pg_sleep(0.4); select pg_sleep(0.4); select pg_sleep(0.4); alter table a add c int"})
	require.NoError(t, b.engine("p").Up(t.Context(), 1, ""))
	_, end := b.reading(t)
	const lockTimeout = time.Second
	result := make(chan error, 1)
	go func() {
		result <- New(b.pool, b.files, Options{Plan: "p", LockTimeout: lockTimeout}).Up(t.Context(), 2, "")
	}()
	require.Greater(t, b.limitOf(t, t.Context(), "a"), lockTimeout/2)
	end()
	require.NoError(t, <-result)
}

func TestAnErrorsLineIsThatOfTheFile(t *testing.T) {
	t.Parallel()
	for sql, line := range map[string]int{
		"select 'ä', 'ö';\n\nselect 1;\n  select nothing":                  4,
		"select 1;\nselect\n  2 +\n  nothing":                              4,
		"begin;\nselect 1;\nselect 1/0;\ncommit;":                          3,
		"select 1;\n" + strings.Repeat("-- é\n", 9) + "selekt 1; select 2": 11,
	} {
		b := setup(t, map[string]string{"1_a.up.sql": sql})
		var failed *StatementError
		require.ErrorAs(t, b.engine("p").Up(t.Context(), 1, ""), &failed)
		require.Equal(t, line, failed.Line, sql)
	}
}

func TestALongStatementIsLookedAtSeldom(t *testing.T) {
	t.Parallel()
	o := &observer{engine: New(nil, nil, Options{})}
	o.begins()
	soon := func() bool { return o.due(o.looked.Add(lookEvery)) }
	for range calmLooks {
		require.True(t, soon())
		o.count(false)
	}
	require.False(t, soon())
	require.True(t, o.due(o.looked.Add(restfulLook)))
	o.saw(t.Context(), Waiting{Lock: "one", Blockers: []Blocker{{PID: 1}}}, true)
	require.True(t, soon(), "something is new")
	require.GreaterOrEqual(t, (&observer{engine: New(nil, nil, Options{LockTimeout: 1})}).every(), shortestLook)
}
