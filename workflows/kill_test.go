package workflows

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

// switched is a plan with flags and no guard.
const switched = `
name: switched
database: shop
migrations: migrations
flags: {project: shop, environment: production, drain: 0s}
steps:
  - {name: expand, migrate: {to: 2}}
  - {name: first, flag: {keys: [a, b], rollout: [10, 100], soak: 1h}}
  - {name: second, flag: {key: c, rollout: [50, 100], soak: 1h}}
  - {name: ask, approve: {by: [alice, bob], within: 10h}}
`

const pressed = "kill switch pressed by erin (errors): a, b off for everybody"

// press is the guard's verdict some time after it began to watch.
func press(after time.Duration, id int64, keys ...string) play {
	return play{after: after, out: activities.GuardVerdict{Outcome: activities.Killed, Kill: id, Reading: pressed, KilledFlags: keys}}
}

// applied are the changes of flags with the time since begin, from then on.
func (b *bundle) applied(from time.Duration) []call {
	var calls []call
	for _, c := range b.made("ApplyFlag") {
		if c.at >= from {
			calls = append(calls, c)
		}
	}
	return calls
}

func flagsOf(calls []call) (keys []string) {
	for _, c := range calls {
		keys = append(keys, c.in.(activities.FlagInput).Key)
	}
	return keys
}

func TestKilledFlagsAreBackBeforeAnythingGoesOn(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, switched))
	b.chat = true
	const needs = "paused: " + pressed + "; `resume` first puts b and a back to where the migration had come, then goes on, `rollback` undoes"
	b.when("WatchHealth", press(90*time.Minute, 7, "b", "a"), forever)
	b.after(5*time.Hour, func() { // 30 minutes of a soak are done
		s := b.status()
		require.Equal(t, signals.Paused, s.State)
		require.Equal(t, needs, s.Needs)
		require.Equal(t, []string{"b", "a"}, s.Killed)
		require.Nil(t, s.Guard)
		require.Contains(t, b.details(), "Needs: "+needs)
		require.Equal(t, signals.StepRunning, b.step("first").State)
	})
	b.after(6*time.Hour, func() { b.when("ApplyFlag first 100", play{after: 10 * time.Minute}) })
	b.after(6*time.Hour, b.say(signals.Resume))
	b.after(6*time.Hour+5*time.Minute, func() {
		require.Contains(t, b.status().Needs, "; resumed by dave: b and a must be put back first")
		b.SignalWorkflow(signals.Resume, nil)
	})
	b.approveAll()
	b.completes()

	watch := b.made("WatchHealth")
	require.Empty(t, watch[0].in.(activities.WatchInput).Checks)
	require.Equal(t, []int64{0, 7}, []int64{watch[0].in.(activities.WatchInput).Kills, watch[1].in.(activities.WatchInput).Kills})
	require.Equal(t, 90*time.Minute, watch[1].at, "it is watched on")
	back := b.applied(6 * time.Hour)[:2]
	require.Equal(t, []string{"a", "b"}, flagsOf(back), "as they went forward")
	for i, c := range back {
		in := c.in.(activities.FlagInput)
		require.Equal(t, 100, in.Percent)
		require.EqualValues(t, 7, in.Kills)
		require.Equal(t, 6*time.Hour+time.Duration(i)*10*time.Minute, c.at)
	}
	require.Equal(t, 6*time.Hour+20*time.Minute+30*time.Minute, b.made("ApplyFlag second 50")[0].at, "the rest of the soak, with the flags on")
	require.Empty(t, b.status().Killed)
	require.Equal(t, []string{"paused", "resume", "resumed", "approve"}, b.audited())
	require.Equal(t, []string{"resume refused: the killed flags are being put back already, and then it goes on"}, b.notices())
	require.Equal(t, pressed+needs[len("paused: "+pressed):], b.made("PostNotice stuck")[0].in.(activities.NoticeInput).Text)
}

func TestOnlyWhatTheMigrationHadBroughtOnIsPutBack(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, switched))
	b.plan.Steps[2].Flag.Key = "b" // moved by both steps
	b.when("ApplyFlag second 100", play{after: time.Hour}, play{})
	b.when("WatchHealth", press(3*time.Hour+30*time.Minute, 7, "b", "a", "z"), forever)
	b.after(6*time.Hour, b.say(signals.Resume))
	b.approveAll()
	b.completes()
	var back []string
	for _, c := range b.applied(6 * time.Hour) {
		in := c.in.(activities.FlagInput)
		back = append(back, c.key+" "+in.Key)
	}
	require.Equal(t, []string{"ApplyFlag first 100 a", "ApplyFlag second 100 b"}, back)
	require.Contains(t, b.notices(), "the kill switch stays with z: no step of this migration has brought it on, or people left it as it was")
}

