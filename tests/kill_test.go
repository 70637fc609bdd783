package tests

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/watch"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

// gate is the number of an advisory lock that a gated verification waits for.
const gate = 77

// gated makes the plan's verification wait while somebody holds the gate.
func gated(p *plan.Plan) {
	v := p.Steps[p.StepIndex("prove")].Verify
	v.Query = "select n from (select pg_advisory_xact_lock_shared(77)) gate, (select (" + v.Query + ") as n) counted"
}

// hold keeps locks until release is called.
func (b *bundle) hold(lock string, args ...any) (release func()) {
	b.t.Helper()
	conn, err := b.pool.Acquire(b.t.Context())
	require.NoError(b.t, err)
	tx, err := conn.Begin(b.t.Context())
	require.NoError(b.t, err)
	_, err = tx.Exec(b.t.Context(), lock, args...)
	require.NoError(b.t, err)
	var once atomic.Bool
	release = func() {
		if once.CompareAndSwap(false, true) {
			_ = tx.Rollback(context.WithoutCancel(b.t.Context()))
			conn.Release()
		}
	}
	b.t.Cleanup(release)
	return release
}

// holdReaders keeps every schema change of customers waiting, and nothing else.
func (b *bundle) holdReaders() (release func()) {
	b.t.Helper()
	return b.hold("lock table customers in access share mode")
}

// blocked waits until the worker waits for a lock.
func (b *bundle) blocked() {
	b.t.Helper()
	b.eventually("the worker waits for a lock", func() bool {
		return b.count(`select count(*) from pg_stat_activity where datname = current_database()
			and application_name like 'contraflow%' and wait_event_type = 'Lock'`) > 0
	})
}

// In each step: SIGKILL in the middle of it, a new worker, and on.
func TestWorkerKilledInEveryStep(t *testing.T) {
	t.Parallel()
	b := setup(t, options{slow: true, edit: func(p *plan.Plan) {
		gated(p)
		for i := range p.Steps {
			if p.Steps[i].Flag != nil {
				p.Steps[i].Flag.Soak = 50 * short
			}
		}
	}})
	applied := b.watchFlags()
	b.stopAt(0.3)

	release := b.holdReaders()
	run := b.migrate()
	b.blocked() // expand
	b.crashWorker()
	b.blocked() // the next attempt
	release()

	b.killedInEveryStage("write-new")
	closeGate := b.hold("select pg_advisory_xact_lock($1)", gate)
	for _, next := range []float64{0.6, 0.8, 1} {
		b.stopped()
		b.crashWorker()
		b.stopAt(next)
	}
	b.blocked() // prove
	b.crashWorker()
	b.blocked()
	closeGate()

	b.asks("cutover")
	b.crashWorker()
	b.approve("cutover")
	b.killedInEveryStage("read-new")

	b.asks("contract")
	release = b.holdReaders()
	b.approve("contract")
	b.blocked() // drop-old
	b.killWorker()
	release()
	b.flagsAt.down()
	b.startWorker()
	b.waits("retire", "MayRetire")
	b.crashWorker()
	b.flagsAt.up()

	require.Equal(t, b.rows, b.completes().Rows)
	require.Equal(t, slices.Concat(stages, archived), applied(), "each change once")
	b.keep("crash", run.GetRunID())
}

// What the example's plan does to its flags, as watchFlags notes it.
var (
	stages = []string{"customers-write-new 10", "customers-write-new 50", "customers-write-new 100",
		"customers-read-new 1", "customers-read-new 25", "customers-read-new 100"}
	archived = []string{"customers-write-new archived", "customers-read-new archived"}
)

func (b *bundle) killedInEveryStage(name string) {
	b.t.Helper()
	for _, percent := range b.plan.Steps[b.plan.StepIndex(name)].Flag.Rollout {
		b.reaches("the stage soaks, or did", func(s signals.Status) bool { return step(s, name).Percent >= percent })
		b.crashWorker()
	}
}

