package pgflags_test

import (
	"bytes"
	"database/sql"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/contraflow/contraflow/flags/pgflags"
	"github.com/contraflow/contraflow/internal/devstack/pgproxy"
)

const (
	patience = time.Minute
	tick     = time.Millisecond
	// never is a poll that no test lives to see.
	never = time.Hour
	quick = 100 * time.Millisecond
	// slow enough for a notification to be first, mostly; either will do.
	slow = 500 * time.Millisecond
)

func TestTheReaderAndTheSQLFunctionAgreeOnEverything(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := open(t, deaf{pgflags.Pool(b.pool)}, pgflags.Options{Poll: never})
	word := rapid.SampledFrom([]string{"", "a", "b", "user-1", "user-2", "77", "ключ", "a.b", "'", `"`, "🎈", "user"})
	kind := rapid.SampledFrom([]string{"", "user", "device", "account"})
	rapid.Check(t, func(rt *rapid.T) {
		targets := map[string]map[string][]string{}
		for range rapid.IntRange(0, 3).Draw(rt, "kinds") {
			targets[kind.Draw(rt, "target kind")] = map[string][]string{
				"true": rapid.SliceOfN(word, 0, 3).Draw(rt, "true"), "false": rapid.SliceOfN(word, 0, 3).Draw(rt, "false"),
			}
		}
		weight := rapid.OneOf(rapid.SampledFrom([]int{0, 1, 99_999, 100_000}), rapid.IntRange(0, 100_000)).Draw(rt, "weight")
		_, err := b.pool.Exec(t.Context(), `insert into contraflow.flag (key, is_on, percent, context_kind, targets, salt, archived)
			values ('f', $1, $2::numeric / 1000, $3, $4, $5, $6)
			on conflict (key) do update set is_on = excluded.is_on, percent = excluded.percent, context_kind = excluded.context_kind,
				targets = excluded.targets, salt = excluded.salt, archived = excluded.archived`,
			rapid.IntRange(0, 4).Draw(rt, "on") > 0, weight, rapid.SampledFrom([]string{"user", "device"}).Draw(rt, "kind"), targets,
			word.Draw(rt, "salt"), rapid.IntRange(0, 9).Draw(rt, "archived") == 0)
		require.NoError(rt, err)
		require.NoError(rt, r.Refresh(t.Context()))
		asked := kind.Draw(rt, "asked kind")
		keys := []string{"", "a", "b", "user-1", "user-2", "77", "ключ", "a.b", "'", `"`, "🎈"}
		for i := range 100 {
			keys = append(keys, fmt.Sprint("key-", i))
		}
		rows, err := b.pool.Query(t.Context(), `select contraflow.flag_is_on('f', $1, k) from unnest($2::text[]) with ordinality a (k, n) order by n`, asked, keys)
		require.NoError(rt, err)
		inSQL, err := pgx.CollectRows(rows, pgx.RowTo[*bool])
		require.NoError(rt, err)
		for i, key := range keys {
			e := r.Evaluate("f", asked, key, false)
			require.Equal(rt, inSQL[i] != nil, e.Found())
			if inSQL[i] != nil {
				require.Equal(rt, *inSQL[i], e.Value, "kind %q, key %q", asked, key)
			}
			require.True(rt, e.Found() || r.Bool("f", asked, key, true), "the fallback")
		}
	})
}

func TestRolloutsOfTwoFlagsAreIndependentAndGrow(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, `insert into contraflow.flag (key, is_on, percent) values ('one', true, 50), ('two', true, 50)`)
	r := open(t, deaf{pgflags.Pool(b.pool)}, pgflags.Options{Poll: never})
	const contexts = 10_000
	both, was := 0, make([]bool, contexts)
	for i := range contexts {
		key := fmt.Sprint("user-", i)
		was[i] = r.Bool("one", "user", key, false)
		if was[i] && r.Bool("two", "user", key, false) {
			both++
		}
	}
	require.InDelta(t, contexts/4, both, 0.025*contexts, "five standard deviations and more")
	b.exec(t, `update contraflow.flag set percent = 50.001 where key = 'one'`)
	require.NoError(t, r.Refresh(t.Context()))
	for i := range contexts {
		require.False(t, was[i] && !r.Bool("one", "user", fmt.Sprint("user-", i), false))
	}
}

