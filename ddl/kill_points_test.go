package ddl

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/pgproxy"
)

const (
	// killsVariable says how many kills; a share of them by default, each step some.
	killsVariable = "KILLS"
	defaultKills  = 24
	// longestDelay after which a process is killed in a statement: any time of the slow ones is hit.
	longestDelay = 300 * time.Millisecond
)

// killedStep is what a process is killed in. Each file but the last ones is applied before.
type killedStep struct {
	name  string
	files map[string]string
	from  uint      // the version that stands before
	to    Direction // up: all above from; down: the version from
}

// slowly makes statements last long enough to be killed in.
const slowly = `create table a (n int); insert into a select generate_series(1, 20); create function slow(n int) returns int
	immutable language plpgsql as $$ begin perform pg_sleep(0.01); return n; end $$;`

func killedSteps() []killedStep {
	outside := func(sql string) string { return noTransactionHeader + "\n" + sql }
	change := map[string]string{
		"1_a.up.sql": "create table a (n int); insert into a values (1);",
		"2_b.up.sql": `alter table a add b text; select pg_sleep(0.05); create table b (n int primary key); insert into b values (1);
			select pg_sleep(0.05); create index b_n on b (n); insert into a values (2, 'two');`,
		"2_b.down.sql": "drop table b; select pg_sleep(0.05); delete from a where n = 2; select pg_sleep(0.05); alter table a drop b;",
	}
	build := map[string]string{"1_a.up.sql": slowly, "2_i.up.sql": outside("create index concurrently a_n on a (slow(n))"),
		"2_i.down.sql": outside("drop index concurrently a_n")}
	return []killedStep{
		{"transaction up", change, 1, Up},
		{"transaction down", change, 2, Down},
		{"build an index", build, 1, Up},
		{"drop it on the way down", build, 2, Down},
		{"drop an index on the way up", map[string]string{"1_a.up.sql": "create table a (n int); create index a_n on a (n)",
			"2_d.up.sql": outside("drop index concurrently a_n")}, 1, Up},
		{"validate a constraint", map[string]string{"1_a.up.sql": slowly + "alter table a add constraint low check (slow(n) < 100) not valid",
			"2_v.up.sql": outside("alter table a validate constraint low")}, 1, Up},
		{"add a value to a type", map[string]string{"1_a.up.sql": "create type mood as enum ('sad', 'happy')",
			"2_v.up.sql": outside("alter type mood add value 'fine' before 'happy'")}, 1, Up},
		{"create a type and use it", map[string]string{"1_a.up.sql": "create table a (n int)",
			"2_t.up.sql": "create type mood as enum ('sad', 'happy'); select pg_sleep(0.05); alter table a add mood mood not null default 'sad'"}, 1, Up},
		{"several versions", map[string]string{"1_a.up.sql": slowly, "2_b.up.sql": "create table b (); select pg_sleep(0.05); insert into a values (0)",
			"3_c.up.sql": outside("create index concurrently a_n on a (n)"), "4_d.up.sql": "drop table b; select pg_sleep(0.05); delete from a where n = 0"}, 0, Up},
	}
}

// prepare a database in which from stands, and nothing else of the step.
func (s killedStep) prepare(t *testing.T) bundle {
	t.Helper()
	b := setup(t, s.files)
	for _, version := range b.files.Versions() {
		if version <= s.from {
			require.NoError(t, b.engine(killedPlan).Up(t.Context(), version, ""))
		}
	}
	return b
}

// manner of a kill: where the n-th statement of the process stands then.
type manner struct {
	when     string
	before   bool // Postgres never sees it
	ends     bool // Postgres ends it and the process never hears of it
	backends bool // Postgres's backends die too, as with the machine
}

var manners = []manner{{when: "before", before: true}, {when: "in"}, {when: "in, with its backend", backends: true}, {when: "after", ends: true}}

