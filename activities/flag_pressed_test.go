package activities

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/flagfile"
	"github.com/contraflow/contraflow/internal/ledger"
	"github.com/contraflow/contraflow/plan"
)

// What the switch makes of a stranger's flag is the stranger's still.
func TestAPressDoesNotHideAStrangersChange(t *testing.T) {
	t.Parallel()
	for title, change := range map[string]flags.Change{"everybody": changeTo(0), "one context": {Exclude: &flags.Context{Kind: "user", Key: "zoe"}}} {
		for _, way := range []string{"target", "rule"} {
			t.Run(title+", "+way, func(t *testing.T) {
				t.Parallel()
				b, begun := begunShop(t)
				before := b.configuration(t, writeNew)
				_, err := b.apply(t, begun.flag("write-new", writeNew, 10))
				require.NoError(t, err)
				b.except(t, writeNew, way, 0)
				in := begun.flag("write-new", writeNew, 50)
				in.Kills = b.press(t, "run-1", change)
				theirs := b.configuration(t, writeNew)
				_, err = b.apply(t, in)
				requirePermanent(t, err, "Stranger", "changed by someone else")
				back := begun.flag("write-new", writeNew, 0)
				_, err = b.restore(t, back)
				requirePermanent(t, err, "Stranger", "changed by someone else")
				require.Equal(t, theirs, b.configuration(t, writeNew))
				back.Force = true
				_, err = b.restore(t, back)
				require.NoError(t, err)
				require.Equal(t, before, b.configuration(t, writeNew))
			})
		}
	}
}

func TestPressesOneAfterTheOtherAreNoStrangers(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	before := b.configuration(t, writeNew)
	_, err := b.apply(t, begun.flag("write-new", writeNew, 10))
	require.NoError(t, err)
	b.press(t, "run-1", flags.Change{Exclude: &flags.Context{Kind: "user", Key: "zoe"}})
	b.press(t, "run-1", changeTo(0))
	b.press(t, "run-1", changeTo(0)) // it was off already
	in := begun.flag("write-new", writeNew, 50)
	in.Kills = b.press(t, "run-1", theCustomer)
	_, err = b.apply(t, in)
	require.NoError(t, err)
	require.Equal(t, 50, b.percent(t, writeNew))
	_, err = b.restore(t, in)
	require.NoError(t, err)
	require.Equal(t, before, b.configuration(t, writeNew))
}

// It gets another off variation, or another default rule.
func TestAPressOfAMigrationFlagThatServesAStageWhenOffIsNoStranger(t *testing.T) {
	t.Parallel()
	const key = "staged"
	b := setup(t)
	path := filepath.Join(t.TempDir(), "flags.json")
	require.NoError(t, os.WriteFile(path, []byte(`{"flags": {"`+key+`": {"key": "`+key+`", "version": 1, "on": true, "salt": "s", "migration": {},
		"variations": ["off", "dualwrite", "shadow", "live", "rampdown", "complete"], "offVariation": 1, "fallthrough": {"variation": 1}}}}`), 0o600))
	provider, err := flagfile.New(path)
	require.NoError(t, err)
	b.acts.Flags = func(plan.FlagScope) (flags.Provider, error) { return provider, nil }
	b.only(t, "  - {name: some, flag: {key: "+key+", stages: [dualwrite, live, complete]}}\n")
	begun, err := b.begin(t, "p", "run-1")
	require.NoError(t, err)
	in := FlagInput{Origin: begun.origin("some"), Scope: scope, Key: key, Stage: "live"}
	_, err = b.apply(t, in)
	require.NoError(t, err)
	l := b.acts.Databases["shop"].ledger
	ids, err := l.Press(t.Context(), []ledger.Kill{{Plan: "p", Migration: "m", FirstRun: "run-1", Key: key, Actor: "alice"}}, false)
	require.NoError(t, err)
	turned(t, l, ids[0], provider, key, flags.Change{Stage: flags.StageOff})
	off, err := provider.Get(t.Context(), key)
	require.NoError(t, err)
	require.Equal(t, "off", off.Summary)

	in.Kills = ids[0]
	now, err := b.apply(t, in)
	require.NoError(t, err)
	require.Equal(t, "on: stage live", now.Summary)
	now, err = b.restore(t, in)
	require.NoError(t, err)
	require.Equal(t, "on: stage dualwrite", now.Summary)
}

