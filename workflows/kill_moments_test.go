package workflows

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/signals"
)

func TestNewRunAfterAKill(t *testing.T) {
	t.Parallel()
	t.Run("while it is paused", func(t *testing.T) {
		t.Parallel()
		b := setup(t, planOf(t, switched))
		b.when("WatchHealth", press(30*time.Minute, 7, "a", "b"), forever)
		b.after(time.Hour, func() { b.SetContinueAsNewSuggested(true) })
		b.after(time.Hour, func() { b.SignalWorkflow(signals.Throttle, nil) })
		next := b.continues()
		next.after(2*time.Hour, func() {
			require.Equal(t, signals.Paused, next.status().State)
			require.Equal(t, []string{"a", "b"}, next.status().Killed)
		})
		next.after(3*time.Hour, next.say(signals.Resume))
		next.approveAll()
		next.completes()
		require.EqualValues(t, 7, next.made("WatchHealth")[0].in.(activities.WatchInput).Kills, "it is told of once")
		require.Equal(t, []string{"a", "b"}, flagsOf(next.applied(0)[:2]))
		require.Equal(t, "ApplyFlag first 10", next.applied(0)[0].key)
		require.Equal(t, 3*time.Hour+30*time.Minute, next.made("ApplyFlag first 100")[0].at, "half of the soak was left")
	})
	t.Run("while the flags are put back", func(t *testing.T) {
		t.Parallel()
		b := setup(t, planOf(t, switched))
		b.when("WatchHealth", press(30*time.Minute, 7, "a", "b"), forever)
		b.after(time.Hour, func() { b.when("ApplyFlag first 10", play{}, forever, play{}) })
		b.after(2*time.Hour, b.say(signals.Resume))
		b.after(3*time.Hour, func() { b.SetContinueAsNewSuggested(true) })
		b.after(3*time.Hour, func() { b.SignalWorkflow(signals.Throttle, nil) })
		next := b.continues()
		next.approveAll()
		next.completes()
		require.Equal(t, []string{"b", "a"}, flagsOf(next.applied(0)[:2]), "what is left is put back without another word, then the next stage comes")
		require.Equal(t, "ApplyFlag first 10", next.applied(0)[0].key)
	})
}

func TestAKillInAPersonsPause(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, switched))
	b.when("WatchHealth", press(30*time.Minute, 7, "a"), forever)
	b.after(time.Minute, func() { b.SignalWorkflow(signals.Pause, signals.Request{By: "bob", Reason: "lunch"}) })
	b.after(time.Hour, func() {
		require.Equal(t, "paused by bob: lunch; "+pressed+"; `resume` first puts a back to where the migration had come, then goes on, `rollback` undoes", b.status().Needs)
		require.Equal(t, []string{pressed}, b.notices())
	})
	b.after(2*time.Hour, b.say(signals.Resume))
	b.approveAll()
	b.completes()
	require.Equal(t, "ApplyFlag first 10", b.applied(2 * time.Hour)[0].key)
}

func TestAKillWhileAQuestionIsOpen(t *testing.T) {
	t.Parallel()
	answer, resume := 4*time.Hour, 6*time.Hour
	for name, c := range map[string]struct{ first, second string }{
		"answered first": {signals.Retry, signals.Resume},
		"resumed first":  {signals.Resume, signals.Retry},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, planOf(t, switched))
			b.when("WatchHealth", press(3*time.Hour, 7, "a"), forever)
			b.when("ApplyFlag first 100", strangers, play{})
			b.after(3*time.Hour+time.Minute, func() {
				s := b.status()
				require.Equal(t, signals.Stuck, s.State)
				require.Contains(t, s.Needs, "paused: "+pressed+"; `resume` first puts a back to where the migration had come, then goes on, `rollback` undoes; and step first: flag k was left")
				require.Equal(t, []string{"a"}, s.Killed)
			})
			b.after(answer, b.say(c.first))
			b.after(5*time.Hour, func() {
				require.Len(t, b.made("ApplyFlag first 100"), 1, "neither is enough")
				want := map[string]signals.State{signals.Retry: signals.Paused, signals.Resume: signals.Stuck}
				require.Equal(t, want[c.first], b.status().State)
			})
			b.after(resume, b.say(c.second))
			b.approveAll()
			b.completes()
			order := flagsOf(b.applied(answer))
			require.Equal(t, []string{"a", "a", "b", "c", "c"}, order, "put back first, then the step")
			require.Equal(t, "ApplyFlag first 10", b.applied(answer)[0].key)
		})
	}
}

