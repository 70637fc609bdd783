package activities

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/ledger"
	"github.com/contraflow/contraflow/plan"
)

// halted is a provider whose process is stopped once, before it looks at a flag.
type halted struct {
	flags.Provider
	flags.Creator
	looks     int // until then
	meanwhile func()
}

func (h *halted) Get(ctx context.Context, key string) (flags.State, error) {
	if h.looks--; h.looks < 0 {
		once(&h.meanwhile)
	}
	return h.Provider.Get(ctx, key)
}

// halt stops the next attempt behind so many looks at a flag.
func (b *bundle) halt(t *testing.T, looks int, meanwhile func()) {
	t.Helper()
	provider, err := b.acts.Flags(scope)
	require.NoError(t, err)
	h := &halted{provider, provider.(flags.Creator), looks, meanwhile}
	b.acts.Flags = func(plan.FlagScope) (flags.Provider, error) { return h, nil }
}

// again gives the plan to another run, as its next start does behind a run that was terminated.
func (b *bundle) again(t *testing.T, run string) func(FlagInput) FlagInput {
	t.Helper()
	gone := ledger.Holder{Migration: one[string](t, b, "select migration from contraflow.migration"), FirstRun: one[string](t, b, "select first_run from contraflow.migration")}
	require.NoError(t, b.acts.Databases["shop"].ledger.Claim(t.Context(), shopPlan, "h", ledger.Holder{Migration: gone.Migration, FirstRun: run}, gone))
	return func(in FlagInput) FlagInput {
		in.Origin.FirstRun = run
		return in
	}
}

// Another attempt has put the flag on again behind the press, with the word of people. The one that was frozen knows nothing of that.
func TestALateAttemptDoesNotTurnOffWhatPeopleHaveResumed(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"before its change", "before it reads anything"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			b, begun := begunShop(t)
			in := begun.flag("write-new", writeNew, 10)
			_, err := b.apply(t, in)
			require.NoError(t, err)
			m := b.mortal(t)
			late := &frozen{Provider: m.Provider}
			resume := func() {
				m.Provider = late.Provider
				resumed := in
				resumed.Percent = 50
				resumed.Kills = b.press(t, "run-1", changeTo(0))
				_, err := b.apply(t, resumed)
				require.NoError(t, err)
			}
			in.Percent = 50
			if at == "before its change" {
				late.beforeRead = resume
				m.Provider = late
				_, err = b.apply(t, in)
				requireRetryable(t, err, "came too late")
			} else {
				resume()
			}
			for range 2 {
				_, err = b.apply(t, in)
				requirePermanent(t, err, "Killed", "is left alone")
				require.Equal(t, 50, b.percent(t, writeNew))
			}
		})
	}
}

// The later step has put back what the earlier one had left: that is nobody else's doing, however often the plan was run.
func TestWhatALaterStepPutsBackIsOurs(t *testing.T) {
	t.Parallel()
	for title, crash := range map[string]mortal{"": {}, "cut off behind it": {behind: "Restore"}} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			b, begun := begunShop(t)
			before := b.configuration(t, writeNew)
			some, all := begun.flag("some", writeNew, 50), begun.flag("all", writeNew, 100)
			for _, in := range []FlagInput{some, all} {
				_, err := b.apply(t, in)
				require.NoError(t, err)
			}
			next := b.again(t, "run-2")
			for _, in := range []FlagInput{some, all} {
				_, err := b.apply(t, next(in))
				require.NoError(t, err)
			}
			m := b.mortal(t)
			m.behind = crash.behind
			_, err := b.restore(t, next(all))
			require.Equal(t, 50, b.percent(t, writeNew))
			if crash.behind != "" { // and that run is terminated, too: the next one goes forward
				require.Error(t, err)
				next = b.again(t, "run-3")
				_, err = b.apply(t, next(some))
				require.NoError(t, err)
				_, err = b.restore(t, next(all))
			}
			require.NoError(t, err)
			_, err = b.restore(t, next(some))
			require.NoError(t, err)
			require.Equal(t, before, b.configuration(t, writeNew))
			require.Zero(t, one[int](t, b, "select count(*)::int from contraflow.flag_record"))
		})
	}
}

// Who turns off one context meanwhile is not overwritten, nor forgotten, nor asked about. Harness takes a change without a condition.
func TestAPressForOneContextInTheMiddleOfAChangeIsSeen(t *testing.T) {
	t.Parallel()
	b, begun, _ := begunOnHarness(t)
	m := b.mortal(t)
	before, err := m.Get(t.Context(), writeNew)
	require.NoError(t, err)
	late := &frozen{Provider: m.Provider}
	press := func(who string) {
		m.Provider = late
		late.beforeChange = func() {
			m.Provider = late.Provider
			b.press(t, "run-1", flags.Change{Exclude: &flags.Context{Kind: "user", Key: who}})
		}
	}
	press("zoe")
	_, err = b.apply(t, begun.flag("write-new", writeNew, 10))
	require.NoError(t, err)
	now, err := late.Get(t.Context(), writeNew)
	require.NoError(t, err)
	require.Equal(t, "on: 10 % true, 1 target", now.Summary)

	press(customer)
	_, err = b.restore(t, begun.flag("write-new", writeNew, 0))
	require.NoError(t, err)
	now, err = late.Get(t.Context(), writeNew)
	require.NoError(t, err)
	require.True(t, now.Equal(before), now.Summary)
}

