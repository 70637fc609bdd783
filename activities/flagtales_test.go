package activities

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// These tales are told on every run, so that the histories above can't pass without ever coming to what they are about.
func TestTalesOfAFlagEndWhereTheyMust(t *testing.T) {
	t.Parallel()
	onEachService(t, func(t *testing.T, s stage) {
		seen := map[string]int{}
		tell := func(title string, told tale, end string) map[string]int {
			t.Helper()
			well := false
			defer func() {
				if !well {
					t.Logf("%s: %#v", title, told)
				}
			}()
			became, played := s.play(s, told)
			require.Equal(t, end, became)
			for what, times := range played {
				seen[what] += times
			}
			well = true
			return played
		}
		s.undisturbed(tell)
		s.strangers(tell)
		s.cutOff(tell)
		s.stoodStill(tell)
		s.killed(tell)
		for _, what := range slices.Concat([]string{"end: goal", "end: start", "end: asking", "end: retired", "asked: Stranger", "asked: Killed", "asked: Refused", "asked: InUse",
			"asked: Flag"}, s.all("crash in ", "stage", "undo", "retire"), s.all("frozen ", "stage", "undo"), s.all("edited: ", slices.Collect(maps.Keys(s.service.edits))...)) {
			require.Positive(t, seen[what], "%s was never seen", what)
		}
	})
}

func (stage) all(what string, which ...string) (out []string) {
	for _, one := range which {
		out = append(out, what+one)
	}
	return out
}

type teller func(title string, told tale, end string) map[string]int

// do repeats one move.
func do(what string, times int) []move { return slices.Repeat([]move{{Do: what}}, times) }

// kinds of flags that the service has.
func (s stage) kinds() []tale {
	kinds := []tale{{}, {Named: true}, {Made: true}, {Before: []int{5}}, {Before: []int{60, 0}}}
	if s.service.staged {
		kinds = append(kinds, tale{Staged: true}, tale{Staged: true, Made: true})
	}
	return kinds
}

var ends = map[string]string{"": "goal", "undo": "start", "retire": "retired"}

func (s stage) undisturbed(tell teller) {
	for i, kind := range s.kinds() {
		for how, end := range ends {
			kind.End = how
			if kind.Moves = do("stage", i%3); i%2 == 0 {
				kind.Moves = append(do("stage", 3), move{Do: "rerun"})
			}
			tell("nobody else", kind, end)
		}
	}
}

func (s stage) strangers(tell teller) {
	common := []string{"0 %", "33 %", "100 %", "20 % and mallory", "100 % and mallory", "without mallory"}
	for _, what := range slices.Concat(common, slices.Sorted(maps.Keys(s.service.edits))) {
		edit := []move{{Do: "edit", What: what}}
		end, undone := "asking", "start"
		switch what {
		case "archive", "delete":
			undone = "asking" // until somebody makes the flag again
		case "prerequisite":
			if !s.service.prerequisites {
				undone = "asking" // until somebody takes it out again
			}
		case "unarchive":
			edit, end = append([]move{{Do: "edit", What: "archive"}}, edit...), "goal"
		}
		for _, stages := range []int{1, 3} { // in the middle, or behind all
			moves := slices.Concat(do("stage", stages), edit)
			if stages == 1 {
				tell(what, tale{Moves: moves, Made: what == "delete"}, end)
			}
			tell(what, tale{Moves: moves, End: "undo"}, undone)
		}
		answered := slices.Concat(do("stage", 1), edit, do("stage", 1), do("answer", 1), do("stage", 1))
		tell(what+", and people agree", tale{Moves: answered, End: "undo"}, undone)
	}
	again := []move{{Do: "edit", What: "33 %"}, {Do: "stage"}, {Do: "answer"}, {Do: "edit", What: "100 % and mallory"}}
	tell("people were shown something else", tale{Moves: slices.Concat(do("stage", 1), again)}, "asking")
	tell("people were shown something else before the rollback", tale{Moves: slices.Concat(do("stage", 1), again, do("undo", 1))}, "start")
	tell("in use", tale{Moves: append(do("stage", 3), move{Do: "edit", What: "33 %"}, move{Do: "retire"})}, "asking")
	if s.service.edits["rule"] != nil {
		tell("a rule before the plan", tale{Moves: []move{{Do: "edit", What: "rule"}}}, "asking")
		tell("a rule that people agree to", tale{Moves: slices.Concat(do("stage", 1), []move{{Do: "edit", What: "rule"}}, do("stage", 1), do("answer", 1))}, "asking")
	} else {
		tell("one is left out before the plan", tale{Moves: []move{{Do: "edit", What: "without mallory"}}}, "asking")
		tell("one is left out", tale{Moves: slices.Concat(do("stage", 1), []move{{Do: "edit", What: "without mallory"}}, do("stage", 1), do("answer", 1))}, "asking")
	}
}

