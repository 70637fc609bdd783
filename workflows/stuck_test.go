package workflows

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

func (b *bundle) say(signal string) func() {
	return func() { b.SignalWorkflow(signal, signals.Request{By: "dave"}) }
}

func TestCompensationThatKeepsFailingAsks(t *testing.T) {
	t.Parallel()
	const question = "undoing step write-new fails: the network is down; `retry` tries it again, " +
		"`skip` leaves flag customers-write-new as it is and goes on"
	for name, c := range map[string]struct {
		says    string
		plays   []play
		outcome signals.StepState
		detail  string
	}{
		"retry": {signals.Retry, append(attempts(compensationAttempts), play{}), signals.StepCompensated, "customers-write-new is off again"},
		"skip":  {signals.Skip, attempts(1), signals.StepSkipped, "customers-write-new is left as it is: the network is down"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, example(t))
			b.chat = true
			b.when("Verify prove", permanent)
			b.when("RestoreFlag write-new", c.plays...)
			asked := false
			b.after(time.Hour, func() {
				asked = true
				s := b.status()
				require.Equal(t, signals.Stuck, s.State)
				require.Equal(t, question, s.Needs)
				require.Equal(t, signals.StepCompensating, b.step("write-new").State)
				require.Contains(t, b.details(), "Needs: "+question)
			})
			b.after(2*time.Hour, b.say(c.says))
			report := b.rollsBack()
			require.True(t, asked)
			require.Equal(t, signals.Compensated{Step: "write-new", Outcome: c.outcome, Detail: c.detail}, report.Compensations[1])
			require.Equal(t, signals.Compensated{Step: "expand", Outcome: signals.StepCompensated, Detail: "schema back at version 0, took down 2"},
				report.Compensations[2], "the others are undone all the same")
			require.Equal(t, c.outcome, b.step("write-new").State)
			notice := b.made("PostNotice stuck")
			require.Len(t, notice, 1)
			require.Equal(t, question, notice[0].in.(activities.NoticeInput).Text)
			require.Len(t, b.notices(), 1)
			require.Contains(t, b.notices()[0], c.says+" after 1h58m49s: "+question, "two hours, less what the attempts took")
			require.Equal(t, []string{c.says}, b.audited(), "who decided is in the audit")
		})
	}
}

// attempts are so many failed executions that are worth another try.
func attempts(n int) []play {
	plays := make([]play, n)
	for i := range plays {
		plays[i] = fleeting
	}
	return plays
}

// audited are the events that reached the target database, in their order.
func (b *bundle) audited() []string {
	var events []string
	for _, e := range b.audit() {
		events = append(events, e.Event)
	}
	return events
}

func (b *bundle) audit() (all []activities.AuditEvent) {
	for _, c := range b.made("Audit") {
		all = append(all, c.in.(activities.AuditInput).Events...)
	}
	return all
}

func TestRetryAndSkipNeedAQuestion(t *testing.T) {
	t.Parallel()
	b := setup(t, example(t))
	b.approveAll()
	b.after(2*time.Second, b.say(signals.Retry))
	b.after(3*time.Second, b.say(signals.Skip))
	b.completes()
	require.Equal(t, []string{"retry refused: nothing is stuck", "skip refused: nothing is stuck"}, b.notices())
	require.Equal(t, []string{"approve", "approve"}, b.audited())
}

func TestFailureBehindThePointOfNoReturnAsks(t *testing.T) {
	t.Parallel()
	const failing = "RetireFlag retire customers-read-new"
	for name, c := range map[string]struct {
		says  string
		plays []play
		want  signals.StepState
	}{
		"retry": {signals.Retry, []play{permanent, {}}, signals.StepDone},
		"skip":  {signals.Skip, []play{permanent}, signals.StepSkipped},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, example(t))
			b.when(failing, c.plays...)
			b.approveAll()
			b.after(2*time.Hour, func() {
				s := b.status()
				require.Equal(t, signals.Stuck, s.State)
				require.Equal(t, "step retire: it broke; the point of no return has passed, so nothing is undone: "+
					"`retry` tries the step again, `skip` goes on without it", s.Needs)
				require.Equal(t, signals.StepFailed, b.step("retire").State)
			})
			b.after(3*time.Hour, b.say(signals.Rollback))
			b.after(4*time.Hour, b.say(c.says))
			b.completes()
			require.Empty(t, b.compensations())
			require.Equal(t, c.want, b.step("retire").State)
			require.Equal(t, "rollback refused: the point of no return has passed", b.notices()[0])
		})
	}
}

