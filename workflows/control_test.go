package workflows

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/signals"
)

// told is what reached the backfill: how it began, where people had said something before, and every change.
func (b *bundle) told() []activities.Control {
	var told []activities.Control
	for _, c := range b.calls {
		switch in := c.in.(type) {
		case activities.BackfillInput:
			if matches(c.key, "PrepareBackfill") && in.Control != nil {
				told = append(told, *in.Control)
			}
		case activities.ControlInput:
			told = append(told, in.Control)
		}
	}
	return told
}

func TestPauseHoldsARollout(t *testing.T) {
	t.Parallel()
	b := setup(t, example(t))
	b.approveAll()
	b.after(time.Second, func() { b.SignalWorkflow(signals.Pause, signals.Request{By: "bob", Reason: "lunch"}) })
	b.after(30*time.Minute, func() {
		s := b.status()
		require.Equal(t, signals.Paused, s.State)
		require.Equal(t, "paused by bob: lunch", s.Needs)
		require.Equal(t, 10, b.step("write-new").Percent)
		require.Contains(t, b.details(), "paused")
	})
	b.after(time.Hour, b.say(signals.Resume))
	b.completes()
	require.Equal(t, time.Hour, b.made("ApplyFlag write-new 50")[0].at)
	require.Equal(t, time.Hour+2*time.Second, b.made("ApplyFlag write-new 100")[0].at)
	require.Equal(t, []string{"paused", "resumed", "approve", "approve"}, b.audited())
}

func TestPauseAndRateReachARunningBackfill(t *testing.T) {
	t.Parallel()
	b := setup(t, example(t))
	b.when("BackfillLane fill 0", play{after: time.Hour})
	b.approveAll()
	b.after(10*time.Minute, b.say(signals.Pause))
	b.after(11*time.Minute, b.say(signals.Pause))
	b.after(20*time.Minute, func() { b.SignalWorkflow(signals.Throttle, signals.ThrottleRequest{RowsPerSecond: 50, By: "bob"}) })
	b.after(30*time.Minute, b.say(signals.Resume))
	b.after(40*time.Minute, func() { b.SignalWorkflow(signals.Throttle, signals.ThrottleRequest{}) })
	b.after(50*time.Minute, func() { b.SignalWorkflow(signals.Throttle, signals.ThrottleRequest{RowsPerSecond: 1 << 31}) })
	b.after(51*time.Minute, b.say(signals.Resume)) // from psql it may have been paused as well
	b.completes()
	require.Equal(t, []activities.Control{
		{Paused: true}, {Paused: true, RowsPerSecond: 50}, {RowsPerSecond: 50},
		{RowsPerSecond: activities.NoCap}, {RowsPerSecond: activities.NoCap},
	}, b.told())
	require.Equal(t, []string{"pause refused: it is paused already", "throttle refused: rowsPerSecond must be from 0 (no cap) to 2147483647"}, b.notices())
	require.Equal(t, "throttled", b.audited()[1])
}

func TestBackfillBeginsWithTheRateAskedForBefore(t *testing.T) {
	t.Parallel()
	b := setup(t, example(t))
	b.approveAll()
	b.after(time.Second, func() { b.SignalWorkflow(signals.Throttle, signals.ThrottleRequest{RowsPerSecond: 50}) })
	b.completes()
	require.Equal(t, []activities.Control{{RowsPerSecond: 50}}, b.told())
}

func TestBackfillThatCannotBeToldIsKnown(t *testing.T) {
	t.Parallel()
	b := setup(t, example(t))
	b.approveAll()
	b.when("BackfillLane fill 0", play{after: time.Hour})
	b.when("ControlBackfill", permanent)
	b.after(10*time.Minute, b.say(signals.Pause))
	b.after(20*time.Minute, b.say(signals.Resume))
	b.completes()
	require.Equal(t, []string{"the backfill could not be told: it broke", "the backfill could not be told: it broke"}, b.notices())
}

func TestPauseBeforeAndDuringAnApproval(t *testing.T) {
	t.Parallel()
	b := setup(t, example(t))
	b.when("Verify prove", play{after: time.Hour})
	b.after(10*time.Minute, b.say(signals.Pause))
	b.after(2*time.Hour, func() {
		require.Equal(t, signals.StepPending, b.step("cutover").State, "nobody is asked while it is paused")
		require.Nil(t, b.status().Approval)
	})
	b.after(3*time.Hour, b.say(signals.Resume))
	b.after(4*time.Hour, b.say(signals.Pause))
	b.after(5*time.Hour, func() { b.approve("cutover", "alice") })
	b.after(6*time.Hour, func() {
		require.Equal(t, signals.StepDone, b.step("cutover").State, "a decision is taken in")
		require.Equal(t, signals.StepPending, b.step("read-new").State, "and nothing is done")
	})
	b.after(7*time.Hour, b.say(signals.Resume))
	b.after(8*time.Hour, func() { b.approve("contract", "alice") })
	b.completes()
	require.Equal(t, 7*time.Hour, b.made("ApplyFlag read-new 1")[0].at)
}

func TestPauseBeforeTheFirstStep(t *testing.T) {
	t.Parallel()
	b := setup(t, example(t))
	b.approveAll()
	b.when("Begin", play{after: time.Minute})
	b.after(time.Second, b.say(signals.Pause))
	b.after(time.Hour, b.say(signals.Resume))
	b.completes()
	require.Equal(t, time.Hour, b.made("Migrate expand")[0].at)
}