func TestAFlagThatIsPutBackIsAuditedAsOftenAsItWas(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	in := begun.flag("write-new", writeNew, 10)
	for stands := range 3 {
		for range 2 { // an attempt whose answer was lost
			_, err := b.apply(t, in)
			require.NoError(t, err)
		}
		require.Equal(t, stands+1, one[int](t, b, "select count(*)::int from contraflow.audit where event = 'flag' and detail like $1", writeNew+" on: 10 % true, version %"))
		in.Kills = b.press(t, "run-1", changeTo(0))
	}
}

func TestAFlagIsPutBackToWhatItServedWhenItWasKilled(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	b.serve(t, writeNew, 60)
	in := begun.flag("write-new", writeNew, 10)
	_, err := b.apply(t, in)
	require.NoError(t, err)
	require.Equal(t, 60, b.percent(t, writeNew))
	b.press(t, "run-1", changeTo(0))
	in.Kills = b.press(t, "run-1", theCustomer)
	_, err = b.apply(t, in)
	require.NoError(t, err)
	require.Equal(t, 60, b.percent(t, writeNew), "a stage never lowers a flag")
	in.Percent = 100
	_, err = b.apply(t, in)
	requirePermanent(t, err, "Stranger", "1 target", "force goes on without it")
	in.Force = true
	_, err = b.apply(t, in)
	require.NoError(t, err)
	require.Equal(t, 100, b.percent(t, writeNew))
}

func TestAStrangerIsNotBlamedForWhatAPressDid(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	_, err := b.apply(t, begun.flag("write-new", writeNew, 10))
	require.NoError(t, err)
	in := begun.flag("write-new", writeNew, 50)
	b.press(t, "run-1", flags.Change{Exclude: &flags.Context{Kind: "user", Key: "zoe"}})
	in.Kills = b.press(t, "run-1", changeTo(0))
	b.except(t, writeNew, "target", 0)
	_, err = b.apply(t, in)
	requirePermanent(t, err, "Stranger", "changed by someone else (the individual targets are others)",
		`this migration left it "off"; it is "off" now, and force turns it on`)
	_, err = b.restore(t, in)
	requirePermanent(t, err, "Stranger", "changed by someone else (the individual targets are others)", `it is "off" now`)
	require.NotContains(t, err.Error(), "force")
}

func TestAStrangerIsBlamedForWhatAPressFound(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	_, err := b.apply(t, begun.flag("write-new", writeNew, 10))
	require.NoError(t, err)
	in := begun.flag("write-new", writeNew, 50)
	b.except(t, writeNew, "rule", 0)
	in.Kills = b.press(t, "run-1", changeTo(0))
	_, err = b.apply(t, in)
	requirePermanent(t, err, "Stranger", "changed by someone else (the rules are others)", `it is "off" now, and force turns it on`)
	b.except(t, writeNew, "target", 0)
	_, err = b.apply(t, in)
	requirePermanent(t, err, "Stranger", "changed by someone else (the rules are others, the individual targets are others)")
}

func TestAPressThatWasResumedFromHidesNoStranger(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	in := begun.flag("write-new", writeNew, 10)
	_, err := b.apply(t, in)
	require.NoError(t, err)
	in.Kills = b.press(t, "run-1", changeTo(0))
	_, err = b.apply(t, in)
	require.NoError(t, err)
	b.instruct(t, writeNew, `{"kind": "turnFlagOff"}`)
	b.except(t, writeNew, "target", 0)
	_, err = b.apply(t, in)
	requirePermanent(t, err, "Stranger", "changed by someone else (it was turned off, the individual targets are others)",
		`this migration left it "on: 10 % true"`)
}