// One question at a time: that of a flag that can't be put back comes when the one that is open is answered.
func TestTwoQuestionsAreAskedOneAfterTheOther(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, switched))
	b.when("WatchHealth", press(3*time.Hour, 7, "a"), forever)
	b.when("ApplyFlag first 100", permanent)
	b.plan.Steps[1].Flag.Rollout = []int{10, 100}
	b.when("ApplyFlag first 100", strangers, play{})
	b.after(2*time.Hour, func() { b.when("ApplyFlag first 10", strangers, play{}) })
	b.after(4*time.Hour, b.say(signals.Resume))
	b.after(5*time.Hour, func() { require.Contains(t, b.status().Needs, "step first: ") })
	b.after(6*time.Hour, b.say(signals.Retry))
	b.after(7*time.Hour, func() {
		require.Contains(t, b.status().Needs, "putting back the killed flag a fails")
		require.Len(t, b.made("ApplyFlag first 100"), 1, "it is paused still")
	})
	b.after(8*time.Hour, b.say(signals.Force))
	b.approveAll()
	b.completes()
	require.Equal(t, 8*time.Hour, b.made("ApplyFlag first 100")[1].at)
}

func TestAKillWhileAnApprovalIsOpen(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, switched))
	b.when("WatchHealth", press(5*time.Hour, 7, "c"), forever) // it is open since 4 h
	b.after(20*time.Hour, b.say(signals.Resume))               // beyond the deadline that it had
	b.after(20*time.Hour+time.Minute, func() {
		require.Equal(t, signals.Waiting, b.status().State)
		require.Equal(t, begin.Add(14*time.Hour+15*time.Hour), b.status().Approval.Deadline)
	})
	b.after(21*time.Hour, func() { b.approve("ask", "alice") })
	b.completes()
	require.Equal(t, "ApplyFlag second 100", b.applied(20 * time.Hour)[0].key)
}

func TestRollbackAfterAKill(t *testing.T) {
	t.Parallel()
	t.Run("while it is paused", func(t *testing.T) {
		t.Parallel()
		b := setup(t, planOf(t, switched))
		b.when("WatchHealth", press(30*time.Minute, 7, "a", "b"), forever)
		b.after(time.Hour, b.say(signals.Rollback))
		b.rollsBack()
		require.Empty(t, b.applied(time.Minute))
		require.Equal(t, []string{"RestoreFlag first b", "RestoreFlag first a", "MigrateDown expand"}, b.compensations())
	})
	t.Run("while the flags are put back", func(t *testing.T) {
		t.Parallel()
		b := setup(t, planOf(t, switched))
		b.when("WatchHealth", press(30*time.Minute, 7, "a", "b"), forever)
		b.after(time.Hour, func() { b.when("ApplyFlag first 10", forever) })
		b.winding["ApplyFlag first 10"] = time.Minute
		b.after(2*time.Hour, b.say(signals.Resume))
		b.after(3*time.Hour, b.say(signals.Rollback))
		b.rollsBack()
		require.Equal(t, 3*time.Hour+time.Minute, b.made("RestoreFlag first b")[0].at, "nothing acts beside its compensation")
	})
}

