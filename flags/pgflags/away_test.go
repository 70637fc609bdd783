package pgflags_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags/pgflags"
)

// late is a source that something happens to before it listens.
type late struct {
	pgflags.Listener
	once   *sync.Once
	before func()
}

func (l late) Listen(ctx context.Context, channel string, told func()) error {
	l.once.Do(l.before)
	return l.Listener.Listen(ctx, channel, told)
}

func TestAChangeBetweenTheFirstCopyAndListeningIsNotLost(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, `insert into contraflow.flag (key) values ('f')`)
	source := late{pgflags.Pool(b.pool), &sync.Once{}, func() { b.exec(t, `update contraflow.flag set is_on = true`) }}
	r := open(t, source, pgflags.Options{Poll: never})
	require.Eventually(t, func() bool { return r.Bool("f", "user", "a", false) }, patience, tick)
}

func TestADatabaseThatIsAwayAtTheStartIsFollowedOnceItIsThere(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, `insert into contraflow.flag (key) values ('f')`)
	dsn := b.application(t, "grant usage on schema contraflow", "grant execute on function contraflow.flag_list")
	super := bundle{b.db, pool(t, b.db.SuperDSN)} // who sees what other roles do
	_, err := super.pool.Exec(t.Context(), "alter role app_"+b.db.Name+" nologin")
	require.NoError(t, err)
	stale := make(chan bool, 10)
	r, err := pgflags.Open(t.Context(), pgflags.Pool(pool(t, dsn)), pgflags.Options{Poll: slow, Stale: func(is bool) { stale <- is }})
	require.ErrorContains(t, err, "read the flags: ")
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	require.True(t, r.Stale())
	require.False(t, r.Ready())
	_, err = super.pool.Exec(t.Context(), "alter role app_"+b.db.Name+" login")
	require.NoError(t, err)
	require.False(t, <-stale)
	require.True(t, r.Ready())
	require.Eventually(t, super.listening(t, 1), patience, tick)
	b.exec(t, `update contraflow.flag set is_on = true`)
	require.Eventually(t, func() bool { return r.Bool("f", "user", "a", false) }, patience, tick)
}

// listening tells whether so many connections to this database listen.
func (b bundle) listening(t *testing.T, want int) func() bool {
	return func() bool {
		var n int
		return b.pool.QueryRow(t.Context(), `select count(*) from pg_stat_activity where datname = current_database() and query like 'listen %'`).
			Scan(&n) == nil && n == want
	}
}

func TestACopyTakenByHandEndsStaleness(t *testing.T) {
	t.Parallel()
	b := setup(t)
	source := broken{pgflags.Pool(b.pool), &atomic.Bool{}}
	source.fails.Store(true)
	told := make(chan bool, 10)
	r, err := pgflags.Open(t.Context(), source, pgflags.Options{Poll: never, Stale: func(is bool) { told <- is }})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	require.True(t, r.Stale())
	require.Error(t, r.Refresh(t.Context()))
	require.True(t, r.Stale())
	source.fails.Store(false)
	require.NoError(t, r.Refresh(t.Context()))
	require.False(t, r.Stale())
	require.Len(t, told, 1)
	require.False(t, <-told)
}

func TestCloseWaitsForNoQueryAndLeavesNoConnection(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, `insert into contraflow.flag (key) values ('f')`)
	r := open(t, pgflags.Pool(b.pool), pgflags.Options{Poll: quick})
	require.Eventually(t, b.listening(t, 1), patience, tick)
	tx, err := b.pool.Begin(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
	_, err = tx.Exec(t.Context(), `lock table contraflow.flag in access exclusive mode`)
	require.NoError(t, err)
	waits := `select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%flag_list%'`
	blocked := func(want int) func() bool {
		return func() bool {
			var n int
			return b.pool.QueryRow(t.Context(), waits).Scan(&n) == nil && n == want
		}
	}
	require.Eventually(t, blocked(1), patience, tick)
	require.NoError(t, r.Close())
	require.False(t, r.Stale(), "closing is no failure")
	require.Eventually(t, b.listening(t, 0), patience, tick)
	require.Eventually(t, blocked(0), patience, tick, "the query is cancelled")
	require.NoError(t, tx.Rollback(t.Context()))
	require.True(t, r.Evaluate("f", "user", "a", true).Found(), "the last copy")
}

func TestOptionsThatCannotWorkAreRefusedAndServeFallbacks(t *testing.T) {
	t.Parallel()
	for says, c := range map[string]struct {
		source  pgflags.Source
		options pgflags.Options
	}{
		"Poll must be at least 100ms, or 0 for the default of 10s, not 10ns": {source: &scripted{}, options: pgflags.Options{Poll: 10}},
		"Poll must be at least 100ms, or 0 for the default of 10s, not -1s":  {source: &scripted{}, options: pgflags.Options{Poll: -time.Second}},
		"Instance must be text of up to 200":                                 {source: &scripted{}, options: pgflags.Options{Instance: strings.Repeat("ä", 201)}},
		"characters without control":                                         {source: &scripted{}, options: pgflags.Options{Instance: "shop\x001"}},
		"must be text":                                                       {source: &scripted{}, options: pgflags.Options{Instance: "shop\xff"}},
		"no database":                                                        {},
		"no database to read flags from":                                     {source: pgflags.Pool(nil)},
		"give pgflags.Pool, Polling or DB one":                               {source: pgflags.DB(nil)},
		"to read flags from: give":                                           {source: pgflags.Polling(nil)},
	} {
		r, err := pgflags.Open(t.Context(), c.source, c.options)
		require.ErrorContains(t, err, says)
		require.Equal(t, pgflags.Evaluation{Value: true, Reason: pgflags.NotReady}, r.Evaluate("on", "user", "a", true))
		require.True(t, r.Stale())
		require.ErrorContains(t, r.Refresh(t.Context()), says)
		require.NoError(t, r.Close())
	}
	r, err := pgflags.Open(t.Context(), &scripted{}, pgflags.Options{Instance: strings.Repeat("ä", 200), Poll: 100 * time.Millisecond})
	require.NoError(t, err)
	require.NoError(t, r.Close())
}
