// Package flagstest is what every flags.Provider must pass: run it against your own with Run.
package flagstest

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
)

const (
	// contexts that an application evaluates a rollout for.
	contexts = 10_000
	// tolerance is five standard deviations of 50 % of 10,000.
	tolerance = 0.025
	// patience for a change to reach an application that the provider has seen served already.
	patience = time.Minute
	poll     = 5 * time.Millisecond
)

// Run checks a provider; every test gets a fixture of its own.
func Run(t *testing.T, newFixture func(t *testing.T) Fixture) {
	for name, test := range map[string]func(*testing.T, Fixture){
		"a rollout is really served":                     rollout,
		"off is really served":                           off,
		"targets and rules stay above the default rule":  exceptions,
		"apply again changes nothing":                    applyAgain,
		"preview tells what apply does":                  preview,
		"a change that is not wanted any more is left":   unwanted,
		"restore puts exactly the same back":             restore,
		"restore again changes nothing":                  restoreAgain,
		"a stranger's change is not overwritten":         stranger,
		"an archived flag is a stranger's change too":    strangerArchived,
		"what archives does not restore":                 restoreArchived,
		"archive takes the flag from applications":       archive,
		"an unknown flag is not found":                   unknown,
		"a flag that is not boolean is refused":          notBoolean,
		"a change that makes no sense is refused":        invalid,
		"the state of another flag is not put back":      otherFlag,
		"percentages by another context kind are served": otherKind,
		"application and provider count versions alike":  versions,

		"targets are served by name":               targets,
		"targets are moved from false":             targetsMoved,
		"kinds that can't be targeted are refused": targetKinds,
		"one context is excluded, and nobody else": exclude,
		"who is named or in a segment is excluded": excludeNamed,
		"who is excluded while it is off stays so": excludeOff,

		"a request of several contexts is left alone":    mixedBystander,
		"one of several contexts is excluded":            excludeMixed,
		"a flag that serves true when off is turned off": inverted,
		"nobody named is nobody":                         nobodyNamed,

		"segments are served":                    segments,
		"segments stand above all rules, once":   segmentsAbove,
		"segments that don't exist are refused":  segmentsMissing,
		"preview tells what every change does":   previews,
		"every change is put back exactly":       restoreEvery,
		"a stranger's change is shown with ours": strangerShown,

		"stages are served one by one":         stages,
		"stages are put back exactly":          restoreStages,
		"one context is excluded from a stage": excludeStage,
		"percent and stage don't mix":          stagesMix,

		"create makes a flag that is off":             create,
		"create leaves a flag alone that exists":      createAgain,
		"create refuses what is archived or another":  createOther,
		"rehearsing to create makes nothing":          createRehearsed,
		"rehearsing to create refuses what follows":   createImpossible,
		"dependents are those that need the flag":     dependents,
		"rehearsing changes nothing, and refuses too": rehearse,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fixture := newFixture(t)
			t.Cleanup(func() { require.NoError(t, fixture.Provider.Close()) })
			test(t, fixture)
		})
	}
}

const note = "conformance"

const (
	user   = flags.DefaultContextKind
	device = "device"
)

// served evaluates the flag for all contexts of a kind.
func served(t *testing.T, app Reader, key, kind string) []bool {
	t.Helper()
	keys := make([]string, contexts)
	for i := range keys {
		keys[i] = fmt.Sprintf("%s-%d", kind, i)
	}
	if b, ok := app.(Batcher); ok {
		values, ok := b.Bools(key, kind, keys)
		require.True(t, ok, "flag %s serves nothing", key)
		require.Len(t, values, contexts)
		return values
	}
	out := make([]bool, contexts)
	for i := range out {
		value, ok := app.Bool(key, kind, keys[i])
		require.True(t, ok, "flag %s serves nothing", key)
		out[i] = value
	}
	return out
}

func share(values []bool) float64 {
	n := 0
	for _, v := range values {
		if v {
			n++
		}
	}
	return float64(n) / float64(len(values))
}