func TestEveryReasonIsTold(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, `insert into contraflow.flag (key, is_on, percent, archived, targets) values
		('off', false, 100, false, '{}'), ('all', true, 100, false, '{"device": {"false": ["phone"]}}'), ('none', true, 0, false, '{}'),
		('half', true, 50, false, '{}'), ('gone', true, 100, true, '{}')`)
	r := open(t, pgflags.Pool(b.pool), pgflags.Options{})
	for key, want := range map[string]pgflags.Reason{
		"off": pgflags.Off, "all": pgflags.Everyone, "none": pgflags.Everyone, "half": pgflags.Split,
		"gone": pgflags.NotFound, "unknown": pgflags.NotFound,
	} {
		require.Equal(t, want, r.Evaluate(key, "user", "a", false).Reason, key)
	}
	require.Equal(t, pgflags.Evaluation{Reason: pgflags.Target, Version: 1}, r.Evaluate("all", "device", "phone", true))
	require.False(t, r.Bool("half", "device", "a", true), "contexts of another kind are in at 100 % only")
}

func TestNotificationsComeAtOnceAndAreFollowedOverBrokenConnections(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, `insert into contraflow.flag (key) values ('f')`)
	proxy := pgproxy.Start(t, b.db.DSN)
	var mu sync.Mutex
	var changed [][]string
	r := open(t, pgflags.Pool(pool(t, proxy.DSN())), pgflags.Options{Poll: never, Changed: func(keys []string) {
		mu.Lock()
		defer mu.Unlock()
		changed = append(changed, keys)
	}})
	require.Eventually(t, func() bool { return proxy.Statements() >= 3 }, patience, tick, "first copy, listen, second copy")
	b.exec(t, `update contraflow.flag set is_on = true`)
	require.Eventually(t, func() bool { return r.Bool("f", "user", "a", false) }, patience, tick)
	b.exec(t, `delete from contraflow.flag`)
	require.Eventually(t, func() bool { return !r.Evaluate("f", "user", "a", false).Found() }, patience, tick)
	told := func() [][]string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(changed)
	}
	require.Eventually(t, func() bool { return len(told()) == 2 }, patience, tick, "told behind the change")
	require.Equal(t, [][]string{{"f"}, {"f"}}, told())
}

func TestALostListenerIsConnectedAgainAndMissesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, `insert into contraflow.flag (key) values ('f')`)
	r := open(t, pgflags.Pool(b.pool), pgflags.Options{Poll: slow})
	require.Eventually(t, b.listening(t, 1), patience, tick)
	b.exec(t, `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and query like 'listen %'`)
	b.exec(t, `update contraflow.flag set is_on = true`)
	require.Eventually(t, func() bool { return r.Bool("f", "user", "a", false) }, patience, tick)
	require.Eventually(t, b.listening(t, 1), patience, tick)
}

func TestThePollCatchesUpWhereNotificationsAreLost(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, `insert into contraflow.flag (key) values ('f')`)
	db, err := sql.Open("pgx", b.db.DSN)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	for name, source := range map[string]pgflags.Source{"a pooler": deaf{pgflags.Pool(b.pool)}, "database/sql": pgflags.DB(db)} {
		b.exec(t, `update contraflow.flag set is_on = false`)
		r := open(t, source, pgflags.Options{Poll: quick, Instance: name})
		b.exec(t, `update contraflow.flag set is_on = true`)
		require.Eventually(t, func() bool { return r.Bool("f", "user", "a", false) }, patience, tick, name)
		require.NoError(t, r.Close())
	}
	var reported int
	require.NoError(t, b.pool.QueryRow(t.Context(), `select count(*) from contraflow.flag_seen`).Scan(&reported))
	require.Equal(t, 2, reported)
}

func TestTheLastCopyIsServedWhileTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, `insert into contraflow.flag (key, is_on) values ('f', true)`)
	source := broken{pgflags.Pool(b.pool), &atomic.Bool{}}
	told := make(chan bool, 10)
	var log bytes.Buffer
	r := open(t, source, pgflags.Options{Poll: quick, Stale: func(stale bool) { told <- stale }, Log: slog.New(slog.NewTextHandler(&log, nil))})
	source.fails.Store(true)
	require.True(t, <-told)
	require.True(t, r.Stale())
	require.True(t, r.Bool("f", "user", "a", false))
	b.exec(t, `update contraflow.flag set is_on = false`)
	source.fails.Store(false)
	require.False(t, <-told)
	require.False(t, r.Stale())
	require.False(t, r.Bool("f", "user", "a", true))
	require.NoError(t, r.Close())
	require.NoError(t, r.Close(), "twice")
	require.Equal(t, 1, strings.Count(log.String(), "can't be read"), "not at every poll")
	require.Equal(t, 1, strings.Count(log.String(), "can be read again"))
}

func TestAReaderThatCannotReadServesFallbacksUntilItCan(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, `insert into contraflow.flag (key, is_on) values ('f', true)`)
	dsn := b.application(t)
	r, err := pgflags.Open(t.Context(), pgflags.Pool(pool(t, dsn)), pgflags.Options{Poll: quick})
	require.ErrorContains(t, err, "read the flags: ")
	require.ErrorContains(t, err, "permission denied for schema contraflow")
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	require.False(t, r.Ready())
	require.Equal(t, pgflags.Evaluation{Value: true, Reason: pgflags.NotReady}, r.Evaluate("f", "user", "a", true))
	b.exec(t, "grant usage on schema contraflow to app_"+b.db.Name)
	b.exec(t, "grant execute on function contraflow.flag_list to app_"+b.db.Name)
	require.Eventually(t, func() bool { return r.Bool("f", "user", "a", false) }, patience, tick)
}

func TestTheDocumentedRightsSufficeAndAllowNothingElse(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, `insert into contraflow.flag (key, is_on) values ('f', true)`)
	app := pool(t, b.application(t, "grant usage on schema contraflow",
		"grant execute on function contraflow.flag_is_on, contraflow.flag_list, contraflow.flag_saw"))
	r := open(t, pgflags.Pool(app), pgflags.Options{Poll: never, Instance: "shop-1"})
	require.True(t, r.Bool("f", "user", "a", false))
	b.exec(t, `update contraflow.flag set is_on = false`)
	require.Eventually(t, func() bool { return !r.Bool("f", "user", "a", true) }, patience, tick, "listening needs no right")
	require.NoError(t, r.Close())
	var instances []string
	require.NoError(t, b.pool.QueryRow(t.Context(), `select array_agg(instance) from contraflow.flag_seen`).Scan(&instances))
	require.Equal(t, []string{"shop-1"}, instances)
	for _, sql := range slices.Concat([]string{
		`update contraflow.flag set is_on = true`, `insert into contraflow.flag (key) values ('mine')`, `delete from contraflow.flag`,
		`insert into contraflow.audit (event_key) values ('x')`, `delete from contraflow.flag_seen`, `select contraflow.flag_tell()`,
	}, selects("flag", "flag_seen", "audit", "flag_record", "migration")) {
		_, err := app.Exec(t.Context(), sql)
		require.ErrorContains(t, err, "permission denied", sql)
	}
}

func selects(tables ...string) (out []string) {
	for _, table := range tables {
		out = append(out, "select from contraflow."+table)
	}
	return out
}

// It would leave no audit, notify nobody, and let a flag that is made again begin with versions that instances have attested before.
func TestTheTableIsNotTruncated(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, `insert into contraflow.flag (key, is_on) values ('f', true)`)
	b.exec(t, `update contraflow.flag set is_on = false`)
	_, err := b.pool.Exec(t.Context(), `truncate contraflow.flag cascade`)
	require.ErrorContains(t, err, "delete from contraflow.flag")
	b.exec(t, `delete from contraflow.flag`)
	b.exec(t, `insert into contraflow.flag (key) values ('f')`)
	r := open(t, pgflags.Pool(b.pool), pgflags.Options{Poll: never})
	require.Equal(t, 3, r.Evaluate("f", "user", "a", true).Version)
}