// waits until the status as people see it says that an activity of a step is tried again, and these parts, and the next
// attempt is some seconds away. A worker that is killed then leaves no attempt behind, which Temporal would wait a minute for.
func (b *bundle) waits(name, activity string, parts ...string) {
	b.t.Helper()
	b.begins(name)
	b.eventually(activity+" is tried again", func() bool {
		s, err := watch.Fetch(b.t.Context(), b.temporal, b.plan.Name, "")
		if err != nil || !contains(strings.Join(watch.Render(s, watch.Style{}), "\n"), append(parts, "waits")...) {
			return false
		}
		return slices.ContainsFunc(s.Pending, func(p watch.Pending) bool { return p.Activity == activity && time.Until(p.NextAttempt) > 2*time.Second })
	})
}

// watchFlags notes what each change made of a flag; one that was refused made nothing.
func (b *bundle) watchFlags() (applied func() []string) {
	changes := make(chan string, 1000)
	watch := func(w http.ResponseWriter, r *http.Request, flags http.Handler) {
		answer := &answer{ResponseWriter: w}
		flags.ServeHTTP(answer, r)
		if key, ok := changed(r); ok && !answer.refused {
			if flag, _ := b.flags.Snapshot(key); flag.Archived {
				changes <- key + " archived"
			} else {
				changes <- fmt.Sprint(key, " ", b.percent(key))
			}
		}
	}
	b.flagsAt.meddle.Store(&watch)
	return func() (all []string) {
		for {
			select {
			case key := <-changes:
				all = append(all, key)
			default:
				return all
			}
		}
	}
}

// answer notes whether it is a refusal.
type answer struct {
	http.ResponseWriter
	refused bool
}

func (a *answer) WriteHeader(status int) {
	a.refused = status >= http.StatusBadRequest
	a.ResponseWriter.WriteHeader(status)
}

// Unwrap lets streams be flushed.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// changed tells of which flag a request is a change; a dry run is none.
func changed(r *http.Request) (key string, ok bool) {
	if r.Method != http.MethodPatch || r.URL.Query().Has("dryRun") {
		return "", false
	}
	return r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:], true
}

func TestWorkerKilledInCompensations(t *testing.T) {
	t.Parallel()
	b := setup(t, options{})
	b.migrate()
	b.approve("cutover")
	b.asks("contract")

	b.flagsAt.down()
	b.say(signals.Rollback, signals.Request{By: "dave"})
	b.reaches("a flag goes back", func(s signals.Status) bool { return step(s, "read-new").State == signals.StepCompensating })
	b.waits("read-new", "RestoreFlag")
	b.crashWorker()
	release := b.holdReaders()
	b.flagsAt.up()
	b.reaches("the schema goes back", func(s signals.Status) bool { return step(s, "expand").State == signals.StepCompensating })
	b.blocked()
	b.crashWorker()
	b.blocked()
	release()

	requireUndone(t, undone, b.rollsBack())
	b.requireRolledBack()
}

// The change has reached LaunchDarkly, and the worker is dead before it can hear so. Temporal finds out after a minute.
func TestWorkerKilledBetweenAFlagsChangeAndItsAnswer(t *testing.T) {
	t.Parallel()
	b := setup(t, options{})
	applied := b.watchFlags()
	watch := *b.flagsAt.meddle.Load()
	killed := make(chan struct{})
	var once atomic.Bool
	kill := func(w http.ResponseWriter, r *http.Request, flags http.Handler) {
		if _, ok := changed(r); !ok || !once.CompareAndSwap(false, true) {
			watch(w, r, flags)
			return
		}
		watch(httptest.NewRecorder(), r, flags)
		b.worker.Kill()
		close(killed)
	}
	b.flagsAt.meddle.Store(&kill)
	b.migrate()
	select {
	case <-killed:
	case <-time.After(limit):
		t.Fatal("no flag was changed")
	}
	require.Equal(t, 10, b.percent("customers-write-new"))
	b.startWorker()
	b.asks("cutover")
	require.Equal(t, stages[:3], applied(), "each stage once")
	b.say(signals.Rollback, signals.Request{By: "dave"})
	b.rollsBack()
	b.requireRolledBack()
}