// sweep tells a tale with a mishap at each of the calls of an activity.
func (s stage) sweep(what string, one func(n int) map[string]int) {
	n := 1
	for one(n)[what] > 0 {
		n += s.service.stride
		require.Less(s, n, calls, "%s: look at how many calls histories break", what)
	}
	require.Greater(s, n, 3, "%s: hardly ever", what)
}

func (s stage) cutOff(tell teller) {
	hows := []string{"", "undo", "retire"}
	s.sweep("crash in stage", func(n int) map[string]int {
		how := hows[n%3]
		return tell("crash in the first stage", tale{Made: true, End: how, Moves: []move{{Do: "stage", Crash: n}}}, ends[how])
	})
	s.sweep("crash in stage", func(n int) map[string]int {
		how := hows[n%3]
		return tell("crash in a stage, and the next run", tale{End: how, Moves: []move{{Do: "stage"}, {Do: "stage", Crash: n}, {Do: "rerun"}}}, ends[how])
	})
	s.sweep("crash in undo", func(n int) map[string]int {
		return tell("crash in the rollback", tale{Moves: append(do("stage", 3), move{Do: "undo", What: []string{"all", "some"}[n%2], Crash: n})}, "start")
	})
	s.sweep("crash in retire", func(n int) map[string]int {
		moves := append(do("stage", 3), move{Do: "retire", Crash: n})
		if n%2 == 0 {
			moves = append(moves, move{Do: "rerun"})
		}
		return tell("crash in the last step", tale{End: "retire", Moves: moves}, "retired")
	})
}

// pauses are the points at which a stage may stand still: it gets, looks ahead twice, applies, and is asked whether it still may.
func (s stage) pauses() int {
	if s.service.locks {
		return 4
	}
	return 5
}

func (s stage) stoodStill(tell teller) {
	for title, c := range map[string]struct {
		others []move
		end    string
	}{
		"rolled back":                        {do("undo all", 1), "start"},
		"run again":                          {[]move{{Do: "rerun"}, {Do: "stage"}}, "goal"},
		"killed, and resumed":                {[]move{{Do: "kill", What: "everybody"}, {Do: "resume"}, {Do: "stage"}}, "goal"},
		"killed for one whom the plan names": {[]move{{Do: "kill", What: "ann"}}, "asking"},
		"terminated":                         {do("rerun", 1), "goal"},
		"rolled back, and run again":         {[]move{{Do: "undo all"}, {Do: "rerun", What: "finished"}, {Do: "stage"}}, "goal"},
		"killed":                             {[]move{{Do: "kill", What: "everybody"}}, "asking"},
		"another attempt at the rollback":    {[]move{{Do: "undo", Crash: 9}}, "start"},
	} {
		for n := range s.pauses() {
			for _, made := range []bool{true, false} { // in the stage that makes the flag, or in a later one
				moves := []move{{Do: "stage", Freeze: n + 1, Meanwhile: c.others}}
				if !made {
					moves = append(do("stage", 1), moves...)
				}
				played := tell(title, tale{Named: true, Made: made, Moves: moves}, c.end)
				require.Positive(s, played["frozen stage"])
			}
		}
	}
	for n := range s.pauses() - 2 { // it gets, restores, and is asked
		others := []move{{Do: "undo all"}, {Do: "rerun", What: "finished"}, {Do: "stage"}}
		played := tell("a rollback that is late", tale{Moves: []move{{Do: "stage"}, {Do: "undo", What: "some", Freeze: n + 1, Meanwhile: others}}}, "goal")
		require.Positive(s, played["frozen undo"])
	}
}

func (s stage) killed(tell teller) {
	for _, cut := range []string{"", ", cut off before its change", ", cut off behind its change"} {
		for _, stages := range []int{1, 3} {
			kill := move{Do: "kill" + cut, What: "everybody"}
			tell("killed", tale{Moves: append(do("stage", stages), kill)}, "asking")
			tell("and rolled back", tale{Moves: append(do("stage", stages), kill), End: "undo"}, "start")
			tell("pressed again", tale{Moves: append(do("stage", stages), kill, move{Do: "kill", What: "everybody"})}, "asking")
		}
	}
	kill, one := move{Do: "kill", What: "everybody"}, move{Do: "kill", What: "mallory"}
	tell("resumed", tale{Moves: append(do("stage", 2), kill, move{Do: "resume"})}, "goal")
	tell("resumed behind the last stage", tale{Moves: append(do("stage", 3), kill, move{Do: "resume"}), End: "retire"}, "retired")
	tell("the next run", tale{Moves: append(do("stage", 2), kill, move{Do: "rerun"})}, "asking")
	tell("one alone", tale{Moves: append(do("stage", 1), one)}, "asking")
	tell("one alone, and rolled back", tale{Moves: append(do("stage", 1), one), End: "undo"}, "start")
	tell("one alone, and people agree", tale{Moves: slices.Concat(do("stage", 1), []move{one}, do("stage", 2), do("answer", 1))}, "goal")
}
