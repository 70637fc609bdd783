package workflows

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

// suggest lets the server suggest a new run at this time; the next thing said makes the migration notice.
func (b *bundle) suggest(at time.Duration) {
	b.after(at, func() {
		b.SetContinueAsNewSuggested(true)
		b.SignalWorkflow(signals.Resume, nil)
	})
}

func TestNewRunInAnApproval(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, asking))
	b.chat = true
	b.after(time.Hour, func() { b.approve("ask", "alice") })
	b.suggest(2 * time.Hour)
	next := b.continues()
	require.Empty(t, b.made("UpdateCard"), "the card stays as it is")

	next.after(3*time.Hour, func() {
		s := next.status()
		require.Equal(t, signals.Waiting, s.State)
		require.Equal(t, begin, s.Started)
		require.Equal(t, begin.Add(24*time.Hour), s.Approval.Deadline, "not a minute longer")
		require.Len(t, s.Approval.Decisions, 1)
		require.Equal(t, "carol", s.StartedBy)
	})
	twice := next.decide(4*time.Hour, signals.Decision{Step: "ask", By: "alice", Verdict: signals.Approved})
	next.after(5*time.Hour, func() { next.approve("ask", "bob") })
	result := next.completes()
	require.ErrorContains(t, twice.rejected, "already")
	require.Equal(t, begin, result.Started)
	require.Equal(t, begin.Add(6*time.Hour), result.Ended)
	require.Equal(t, []string{"Audit", "UpdateCard ask approved", "Finish completed", "PostNotice completed"}, next.keys(),
		"no second card, and the plan is not looked at again")
	require.Equal(t, "ask", next.made("UpdateCard")[0].in.(activities.Card).Ref.TS)
	require.Equal(t, []string{"approve"}, b.audited(), "it is written while the step waits on")
	require.Equal(t, []string{"approve"}, next.audited())
	require.Equal(t, "default-test-run-id", next.made("Audit")[0].in.(activities.AuditInput).Origin.FirstRun)
}

func TestNewRunKeepsTheDeadline(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, asking))
	b.plan.Steps[0].Timeout = plan.Duration(12 * time.Hour)
	b.suggest(2 * time.Hour)
	next := b.continues()
	require.Equal(t, "step ask: not done within its timeout of 12h0m0s", next.rollsBack().Cause)
	require.Equal(t, begin.Add(12*time.Hour), next.status().Ended)
}

func TestNewRunInASoak(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, guarded))
	b.suggest(20 * time.Minute)
	next := b.continues()
	require.Equal(t, begin.Add(time.Hour), next.completes().Ended)
	require.Len(t, next.made("WatchHealth"), 1, "the guard watches on")
}

func TestNewRunThatTheGuardAsksFor(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, guarded))
	b.when("WatchHealth", play{after: 10 * time.Minute})
	b.after(15*time.Minute, func() { b.SetContinueAsNewSuggested(true) })
	next := b.continues()
	require.Equal(t, 20*time.Minute, next.Now().Sub(begin), "at the end of a slice, beside a step that nobody speaks to")
	require.Equal(t, begin.Add(time.Hour), next.completes().Ended)
}

func TestNewRunBetweenStagesAndInThem(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		suggest func(*bundle)
		left    []string
	}{
		"in the soak of a stage": {func(b *bundle) { b.suggest(3 * time.Second) }, []string{"ApplyFlag write-new 100"}},
		"between two stages":     {func(b *bundle) { b.after(3*time.Second, func() { b.SetContinueAsNewSuggested(true) }) }, []string{"ApplyFlag write-new 100"}},
		"after the last stage":   {func(b *bundle) { b.after(5*time.Second, func() { b.SetContinueAsNewSuggested(true) }) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, example(t))
			c.suggest(b)
			next := b.continues()
			require.Empty(t, b.compensations())
			next.approveAll()
			next.completes()
			var left []string
			for _, call := range next.made("ApplyFlag write-new") {
				left = append(left, call.key)
			}
			require.Equal(t, c.left, left)
			require.Equal(t, 6*time.Second, next.made("PrepareBackfill")[0].at, "each stage has had its soak, and no longer")
		})
	}
}

