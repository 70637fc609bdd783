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

// doubts are statements whose effect is easy to misjudge.
var doubts = []string{
	"alter table orders add column x bigint default null references customers",
	"create domain d as uuid default gen_random_uuid(); alter table orders add column x d default null; alter table orders alter x drop default",
	"create table if not exists items (order_id bigint); alter table items add check (n > 0)",
	"create table if not exists items (order_id bigint); create index on items (n)",
	"create table if not exists customers (id bigint, name text not null); alter table customers alter column name set not null",
	"drop table items; create table if not exists items (n int); alter table items add check (n > 0)",
	"alter table orders add column x int default 0, add column y bigint references customers",
	"alter table orders add column x text default regexp_replace('a', 'b', 'c'), add y int default cardinality(array[1])",
	"alter table orders add column x positive[]",
	"alter table orders add column x int default 5 check (x > 0)",
	"alter table orders add column x int default 5 not null, add column y timestamptz default now()",
	"alter table orders add column x text default current_setting('server_version')",
	"alter table orders add column x timestamptz default statement_timestamp(), add y text default to_char(now(), 'YYYY')",
	"alter table orders add column x text default (array['a','b'])[1], add y regclass default 'orders'::regclass",
	"alter table orders add column x text collate \"C\" default 'a', add y int[] default '{}', add z interval default '1 day'",
	"alter table orders add column x label default 'a'",
	"alter table orders add column x text unique",
	"alter table orders alter column state set not null, drop constraint state_known",
	"alter table orders alter column state type text, alter column state set not null",
	"alter table orders add constraint z check (state is not null) not valid, alter state set not null",
	"alter table only orders add constraint z check (customer > 0)",
	"alter table orders alter column id type bigint",
	"alter table orders alter column note type text",
	"alter table orders alter column tags type varchar(5)[]",
	"alter table orders alter column state type varchar",
	"alter table orders alter column shipped type timestamp(6)",
	"alter table widths alter column v type varchar(30)",
	"alter table widths alter column v type text",
	"alter table widths alter column f type varchar",
	"alter table widths alter column f type varchar using f::varchar",
	"alter table widths alter column f type text using lower(f)",
	"alter table widths alter column id type numeric",
	"alter table widths alter column n type numeric(10,2) using n",
	"alter table widths alter column t type time without time zone",
	"alter table items add constraint f2 foreign key (order_id) references orders not valid, validate constraint items_order_id_fkey",
	"alter table orders validate constraint orders_old, alter column note set default 'x'",
	"alter table events add column x int not null default 1",
	"alter table events add constraint e check (id > 0)",
	"alter table events alter column id type numeric",
	"alter table events_3 add constraint x check (at is not null and at >= '2024-03-01' and at < '2024-04-01'); alter table events attach partition events_3 for values from ('2024-03-01') to ('2024-04-01')",
	"alter table spare attach partition plots_a for values in ('a')",
	"create table fresh partition of spare for values in ('f')",
	"create table fresh (like orders including all); insert into fresh select * from orders; alter table fresh add check (id > 0)",
	"create index on only events (id)",
	"create index on events (id)",
	"alter table orders add exclude (customer with =)",
	"alter table orders set (autovacuum_enabled = false)",
	"alter table orders cluster on orders_state",
	"alter table orders alter column state set storage external, alter state set statistics 9",
	"alter domain label add constraint c check (value <> '')",
	"create table uses (l label); alter domain label add constraint c check (value <> '')",
	"alter table orders rename to purchases; alter table purchases add constraint z check (customer > 0)",
	"alter table orders rename column customer to buyer; alter table orders alter column buyer set not null",
	"alter table orders drop constraint state_known; alter table orders alter column state set not null",
	"alter table orders add column x int; alter table orders alter column x type bigint",
	"alter table orders add column x int; create index on orders (x)",
	"create schema other; alter table orders set schema other; alter table other.orders alter column customer set not null",
	"set local search_path = public; alter table orders alter column customer set not null",
	"reindex table orders; reindex index orders_state",
	"truncate items; alter table items add check (n > 0)",
	"cluster orders using orders_state",
	"refresh materialized view totals",
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
	return append(all, doubts...)
}
