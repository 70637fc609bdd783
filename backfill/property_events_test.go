package backfill_test

import (
	"pgregory.net/rapid"

	"github.com/contraflow/contraflow/internal/devstack/pgproxy"
)

// event between two statements of the engine.
type event struct {
	after  int // statements behind the event before
	writes []write
	cut    *pgproxy.Cut
	rival  *turn
}

// turn of an attempt at a lane, which is asked to stop after some reports.
type turn struct {
	lane, reports int
	help          bool
}

// kinds of events, the more frequent ones more than once.
var kinds = []string{"writes", "writes", "cut", "cut", "rival"}

func drawEvents(t *rapid.T, s shape, kinds ...string) []event {
	atLeast := rapid.SampledFrom([]int{0, 6, 15}).Draw(t, "at least") // of its own rapid draws few
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) event {
		e := event{after: rapid.SampledFrom([]int{1, 2, 3, 5, 8, 13, 21, 34}).Draw(t, "after")}
		switch rapid.SampledFrom(kinds).Draw(t, "event") {
		case "writes":
			e.writes = drawWrites(t, s)
		case "cut":
			e.cut = &pgproxy.Cut{Hard: rapid.Bool().Draw(t, "hard"),
				When: rapid.SampledFrom([]pgproxy.When{pgproxy.Before, pgproxy.Unanswered, pgproxy.Orphaned}).Draw(t, "when")}
		case "rival":
			e.rival = new(drawTurn(t))
		case "helper":
			e.rival = &turn{lane: rapid.IntRange(1, 3).Draw(t, "lane"), reports: rapid.SampledFrom([]int{5, 1000}).Draw(t, "reports"), help: true}
		}
		return e
	}), atLeast, 24).Draw(t, "events")
}

func drawTurn(t *rapid.T) turn {
	return turn{rapid.SampledFrom([]int{0, 1, 2, 3}).Draw(t, "lane"), rapid.SampledFrom([]int{1, 2, 4, 9, 1000}).Draw(t, "reports"), rapid.SampledFrom([]bool{false, true}).Draw(t, "help")}
}

func drawTurns(t *rapid.T) []turn {
	return rapid.SliceOfN(rapid.Custom(drawTurn), 0, 6).Draw(t, "turns")
}