func TestNewRunUndoesWhatTheRunBeforeDid(t *testing.T) {
	t.Parallel()
	b := setup(t, example(t))
	b.suggest(time.Second)
	next := b.continues()
	next.when("Verify prove", permanent)
	next.rollsBack()
	require.Equal(t, undone[1:], next.compensations(), "each once")
}

func TestNewRunInABackfill(t *testing.T) {
	t.Parallel()
	b := setup(t, example(t))
	b.when("BackfillLane fill 0", forever)
	b.winding["BackfillLane fill 0"] = time.Minute
	b.after(time.Hour, b.say(signals.Pause))
	b.after(2*time.Hour, b.say(signals.Resume))
	b.suggest(2 * time.Hour) // the control row still says paused
	next := b.continues()
	require.Len(t, b.made("ended BackfillLane fill 0"), 1, "the lane has ended before the new run begins")
	require.Equal(t, 2*time.Hour+time.Minute, next.Now().Sub(begin))

	next.when("BackfillLane fill 0", play{})
	next.approveAll()
	next.completes()
	require.Equal(t, []activities.Control{{}}, next.told(), "the new run's lanes are not held by the old one's pause")
	require.Len(t, next.made("PrepareBackfill"), 1)
	require.Empty(t, next.made("Migrate expand"))
}

func TestPausedMigrationContinuesPaused(t *testing.T) {
	t.Parallel()
	b := setup(t, example(t))
	b.when("BackfillLane fill 0", forever)
	b.after(time.Hour, func() {
		b.SetContinueAsNewSuggested(true)
		b.SignalWorkflow(signals.Pause, signals.Request{By: "bob"})
	})
	next := b.continues()
	next.when("BackfillLane fill 0", play{})
	next.approveAll()
	next.after(2*time.Hour, func() { require.Equal(t, "paused by bob", next.status().Needs) })
	next.after(3*time.Hour, next.say(signals.Resume))
	next.completes()
	require.Equal(t, 3*time.Hour, next.made("PrepareBackfill")[0].at)
	require.Equal(t, []string{"paused", "resumed", "approve", "approve"}, next.audited())
}

func TestNewRunInTheMiddleOfARollback(t *testing.T) {
	t.Parallel()
	b := setup(t, example(t))
	b.chat = true
	b.when("Verify prove", permanent)
	b.when("ResetBackfill fill", permanent)
	b.suggest(time.Hour) // stuck meanwhile: a question stays in its run
	b.after(2*time.Hour, b.say(signals.Skip))
	next := b.continues()
	require.Equal(t, 2*time.Hour, next.Now().Sub(begin))
	require.Equal(t, []string{"ResetBackfill fill"}, b.compensations())

	next.after(2*time.Hour+time.Second, func() { require.Equal(t, signals.RollingBack, next.status().State) })
	report := next.rollsBack()
	require.Equal(t, "step prove: it broke", report.Cause)
	require.Equal(t, []string{"RestoreFlag write-new customers-write-new", "MigrateDown expand"}, next.compensations())
	require.Equal(t, signals.StepSkipped, report.Compensations[0].Outcome)
	require.Len(t, report.Compensations, 3)
	require.Empty(t, next.made("PostNotice rolling_back"), "people have been told")
	require.Equal(t, []string{"skip"}, next.audited())
}

func TestQuestionBehindThePointOfNoReturnStaysInItsRun(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, behind))
	b.whenAsked("ask", func() { b.approve("ask", "alice") })
	b.when("ApplyFlag turn", permanent)
	b.suggest(time.Hour)
	b.after(2*time.Hour, func() { require.Equal(t, signals.Stuck, b.status().State) })
	b.after(3*time.Hour, b.say(signals.Skip))
	next := b.continues()
	require.Len(t, b.made("ApplyFlag turn"), 1, "nothing is tried again unasked")
	next.whenAsked("again", func() { next.approve("again", "alice") })
	next.completes()
	require.Empty(t, next.made("ApplyFlag turn"))
	require.Empty(t, next.compensations())
}