func TestAKillDuringARollbackIsToldAndHoldsNothingUp(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, switched))
	b.chat = true
	b.when("WatchHealth", forever)
	b.when("RestoreFlag first a", play{after: time.Hour})
	b.after(30*time.Minute, func() { b.when("WatchHealth", press(10*time.Minute, 7, "a"), forever) })
	b.after(31*time.Minute, b.say(signals.Rollback))
	b.after(50*time.Minute, func() {
		require.Equal(t, signals.RollingBack, b.status().State)
		require.Equal(t, []string{pressed}, b.notices())
	})
	b.rollsBack()
	require.Equal(t, pressed+"; the migration is rolling back and goes on with that", b.made("PostNotice stuck")[0].in.(activities.NoticeInput).Text)
	require.Len(t, b.made("WatchHealth"), 3, "forward, beside the rollback, and on")
}

func TestRollbackWithoutFlagsWatchesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, switched))
	b.when("Migrate expand", permanent)
	b.rollsBack()
	require.Len(t, b.made("WatchHealth"), 1)
}

func TestAKillBehindThePointOfNoReturn(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, behind))
	b.when("WatchHealth", press(5*time.Hour, 7, "k"), forever)
	b.whenAsked("ask", func() { b.approve("ask", "alice") })
	b.after(6*time.Hour, func() {
		require.Equal(t, "paused: "+pressed+"; `resume` first puts k back to where the migration had come, then goes on", b.status().Needs)
	})
	b.after(7*time.Hour, b.say(signals.Resume))
	b.whenAsked("again", func() { b.approve("again", "alice") })
	b.completes()
	require.Equal(t, 7*time.Hour, b.made("ApplyFlag turn")[1].at)
	require.Empty(t, b.compensations())
}

func TestAKillInTheLastMoments(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, switched))
	b.plan.Steps = b.plan.Steps[:3]
	b.when("WatchHealth", press(4*time.Hour-time.Second, 7, "c"), forever)
	b.after(10*time.Hour, func() { require.Equal(t, signals.Paused, b.status().State) })
	b.after(11*time.Hour, b.say(signals.Resume))
	b.completes()
	require.Equal(t, "ApplyFlag second 100", b.applied(11 * time.Hour)[0].key)
	require.Equal(t, 11*time.Hour+time.Second, b.made("Finish")[0].at, "what was left of the soak")
}

// While the last sync trigger goes, every step has been done.
func TestAKillBehindTheLastStep(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, `{name: p, database: d, migrations: m, flags: {project: shop, environment: production, drain: 0s}, steps: [
		{name: turn, flag: {key: k, soak: 1h}}, {name: fill, backfill: {table: t, set: {a: b}, where: a is null, sync: trigger}}]}`))
	b.when("RemoveSync", play{after: time.Hour})
	b.when("WatchHealth", press(90*time.Minute, 7, "k"), forever)
	b.after(3*time.Hour, func() {
		require.Equal(t, signals.Paused, b.status().State)
		require.Equal(t, signals.StepDone, b.step("fill").State)
	})
	b.after(4*time.Hour, b.say(signals.Resume))
	b.completes()
	require.Equal(t, []string{"k"}, flagsOf(b.applied(4*time.Hour)))
	require.Equal(t, time.Hour, b.made("RemoveSync")[0].at)
	require.Equal(t, 4*time.Hour, b.made("Finish")[0].at)
}

// Without checks there is no list that a guard which can't watch could shorten: it waits for a person all the same.
func TestAKillSwitchThatCannotBeWatchedPausesOnce(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, switched))
	b.when("WatchHealth", permanent, forever)
	b.after(time.Hour, func() {
		require.Equal(t, "paused by guard: the guard can't watch: it broke; `resume` tries again, `rollback` undoes", b.status().Needs)
	})
	b.after(2*time.Hour, b.say(signals.Resume))
	b.approveAll()
	b.completes()
	require.Len(t, b.made("WatchHealth"), 2)
	require.Equal(t, 2*time.Hour, b.made("WatchHealth")[1].at)
}
