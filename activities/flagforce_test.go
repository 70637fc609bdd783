package activities

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/devstack/flagserver"
	"github.com/contraflow/contraflow/internal/ledger"
	"github.com/contraflow/contraflow/plan"
)

func TestForceIsOfTheStateThatWasShown(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	in := begun.flag("write-new", writeNew, 50)
	_, err := b.apply(t, begun.flag("write-new", writeNew, 10))
	require.NoError(t, err)
	in.Force = true
	b.serve(t, writeNew, 33)
	_, err = b.apply(t, in)
	requirePermanent(t, err, "Stranger", `it is "on: 33 % true" now`) // nobody was shown it
	b.serve(t, writeNew, 20)
	_, err = b.apply(t, in)
	requirePermanent(t, err, "Stranger", `it is "on: 20 % true" now`) // another than was shown
	m := b.mortal(t)
	m.before = "Apply"
	_, err = b.apply(t, in)
	requireRetryable(t, err, errCrash.Error())
	_, err = b.apply(t, in)
	require.NoError(t, err)
	require.Equal(t, 50, b.percent(t, writeNew))

	b.serve(t, writeNew, 33)
	back := begun.flag("write-new", writeNew, 0)
	_, err = b.restore(t, back)
	requirePermanent(t, err, "Stranger", `it is "on: 33 % true" now`)
	back.Force = true
	_, err = b.restore(t, back)
	require.NoError(t, err)
	require.Equal(t, -1, b.percent(t, writeNew), "as it was before the first stage")
}

// press turns the flag off for everybody, or for the customer alone, as the kill switch does.
func (b *bundle) press(t *testing.T, firstRun string, change flags.Change) int64 {
	t.Helper()
	k := ledger.Kill{Plan: shopPlan, Migration: "m", FirstRun: firstRun, Key: writeNew, Actor: "alice", Reason: "orders fail"}
	if change.Exclude != nil {
		k.ContextKind, k.ContextKey = change.Exclude.Kind, change.Exclude.Key
	}
	l := b.acts.Databases["shop"].ledger
	ids, err := l.Press(t.Context(), []ledger.Kill{k}, false)
	require.NoError(t, err)
	provider, err := b.acts.Flags(scope)
	require.NoError(t, err)
	turned(t, l, ids[0], provider, writeNew, change)
	return ids[0]
}

// turned changes the flag, and records what the kill switch records of it.
func turned(t require.TestingT, l *ledger.Ledger, id int64, provider flags.Provider, key string, change flags.Change) {
	found, err := provider.Get(context.Background(), key)
	require.NoError(t, err)
	state, err := provider.Apply(context.Background(), key, change, "kill switch", nil)
	require.NoError(t, err)
	raw, err := json.Marshal(found)
	require.NoError(t, err)
	require.NoError(t, l.Found(context.Background(), id, raw))
	raw, err = json.Marshal(state)
	require.NoError(t, err)
	require.NoError(t, l.Killed(context.Background(), id, raw))
}

func TestAKillForbidsStagesUntilSomebodyResumes(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	before := b.configuration(t, writeNew)
	_, err := b.apply(t, begun.flag("write-new", writeNew, 10))
	require.NoError(t, err)
	id := b.press(t, "run-1", changeTo(0))
	in := begun.flag("write-new", writeNew, 50)
	_, err = b.apply(t, in)
	requirePermanent(t, err, "Killed", writeNew, "pressed by alice", "orders fail")
	_, err = b.apply(t, begun.flag("read-new", readNew, 10))
	requirePermanent(t, err, "Killed", "is left alone") // no other flag either
	require.Equal(t, -1, b.percent(t, writeNew))
	in.Kills = id
	_, err = b.apply(t, in)
	require.NoError(t, err)
	require.Equal(t, 50, b.percent(t, writeNew))

	b.press(t, "run-1", changeTo(0))
	_, err = b.restore(t, begun.flag("write-new", writeNew, 0))
	require.NoError(t, err, "what the switch has left is nobody else's")
	require.Equal(t, before, b.configuration(t, writeNew))
}

func TestAKillInTheMiddleOfAStageStays(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	m := b.mortal(t)
	late := &frozen{Provider: m.Provider}
	m.Provider = late
	late.beforeChange = func() { b.press(t, "run-1", changeTo(0)) }
	_, err := b.apply(t, begun.flag("write-new", writeNew, 10))
	requirePermanent(t, err, "Killed", "pressed by alice")
	require.Equal(t, -1, b.percent(t, writeNew))
}

func TestAKillOfAnEarlierRunIsAskedAbout(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	_, err := b.apply(t, begun.flag("write-new", writeNew, 10))
	require.NoError(t, err)
	b.press(t, "run-1", changeTo(0))
	b.acts.Alive = dead
	_, err = b.begin(t, shopPlan, "run-2")
	require.NoError(t, err)
	in := begun.flag("write-new", writeNew, 10)
	in.Origin.FirstRun = "run-2"
	_, err = b.apply(t, in)
	requirePermanent(t, err, "Stranger", "since an earlier run of this plan", "pressed by alice", "force goes on")
	require.Equal(t, -1, b.percent(t, writeNew))
	in.Force = true
	_, err = b.apply(t, in)
	require.NoError(t, err)
	require.Equal(t, 10, b.percent(t, writeNew))
}

