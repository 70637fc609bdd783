package activities

import (
	"testing"
	"time"

	"github.com/launchdarkly/go-sdk-common/v3/ldcontext"
	ld "github.com/launchdarkly/go-server-sdk/v7"
	"github.com/launchdarkly/go-server-sdk/v7/ldcomponents"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
)

// customer is whom the tests below ask the flag for; nothing that leaves an activity may name it.
const customer = "S3CRET-CUSTOMER"

// served is what an application with the real SDK gets for that customer.
func (b *bundle) served(t *testing.T, key string) bool {
	t.Helper()
	client, err := ld.MakeCustomClient(sdkKey, ld.Config{
		ServiceEndpoints: ldcomponents.RelayProxyEndpoints(b.flagd.URL()),
		Events:           ldcomponents.NoEvents(), Logging: ldcomponents.NoLogging(),
	}, time.Minute)
	require.NoError(t, err)
	defer func() { require.NoError(t, client.Close()) }()
	value, err := client.BoolVariation(key, ldcontext.New(customer), !b.wanted(t, key))
	require.NoError(t, err)
	return value
}

// wanted is what the default rule serves.
func (b *bundle) wanted(t *testing.T, key string) bool {
	t.Helper()
	e := b.configuration(t, key)
	return e.On && *e.Fallthrough.Variation == 0
}

// instruct changes the flag as a person does.
func (b *bundle) instruct(t *testing.T, key, instructions string) {
	t.Helper()
	b.patch(t, key, `{"environmentKey": "production", "instructions": [`+instructions+`]}`)
}

// except lets the flag serve a variation to the customer in one of three ways; the third is a prerequisite that is off.
func (b *bundle) except(t *testing.T, key, way string, variation int) {
	t.Helper()
	switch id := b.variation(t, key, variation); way {
	case "target":
		b.instruct(t, key, `{"kind": "addTargets", "variationId": "`+id+`", "values": ["`+customer+`"]}`)
	case "rule":
		b.instruct(t, key, `{"kind": "addRule", "variationId": "`+id+`", "clauses":
			[{"contextKind": "user", "attribute": "key", "op": "in", "values": ["`+customer+`"], "negate": false}]}`)
	case "prerequisite":
		b.instruct(t, key, `{"kind": "replacePrerequisites", "prerequisites": [{"key": "`+readNew+`", "variationId": "`+b.variation(t, readNew, 0)+`"}]}`)
	}
}

var exceptionNames = map[string]string{"target": "1 target", "rule": "1 rule", "prerequisite": "prerequisite " + readNew}

func TestAFlagThatCannotReachEverybodyIsRefusedAtTheStart(t *testing.T) {
	t.Parallel()
	for way, name := range exceptionNames {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.except(t, writeNew, way, 1)
			_, err := b.begin(t, shopPlan, "run-1")
			requirePermanent(t, err, "Flag", writeNew, "could serve false even at 100 %", "("+name+")", "start the plan again")
			b.untouched(t)
			b.asking(t) // that people must approve it changes nothing
			_, err = b.begin(t, shopPlan, "run-1")
			requirePermanent(t, err, "Flag", "("+name+")")
		})
	}
}

func TestAMigrationFlagOfWhichSomeAreInALaterStageIsRefusedAtTheStart(t *testing.T) {
	t.Parallel()
	b := setup(t)
	provider, err := b.acts.Flags(scope)
	require.NoError(t, err)
	require.NoError(t, provider.(flags.Creator).Create(t.Context(), "staged", flags.NewFlag{Migration: true}))
	b.instruct(t, "staged", `{"kind": "turnFlagOn"}, {"kind": "updateFallthroughVariationOrRollout", "rolloutContextKind": "user", "rolloutWeights":
		{"`+b.variation(t, "staged", 0)+`": 50000, "`+b.variation(t, "staged", 3)+`": 50000}}`)
	b.only(t, "  - {name: some, flag: {key: staged, stages: [dualwrite, complete]}}\n")
	_, err = b.begin(t, "p", "run-1")
	requirePermanent(t, err, "Flag", "staged", "let its default rule serve one stage, then start the plan again")
	b.untouched(t)
}

// What a run has found and moved is its step's to judge, and to ask about.
func TestAFlagThatWasBegunWithIsNotRefusedAtTheStart(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	_, err := b.apply(t, begun.flag("write-new", writeNew, 10))
	require.NoError(t, err)
	b.press(t, "run-1", theCustomer)
	b.acts.Alive = dead
	_, err = b.begin(t, shopPlan, "run-2")
	require.NoError(t, err)
}

// Its worker had noted that it is going to move the flag, and no more.
func TestAFlagThatOnlyTheKillSwitchHasTouchedIsNotRefusedAtTheStart(t *testing.T) {
	t.Parallel()
	b, _ := begunShop(t)
	b.press(t, "run-1", theCustomer)
	b.acts.Alive = dead
	_, err := b.begin(t, shopPlan, "run-2")
	require.NoError(t, err)
}

func TestAFlagThatCannotReachEverybodyIsRefusedAtItsFirstStage(t *testing.T) {
	t.Parallel()
	for way, name := range exceptionNames {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			b, begun := begunShop(t)
			b.except(t, writeNew, way, 1)
			before := b.configuration(t, writeNew)
			for _, percent := range []int{10, 100} {
				_, err := b.apply(t, begun.flag("write-new", writeNew, percent))
				requirePermanent(t, err, "Flag", writeNew, "could serve false even at 100 %", "("+name+")", "take that out of its targeting")
			}
			require.Equal(t, before, b.configuration(t, writeNew))
			require.Zero(t, one[int](t, b, "select count(*)::int from contraflow.flag_record"))
			// What it is refused for is true: the real SDK evaluates false under a flag at 100 %.
			b.serve(t, writeNew, 100)
			require.False(t, b.served(t, writeNew))
			_, err := b.apply(t, begun.flag("write-new", writeNew, 100))
			requirePermanent(t, err, "Flag", "("+name+")")
		})
	}
}

func TestExceptionsThatServeTrueAreNone(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	b.except(t, writeNew, "target", 0)
	b.except(t, writeNew, "rule", 0)
	for _, percent := range []int{10, 100} {
		_, err := b.apply(t, begun.flag("write-new", writeNew, percent))
		require.NoError(t, err)
	}
	require.True(t, b.served(t, writeNew))
	require.NoError(t, b.retire(t, begun.flag("retire", writeNew, 0)))
}

func TestRetireRefusesAFlagThatServesMoreThanOneValue(t *testing.T) {
	t.Parallel()
	for way, name := range exceptionNames {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			b, begun := begunShop(t)
			b.serve(t, writeNew, 100)
			b.except(t, writeNew, way, 1)
			require.False(t, b.served(t, writeNew))
			requirePermanent(t, b.retire(t, begun.flag("retire", writeNew, 0)), "InUse", "may serve the other value to some ("+name+")")
			flag, _ := b.flagd.Snapshot(writeNew)
			require.False(t, flag.Archived)
			// Off it serves one value, whatever stands in its targeting.
			b.serve(t, writeNew, 0)
			require.NoError(t, b.retire(t, begun.flag("retire", writeNew, 0)))
		})
	}
}
