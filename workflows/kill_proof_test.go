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
				require.Contains(t, s.Needs, "what step prove has proved does not hold any more: the query returned 1767;")
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

// What the backfill had passed, or the query is to find, may be written in the old shape before anything was proved: no fault of the plan.
func TestWhatDoesNotHoldForTheFirstTimeBehindAPressIsAsked(t *testing.T) {
	t.Parallel()
	for during, answers := range map[string][]string{"BackfillLane fill": {signals.Retry, signals.Force}, "Verify prove": {signals.Retry, signals.Force, signals.Rollback}} {
		for _, says := range answers {
			t.Run(during+", "+says, func(t *testing.T) {
				t.Parallel()
				b := setup(t, planOf(t, filling))
				b.chat = true
				b.approveAll()
				found := failing(notProvenType, "the query returned 17")
				b.when("Verify prove", found, play{})
				if during == "Verify prove" {
					b.when("Verify prove", play{after: 50 * time.Hour}, found, play{})
				} else {
					b.when(during, play{after: 50 * time.Hour})
				}
				b.when("WatchHealth", press(40*time.Hour, 7, "a"), forever)
				b.after(60*time.Hour, b.say(signals.Resume))
				b.after(61*time.Hour, func() {
					require.Equal(t, signals.Stuck, b.status().State)
					require.Equal(t, "step prove: the query returned 17; while flags were off rows were written in the old shape alone, and whoever is served the new one "+
						"would meet what stood there before: fill them, then `retry`; `force` goes on all the same; `rollback` undoes", b.status().Needs)
					require.Equal(t, []string{signals.Retry, signals.Force}, b.status().Answers)
				})
				b.after(62*time.Hour, b.say(says))
				if says == signals.Rollback {
					require.Contains(t, b.rollsBack().Cause, "rollback requested")
					return
				}
				b.completes()
				asked := len(b.made("Verify prove"))
				if says == signals.Force {
					require.Equal(t, "forced: the query returned 17", b.step("prove").Detail)
					require.Equal(t, []string{"forced: the query returned 17"}, b.evidence("ask", "prove"), "for who approves, and nothing else of it")
					asked++
				}
				require.Equal(t, map[string]int{"BackfillLane fill": 2, "Verify prove": 3}[during], asked)
				require.Equal(t, []string{"r"}, flagsOf(b.applied(62*time.Hour)))
			})
		}
	}
}

func TestWhatDoesNotHoldWithoutAPressOfWhatWritesIsRolledBack(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*bundle){
		"no press": func(*bundle) {},
		"no flag has moved before it": func(b *bundle) {
			b.plan.Steps[1], b.plan.Steps[3] = b.plan.Steps[3], b.plan.Steps[1]
			b.when("Migrate expand", play{after: 2 * time.Hour})
			b.when("WatchHealth", press(time.Minute, 7, "a"), forever)
			b.after(time.Hour, b.say(signals.Resume))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, planOf(t, filling))
			change(b)
			b.when("Verify prove", failing(notProvenType, "the query returned 17"))
			require.Equal(t, "step prove: the query returned 17", b.rollsBack().Cause)
		})
	}
}

// Rows that were written since are not those that people have seen.
func TestForceIsNotOfRowsThatWereWrittenSince(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, filling))
	b.approveAll()
	found := failing(notProvenType, "the query returned 17")
	b.when("Verify prove", found, found, play{})
	b.when("BackfillLane fill", play{after: 5 * time.Hour})
	b.when("WatchHealth", press(time.Hour, 7, "a"), press(10*time.Hour, 8, "a"), forever)
	b.after(2*time.Hour, b.say(signals.Resume))
	b.after(12*time.Hour, b.say(signals.Force))
	b.after(13*time.Hour, b.say(signals.Resume))
	b.after(14*time.Hour, func() { require.Equal(t, []string{signals.Retry, signals.Force}, b.status().Answers) })
	b.after(15*time.Hour, b.say(signals.Retry))
	b.completes()
	require.Equal(t, []time.Duration{5 * time.Hour, 13 * time.Hour, 15 * time.Hour}, times(b.made("Verify")))
}

// evidence is what the card of an approval says first of a step.
func (b *bundle) evidence(approval, step string) (values []string) {
	for _, e := range b.made("PostCard " + approval)[0].in.(activities.Card).Evidence {
		if e.Name == step {
			values = append(values, e.Value)
		}
	}
	return values
}

// filling is a plan whose rows are filled and proved behind a flag that writes.
const filling = `{name: p, database: d, migrations: m, flags: {project: shop, environment: production, drain: 0s}, steps: [
	{name: expand, migrate: {to: 2}}, {name: write, flag: {key: a, rollout: [100]}}, {name: fill, backfill: {table: t, set: {x: y}, where: x is null}},
	{name: prove, verify: {query: "select 0", max: 0}}, {name: ask, approve: {by: [alice, bob]}}, {name: read, flag: {key: r, rollout: [100]}},
	{name: drop, migrate: {to: 3, irreversible: true}}]}`
