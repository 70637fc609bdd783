package workflows

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

func TestFlagsMoveTogether(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, pair))
	b.after(30*time.Minute, func() {
		require.Equal(t, "dualwrite", b.step("turn").Stage)
		require.Zero(t, b.step("turn").Percent)
		require.Equal(t, "a and b at dualwrite", b.step("turn").Detail)
		require.Contains(t, b.details(), "| turn | flag | running | a and b at dualwrite |")
	})
	b.approveAll()
	b.completes()
	require.Equal(t, []string{"ApplyFlag turn dualwrite a", "ApplyFlag turn dualwrite b", "ApplyFlag turn live a", "ApplyFlag turn live b"},
		b.keys("Begin", "Migrate", "Verify", "Audit", "Finish", "WatchHealth"))
	require.Equal(t, b.made("ApplyFlag turn dualwrite a")[0].at+time.Hour, b.made("ApplyFlag turn live a")[0].at, "one soak for both")
	require.Equal(t, "live", b.step("turn").Stage)
}

func TestFlagsThatMovedTogetherGoBackInReverse(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, pair))
	b.plan.Steps[1].Flag.Attest = &plan.Attest{Instances: 3}
	b.when("Verify prove", permanent)
	report := b.rollsBack()
	require.Equal(t, []string{"RestoreFlag turn b", "RestoreFlag turn a", "MigrateDown expand"}, b.compensations())
	require.Equal(t, "b is off again; a is off again", report.Compensations[0].Detail)
	require.Empty(t, b.step("turn").Stage)
	require.Equal(t, []string{"a", "b"}, b.plan.Steps[1].Flag.Keys)
	for _, key := range []string{"ApplyFlag turn live a", "RestoreFlag turn a"} {
		require.Equal(t, b.plan.Steps[1].Flag.Attest, b.made(key)[0].in.(activities.FlagInput).Attest, key)
	}
}

func TestNewRunInTheMiddleOfAStage(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, pair))
	b.when("ApplyFlag turn live b", forever, play{})
	b.suggest(2 * time.Hour)
	next := b.continues()
	next.approveAll()
	next.completes()
	var left []string
	for _, c := range next.made("ApplyFlag") {
		left = append(left, c.key)
	}
	require.Equal(t, []string{"ApplyFlag turn live b"}, left, "the other one is there already")
}

// A person's pause lets flags that move together reach the same stage.
func TestPauseDoesNotTearFlagsApart(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, pair))
	b.when("ApplyFlag turn dualwrite a", play{after: time.Minute})
	b.after(time.Second, b.say(signals.Pause))
	b.after(10*time.Hour, b.say(signals.Resume))
	b.approveAll()
	b.completes()
	require.Equal(t, time.Minute, b.made("ApplyFlag turn dualwrite b")[0].at)
	require.Equal(t, 10*time.Hour, b.made("ApplyFlag turn live a")[0].at)
}

func TestWhomAFlagIsForIsToldAsNumbers(t *testing.T) {
	t.Parallel()
	named := map[string][]string{"account": {"acme", "umbrella"}, "user": {"eve"}}
	for want, c := range map[string]struct {
		flag plan.Flag
		at   plan.Move
	}{
		"k at 10 %":                                      {plan.Flag{Key: "k"}, plan.Move{Percent: 10}},
		"a, b and c at shadow":                           {plan.Flag{Keys: []string{"a", "b", "c"}}, plan.Move{Stage: "shadow"}},
		"k for 3 named contexts, segment beta":           {plan.Flag{Key: "k", Targets: named, Segments: []string{"beta"}}, plan.Move{}},
		"k at 25 % and for 1 named context":              {plan.Flag{Key: "k", Targets: map[string][]string{"user": {"eve"}}}, plan.Move{Percent: 25}},
		"k at 25 % and for segment beta, segment inside": {plan.Flag{Key: "k", Segments: []string{"beta", "inside"}}, plan.Move{Percent: 25}},
	} {
		require.Equal(t, want, serving(&c.flag, c.at))
	}
}

func TestWhomTheKillSwitchKeepsOutIsToldAsANumber(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, pair))
	b.when("ApplyFlag turn dualwrite a", play{out: activities.FlagNow{Out: 2}})
	b.after(30*time.Minute, func() {
		require.Equal(t, "a and b at dualwrite; 2 of the contexts stay off, since the kill switch was pressed for them", b.step("turn").Detail)
	})
	b.approveAll()
	b.completes()
	require.Equal(t, "; 1 of the contexts stays off, since the kill switch was pressed for it", leftOut(1))
}

// Then the answer comes behind the press and the resume, which knew nothing of the change.
func TestAChangeThatAnswersBehindTheResumeIsMadeAgain(t *testing.T) {
	t.Parallel()
	for name, drain := range map[string]time.Duration{"it goes on": 0, "flags are being put back": 20 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, planOf(t, pair))
			b.plan.Flags.Drain = new(plan.Duration(drain))
			b.when("ApplyFlag turn live a", play{after: 30 * time.Hour}, play{})
			b.when("WatchHealth", press(25*time.Hour, 7, "a", "b"), forever)
			b.after(26*time.Hour, b.say(signals.Resume))
			b.approveAll()
			b.completes()
			calls := b.made("ApplyFlag turn live a")
			require.Equal(t, []time.Duration{time.Hour, max(31*time.Hour, 26*time.Hour+drain)}, times(calls))
			require.EqualValues(t, 7, calls[1].in.(activities.FlagInput).Kills)
			require.Len(t, b.made("ApplyFlag turn live b"), 1)
		})
	}
}

// Where the kill switch turns one of them off in the middle of a stage, the others stay where they are.
func TestAKillInTheMiddleOfAStage(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, pair))
	b.when("ApplyFlag turn live a", play{after: 10 * time.Minute}, play{})
	b.when("WatchHealth", press(65*time.Minute, 7, "a"), forever)
	b.after(2*time.Hour, func() { require.Empty(t, b.made("ApplyFlag turn live b")) })
	b.after(3*time.Hour, b.say(signals.Resume))
	b.approveAll()
	b.completes()
	require.Equal(t, []string{"a", "b"}, flagsOf(b.applied(3*time.Hour)), "first back, to the stage that it had reached just then, then on")
	require.Equal(t, "ApplyFlag turn live a", b.applied(3 * time.Hour)[0].key)
}
