package ddl

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// waits collects what an engine tells.
type waits struct {
	mu  sync.Mutex
	all []Waiting
}

func (w *waits) add(waiting Waiting) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, waiting)
}

func (w *waits) any(is func(Waiting) bool) func() bool {
	return func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, waiting := range w.all {
			if is(waiting) {
				return true
			}
		}
		return false
	}
}

// reading holds an open transaction that has read table a.
func (b bundle) reading(t *testing.T) (reader *pgx.Conn, end func()) {
	t.Helper()
	reader = b.db.Connect(t)
	for _, sql := range []string{"set application_name = 'slow report'", "begin", "select count(*) from a"} {
		_, err := reader.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	return reader, func() {
		_, err := reader.Exec(t.Context(), "commit")
		require.NoError(t, err)
	}
}

func TestAReaderInTheWayIsNamedAndTheApplicationGoesOn(t *testing.T) {
	t.Parallel()
	b := setup(t, three)
	require.NoError(t, b.engine("p").Up(t.Context(), 1, ""))
	reader, end := b.reading(t)

	var told waits
	e := New(b.pool, b.files, Options{Plan: "p", LockTimeout: brief, OnWait: told.add})
	result := make(chan error, 1)
	go func() { result <- e.Up(t.Context(), 2, "") }()

	blockedByReader := func(w Waiting) bool {
		return w.Lock == "AccessExclusiveLock on a" && len(w.Blockers) == 1 &&
			w.Blockers[0].PID == int(reader.PgConn().PID()) && w.Blockers[0].Application == "slow report" &&
			w.Blockers[0].State == "idle in transaction" && w.Blockers[0].Age > 0
	}
	require.Eventually(t, told.any(func(w Waiting) bool { return blockedByReader(w) && w.RetryIn == 0 }), patience, look, "while it waits")
	require.Eventually(t, told.any(func(w Waiting) bool { return blockedByReader(w) && w.RetryIn > 0 }), patience, look, "after the time-out")
	require.Eventually(t, told.any(func(w Waiting) bool { return w.Attempt == 3 && w.RetryIn == 4*brief }), patience, look, "with a growing pause")

	// The application's query queues behind a waiting attempt and gets through although the reader is still there.
	application := b.db.Connect(t)
	behind := func() bool {
		return one[bool](t, b, "select exists (select from pg_locks where pid = $1 and not granted)", int32(application.PgConn().PID()))
	}
	queued := false
	for !queued {
		answered := make(chan error, 1)
		go func() {
			_, err := application.Exec(t.Context(), "select count(*) from a")
			answered <- err
		}()
		for done := false; !done; {
			select {
			case err := <-answered:
				require.NoError(t, err)
				done = true
			default:
				queued = behind() || queued
			}
		}
	}
	require.Empty(t, result, "the change still waits for the reader")

	end()
	require.NoError(t, <-result)
	b.requireState(t, at(2))
}

func TestADeadlineSaysWhoWasInTheWay(t *testing.T) {
	t.Parallel()
	b := setup(t, three)
	require.NoError(t, b.engine("p").Up(t.Context(), 1, ""))
	_, end := b.reading(t)
	defer end()

	ctx, cancel := context.WithCancel(t.Context())
	e := New(b.pool, b.files, Options{Plan: "p", LockTimeout: time.Hour, OnWait: func(Waiting) { cancel() }})
	err := e.Up(ctx, 2, "")
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "002_b.up.sql")
	require.ErrorContains(t, err, "AccessExclusiveLock on a, blocked by pid")
	require.ErrorContains(t, err, "slow report")
	require.NotContains(t, err.Error(), "count(*)")
	b.requireState(t, at(1))
}

// A blocking wait for the migration lock holds a snapshot, for which our concurrent build waits. Postgres ends one of
// the two; whichever it is, the index is built and valid.
func TestAConcurrentBuildSurvivesAStockMigratorInTheQueue(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{
		"001_a.up.sql": three["001_a.up.sql"],
		"002_i.up.sql": noTransactionHeader + "\ncreate index concurrently a_id on a (id)",
	})
	require.NoError(t, b.engine("p").Up(t.Context(), 1, ""))
	theirs := b.byURL(t)
	_, end := b.reading(t)
	writer := b.db.Connect(t)
	for _, sql := range []string{"begin", "insert into a values (11)"} { // holds the build in its first phase
		_, err := writer.Exec(t.Context(), sql)
		require.NoError(t, err)
	}

	var told waits
	e := New(b.pool, b.files, Options{Plan: "p", LockTimeout: brief, OnWait: told.add})
	result, locked := make(chan error, 1), make(chan error, 1)
	go func() { result <- e.Up(t.Context(), 2, "") }()
	require.Eventually(t, told.any(func(w Waiting) bool { return w.Lock != "" }), patience, look)
	go func() {
		err := theirs.Lock()
		if err == nil {
			err = theirs.Unlock()
		}
		locked <- err
	}()
	require.Eventually(t, func() bool {
		return one[bool](t, b, "select exists (select from pg_locks join pg_stat_activity using (pid) where datname = current_database() and locktype = 'advisory' and not granted)")
	}, patience, look)
	_, err := writer.Exec(t.Context(), "commit")
	require.NoError(t, err)
	end()

	require.NoError(t, <-result)
	<-locked // Postgres may have chosen either as the victim
	b.requireState(t, at(2))
	require.True(t, one[bool](t, b, "select indisvalid from pg_index where indexrelid = 'a_id'::regclass"))
}