// What stages had been reached when the switch was pressed in the middle of one.
func TestWhereTheFlagsHadCome(t *testing.T) {
	t.Parallel()
	p := planOf(t, switched)
	p.Steps = append(p.Steps, plan.Step{Name: "away", Retire: &plan.Retire{Flags: []string{"b", "c"}}})
	for _, c := range []struct {
		step, stage, key int
		soaking          bool
		skipped          *stepState // the first flag step
		want             map[string]int
	}{
		{step: 0, want: map[string]int{}},
		{step: 1, want: map[string]int{}},
		{step: 1, key: 1, want: map[string]int{"a": 10}},
		{step: 1, soaking: true, want: map[string]int{"a": 10, "b": 10}},
		{step: 1, stage: 1, want: map[string]int{"a": 10, "b": 10}},
		{step: 1, stage: 1, key: 1, want: map[string]int{"a": 100, "b": 10}},
		{step: 1, stage: 2, want: map[string]int{"a": 100, "b": 100}},
		{step: 2, want: map[string]int{"a": 100, "b": 100}},
		{step: 2, soaking: true, want: map[string]int{"a": 100, "b": 100, "c": 50}},
		{step: 3, want: map[string]int{"a": 100, "b": 100, "c": 100}},
		{step: 4, want: map[string]int{"a": 100, "b": 100, "c": 100}},
		{step: 4, skipped: &stepState{}, want: map[string]int{"c": 100}},
		{step: 4, skipped: &stepState{Stage: 1}, want: map[string]int{"a": 10, "b": 10, "c": 100}},
		{step: 4, skipped: &stepState{Stage: 1, Key: 1}, want: map[string]int{"a": 100, "b": 10, "c": 100}},
		{step: 4, skipped: &stepState{Stage: 1, Key: 1, Left: true}, want: map[string]int{"a": 100, "c": 100}},
		{step: 4, skipped: &stepState{Stage: 1, Until: begin}, want: map[string]int{"a": 100, "b": 100, "c": 100}},
		{step: 4, stage: 1, want: map[string]int{"a": 100, "c": 100}},
		{step: 5, want: map[string]int{"a": 100}},
	} {
		m := &migration{state: state{Plan: p, Step: c.step, stepState: stepState{Stage: c.stage, Key: c.key}, Steps: make([]signals.StepStatus, 5)}}
		if c.soaking {
			m.Until = begin
		}
		if c.skipped != nil {
			m.Steps[1].State, m.Skipped = signals.StepSkipped, map[int]stepState{1: *c.skipped}
		}
		got := map[string]int{}
		for _, leg := range m.legs() {
			for _, at := range leg.places {
				got[at.key] = at.move.Percent
			}
		}
		require.Equal(t, c.want, got, "%+v", c)
	}
}

func TestAKillForOneContextStays(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, switched))
	b.when("WatchHealth", press(30*time.Minute, 7), forever)
	b.after(40*time.Minute, func() {
		require.Equal(t, "paused: "+pressed+"; `resume` goes on, `rollback` undoes", b.status().Needs)
	})
	b.after(6*time.Hour, b.say(signals.Resume))
	b.approveAll()
	b.completes()
	require.Equal(t, []string{"a", "b", "c", "c"}, flagsOf(b.applied(6*time.Hour)))
	require.Equal(t, "ApplyFlag first 100", b.applied(6 * time.Hour)[0].key, "nothing is put back")
	require.EqualValues(t, 7, b.applied(6 * time.Hour)[0].in.(activities.FlagInput).Kills)
}

func TestPuttingBackThatFailsIsAskedAbout(t *testing.T) {
	t.Parallel()
	for says, back := range map[string][]string{signals.Retry: {"a", "b", "b", "a"}, signals.Skip: {"a", "b", "a", "b"}} {
		t.Run(says, func(t *testing.T) {
			t.Parallel()
			b := setup(t, planOf(t, switched))
			b.when("WatchHealth", press(30*time.Minute, 7, "a", "b"), forever)
			b.after(time.Hour, func() { b.when("ApplyFlag first 10", play{}, permanent, play{}) })
			b.after(2*time.Hour, b.say(signals.Resume))
			b.after(3*time.Hour, func() {
				require.Equal(t, "paused: "+pressed+"; resumed by dave: b must be put back first; and putting back the killed flag b fails: it broke; "+
					"`retry` tries it again, `skip` leaves it as it is and goes on; `rollback` undoes", b.status().Needs)
				require.Equal(t, []string{"b"}, b.status().Killed, "the first one is back")
			})
			b.after(4*time.Hour, b.say(signals.Force))
			b.after(5*time.Hour, b.say(says))
			b.approveAll()
			b.completes()
			require.Equal(t, back, flagsOf(b.applied(2 * time.Hour))[:4])
			require.Equal(t, "force refused: it is no answer to what the migration asks now: say retry or skip", b.notices()[0])
		})
	}
}