// behind is a plan with steps on both sides of the point of no return.
const behind = `
name: behind
database: shop
migrations: migrations
flags: {project: shop, environment: production}
guard: {checks: [{name: up, http: {url: "http://shop/"}}]}
steps:
  - {name: expand, migrate: {to: 2}}
  - {name: prove, verify: {query: "select 0", max: 0}}
  - {name: ask, approve: {by: [alice, bob]}}
  - {name: drop, migrate: {to: 3, irreversible: true}}
  - {name: turn, flag: {key: k, soak: 10h}}
  - {name: again, approve: {by: [alice, bob], within: 24h}, timeout: 2h}
  - {name: drop-more, migrate: {to: 4, irreversible: true}}
`

func TestWhatHappensBehindThePointOfNoReturn(t *testing.T) {
	t.Parallel()
	begun := func(t *testing.T) *bundle {
		b := setup(t, planOf(t, behind))
		b.whenAsked("ask", func() { b.approve("ask", "alice") })
		return b
	}
	t.Run("a failed health check pauses and asks", func(t *testing.T) {
		t.Parallel()
		b := begun(t)
		b.chat = true
		b.when("WatchHealth", play{after: 5 * time.Hour, out: activities.GuardVerdict{Outcome: activities.Unhealthy, Check: "up", Reading: "no answer"}}, forever)
		b.after(6*time.Hour, func() {
			s := b.status()
			require.Equal(t, signals.Paused, s.State)
			require.Equal(t, "paused by guard: health check \"up\" failed: no answer; the point of no return has passed: "+
				"`resume` goes on and watches it again", s.Needs)
		})
		b.after(20*time.Hour, b.say(signals.Resume))
		b.whenAsked("again", func() { b.approve("again", "alice") })
		b.completes()
		require.Empty(t, b.compensations())
		lists, at := b.watched()
		require.Equal(t, [][]string{{"up"}, nil, {"up"}}, lists, "the kill switch is watched on")
		require.Equal(t, []time.Duration{0, 5 * time.Hour, 20 * time.Hour}, at)
		require.Len(t, b.made("PostNotice stuck"), 1)
	})
	t.Run("a cancellation stops it there", func(t *testing.T) {
		t.Parallel()
		b := begun(t)
		b.after(time.Hour, b.CancelWorkflow)
		b.start()
		failure := b.fails("StoppedBehindPointOfNoReturn")
		require.Equal(t, "cancelled: stopped behind the point of no return after 4 of 7 steps; nothing was undone; start the plan again to go on", failure.Message())
		require.Empty(t, b.compensations())
		require.Equal(t, signals.Failed, b.status().State)
		require.Equal(t, failure.Message(), b.status().Cause)
		require.Equal(t, signals.StepFailed, b.step("turn").State)
		require.Equal(t, "Finish failed", b.made("Finish")[0].key)
		require.Contains(t, b.details(), "failed")
	})
	t.Run("a cancellation answers a question too", func(t *testing.T) {
		t.Parallel()
		b := begun(t)
		b.when("ApplyFlag turn", permanent)
		b.after(time.Hour, b.CancelWorkflow)
		b.start()
		b.fails("StoppedBehindPointOfNoReturn")
		require.Empty(t, b.compensations())
		require.Empty(t, b.status().Needs)
	})
	t.Run("a rejected approval asks, and is open again after retry", func(t *testing.T) {
		t.Parallel()
		b := begun(t)
		b.whenAsked("again", func() {
			b.SignalWorkflow(signals.Reject, signals.Decision{Step: "again", By: "bob", Reason: "wait"})
		})
		b.after(11*time.Hour, func() { require.Contains(t, b.status().Needs, "step again: rejected by bob: wait") })
		b.after(11*time.Hour, b.say(signals.Retry))
		b.after(12*time.Hour, func() { b.approve("again", "bob") })
		b.completes()
	})
	t.Run("an approval that its step's timeout ended is closed", func(t *testing.T) {
		t.Parallel()
		b := begun(t)
		b.chat = true
		b.after(13*time.Hour, func() {
			require.Contains(t, b.status().Needs, "step again: not done within its timeout of 2h0m0s")
			require.Nil(t, b.status().Approval)
			b.approve("again", "alice")
		})
		b.after(14*time.Hour, b.say(signals.Skip))
		b.completes()
		require.Equal(t, `approve refused: step "again" does not wait for approval; no step does now`, b.notices()[0])
		require.Len(t, b.made("UpdateCard again expired"), 1)
	})
	t.Run("a later irreversible step that has not run does not undo the earlier one", func(t *testing.T) {
		t.Parallel()
		b := begun(t)
		b.whenAsked("again", func() { b.approve("again", "alice") })
		b.when("Migrate drop-more", permanent, play{})
		b.after(12*time.Hour, func() { require.Equal(t, signals.Stuck, b.status().State) })
		b.after(13*time.Hour, b.say(signals.Retry))
		b.completes()
		require.Empty(t, b.compensations())
	})
}

