package workflows

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/signals"
)

// Most presses come while people think about an approval: nothing that reads the new shape has moved yet, and it moves next.
func TestWhatWasProvedIsProvedAgainBeforeTheFirstReaderMoves(t *testing.T) {
	t.Parallel()
	for says, proofs := range map[string]int{signals.Retry: 3, signals.Force: 2} {
		t.Run(says, func(t *testing.T) {
			t.Parallel()
			b := setup(t, planOf(t, returning))
			b.when("Verify prove", play{}, failing("NotProven", "the query returned 1767"), play{})
			b.when("WatchHealth", press(90*time.Minute, 7, "a"), forever)
			b.after(5*time.Hour, b.say(signals.Resume))
			b.after(5*time.Hour+time.Minute, func() { b.approve("ask", "alice") })
			b.after(6*time.Hour, func() {
				s := b.status()
				require.Equal(t, signals.Stuck, s.State)
				require.Contains(t, s.Needs, "what step prove has proved does not hold any more: the query returned 1767.")
				require.Equal(t, []string{"retry", "force"}, s.Answers)
				require.Equal(t, []string{"a", "a"}, flagsOf(b.made("ApplyFlag")), "it writes both shapes, and nothing reads the new one")
			})
			b.after(7*time.Hour, b.say(says))
			b.completes()
			require.Equal(t, []string{"b"}, flagsOf(b.applied(7*time.Hour)))
			require.Len(t, b.made("Verify"), proofs)
		})
	}
}

// The query sees the rows of the moment at which it began.
func TestAProofThatSucceedsWhileFlagsAreOffIsAskedAgain(t *testing.T) {
	t.Parallel()
	for name, resume := range map[string]time.Duration{"resumed behind it": 6 * time.Hour, "resumed before it": 100 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, planOf(t, returning))
			b.approveAll()
			b.when("WatchHealth", press(90*time.Minute, 7, "a"), forever)
			b.when("Verify prove", play{after: 2 * time.Hour}, play{})
			b.after(resume, b.say(signals.Resume))
			b.completes()
			require.Len(t, b.made("Verify"), 2)
			require.Equal(t, max(resume, 3*time.Hour), b.made("Verify")[1].at)
		})
	}
}

// A precondition is rightly false by now, and was true without any flag.
func TestWhatWasProvedBeforeAnyFlagMovedIsNotAskedAgain(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, `{name: p, database: d, migrations: m, flags: {project: shop, environment: production, drain: 0s}, steps: [
		{name: before, verify: {query: "select count(*) from t where a is null", min: 1}}, {name: turn, flag: {key: r, soak: 1h}},
		{name: fill, backfill: {table: t, set: {a: b}, where: a is null}}, {name: one, verify: {query: "select 0", max: 0}},
		{name: ok1, approve: {by: [alice, bob]}}, {name: drop-a, migrate: {to: 3, irreversible: true}},
		{name: two, verify: {query: "select 0", max: 0}}, {name: given-up, verify: {query: "select 0", max: 0}},
		{name: ok2, approve: {by: [alice, bob]}}, {name: drop-b, migrate: {to: 4, irreversible: true}}]}`))
	b.when("WatchHealth", press(time.Minute, 7, "r"), forever)
	b.when("Verify given-up", permanent)
	b.after(2*time.Hour, b.say(signals.Resume))
	b.after(4*time.Hour, b.say(signals.Skip))
	b.approveAll()
	b.completes()
	require.Len(t, b.made("Verify before"), 1)
	var proofs [][]activities.Proof
	for _, c := range b.made("Migrate") {
		proofs = append(proofs, c.in.(activities.MigrateInput).Proofs)
	}
	one, two := b.plan.Steps[3], b.plan.Steps[6]
	require.Equal(t, [][]activities.Proof{{{Step: "one", Verify: *one.Verify}}, {{Step: "two", Verify: *two.Verify}}}, proofs,
		"what one compares with is gone by then")
}

func TestAnAnswerOutlivesANewRun(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		key    string
		fails  play
		forces []bool
	}{
		"of a flag":  {"ApplyFlag write 100", strangers, []bool{true}},
		"of a proof": {"Verify prove", failing("NotProven", "the query returned 1"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, planOf(t, returning))
			b.plan.Flags.Drain = nil
			b.when("WatchHealth", press(90*time.Minute, 7, "a"), forever)
			b.after(2*time.Hour, func() { b.when(c.key, c.fails, forever) })
			b.after(3*time.Hour, b.say(signals.Resume))
			b.after(4*time.Hour, func() { require.Equal(t, signals.Stuck, b.status().State) })
			b.after(5*time.Hour, b.say(signals.Force))
			b.after(5*time.Hour+time.Second, func() { b.SetContinueAsNewSuggested(true) })
			b.after(5*time.Hour+time.Second, func() { b.SignalWorkflow(signals.Throttle, nil) })
			next := b.continues()
			next.when(c.key, play{})
			next.approveAll()
			next.completes()
			require.Equal(t, c.forces, next.forces(c.key))
			if c.forces == nil {
				require.Empty(t, next.made(c.key))
			}
		})
	}
}
