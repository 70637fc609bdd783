package backfill_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/contraflow/contraflow/backfill"
	"github.com/contraflow/contraflow/internal/devstack/pgproxy"
	"github.com/contraflow/contraflow/internal/pg"
)

// stuck is far above what a case takes, and below what makes a whole test run time out.
const stuck = 5 * time.Minute

// migration is one case: a table, an application, and an engine whose connections lead through a proxy.
type migration struct {
	t             *rapid.T
	ctx           context.Context
	shape         shape
	spec          backfill.Spec
	engine, rival *backfill.Engine
	direct        *pgxpool.Pool
	application   *application

	acting sync.Mutex // guards the application
	due    map[int]event

	mu     sync.Mutex
	trace  []string
	faults []error
}

var cases atomic.Int64

// newMigration makes the table, and the application that knows its rows.
func newMigration(t *rapid.T, b bundle, s shape) *migration {
	number := cases.Add(1)
	table, plan := fmt.Sprintf("t%d", number), fmt.Sprintf("plan-%d", number)
	m := &migration{t: t, shape: s, spec: drawSpec(t, s, plan, table), due: map[int]event{}}
	ctx, cancel := context.WithTimeout(context.Background(), stuck)
	t.Cleanup(cancel)
	m.ctx = ctx
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s\n%+v\n%s", s, m.spec, strings.Join(m.trace, "\n"))
		}
	})

	m.direct = m.open(b.DSN, 20*time.Millisecond)
	for _, sql := range s.create(table) {
		_, err := m.direct.Exec(ctx, sql)
		require.NoError(t, err, sql)
	}
	t.Cleanup(func() { _, _ = m.direct.Exec(ctx, "drop table "+table) }) // at worst it stays until the test's database goes
	var err error
	m.application, err = newApplication(ctx, s, table, m.direct)
	require.NoError(t, err)
	return m
}

// migrate with an engine whose connections lead through a proxy, where the events come.
func migrate(t *rapid.T, b bundle, s shape, events []event, walk func(*migration)) {
	m := newMigration(t, b, s)
	proxy := pgproxy.Start(t, b.DSN)
	at := 0
	for _, e := range events {
		at += e.after
		m.due[at] = e
	}
	proxy.OnStatement(func(s pgproxy.Statement) { m.between(proxy, s) })
	m.rival = backfill.New(m.open(b.DSN, 100*time.Millisecond))
	m.engine = backfill.New(m.open(proxy.DSN(), 200*time.Millisecond))

	walk(m)
	m.finish()
	proxy.Close()
	m.verify()
}

func (m *migration) open(dsn string, lockTimeout time.Duration) *pgxpool.Pool {
	pool, err := pg.Open(m.ctx, dsn, pg.Settings{ApplicationName: "contraflow backfill", LockTimeout: lockTimeout,
		StatementTimeout: 20 * time.Second, MaxConns: 8})
	require.NoError(m.t, err)
	m.t.Cleanup(pool.Close)
	return pool
}

func (m *migration) note(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.trace = append(m.trace, fmt.Sprintf(format, args...))
}

// between two statements of the engine.
func (m *migration) between(proxy *pgproxy.Proxy, s pgproxy.Statement) {
	m.acting.Lock()
	defer m.acting.Unlock()
	m.note("%4d %.100s", s.N, strings.Join(strings.Fields(s.SQL), " "))
	e, found := m.due[s.N]
	if !found {
		return
	}
	for _, w := range e.writes {
		m.note("     application: %s", m.application.do(m.ctx, w))
	}
	if e.cut != nil {
		m.note("     cut %+v", *e.cut)
		proxy.CutAt(s.N, *e.cut)
	}
	if e.rival != nil {
		// A rival that meets with a lock of ours waits for it; we go on when it has given up.
		ctx, cancel := context.WithTimeout(m.ctx, rivalTime)
		defer cancel()
		rival := *e.rival
		rival.lane %= m.spec.Lanes
		_, err := m.attempt(ctx, m.rival, rival)
		m.note("     rival %+v: %v", rival, err)
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			m.again(err)
		}
	}
}

// rivalTime is enough for the chunks of a rival's turn.
const rivalTime = time.Second

// attempt at a lane, until it has reported so often.
func (m *migration) attempt(ctx context.Context, e *backfill.Engine, t turn) (backfill.Lane, error) {
	stop := make(chan struct{})
	reports := 0
	return e.RunLane(ctx, m.spec, t.lane, backfill.LaneOptions{Stop: stop, Help: t.help, Report: func(backfill.Progress) {
		if reports++; reports == t.reports {
			close(stop)
		}
	}})
}