// killedAt runs the step in a process of its own and kills it at its n-th statement; false: it had ended by then.
func (s killedStep) killedAt(t *testing.T, b bundle, folder string, n int, m manner, delay time.Duration) (killed bool) {
	t.Helper()
	proxy := pgproxy.Start(t, b.db.DSN)
	var output bytes.Buffer
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), childFolder+"="+folder, childDSN+"="+proxy.DSN(), childDirection+"="+string(s.to))
	child.Stdout, child.Stderr = &output, &output
	started, ended := make(chan struct{}), make(chan struct{})
	var reached sync.Once
	kill := func() {
		<-started
		_ = child.Process.Kill() // an error means that it has ended already
		<-ended
	}
	proxy.OnStatement(func(statement pgproxy.Statement) {
		switch {
		case statement.N < n:
		case statement.N > n, m.before, m.ends:
			kill()
			when := pgproxy.Before
			if m.ends && statement.N == n {
				when = pgproxy.Unanswered
			}
			proxy.CutAt(statement.N, pgproxy.Cut{When: when})
		default:
			reached.Do(func() {
				timer := time.AfterFunc(delay, kill)
				t.Cleanup(func() { timer.Stop() })
			})
		}
	})
	require.NoError(t, child.Start())
	close(started)
	var failed error
	go func() {
		defer close(ended)
		failed = child.Wait()
	}()
	<-ended
	if m.backends {
		b.exec(t, "select pg_terminate_backend(pid) from pg_stat_activity where "+ofChild)
	}
	require.Eventually(t, func() bool {
		return !one[bool](t, b, "select exists (select from pg_stat_activity where "+ofChild+")")
	}, patience, look)
	status, _ := child.ProcessState.Sys().(interface{ Signaled() bool })
	if !status.Signaled() {
		require.NoError(t, failed, output.String())
	}
	return status.Signaled()
}

// catalog is all that a step can change in schema public, but for the version: definitions and rows.
func (b bundle) catalog(t *testing.T, withInvalid bool) string {
	t.Helper()
	const definitions = `
select format('%s %s', c.relkind, c.relname) as line from pg_class c left join pg_index i on i.indexrelid = c.oid
where c.relnamespace = 'public'::regnamespace and ($1 or coalesce(i.indisvalid, true))
union all select format('column %s.%s %s not null %s default %s', c.relname, attname, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid))
from pg_attribute a join pg_class c on c.oid = a.attrelid left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and a.attnum > 0 and not a.attisdropped
union all select format('index %s valid %s ready %s live %s', pg_get_indexdef(indexrelid), indisvalid, indisready, indislive)
from pg_index join pg_class c on c.oid = indrelid where c.relnamespace = 'public'::regnamespace and ($1 or indisvalid)
union all select format('constraint %s %s', conname, pg_get_constraintdef(oid)) from pg_constraint where connamespace = 'public'::regnamespace
union all select format('enum %s %s', t.typname, string_agg(enumlabel, ' ' order by enumsortorder)) from pg_enum join pg_type t on t.oid = enumtypid group by t.typname
union all select format('function %s %s', proname, prosrc) from pg_proc where pronamespace = 'public'::regnamespace`
	rows, err := b.conn.Query(t.Context(), definitions+" order by line", withInvalid)
	require.NoError(t, err)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	rows, err = b.conn.Query(t.Context(), "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' and relname <> $1 order by 1", versionTable)
	require.NoError(t, err)
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	for _, table := range tables {
		lines = append(lines, "rows "+table+one[string](t, b, "select coalesce(string_agg(r::text, ' ' order by r::text), '') from "+pgx.Identifier{table}.Sanitize()+" r"))
	}
	return strings.Join(lines, "\n")
}

// clean tells what the catalog is at each version, by a run that nobody kills, and which statements the process sends.
func (s killedStep) clean(t *testing.T, folder string) (at map[State]string, all, changing []int) {
	t.Helper()
	b, at := setup(t, s.files), map[State]string{}
	note := func() State {
		state, err := b.engine(killedPlan).State(t.Context())
		require.NoError(t, err)
		at[state] = b.catalog(t, true)
		return state
	}
	note()
	for _, version := range b.files.Versions() {
		require.NoError(t, b.engine(killedPlan).Up(t.Context(), version, ""))
		note()
	}
	if s.to == Down {
		require.NoError(t, b.engine(killedPlan).Down(t.Context(), s.from, ""))
		before, standing := at[b.files.before(s.from)], note()
		require.Equal(t, before, at[standing], "its down file takes back what its up file does")
	}
	b = s.prepare(t)
	proxy := pgproxy.Start(t, b.db.DSN)
	proxy.OnStatement(func(statement pgproxy.Statement) {
		all = append(all, statement.N)
		if first, _, _ := strings.Cut(statement.SQL, " "); first != "select" && first != "set" {
			changing = append(changing, statement.N)
		}
	})
	require.NoError(t, run(t.Context(), proxy.DSN(), folder, s.to))
	proxy.OnStatement(nil)
	return at, all, changing
}