func TestNothingIsPutBackWhileSomebodyPressesTheSwitch(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	before := b.configuration(t, writeNew)
	_, err := b.apply(t, begun.flag("write-new", writeNew, 10))
	require.NoError(t, err)
	_, err = b.acts.Databases["shop"].ledger.Press(t.Context(), []ledger.Kill{{Plan: shopPlan, Migration: "m", FirstRun: "run-1", Key: writeNew,
		ContextKind: "user", ContextKey: "zoe", Actor: "alice"}}, false) // who has not come to the flag yet
	require.NoError(t, err)
	b.exec(t, "update contraflow.flag_kill set at = at + interval '1 hour'") // it has not settled, however long this takes
	_, err = b.restore(t, begun.flag("write-new", writeNew, 0))
	requireRetryable(t, err, "somebody is pressing the kill switch")
	require.Equal(t, 10, b.percent(t, writeNew))
	b.exec(t, "update contraflow.flag_kill set at = at - interval '2 hours'")
	_, err = b.restore(t, begun.flag("write-new", writeNew, 0))
	require.NoError(t, err)
	require.Equal(t, before, b.configuration(t, writeNew))
}

// The question of an attempt that was frozen must not stand over what another has recorded.
func TestALateQuestionIsNotRecorded(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	before := b.configuration(t, writeNew)
	_, err := b.apply(t, begun.flag("write-new", writeNew, 10))
	require.NoError(t, err)
	in := begun.flag("write-new", writeNew, 50)
	b.halt(t, 0, func() {
		_, err := b.apply(t, in)
		require.NoError(t, err)
	})
	_, err = b.apply(t, in)
	requireRetryable(t, err, "came too late")
	in.Percent = 100
	_, err = b.apply(t, in)
	require.NoError(t, err)
	_, err = b.restore(t, in)
	require.NoError(t, err)
	require.Equal(t, before, b.configuration(t, writeNew))
}

// A flag that is made behind the end of its run is nobody's.
func TestALateAttemptMakesNoFlag(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	in := begun.flag("write-new", "made", 10)
	in.Create = &plan.Create{}
	b.halt(t, 0, func() {
		_, err := b.restore(t, in)
		require.NoError(t, err)
	})
	_, err := b.apply(t, in)
	requirePermanent(t, err, "Superseded", "comes too late and changed nothing")
	_, made := b.flagd.Snapshot("made")
	require.False(t, made)
}

func TestALateAttemptArchivesNothing(t *testing.T) {
	t.Parallel()
	for title, meanwhile := range map[string]func(*testing.T, *bundle, FlagInput){
		"rolled back": func(t *testing.T, b *bundle, in FlagInput) {
			_, err := b.restore(t, in)
			require.NoError(t, err)
		},
		"another run": func(t *testing.T, b *bundle, _ FlagInput) { b.again(t, "run-2") },
		"changed":     func(t *testing.T, b *bundle, _ FlagInput) { b.except(t, writeNew, "target", 1) },
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			b, begun := begunShop(t)
			_, err := b.apply(t, begun.flag("write-new", writeNew, 100))
			require.NoError(t, err)
			b.halt(t, 1, func() { meanwhile(t, b, begun.flag("write-new", writeNew, 0)) })
			require.Error(t, b.retire(t, begun.flag("retire", writeNew, 0)))
			flag, _ := b.flagd.Snapshot(writeNew)
			require.False(t, flag.Archived)
		})
	}
}

// What the migration has not moved the switch doesn't know: nobody could put it back.
func TestAFlagThatWasNeverMovedIsNotTheSwitchs(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	_, err := b.apply(t, begun.flag("write-new", writeNew, 100))
	require.NoError(t, err)
	b.press(t, "run-1", changeTo(0))
	_, err = b.apply(t, begun.flag("read-new", readNew, 10))
	requirePermanent(t, err, "Killed")
	used, err := b.acts.Databases["shop"].ledger.FindSwitch(t.Context(), begun.origin("").Migration)
	require.NoError(t, err)
	require.Len(t, used.Used, 1)
	require.Equal(t, writeNew, used.Used[0].Key)
}

// The plan has moved it in an earlier run that is over, so that the switch knows it.
func TestAFlagThatThisRunsSwitchTurnedOffFirstGoesBackToWhatItWas(t *testing.T) {
	t.Parallel()
	for title, change := range map[string]flags.Change{"everybody": changeTo(0), "one context": theCustomer} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			b, begun := begunShop(t)
			b.serve(t, writeNew, 60)
			before := b.configuration(t, writeNew)
			in := begun.flag("write-new", writeNew, 10)
			in.Kills = b.press(t, "run-1", change)
			_, err := b.apply(t, in)
			require.NoError(t, err)
			require.Equal(t, 60, b.percent(t, writeNew))
			_, err = b.restore(t, in)
			require.NoError(t, err)
			require.Equal(t, before, b.configuration(t, writeNew))
		})
	}
}

// A rollback must not queue behind schema changes and proofs, which may take hours.
func TestAFlagIsPutBackWhileStatementsTakeLong(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	before := b.configuration(t, writeNew)
	pool := b.acts.Databases["shop"].pool
	for range workConns {
		conn, err := pool.Acquire(t.Context())
		require.NoError(t, err)
		defer conn.Release()
	}
	_, err := b.apply(t, begun.flag("write-new", writeNew, 10))
	require.NoError(t, err)
	_, err = b.restore(t, begun.flag("write-new", writeNew, 0))
	require.NoError(t, err)
	require.Equal(t, before, b.configuration(t, writeNew))
}