// again tells whether an activity would try again; any other error is wrong here.
func (m *migration) again(err error) bool {
	if err == nil {
		return false
	}
	m.note("     error: %v", err)
	if m.ctx.Err() != nil {
		m.fault(fmt.Errorf("stuck: %w", err))
		return false
	}
	fenced := errors.Is(err, backfill.ErrFenced)
	// The application may have written rows in each sweep.
	remaining := errors.Is(err, backfill.ErrRemaining) && m.shape.where
	// A rival asks for a lane that there is none of.
	none := errors.Is(err, backfill.ErrNotPrepared)
	if backfill.Permanent(err) && !fenced && !remaining && !none {
		m.fault(err)
		return false
	}
	return true
}

func (m *migration) fault(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults = append(m.faults, err)
}

// prepare as often as it takes.
func (m *migration) prepare() (run backfill.Run) {
	err := errors.New("not yet")
	for err != nil {
		run, err = m.engine.Prepare(m.ctx, m.spec)
		if !m.again(err) {
			require.NoError(m.t, err)
		}
	}
	require.NotEmpty(m.t, run.Lanes)
	require.False(m.t, run.StaleHash)
	return run
}

func (m *migration) byTurns(turns []turn) {
	for _, turn := range turns {
		run := m.prepare()
		turn.lane %= len(run.Lanes)
		m.note("turn %+v", turn)
		_, err := m.attempt(m.ctx, m.engine, turn)
		m.again(err)
	}
	for _, lane := range m.prepare().Lanes {
		m.toItsEnd(lane.Lane)
	}
}

func (m *migration) sideBySide() {
	var wg sync.WaitGroup
	for _, lane := range m.prepare().Lanes {
		wg.Go(func() { m.toItsEnd(lane.Lane) })
	}
	wg.Wait()
}

func (m *migration) toItsEnd(lane int) {
	for {
		m.note("lane %d", lane)
		done, err := m.engine.RunLane(m.ctx, m.spec, lane, backfill.LaneOptions{Help: m.spec.Lanes%2 == 0})
		if m.again(err) {
			continue
		}
		if err == nil && !done.Done {
			m.fault(fmt.Errorf("lane %d ended without an error and is not done", lane))
		}
		return
	}
}

// finish until the application has been at rest from the beginning of a Finish to its end; each time what was there before is proven.
func (m *migration) finish() {
	for {
		m.acting.Lock()
		m.application.settle()
		m.application.finish++
		m.acting.Unlock()
		proof, err := m.engine.Finish(m.ctx, m.spec, backfill.LaneOptions{})
		m.note("finish: %+v %v", proof, err)
		if m.again(err) {
			continue
		}
		require.NoError(m.t, err)
		require.Equal(m.t, m.shape.where, proof.Counted)
		require.EqualValues(m.t, m.shape.poisoned, proof.Rejects)
		m.verify()
		return
	}
}

// verify the whole table.
func (m *migration) verify() {
	m.acting.Lock()
	defer m.acting.Unlock()
	t, a := m.t, m.application
	a.settle()
	require.NoError(t, errors.Join(append(m.faults, a.faults...)...))
	found, err := m.direct.Query(m.ctx, "select id, src, n, times from "+m.spec.Table+" where src <> $1", poison)
	require.NoError(t, err)
	now := map[int64]*row{}
	var r row
	_, err = pgx.ForEachRow(found, []any{&r.id, &r.src, &r.n, &r.times}, func() error {
		copied := r
		now[r.id] = &copied
		return nil
	})
	require.NoError(t, err)
	require.Len(t, now, len(a.rows))
	changed := a.changed
	for _, known := range a.rows {
		require.Contains(t, now, known.id)
		require.NoError(t, a.expect(known, now[known.id]))
		changed += now[known.id].times
	}

	var counted, untouched, rejected, lanes int64
	require.NoError(t, m.direct.QueryRow(m.ctx, fmt.Sprintf(`select
		(select sum(rows)::bigint from contraflow.backfill_lane where plan = $1),
		(select count(*) from %[1]s where src = $2 and times = 0),
		(select count(*) from contraflow.backfill_reject r join %[1]s on r.key = array[%[2]s] where plan = $1 and src = $2 and code = '22012'),
		(select count(*) from contraflow.backfill_lane where plan = $1 and done_at is null)`, m.spec.Table, m.keyTexts()), m.spec.Plan, poison).
		Scan(&counted, &untouched, &rejected, &lanes))
	require.Equal(t, changed, counted, "what the lanes have counted is what they have changed")
	require.EqualValues(t, m.shape.poisoned, untouched)
	require.EqualValues(t, m.shape.poisoned, rejected)
	require.Zero(t, lanes, "lanes that are not done")
}

// keyTexts is the key in the index's order, as rejects hold it.
func (m *migration) keyTexts() string {
	var texts []string
	for _, column := range m.shape.indexed() {
		texts = append(texts, column+`::text collate "C"`)
	}
	return strings.Join(texts, ", ")
}
