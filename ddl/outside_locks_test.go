package ddl

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// felt measures how long a query of the application's takes, which is sent once a session waits for a strong lock.
func (b bundle) felt(t *testing.T, sql string) (took func() time.Duration) {
	t.Helper()
	client := b.db.Connect(t)
	require.Eventually(t, func() bool {
		return one[bool](t, b, `select exists (select from pg_locks l join pg_stat_activity a using (pid)
			where a.datname = current_database() and l.mode = 'AccessExclusiveLock' and l.locktype = 'relation' and (not l.granted or a.wait_event_type = 'Lock'))`)
	}, patience, look)
	began, done := time.Now(), make(chan time.Duration, 1)
	go func() {
		_, err := client.Exec(t.Context(), sql)
		if err != nil {
			t.Error(err)
		}
		done <- time.Since(began)
	}()
	return func() time.Duration { return <-done }
}

// A DETACH ends in a lock against reading, and its FINALIZE holds one while it waits for snapshots: both behind a transaction that
// is too young to be waited for before.
func TestADetachHoldsTheApplicationUpForOneLockTimeout(t *testing.T) {
	t.Parallel()
	for title, c := range map[string]struct{ inTheWay, application, statement string }{
		"detach":   {"begin; select from b", "select from b", "alter table p detach partition b concurrently"},
		"finalize": {"begin isolation level repeatable read; select 1", "insert into b values (1)", "alter table p detach partition b concurrently"},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			b := setup(t, map[string]string{"1_a.up.sql": "create table a (n int)" + partitions, "2_b.up.sql": noTransactionHeader + "\n" + c.statement})
			require.NoError(t, b.engine("p").Up(t.Context(), 1, ""))
			if title == "finalize" {
				b.begin(t)
				super := b.db
				super.DSN = b.db.SuperDSN
				super.Exec(t, pendingB)
			}
			other := b.db.Connect(t)
			_, err := other.Exec(t.Context(), c.inTheWay)
			require.NoError(t, err)
			var told waits
			result := make(chan error, 1)
			go func() {
				result <- b.unafraid(Options{Plan: "p", LockTimeout: brief, OnWait: told.add}).Up(t.Context(), 2, "")
			}()
			b.felt(t, c.application)() // it ends although the other is still there
			require.Equal(t, byte('T'), other.PgConn().TxStatus())
			require.Empty(t, result)
			_, err = other.Exec(t.Context(), "commit")
			require.NoError(t, err)
			require.NoError(t, <-result)
			b.requireDone(t)
			require.False(t, one[bool](t, b, isAttached))
		})
	}
}

// What a procedure locks isn't known, nor how far it has come.
func TestAProcedureThatLosesAgainstALockIsNotRepeated(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{"1_a.up.sql": "create table a (n int)",
		"2_b.up.sql": noTransactionHeader + "\ndo $$ begin alter table a add x int; commit; end $$"})
	require.NoError(t, b.engine("p").Up(t.Context(), 1, ""))
	_, end := b.reading(t)
	result := make(chan error, 1)
	go func() { // it waits once, and must be seen
		result <- New(b.pool, b.files, Options{Plan: "p", LockTimeout: longEnough}).Up(t.Context(), 2, "")
	}()
	b.felt(t, "select from a")()
	err := <-result
	require.ErrorIs(t, err, ErrInspect)
	require.ErrorContains(t, err, stateLockNotAvailable)
	require.ErrorContains(t, err, "contraflow.ddl_intent")
	end()
	b.exec(t, "delete from contraflow.ddl_intent")
	require.NoError(t, b.engine("p").Up(t.Context(), 2, ""))
	b.requireDone(t)
}