// figures of all kills.
type figures struct {
	sync.Mutex
	kills, dirty, halfApplied, resumed int
	interrupted                        int // with an intent left behind
}

// judge looks at what a kill has left, and lets another attempt finish the step.
func (f *figures) judge(t *testing.T, s killedStep, b bundle, folder string, clean map[State]string) {
	t.Helper()
	state, err := b.engine(killedPlan).State(t.Context())
	require.NoError(t, err)
	interrupted := one[bool](t, b, "select exists (select from contraflow.ddl_intent)")
	found := b.catalog(t, !interrupted) // what is left invalid is the next attempt's to see to
	whole := found == clean[state]
	if interrupted { // it may also have been done, and its version not written
		for _, catalog := range clean {
			whole = whole || found == catalog
		}
	}
	f.add(t, state, interrupted, whole, found)

	final := at(b.files.Versions()[len(b.files.Versions())-1])
	if s.to == Down {
		final = b.files.before(s.from)
	}
	require.NoError(t, run(t.Context(), b.db.DSN, folder, s.to), "another attempt")
	b.requireState(t, final)
	require.Equal(t, clean[final], b.catalog(t, true))
	require.Zero(t, one[int](t, b, "select count(*)::int from contraflow.ddl_intent"))
	f.Lock()
	defer f.Unlock()
	f.resumed++
}

func (f *figures) add(t *testing.T, state State, interrupted, whole bool, found string) {
	t.Helper()
	f.Lock()
	defer f.Unlock()
	f.kills++
	if state.Dirty {
		f.dirty++
		t.Errorf("dirty at %s", state)
	}
	if interrupted {
		f.interrupted++
	}
	if !whole {
		f.halfApplied++
		t.Errorf("half applied: %s, intent %t, catalog\n%s", state, interrupted, found)
	}
}

// Where a process is killed is drawn by a seed: the statement, whether before, in or after it, and how long in it.
func TestSeededKillsLeaveTheOldVersionOrTheNewOne(t *testing.T) {
	t.Parallel()
	kills, steps := defaultKills, killedSteps()
	if text := os.Getenv(killsVariable); text != "" {
		var err error
		kills, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	var f figures
	t.Run("kills", func(t *testing.T) {
		for i, s := range steps {
			share := (kills + len(steps) - 1 - i) / len(steps)
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				folder := write(t, s.files)
				clean, all, changing := s.clean(t, folder)
				seeded := rand.New(rand.NewPCG(4, uint64(i)))
				for k := 0; k < share; {
					among := all
					if k%2 == 1 { // every other kill hits what changes something
						among = changing
					}
					n, m, delay := among[seeded.IntN(len(among))], manners[(i+k/2)%len(manners)], time.Duration(seeded.Int64N(int64(longestDelay)))
					b := s.prepare(t)
					if !s.killedAt(t, b, folder, n, m, delay) {
						continue // it had ended
					}
					t.Logf("killed %s statement %d of %d", m.when, n, len(all))
					f.judge(t, s, b, folder, clean)
					k++
				}
			})
		}
	})
	require.Equal(t, kills, f.kills)
	t.Logf("figures: kills %d, dirty %d, half_applied %d, resumed %d, of them %d with an intent left behind",
		f.kills, f.dirty, f.halfApplied, f.resumed, f.interrupted)
	require.Positive(t, f.interrupted, "some kills hit a statement outside a transaction")
}

// run takes all versions up, or the last one down.
func run(ctx context.Context, dsn, folder string, to Direction) error {
	if to == Up {
		return applyAll(ctx, dsn, folder)
	}
	return withEngine(ctx, dsn, folder, func(e *Engine, versions []uint) error {
		return e.Down(ctx, versions[len(versions)-1], "")
	})
}