func TestIrreversibleStepThatFailed(t *testing.T) {
	t.Parallel()
	applied := activities.Migrated{Version: 3}
	for name, c := range map[string]struct {
		version play
		undone  bool
	}{
		"has not run":                     {play{out: activities.Migrated{Version: 2}}, true},
		"has run all the same":            {play{out: applied}, false},
		"has run in part":                 {play{out: activities.Migrated{Version: 2, Versions: []uint{2}}}, false},
		"nobody can say whether it ran":   {fleeting, false},
		"nobody will ever be able to say": {permanent, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, planOf(t, behind))
			b.whenAsked("ask", func() { b.approve("ask", "alice") })
			b.when("Migrate drop", permanent)
			b.when("SchemaVersion", c.version)
			if c.undone {
				require.Equal(t, "step drop: it broke", b.rollsBack().Cause)
				require.Equal(t, []string{"MigrateDown expand"}, b.compensations())
				return
			}
			b.after(time.Hour, func() { require.Equal(t, signals.Stuck, b.status().State) })
			b.after(2*time.Hour, b.say(signals.Skip))
			b.whenAsked("again", func() { b.approve("again", "alice") })
			b.completes()
			require.Empty(t, b.compensations())
			require.Equal(t, signals.StepSkipped, b.step("drop").State)
		})
	}
	t.Run("was cancelled too late", func(t *testing.T) {
		t.Parallel()
		b := setup(t, planOf(t, behind))
		b.whenAsked("ask", func() { b.approve("ask", "alice") })
		b.when("Migrate drop", forever)
		b.when("SchemaVersion", play{out: applied})
		b.after(time.Hour, b.say(signals.Rollback))
		b.start()
		failure := b.fails("StoppedBehindPointOfNoReturn")
		require.Contains(t, failure.Message(), "rollback requested by dave: stopped behind the point of no return after 3 of 7 steps")
		require.Empty(t, b.compensations())
	})
	t.Run("was taken by a run before", func(t *testing.T) {
		t.Parallel()
		b := setup(t, planOf(t, behind))
		b.begun.ResumeAt = 4
		b.when("ApplyFlag turn", permanent)
		b.after(time.Hour, func() { require.Equal(t, signals.Stuck, b.status().State) })
		b.after(2*time.Hour, b.CancelWorkflow)
		b.start()
		b.fails("StoppedBehindPointOfNoReturn")
		require.Empty(t, b.compensations())
		require.Empty(t, b.made("Migrate"), "goes on where the run before stopped")
		require.Equal(t, signals.StepDone, b.step("drop").State)
	})
}

func TestStepsAreTimedAfresh(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, behind))
	b.plan.Steps[4].Timeout = plan.Duration(time.Hour)
	b.plan.Steps[4].Flag.Soak = plan.Duration(2 * time.Hour)
	b.whenAsked("ask", func() { b.approve("ask", "alice") })
	b.after(10*time.Hour, b.say(signals.Retry)) // gets its hour again
	b.after(20*time.Hour, func() { require.Contains(t, b.status().Needs, "step turn: not done within its timeout of 1h0m0s") })
	b.after(20*time.Hour, b.say(signals.Skip))
	b.whenAsked("again", func() { b.approve("again", "alice") })
	b.completes()
	require.Equal(t, 10*time.Hour, b.made("ApplyFlag turn 100")[1].at)
}

func TestAnAnswerDoesNotEndAPause(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, behind))
	b.whenAsked("ask", func() { b.approve("ask", "alice") })
	b.whenAsked("again", func() { b.approve("again", "alice") })
	b.when("Migrate drop-more", permanent, play{})
	b.after(12*time.Hour, b.say(signals.Pause))
	b.after(13*time.Hour, b.say(signals.Retry))
	b.after(14*time.Hour, func() { require.Equal(t, signals.Paused, b.status().State) })
	b.after(15*time.Hour, b.say(signals.Resume))
	b.completes()
	require.Equal(t, 15*time.Hour, b.made("Migrate drop-more")[1].at)
}

// A run that is terminated, or whose Temporal is lost, takes no decision along.
func TestWhatPeopleSayIsWrittenAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, `{name: p, database: d, migrations: m, flags: {project: s, environment: e, drain: 0s}, steps: [
		{name: turn, flag: {key: k}}, {name: soak, soak: 300h}]}`))
	b.when("ApplyFlag turn 100", strangers, play{})
	b.after(time.Hour, b.say(signals.Force))
	b.after(2*time.Hour, b.say(signals.Pause))
	b.after(3*time.Hour, func() { b.when("Audit", permanent, permanent, play{}) }) // the database refuses it at first
	b.after(4*time.Hour, b.say(signals.Resume))
	b.after(5*time.Hour, func() { require.Equal(t, []string{"force", "paused", "resumed"}, b.audited()) })
	b.after(6*time.Hour, b.say(signals.Throttle))
	b.after(7*time.Hour, func() { require.Equal(t, []string{"force", "paused", "resumed", "resumed", "throttled"}, b.audited()) })
	b.completes()
}
