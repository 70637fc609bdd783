package ddl

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// detached is a partitioned table of which partition b is being detached, as the catalog says it in between.
const (
	partitions = "; create table p (n int) partition by range (n); create table b partition of p for values from (0) to (10); create table c partition of p for values from (10) to (20)"
	pendingB   = "update pg_inherits set inhdetachpending = true where inhrelid = 'b'::regclass"
	isAttached = "select exists (select from pg_inherits where inhrelid = 'b'::regclass)"
)

func TestTheCatalogTellsWhatAnInterruptedStatementHasDone(t *testing.T) {
	t.Parallel()
	const (
		validate  = "alter table a validate constraint positive"
		validated = "select convalidated from pg_constraint where conname = 'positive'"
		addValue  = "alter type mood add value 'fine'"
		hasFine   = "select 'fine' = any(enum_range(null::mood)::text[])"
		rebuild   = "reindex table concurrently a"
		detach    = "alter table p detach partition b concurrently"
		noLeft    = "select not exists (select from pg_class where relname ~ '_cc(new|old)') and (select indisvalid from pg_index where indexrelid = 'a_n'::regclass)"
	)
	long := `"a long name of an index that Postgres will have to cut off for it"`
	for title, c := range map[string]struct {
		before, statement string
		left              string // what the attempt has left, as a superuser can make it
		done              string // true in the end
		withdrawn         string // "": a person is asked; else true after Withdraw
	}{
		"VALIDATE, before":       {"; alter table a add constraint positive check (n > 0) not valid", validate, "", validated, "select true"},
		"VALIDATE, after":        {"; alter table a add constraint positive check (n > 0) not valid", validate, validate, validated, validated},
		"ADD VALUE, before":      {"; create type mood as enum ('sad')", addValue, "", hasFine, "select not exists (select from pg_enum where enumlabel = 'fine')"},
		"ADD VALUE, after":       {"; create type mood as enum ('sad')", addValue, addValue, hasFine, ""},
		"REINDEX, before":        {"; create index a_n on a (n)", rebuild, "", noLeft, noLeft},
		"REINDEX, a new one":     {"; create index a_n on a (n)", rebuild, "create index a_n_ccnew on a (n); " + spoil("a_n_ccnew"), noLeft, noLeft},
		"REINDEX, an old one":    {"; create index a_n on a (n)", "reindex (concurrently) index a_n", "create index a_n_ccold3 on a (n); " + spoil("a_n_ccold3"), noLeft, noLeft},
		"REINDEX, a long name":   {"; create index a_n on a (n); create index " + long + " on a (n)", "reindex index concurrently " + long, `create index "a long name of an index that Postgres will have to cut of_ccnew" on a (n); ` + spoil(`"a long name of an index that Postgres will have to cut of_ccnew"`), noLeft, noLeft},
		"REINDEX, a partition's": {partitions + "; create index p_n on p (n)", "reindex table concurrently p", "create index b_n_idx_ccnew on b (n); " + spoil("b_n_idx_ccnew"), "select not exists (select from pg_class where relname ~ '_cc(new|old)')", "select not exists (select from pg_class where relname ~ '_cc(new|old)')"},
		"DETACH, before":         {partitions, detach, "", "select not (" + isAttached[7:] + ")", isAttached},
		"DETACH, in between":     {partitions, detach, pendingB, "select not (" + isAttached[7:] + ")", ""},
		"DETACH, after":          {partitions, detach, "alter table p detach partition b", "select not (" + isAttached[7:] + ")", ""},
		"REFRESH":                {"; create materialized view v as select * from a; insert into a values (101)", "refresh materialized view v", "", "select count(*) = 101 from v", "select count(*) = 100 from v"},
	} {
		begun := func(t *testing.T) bundle {
			b := setup(t, map[string]string{
				"1_a.up.sql": "create table a (n int); insert into a select generate_series(1, 100)" + c.before,
				"2_b.up.sql": noTransactionHeader + "\n" + c.statement,
			})
			require.NoError(t, b.engine("p").Up(t.Context(), 1, ""))
			b.begin(t)
			super := b.db
			super.DSN = b.db.SuperDSN
			if c.left != "" {
				super.Exec(t, c.left)
			}
			return b
		}
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			b := begun(t)
			require.NoError(t, b.engine("p").Up(t.Context(), 2, ""))
			b.requireDone(t)
			require.True(t, one[bool](t, b, c.done))
		})
		t.Run(title+", withdrawn", func(t *testing.T) {
			t.Parallel()
			b := begun(t)
			err := b.engine("p").Withdraw(t.Context(), 2, "")
			if c.withdrawn == "" {
				require.ErrorIs(t, err, ErrInspect)
				return
			}
			require.NoError(t, err)
			b.requireNothingBegun(t)
			require.True(t, one[bool](t, b, c.withdrawn))
		})
		t.Run(title+", another text", func(t *testing.T) {
			t.Parallel()
			b := begun(t)
			b.exec(t, "update contraflow.ddl_intent set statement_sha = 'other'")
			require.ErrorIs(t, b.engine("p").Up(t.Context(), 2, ""), ErrInspect)
			require.ErrorIs(t, b.engine("p").Withdraw(t.Context(), 2, ""), ErrInspect)
			b.requireState(t, at(1))
		})
	}
}

func spoil(index string) string {
	return "update pg_index set indisvalid = false where indexrelid = '" + index + "'::regclass"
}