func TestSignalsThatArriveWithTheNewRunAreTakenIn(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, asking))
	b.after(time.Hour, func() {
		b.SetContinueAsNewSuggested(true)
		for _, by := range []string{"alice", "bob"} { // in one workflow task with the signal that makes the run notice
			b.SignalWorkflowSkippingWorkflowTask(signals.Approve, signals.Decision{Step: "ask", By: by})
		}
		b.SignalWorkflow(signals.Throttle, signals.ThrottleRequest{RowsPerSecond: 7})
	})
	next := b.continues()
	require.Equal(t, begin.Add(2*time.Hour), next.completes().Ended)
	require.Equal(t, []string{"approve", "approve", "throttled"}, next.audited())
}

func TestSignalInTheTaskThatEndsTheRunIsTakenIn(t *testing.T) {
	t.Parallel()
	b := setup(t, example(t))
	b.after(2*time.Second-time.Millisecond, func() { // heard only together with the end of the stage's soak
		b.SetContinueAsNewSuggested(true)
		b.SignalWorkflowSkippingWorkflowTask(signals.Throttle, signals.ThrottleRequest{RowsPerSecond: 7})
	})
	next := b.continues()
	require.Equal(t, 2*time.Second, next.Now().Sub(begin))
	next.approveAll()
	next.completes()
	require.Equal(t, []activities.Control{{RowsPerSecond: 7}}, next.told())
	require.Equal(t, "throttled", next.audited()[0])
}

// While lanes wind down for a new run there is time for something more important to be said.
func TestWhatWinsOverANewRun(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		say   func(*bundle)
		cause string
	}{
		"rollback":     {func(b *bundle) { b.say(signals.Rollback)() }, "rollback requested by dave"},
		"cancellation": {func(b *bundle) { b.CancelWorkflow() }, "cancelled"},
	} {
		arrange := func(t *testing.T) *bundle {
			b := setup(t, example(t))
			b.when("BackfillLane fill 0", forever)
			b.suggest(time.Hour)
			return b
		}
		t.Run(name+" while lanes wind down", func(t *testing.T) {
			t.Parallel()
			b := arrange(t)
			b.winding["BackfillLane fill 0"] = time.Minute
			b.after(time.Hour+time.Second, func() { c.say(b) })
			report := rollsBackAcross(b)
			require.Equal(t, c.cause, report.Cause)
			require.Len(t, report.Compensations, 3)
		})
		t.Run(name+" while a notice is on its way", func(t *testing.T) {
			t.Parallel()
			b := arrange(t)
			b.chat = true
			b.when("PostNotice refused", play{after: time.Minute})
			b.after(time.Hour, b.say(signals.Skip))
			b.after(time.Hour+time.Second, func() { c.say(b) })
			report := rollsBackAcross(b)
			require.Equal(t, c.cause, report.Cause)
			require.Len(t, report.Compensations, 3)
		})
	}
}

// rollsBackAcross runs a rollback that goes on in new runs after each compensation, because they are suggested still.
func rollsBackAcross(b *bundle) signals.RollbackReport {
	b.t.Helper()
	return b.continues().rollsBack()
}

func TestCardOnItsWayIsWaitedForByTheNewRun(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, asking))
	b.chat = true
	b.when("PostCard", play{after: time.Hour})
	b.winding["PostCard ask waiting"] = time.Hour
	b.suggest(time.Minute)
	next := b.continues()
	require.Equal(t, time.Hour+time.Minute, next.Now().Sub(begin))
	next.whenAsked("ask", func() { next.approve("ask", "alice"); next.approve("ask", "bob") })
	next.completes()
}
