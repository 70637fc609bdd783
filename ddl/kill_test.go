package ddl

import (
	"bytes"
	"errors"
	"iter"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// child applies the files of a folder in a process of its own. It is killed a while after it has connected, or ends
// before; an hour stands for never. It returns how long it worked.
func (b bundle) child(t *testing.T, folder string, kill time.Duration) (worked time.Duration) {
	t.Helper()
	var output bytes.Buffer
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), childFolder+"="+folder, childDSN+"="+b.db.DSN)
	child.Stdout, child.Stderr = &output, &output
	require.NoError(t, child.Start())
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	for connected := false; !connected; {
		select {
		case err := <-ended:
			require.NoError(t, err, output.String())
			return 0
		default:
			connected = one[bool](t, b, "select exists (select from pg_stat_activity where "+ofChild+")")
		}
	}
	start, timer := time.Now(), time.NewTimer(kill)
	defer timer.Stop()
	select {
	case err := <-ended:
		require.NoError(t, err, output.String())
	case <-timer.C:
		if err := child.Process.Kill(); !errors.Is(err, os.ErrProcessDone) {
			require.NoError(t, err)
		}
		<-ended
	}
	return time.Since(start)
}

// ofChild is pg.Open's default name; the test's own pool has another.
const ofChild = "datname = current_database() and application_name = 'contraflow'"

// unharmed is how long the child works on all the files: the shortest of some runs, for a machine may stand still in any of them.
func unharmed(t *testing.T, files map[string]string, folder string) (run time.Duration) {
	t.Helper()
	run = time.Hour
	for range 3 {
		b := setup(t, files)
		run = min(run, b.child(t, folder, time.Hour))
		b.requireState(t, at(2))
	}
	return run
}

// moments are seeded points of time, n of them spread evenly over a run and a little beyond: all of them once, and then again, other
// ones, until enough was hit or it is hopeless.
func moments(n int, run time.Duration, enough func() bool) iter.Seq[time.Duration] {
	const hopeless = 4
	seeded := rand.New(rand.NewPCG(1, 2))
	slice := run * 11 / 10 / time.Duration(n)
	return func(yield func(time.Duration) bool) {
		for i := range hopeless * n {
			if i >= n && enough() || !yield(slice*time.Duration(i%n)+time.Duration(seeded.Int64N(int64(slice)))) {
				return
			}
		}
	}
}

func write(t *testing.T, files map[string]string) (folder string) {
	t.Helper()
	folder = t.TempDir()
	for name, body := range files {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(body), 0o600))
	}
	return folder
}

func TestKilledAnywhereItIsTheOldVersionOrTheNew(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"1_a.up.sql": "create table a (n int); select pg_sleep(0.1); insert into a values (1); select pg_sleep(0.1); create table a2 ();",
		"2_b.up.sql": "create table b (); select pg_sleep(0.1); insert into a values (2); select pg_sleep(0.1); create table b2 ();",
	}
	folder := write(t, files)
	run := unharmed(t, files, folder)

	found := map[State]int{}
	all := func() bool { return found[State{}] > 0 && found[at(1)] > 0 }
	for moment := range moments(20, run, all) {
		b := setup(t, files)
		b.child(t, folder, moment)
		found[b.requireWhole(t)]++
		require.NoError(t, applyAll(t.Context(), b.db.DSN, folder), "after a kill at %s", moment)
		require.Equal(t, at(2), b.requireWhole(t))
		require.Equal(t, 2, one[int](t, b, "select count(*)::int from a"), "each insert once")
	}
	require.Positive(t, found[State{}], "some kills hit the first version")
	require.Positive(t, found[at(1)], "some kills hit the second version")
}

// requireWhole finds, in one snapshot, a clean version and exactly the tables that belong to it.
func (b bundle) requireWhole(t *testing.T) (state State) {
	t.Helper()
	tx, err := b.conn.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	require.NoError(t, err)
	defer func() { require.NoError(t, tx.Commit(t.Context())) }()
	var tables string
	require.NoError(t, tx.QueryRow(t.Context(), `select coalesce(string_agg(relname, ' ' order by relname), '')
		from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'`).Scan(&tables))
	if tables != "" {
		state, err = readState(t.Context(), tx, "public")
		require.NoError(t, err)
	}
	require.Equal(t, map[State]string{
		{}:    "",
		at(1): "a a2 schema_migrations",
		at(2): "a a2 b b2 schema_migrations",
	}[state], tables)
	require.False(t, state.Dirty)
	return state
}

func TestAKilledBuildIsFinishedByTheNextAttempt(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"1_a.up.sql": `create table a (n int); insert into a select generate_series(1, 30);
			create function slow(n int) returns int immutable language plpgsql as $$ begin perform pg_sleep(0.01); return n; end $$;`,
		"2_i.up.sql": noTransactionHeader + "\ncreate index concurrently a_n on a (slow(n))",
	}
	folder := write(t, files)
	run := unharmed(t, files, folder)

	invalid, backend := 0, false
	for moment := range moments(10, run, func() bool { return invalid > 0 }) {
		b := setup(t, files)
		b.child(t, folder, moment)
		if backend = !backend; backend { // without its backend the build stops half way; with it, it goes on for a while
			b.exec(t, "select pg_terminate_backend(pid) from pg_stat_activity where "+ofChild)
			require.Eventually(t, func() bool {
				return !one[bool](t, b, "select exists (select from pg_stat_activity where "+ofChild+")")
			}, patience, look)
		}
		state, err := b.engine("any").State(t.Context())
		require.NoError(t, err)
		require.False(t, state.Dirty)
		invalid += one[int](t, b, "select count(*)::int from pg_index where not indisvalid")
		require.NoError(t, applyAll(t.Context(), b.db.DSN, folder), "after a kill at %s", moment)
		b.requireDone(t)
		require.NotZero(t, b.oid(t, "a_n"))
		require.Zero(t, one[int](t, b, "select count(*)::int from pg_index where not indisvalid"))
	}
	require.Positive(t, invalid, "some kills left an invalid index")
}