// begin writes the intent of version 2, as an attempt does that is then cut off.
func (b bundle) begin(t *testing.T) {
	t.Helper()
	s, err := dial(t.Context(), b.pool, brief)
	require.NoError(t, err)
	d := &driver{ctx: t.Context(), session: s, plan: "p", file: b.files.find(2, Up)}
	defer func() { require.NoError(t, d.Close()) }()
	require.NoError(t, d.writeIntent(b.files.SHA256(2, Up)))
}

func TestALongNameThatPostgresCutsOffIsFound(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{
		"1_a.up.sql": "create table a (n int)",
		"2_b.up.sql": noTransactionHeader + "\ncreate index concurrently an_index_whose_name_is_longer_than_the_sixty_three_bytes_of_postgres on a (n)",
	})
	require.NoError(t, b.engine("p").Up(t.Context(), 1, ""))
	require.NoError(t, b.engine("p").Up(t.Context(), 2, ""))
	b.requireDone(t)
}

// Each waits for a transaction that has used the table; its session is ended there, as by a crash of the server's process.
func TestAStatementThatIsCutOffWhileItWaitsIsFinished(t *testing.T) {
	t.Parallel()
	for title, c := range map[string]struct{ statement, inTheWay, done string }{
		"CREATE INDEX": {"create unique index concurrently fresh on a (n)", "insert into a values (0)",
			"select indisvalid from pg_index where indexrelid = 'fresh'::regclass"},
		"DROP INDEX": {"drop index concurrently a_n", "select from a", "select to_regclass('a_n') is null"},
		"REINDEX": {"reindex index concurrently a_n", "insert into a values (0)",
			"select indisvalid and not exists (select from pg_class where relname like 'a\\_n\\_cc%') from pg_index where indexrelid = 'a_n'::regclass"},
		"DETACH":  {"alter table p detach partition b concurrently", "select from p", "select not exists (select from pg_inherits where inhrelid = 'b'::regclass)"},
		"REFRESH": {"refresh materialized view v", "select from v", "select count(*) = 100 from v"},
		"VALIDATE": {"alter table a validate constraint positive", "create statistics s on n, m from a",
			"select convalidated from pg_constraint where conname = 'positive'"},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			b := setup(t, map[string]string{
				"1_a.up.sql": "create table a (n int, m int); insert into a select generate_series(1, 100); create index a_n on a (n); " +
					"alter table a add constraint positive check (n >= 0) not valid; create materialized view v as select * from a" + partitions,
				"2_b.up.sql": noTransactionHeader + "\n" + c.statement,
			})
			require.NoError(t, b.engine("p").Up(t.Context(), 1, ""))
			other := b.db.Connect(t)
			_, err := other.Exec(t.Context(), "begin; "+c.inTheWay)
			require.NoError(t, err)
			var told waits
			e := b.unafraid(Options{Plan: "p", LockTimeout: time.Hour, OnWait: told.add})
			result := make(chan error, 1)
			go func() { result <- e.Up(t.Context(), 2, "") }()
			pid := int(other.PgConn().PID())
			require.Eventually(t, told.any(func(w Waiting) bool {
				return w.Lock != "" && len(w.Blockers) == 1 && w.Blockers[0].PID == pid && w.Blockers[0].State == "idle in transaction"
			}), patience, look, "it says for whom it waits")
			super := b.db
			super.DSN = b.db.SuperDSN
			super.Exec(t, fmt.Sprintf("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and %d = any(pg_blocking_pids(pid))", pid))
			require.Error(t, <-result)
			b.requireState(t, at(1))

			_, err = other.Exec(t.Context(), "commit")
			require.NoError(t, err)
			require.NoError(t, b.engine("p").Up(t.Context(), 2, ""))
			b.requireDone(t)
			require.True(t, one[bool](t, b, c.done))
		})
	}
}

// A lock that the application would have to queue behind is waited for briefly also outside a transaction.
func TestOutsideATransactionTooALockIsTriedAgain(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{
		"1_a.up.sql": "create table a (n int); create materialized view v as select * from a",
		"2_b.up.sql": noTransactionHeader + "\nrefresh materialized view v",
	})
	require.NoError(t, b.engine("p").Up(t.Context(), 1, ""))
	reader := b.db.Connect(t)
	_, err := reader.Exec(t.Context(), "begin; select from v")
	require.NoError(t, err)
	var told waits
	result := make(chan error, 1)
	go func() {
		result <- New(b.pool, b.files, Options{Plan: "p", LockTimeout: brief, OnWait: told.add}).Up(t.Context(), 2, "")
	}()
	require.Eventually(t, told.any(func(w Waiting) bool { return w.Lock == "AccessExclusiveLock on v" && w.RetryIn > 0 }), patience, look)
	_, err = reader.Exec(t.Context(), "commit")
	require.NoError(t, err)
	require.NoError(t, <-result)
	b.requireDone(t)
}

// holdSnapshot is a session whose open transaction has a snapshot, of a table that nobody changes.
func (b bundle) holdSnapshot(t *testing.T, application string) *pgx.Conn {
	t.Helper()
	conn := b.db.Connect(t)
	_, err := conn.Exec(t.Context(), "set application_name = '"+application+"'; begin isolation level repeatable read; select 1")
	require.NoError(t, err)
	return conn
}

// age waits until the transactions of an application are old.
func (b bundle) age(t *testing.T, application string) {
	t.Helper()
	require.Eventually(t, func() bool {
		return one[bool](t, b, "select bool_and(xact_start < now() - make_interval(secs => $2)) from pg_stat_activity where datname = current_database() and application_name = $1",
			application, oldTransaction.Seconds())
	}, patience, 10*time.Millisecond)
}