func TestPuttingBackThatIsForbiddenStaysPaused(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, switched))
	b.chat = true
	b.when("WatchHealth", press(30*time.Minute, 7, "a", "b"), press(2*time.Hour, 9, "a"), forever)
	b.after(time.Hour, func() { b.when("ApplyFlag first 10", failing(killedType, "pressed again"), play{}) })
	b.after(2*time.Hour, b.say(signals.Resume)) // before the guard tells of the second press
	b.after(2*time.Hour+time.Minute, func() {
		require.Equal(t, signals.Paused, b.status().State)
		require.Equal(t, []string{"resume failed, it stays paused: pressed again"}, b.notices())
	})
	b.after(4*time.Hour, b.say(signals.Resume))
	b.approveAll()
	b.completes()
	require.Equal(t, []string{"a", "b"}, flagsOf(b.applied(4 * time.Hour))[:2])
	require.Equal(t, "resume failed, it stays paused: pressed again; `resume` first puts a and b back to where the migration had come, then goes on, `rollback` undoes",
		b.made("PostNotice stuck")[1].in.(activities.NoticeInput).Text)
}

func TestPuttingBackMeetsAStranger(t *testing.T) {
	t.Parallel()
	for says, c := range map[string]struct {
		back   []string
		forces []bool
	}{
		signals.Retry: {[]string{"a", "a", "b"}, []bool{false, false, false}},
		signals.Force: {[]string{"a", "a", "b"}, []bool{false, true, false}},
		signals.Skip:  {[]string{"a", "b"}, []bool{false, false}},
	} {
		t.Run(says, func(t *testing.T) {
			t.Parallel()
			b := setup(t, planOf(t, switched))
			b.when("WatchHealth", press(30*time.Minute, 7, "a", "b"), forever)
			b.after(time.Hour, func() { b.when("ApplyFlag first 10", strangers, play{}) })
			b.after(2*time.Hour, b.say(signals.Resume))
			b.after(3*time.Hour, func() {
				require.Equal(t, signals.Stuck, b.status().State)
				require.Contains(t, b.status().Needs, "putting back the killed flag a fails: flag k was left")
				require.Equal(t, []string{"retry", "force", "skip"}, b.status().Answers)
			})
			b.after(4*time.Hour, b.say(says))
			b.after(4*time.Hour+time.Minute, func() { require.Equal(t, signals.Running, b.status().State) })
			b.approveAll()
			b.completes()
			require.Equal(t, c.back, flagsOf(b.applied(2 * time.Hour))[:len(c.back)])
			require.Equal(t, c.forces, b.forces("ApplyFlag first 10")[2:])
		})
	}
}

func TestKilledAgainWhileItIsPutBack(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, switched))
	b.when("WatchHealth", press(30*time.Minute, 7, "a", "b"), press(2*time.Hour, 9, "a"), forever)
	b.after(time.Hour, func() { b.when("ApplyFlag first 10", play{after: time.Hour}, play{}) })
	b.after(2*time.Hour, b.say(signals.Resume))
	b.after(5*time.Hour, func() {
		require.Equal(t, signals.Paused, b.status().State)
		require.Equal(t, []string{"a", "b"}, b.status().Killed, "what was put back just then may be off again")
	})
	b.after(6*time.Hour, b.say(signals.Resume))
	b.approveAll()
	b.completes()
	require.Equal(t, []string{"a", "b"}, flagsOf(b.applied(6 * time.Hour))[:2])
	require.EqualValues(t, 9, b.applied(6 * time.Hour)[0].in.(activities.FlagInput).Kills)
}