func TestPausedMigrationRollsBack(t *testing.T) {
	t.Parallel()
	b := setup(t, example(t))
	b.after(time.Second, b.say(signals.Pause))
	b.after(time.Hour, b.say(signals.Rollback))
	b.when("RestoreFlag write-new", play{after: time.Hour})
	b.after(90*time.Minute, b.say(signals.Pause))
	b.after(91*time.Minute, b.say(signals.Resume))
	b.after(92*time.Minute, func() { require.Equal(t, signals.RollingBack, b.status().State) })
	b.rollsBack()
	require.Equal(t, undone[2:], b.compensations())
	require.Equal(t, []string{"pause refused: the migration is rolling back, and that is not paused"}, b.notices())
}

func TestPayloads(t *testing.T) {
	t.Parallel()
	b := setup(t, example(t))
	b.approveAll()
	for i, payload := range []any{"hello", 17, []string{"x"}, map[string]any{"by": 3}} {
		b.after(time.Duration(i+1)*time.Second, func() { b.SignalWorkflow(signals.Pause, payload) })
	}
	b.after(10*time.Second, func() { b.SignalWorkflow(signals.Throttle, map[string]any{"rowsPerSecond": "many"}) })
	b.after(11*time.Second, func() { b.SignalWorkflow(signals.Pause, nil) })
	b.after(12*time.Second, func() { require.Equal(t, "paused", b.status().Needs, "no input is an empty one") })
	b.after(13*time.Second, func() { b.SignalWorkflow(signals.Resume, nil) })
	b.completes()
	require.Len(t, b.notices(), 5)
	const misread = " refused: its input is not understood: "
	for i, want := range []string{
		"pause" + misread + "it must be an object with keys, not of type string",
		"pause" + misread + "it must be an object with keys, not of type number",
		"pause" + misread + "it must be an object with keys, not of type array",
		"pause" + misread + "by can't be of type number",
		"throttle" + misread + "rowsPerSecond can't be of type string",
	} {
		require.Equal(t, want, b.notices()[i])
	}
}

func TestNoticesAreBounded(t *testing.T) {
	t.Parallel()
	b := setup(t, example(t))
	b.approveAll()
	b.after(time.Second, func() {
		for range maxNotices + 5 {
			b.SignalWorkflow(signals.Skip, nil)
		}
		b.SignalWorkflow(signals.Retry, nil)
	})
	b.completes()
	require.Len(t, b.notices(), maxNotices)
	require.Equal(t, "retry refused: nothing is stuck", b.notices()[maxNotices-1])
}

func TestOneLaneFailingStopsTheOthersAndTellsThePeopleWhy(t *testing.T) {
	t.Parallel()
	b := setup(t, example(t))
	b.when("PrepareBackfill", play{out: activities.BackfillPrepared{Lanes: []int{0, 1, 2}, Total: 10, Resumed: true}})
	b.when("BackfillLane", forever)
	b.when("BackfillLane fill 2", play{after: time.Hour, err: permanent.err})
	b.after(time.Minute, func() {
		require.Equal(t, "about 10 rows, going on from the checkpoints of the run before", b.step("fill").Detail)
	})
	require.Equal(t, "step fill: it broke", b.rollsBack().Cause)
}

// A rollback because nobody answered during a pause would be nobody's wish.
func TestClocksThatRunIntoARollbackStandStillInAPause(t *testing.T) {
	t.Parallel()
	t.Run("of an approval", func(t *testing.T) {
		t.Parallel()
		b := setup(t, planOf(t, asking))
		b.after(time.Hour, b.say(signals.Pause))
		b.after(100*time.Hour, b.say(signals.Resume))
		b.after(101*time.Hour, func() {
			require.Equal(t, begin.Add((24+99)*time.Hour), b.status().Approval.Deadline)
			b.approve("ask", "alice")
			b.approve("ask", "bob")
		})
		b.completes()
	})
	t.Run("of a step", func(t *testing.T) {
		t.Parallel()
		b := setup(t, planOf(t, `{name: p, database: d, migrations: m, steps: [{name: up, migrate: {to: 1}, timeout: 1h}]}`))
		b.when("Migrate up", forever)
		b.after(time.Minute, b.say(signals.Pause))
		b.after(10*time.Hour+time.Minute, b.say(signals.Resume))
		require.Equal(t, "step up: not done within its timeout of 1h0m0s", b.rollsBack().Cause)
		require.Equal(t, 11*time.Hour, b.made("MigrateDown up")[0].at)
	})
}

// Requests that read the flag before its last stage write the old shape; the backfill must come behind them.
func TestTheNextStepWaitsForRequestsThatReadTheFlagBefore(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, `{name: p, database: d, flags: {project: s, environment: e, drain: 40s}, steps: [
		{name: on, flag: {key: k, rollout: [50, 100], soak: 10s}}, {name: fill, backfill: {table: t, set: {a: b}, where: a is null}}]}`))
	b.completes()
	require.Equal(t, 10*time.Second, b.made("ApplyFlag on 100")[0].at)
	require.Equal(t, 50*time.Second, b.made("PrepareBackfill fill")[0].at)
}
