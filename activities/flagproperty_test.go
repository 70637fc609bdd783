package activities

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/contraflow/contraflow/internal/devstack/pgtest"
)

const (
	// histories of each flag service take some seconds; RAPID_CHECKS or -rapid.checks asks for others.
	histories = 40
	// calls is more than any activity here makes to flag service and ledger, and pauses more than it makes to the flag service.
	calls, pauses = 44, 9
)

// Whatever sequence of stages, crashes, strangers' edits, kills, answers of people and new runs comes over a flag: it ends
// exactly as it was, exactly as the plan wants it, or as somebody else left it, with a question.
func TestAnyHistoryOfAFlagEndsAtItsStartAtItsGoalOrAsking(t *testing.T) {
	t.Parallel()
	asked := os.Getenv("RAPID_CHECKS") != ""
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == "rapid.checks" })
	if !asked {
		require.NoError(t, flag.Set("rapid.checks", strconv.Itoa(histories)))
	}
	onEachService(t, func(t *testing.T, s stage) {
		seen := map[string]int{}
		rapid.Check(t, func(r *rapid.T) {
			_, played := s.play(r, tales(s.service).Draw(r, "tale"))
			for what, times := range played {
				seen[what] += times
			}
		})
		for _, what := range slices.Sorted(maps.Keys(seen)) {
			t.Logf("%s: %d", what, seen[what])
		}
	})
}

// stage is where tales are played: one flag service, with a flag for each.
type stage struct {
	*testing.T
	service   flagService
	mishap    *mishap
	db, books *Database
	names     *atomic.Int64
}

func onEachService(t *testing.T, do func(*testing.T, stage)) {
	for title, open := range flagServices {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			m := new(mishap)
			target := mortalDatabase(t, db.DSN, m)
			books, err := OpenDatabase(t.Context(), db.DSN)
			require.NoError(t, err)
			t.Cleanup(books.Close)
			do(t, stage{t, open(t, db), m, target, books, new(atomic.Int64)})
		})
	}
}

// play tells how a tale ends, and what has happened in it.
func (s stage) play(t require.TestingT, told tale) (end string, seen map[string]int) {
	h := begin(t, s.Context(), s.service, s.mishap, s.db, s.books, fmt.Sprintf("flag-%d", s.names.Add(1)), told)
	for _, m := range told.Moves {
		h.move(m)
	}
	end = h.end()
	h.seen["end: "+end]++
	s.service.edits["delete"](t, h.key) // services read and send all flags at once
	return end, h.seen
}

// tales are short: what goes wrong at all goes wrong in few moves.
func tales(s flagService) *rapid.Generator[tale] {
	return rapid.Custom(func(t *rapid.T) tale {
		told := tale{
			Staged: s.staged && rapid.Bool().Draw(t, "staged"), Named: rapid.Bool().Draw(t, "named"), Made: rapid.IntRange(0, 3).Draw(t, "made") == 3,
			Before: rapid.SliceOfN(rapid.SampledFrom([]int{5, 60, 0}), 0, 2).Draw(t, "before"),
			End:    rapid.SampledFrom([]string{"", "undo", "retire"}).Draw(t, "end"),
		}
		told.Moves = slices.Concat(rapid.SliceOfN(moves(s, told.Staged), 2, 12).Draw(t, "moves")...)
		return told
	})
}

// moves are drawn as often as they stand here.
var likely = []string{
	"stage", "stage", "stage", "stage", "all stages", "crash", "crash", "crash", "frozen", "frozen", "frozen", "edit", "edit", "asked", "asked", "answer",
	"kill", "kill", "kill, cut off before its change", "kill, cut off behind its change", "time passes", "resume", "resume", "rerun", "undo", "undo all", "retire",
}

// moves are one, or some that make sense together.
func moves(s flagService, staged bool) *rapid.Generator[[]move] {
	theirs := slices.Sorted(maps.Keys(s.edits))
	if staged {
		theirs = append(theirs, "off", "shadow", "complete")
	} else {
		theirs = append(theirs, "0 %", "33 %", "100 %", "20 % and mallory", "100 % and mallory", "without mallory")
	}
	others, whom := []string{"edit", "kill", "resume", "rerun", "undo all", "undo", "stage"}, []string{"everybody", "everybody", "mallory", "ann"} // the plan may name the last
	var draw func(t *rapid.T, from []string) move
	draw = func(t *rapid.T, from []string) move {
		m := move{Do: rapid.SampledFrom(from).Draw(t, "do")}
		switch m.Do {
		case "crash":
			m.Do, m.Crash = rapid.SampledFrom([]string{"stage", "stage", "undo", "retire"}).Draw(t, "crash in"), rapid.IntRange(1, calls).Draw(t, "call")
		case "frozen":
			m.Do, m.Freeze = rapid.SampledFrom([]string{"stage", "stage", "undo", "retire"}).Draw(t, "frozen in"), rapid.IntRange(1, pauses).Draw(t, "pause")
			for range rapid.IntRange(1, 3).Draw(t, "others") {
				m.Meanwhile = append(m.Meanwhile, draw(t, others))
			}
		}
		switch m.Do {
		case "edit":
			m.What = rapid.SampledFrom(theirs).Draw(t, "edit")
		case "kill", "kill, cut off before its change", "kill, cut off behind its change":
			m.What = rapid.SampledFrom(whom).Draw(t, "whom")
		case "rerun":
			m.What = rapid.SampledFrom([]string{"", "finished"}).Draw(t, "how")
		case "undo":
			m.What = rapid.SampledFrom([]string{"some", "all"}).Draw(t, "step")
		case "retire":
			m.What = rapid.SampledFrom([]string{"", "force"}).Draw(t, "how")
		}
		return m
	}
	return rapid.Custom(func(t *rapid.T) []move {
		switch one := draw(t, likely); one.Do {
		case "all stages":
			return do("stage", 3)
		case "asked": // and answered, and perhaps the stranger goes on meanwhile
			edit := []string{"edit"}
			all := []move{draw(t, edit), {Do: "stage"}, {Do: "answer"}}
			if rapid.Bool().Draw(t, "edited again") {
				all = append(all, draw(t, edit))
			}
			return append(all, draw(t, []string{"stage", "crash", "undo"}))
		default:
			return []move{one}
		}
	})
}