// Whoever said resume knew nothing of what the guard has found since.
func TestWhatTheGuardFindsWhileItIsPutBackTakesTheResumeBack(t *testing.T) {
	t.Parallel()
	for name, found := range map[string]play{
		"a check that can't be measured": {after: 2 * time.Hour, out: activities.GuardVerdict{Outcome: activities.Inconclusive, Check: "up"}},
		"one context was turned off":     press(2*time.Hour, 9),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, planOf(t, switched))
			b.plan.Guard = planOf(t, guarded).Guard
			b.when("WatchHealth", press(30*time.Minute, 7, "a", "b"), found, forever)
			b.after(time.Hour, func() { b.when("ApplyFlag first 10", play{after: time.Hour}, play{}) })
			b.after(2*time.Hour, b.say(signals.Resume))
			b.after(5*time.Hour, func() {
				require.Equal(t, signals.Paused, b.status().State)
				require.NotContains(t, b.status().Needs, "resumed")
			})
			b.after(6*time.Hour, b.say(signals.Resume))
			b.approveAll()
			b.completes()
			require.Equal(t, []string{"a", "b"}, flagsOf(b.applied(6 * time.Hour))[:2])
		})
	}
}

// With the flags back it only waits for requests, and another resume waits its own time.
func TestPausedAgainWhileRequestsAreDone(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, switched))
	drain := plan.Duration(time.Hour)
	b.plan.Flags.Drain = &drain
	b.when("WatchHealth", press(30*time.Minute, 7, "a", "b"), forever)
	b.after(2*time.Hour, b.say(signals.Resume))
	b.after(2*time.Hour+5*time.Minute, func() {
		require.Equal(t, "paused: "+pressed+"; resumed by dave: the flags are back, and it goes on once requests that saw them off are done and what was proved holds", b.status().Needs)
		b.say(signals.Pause)()
	})
	b.after(2*time.Hour+10*time.Minute, func() {
		require.Equal(t, "paused by dave; "+pressed+"; the flags are back by now: `resume` asks again whether what was proved holds, then goes on, `rollback` undoes", b.status().Needs)
	})
	b.after(2*time.Hour+15*time.Minute, b.say(signals.Resume))
	b.after(3*time.Hour+10*time.Minute, func() { require.Equal(t, signals.Paused, b.status().State) })
	b.after(3*time.Hour+16*time.Minute, func() { require.Equal(t, signals.Running, b.status().State) })
	b.approveAll()
	b.completes()
	require.Equal(t, []string{"a", "b"}, flagsOf(b.applied(2 * time.Hour))[:2])
	require.Equal(t, "ApplyFlag first 100", b.applied(2 * time.Hour)[2].key, "they are put back once")
}

func TestPausedAgainWhileItIsPutBack(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, switched))
	b.when("WatchHealth", press(30*time.Minute, 7, "a", "b"), forever)
	b.after(time.Hour, func() { b.when("ApplyFlag first 10", play{after: time.Hour}, play{}) })
	b.after(2*time.Hour, b.say(signals.Resume))
	b.after(2*time.Hour+time.Minute, func() { b.SignalWorkflow(signals.Pause, signals.Request{By: "bob", Reason: "wait"}) })
	b.after(5*time.Hour, func() { require.Contains(t, b.status().Needs, "paused by bob: wait; "+pressed+"; `resume` first puts") })
	b.after(6*time.Hour, b.say(signals.Resume))
	b.approveAll()
	b.completes()
	require.Equal(t, []string{"paused", "resume", "resume taken back", "paused", "resume", "resumed", "approve"}, b.audited())
	require.False(t, slices.ContainsFunc(b.applied(2*time.Hour+time.Minute), func(c call) bool { return c.at < 6*time.Hour }))
}

// A change that the kill switch forbids before the guard has told of it is no failure: it waits, and is made after the resume.
func TestAChangeThatTheKillSwitchForbidsWaits(t *testing.T) {
	t.Parallel()
	for key, p := range map[string]*plan.Plan{"ApplyFlag first 100": planOf(t, switched), "Migrate drop": planOf(t, behind), "RetireFlag away b": planOf(t, retiring)} {
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			b := setup(t, p)
			b.when(key, failing(killedType, "the kill switch was pressed"), play{})
			b.on(key, func() {
				if len(b.made(key)) == 1 {
					b.RegisterDelayedCallback(b.say(signals.Resume), 20*time.Hour)
				}
			})
			b.when("WatchHealth", press(2*time.Hour, 7, "a", "b", "k"), forever)
			b.approveAll()
			b.completes()
			calls := b.made(key)
			require.GreaterOrEqual(t, calls[1].at-calls[0].at, 20*time.Hour)
			require.Empty(t, b.compensations())
		})
	}
}