func TestAKillForOneContextIsInTheWayOfTheLastStageAlone(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	_, err := b.apply(t, begun.flag("write-new", writeNew, 10))
	require.NoError(t, err)
	b.press(t, "run-1", flags.Change{Exclude: &flags.Context{Kind: "user", Key: customer}})
	_, err = b.apply(t, begun.flag("write-new", writeNew, 50))
	require.NoError(t, err)
	require.Equal(t, 50, b.percent(t, writeNew))
	_, err = b.apply(t, begun.flag("write-new", writeNew, 100))
	requirePermanent(t, err, "Stranger", "(1 target)", "the kill switch has turned it off for")
}

func TestAKilledContextThatThePlanNamesStaysOff(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	in := begun.flag("write-new", writeNew, 0)
	in.Targets = map[string][]string{"user": {customer, "S3CRET-OTHER"}}
	_, err := b.apply(t, in)
	require.NoError(t, err)
	require.True(t, b.served(t, writeNew))
	b.press(t, "run-1", flags.Change{Exclude: &flags.Context{Kind: "user", Key: customer}})
	alone := in
	alone.Targets = map[string][]string{"user": {customer}}
	for _, again := range []FlagInput{in, alone, in} {
		before := b.configuration(t, writeNew)
		now, err := b.apply(t, again)
		require.NoError(t, err)
		require.Equal(t, 1, now.Out)
		require.False(t, b.served(t, writeNew))
		require.Equal(t, before, b.configuration(t, writeNew))
	}
	in.Percent = 50
	_, err = b.apply(t, in)
	require.NoError(t, err)
	require.Equal(t, []flagserver.Target{
		{ContextKind: "user", Variation: 0, Values: []string{"S3CRET-OTHER"}}, {ContextKind: "user", Variation: 1, Values: []string{customer}},
	}, b.configuration(t, writeNew).Targets)
	detail := one[string](t, b, "select detail from contraflow.audit where event = 'flag' order by at desc limit 1")
	require.Contains(t, detail, "on: 50 % true, 2 targets, version 4, without 1 of the named contexts")
	b.requireDiscreet(t, detail)
	in.Percent = 100
	_, err = b.apply(t, in)
	requirePermanent(t, err, "Stranger", "(1 target)", "the kill switch has turned it off for")
}

func TestAMissingFlagIsMadeWhereThePlanSaysSo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.only(t, "  - {name: some, flag: {key: made, stages: [dualwrite, complete], create: {tags: [contraflow]}}}\n")
	begun, err := b.begin(t, "p", "run-1")
	require.NoError(t, err)
	in := FlagInput{Origin: begun.origin("some"), Scope: scope, Key: "made", Stage: "dualwrite", Create: &plan.Create{}}
	_, err = b.apply(t, in)
	require.NoError(t, err)
	flag, ok := b.flagd.Snapshot("made")
	require.True(t, ok)
	require.Len(t, flag.Variations, 6)
	_, err = b.restore(t, in)
	require.NoError(t, err)
	require.False(t, b.configuration(t, "made").On)
}

func TestFlagsOfTheOtherKindFailThePlanAtItsStart(t *testing.T) {
	t.Parallel()
	b := setup(t)
	provider, err := b.acts.Flags(scope)
	require.NoError(t, err)
	require.NoError(t, provider.(flags.Creator).Create(t.Context(), "staged", flags.NewFlag{Migration: true}))
	for _, steps := range []string{
		"  - {name: some, flag: {keys: [staged, " + writeNew + "], stages: [complete]}}\n",
		"  - {name: some, flag: {keys: [" + writeNew + ", staged], rollout: [100]}}\n",
		"  - {name: some, flag: {key: " + writeNew + ", rollout: [0, 100], segments: [nobody-made-it]}}\n",
		"  - {name: some, flag: {key: missing, rollout: [100]}}\n",
	} {
		b.only(t, steps)
		_, err := b.begin(t, "p", "run-1")
		requirePermanent(t, err, "Flag")
	}
	b.untouched(t)
}

// overtaken is a service that gets a change just behind another, though it was asked for before.
type overtaken struct {
	flags.Provider
	between func()
}

func (o *overtaken) Apply(ctx context.Context, key string, c flags.Change, note string, still flags.Still) (flags.State, error) {
	found, err := o.Get(ctx, key)
	if err == nil {
		err = still.Ask(ctx, found)
	}
	if err != nil {
		return found, err
	}
	once(&o.between)
	return o.Provider.Apply(ctx, key, c, note, nil)
}

func TestAChangeThatGetsThereBehindAKillIsTakenBack(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	before := b.configuration(t, writeNew)
	m := b.mortal(t)
	service := &overtaken{Provider: m.Provider}
	service.between = func() {
		m.Provider = service.Provider
		b.press(t, "run-1", changeTo(0))
	}
	m.Provider = service
	_, err := b.apply(t, begun.flag("write-new", writeNew, 10))
	requirePermanent(t, err, "Killed", "pressed by alice")
	require.Equal(t, -1, b.percent(t, writeNew))
	require.Regexp(t, `^`+writeNew+` off, version \d+: a stage had`, one[string](t, b, "select detail from contraflow.audit where event = 'flag taken back'"))
	_, err = b.restore(t, begun.flag("write-new", writeNew, 0))
	require.NoError(t, err)
	require.Equal(t, before, b.configuration(t, writeNew))
}
