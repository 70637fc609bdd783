package backfill_test

import (
	"flag"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// propertyChecks cases of each property take some seconds; RAPID_CHECKS or -rapid.checks asks for others.
const propertyChecks = 25

// property checks prop on random cases, beside the package's other tests.
func property(t *testing.T, prop func(*rapid.T, bundle)) {
	t.Helper()
	asked := os.Getenv("RAPID_CHECKS") != ""
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == "rapid.checks" })
	if !asked {
		require.NoError(t, flag.Set("rapid.checks", strconv.Itoa(propertyChecks)))
	}
	t.Parallel()
	b := setup(t)
	rapid.Check(t, func(t *rapid.T) { prop(t, b) })
}

// With one thing at a time, a case is the same however often it is run, and shrinks: the application, rivals and cuts come at
// statement numbers, and lanes are walked by turns.
func TestPropertyRowsHaveTheirValuesWhateverIsCutBetweenStatements(t *testing.T) {
	property(t, func(t *rapid.T, b bundle) {
		s := drawShape(t)
		migrate(t, b, s, drawEvents(t, s, kinds...), func(m *migration) { m.byTurns(drawTurns(t)) })
	})
}

// A helper comes while the first lane is walked, and finds other lanes that nobody walks, or the rest of the first.
func TestPropertyHelpersTakeWhatOthersHaveLeft(t *testing.T) {
	property(t, func(t *rapid.T, b bundle) {
		s := drawShape(t)
		s.rows = rapid.SampledFrom([]int{60, 120}).Draw(t, "many rows")
		migrate(t, b, s, drawEvents(t, s, "helper", "helper", "writes", "cut"), func(m *migration) {
			m.spec.Lanes = rapid.IntRange(2, 4).Draw(t, "several lanes")
			m.spec.ChunkRows, m.spec.ChunkTime = 2, time.Microsecond // small for good, so that there is something to split
			m.byTurns(nil)
		})
	})
}

// Here lanes walk side by side, so that a case may come out differently when it is run again.
func TestPropertyLanesSideBySide(t *testing.T) {
	property(t, func(t *rapid.T, b bundle) {
		s := drawShape(t)
		migrate(t, b, s, drawEvents(t, s, kinds...), (*migration).sideBySide)
	})
}

func TestPropertyRejectsAreExactlyThePoisonedRows(t *testing.T) {
	property(t, func(t *rapid.T, b bundle) {
		s := drawShape(t)
		s.poisoned = rapid.IntRange(0, min(s.rows, 6)).Draw(t, "poisoned")
		migrate(t, b, s, drawEvents(t, s, kinds...), func(m *migration) {
			if turns := drawTurns(t); rapid.Bool().Draw(t, "side by side") {
				m.sideBySide()
			} else {
				m.byTurns(turns)
			}
		})
	})
}
