package activities

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/ledger"
	"github.com/contraflow/contraflow/plan"
)

// tale is what happens to a flag.
type tale struct {
	Staged bool  // a migration flag
	Named  bool  // the plan names contexts
	Made   bool  // the plan makes the flag
	Before []int // percentages that it has served before
	Moves  []move
	End    string // how it ends: left as it is, undone, or retired
}

// move is one thing that happens.
type move struct {
	Do, What  string
	Crash     int    // the worker dies at this call; 0 for never
	Freeze    int    // the worker stands still at this call to the flag service; 0 for never
	Meanwhile []move // what others do then
}

// GoString leaves out what is not said, so that a shrunken tale reads as it would be written.
func (m move) GoString() string {
	text := fmt.Sprintf("{Do: %q", m.Do)
	if m.What != "" {
		text += fmt.Sprintf(", What: %q", m.What)
	}
	if m.Crash > 0 {
		text += fmt.Sprintf(", Crash: %d", m.Crash)
	}
	if m.Freeze > 0 {
		text += fmt.Sprintf(", Freeze: %d, Meanwhile: %#v", m.Freeze, m.Meanwhile)
	}
	return text + "}"
}

// history plays a story with a driver in the workflow's place, and looks from outside at what becomes of the flag. What may be at
// the end: exactly the start, exactly the goal, or a question.
type history struct {
	require.TestingT
	ctx     context.Context
	service flagService
	mishap  *mishap
	db      *Database // whose worker may die
	books   *Database // whose reader does not
	story   tale
	key     string

	stages []FlagInput // in their order, of two steps
	at     int         // stages that are done
	run    int
	kills  int64    // the latest press that people have resumed from
	force  bool     // people have said so, of what they were shown
	step   string   // that has asked them
	shown  document // what they were asked about; nil while they are not
	asked  string   // the kind of the latest question; "" behind anything else
	calls  int      // activities so far
	told   bool     // the latest has told what became of it
	depth  int      // attempts that stand still while others go on

	starts  []document // what it may have been when the plan began with it: several if somebody came at that moment
	known   []document // left by the migration, or by the kill switch out of that, or agreed upon
	aims    []reading  // what stages were about to make of it: made by somebody else it is as good as theirs
	last    document   // of those the latest
	out     []string   // contexts that are killed by name
	killed  bool       // off for everybody by this run's switch, and nobody has resumed
	muddled bool       // somebody was cut off in the middle of a press, or stood still beside others: a question too many may be asked
	alone   bool       // nobody else was there: the end is known from the start
	agreed  bool       // people have said force
	undoing bool       // this run's rollback has begun
	over    bool       // and is done
	retired bool       // this plan has begun to archive it

	interrupted bool // somebody came while this attempt stood still
	applied     bool // it has called for a change since its start
	seen        map[string]int
}

func (h *history) now() document { return h.service.look(h, h.key) }

func (h *history) origin(step string) Origin {
	return Origin{Migration: "m", FirstRun: h.key + "/" + strconv.Itoa(h.run), Plan: h.key, PlanHash: "h", Database: "shop", Step: step}
}

func begin(t require.TestingT, ctx context.Context, service flagService, m *mishap, db, books *Database, key string, s tale) *history {
	h := &history{TestingT: t, ctx: ctx, service: service, mishap: m, db: db, books: books, story: s, key: key, alone: true, told: true, seen: map[string]int{}}
	s.Staged = s.Staged && service.staged
	h.story = s
	if !s.Made {
		require.NoError(h, service.provider.(flags.Creator).Create(ctx, key, flags.NewFlag{Migration: s.Staged}))
	}
	for _, stage := range []struct {
		step, name string
		percent    int
	}{{"some", "dualwrite", 10}, {"some", "live", 50}, {"all", "complete", 100}} {
		in := FlagInput{Origin: Origin{Step: stage.step}, Scope: scope, Key: key, Percent: stage.percent}
		if s.Staged {
			in.Percent, in.Stage = 0, stage.name
		} else if s.Named {
			in.Targets = map[string][]string{"user": {"ann", "bob"}}
		}
		if s.Made {
			in.Create = &plan.Create{}
		}
		h.stages = append(h.stages, in)
	}
	for _, percent := range s.Before {
		if !s.Staged && !s.Made {
			_, err := service.provider.Apply(ctx, key, changeTo(percent), "somebody", nil)
			require.NoError(h, err)
		}
	}
	h.settle()
	h.rerun("")
	return h
}

// settle takes the flag as it is for its start, until the plan has begun with it.
func (h *history) settle() {
	if h.records() > 0 || h.over {
		return
	}
	now := h.now()
	if len(h.starts) > 0 && same(now, h.last) { // nobody has come, or a press, behind which the plan knows what it was before
		return
	}
	if h.depth == 0 {
		h.starts, h.known, h.aims = nil, nil, nil
	}
	h.starts, h.known, h.last = append(h.starts, now), append(h.known, now), now
}

// records are what the ledger keeps of the flag.
func (h *history) records() (n int) {
	require.NoError(h, h.books.control.QueryRow(h.ctx, `select count(*) from contraflow.flag_record where plan = $1`, h.key).Scan(&n))
	return n
}

func (h *history) knows(d document) bool {
	return slices.ContainsFunc(h.known, func(one document) bool { return same(one, d) }) ||
		d != nil && slices.ContainsFunc(h.aims, func(one reading) bool { return same(one, d.says()) })
}

// rerun starts the plan again, after its run was terminated, or, finished, after its rollback.
func (h *history) rerun(what string) {
	gone := h.origin("").holder()
	if what == "finished" && h.over {
		require.NoError(h, h.books.ledger.Audit(h.ctx, ledger.Event{Key: "end", Migration: "m", FirstRun: gone.FirstRun, Plan: h.key, Event: "rolled_back"}))
		require.NoError(h, h.books.ledger.Close(h.ctx, h.key, gone, "rolled_back", true))
		h.out = nil
	}
	h.run++
	require.NoError(h, h.books.ledger.Claim(h.ctx, h.key, "h", h.origin("").holder(), gone))
	archived, err := h.books.ledger.Archived(h.ctx, h.key)
	require.NoError(h, err)
	h.at, h.kills, h.killed, h.shown, h.force, h.undoing, h.asked = 0, 0, false, nil, false, false, ""
	if h.retired = len(archived) > 0; h.retired { // as Begin has it
		h.at = len(h.stages)
	}
	h.told = true
	h.over = false
	h.settle()
}

// try calls an activity as a worker does, which may die or be frozen on the way, and tells what became of it: "" for done.
func (h *history) try(does string, in FlagInput, m move, do func(*Activities, context.Context) (FlagNow, error)) (became string) {
	if h.told { // the attempts at one activity go on until they have told what became of it
		h.calls++
	}
	a := &attempt{Provider: h.service.provider, Creator: h.service.provider.(flags.Creator), history: h, does: does, in: in, pauses: m.Freeze,
		unseen: slices.ContainsFunc(m.Meanwhile, func(m move) bool { return m.Do == "edit" }),
		frozen: func() {
			h.seen["frozen "+does]++
			for _, other := range m.Meanwhile {
				h.move(other)
			}
		}}
	acts := &Activities{Databases: map[string]*Database{"shop": h.db}, Flags: func(plan.FlagScope) (flags.Provider, error) { return a, nil }}
	h.interrupted, h.applied = false, false
	h.mishap.in(m.Crash - 1)
	_, err := lookingAgain(func(ctx context.Context) (FlagNow, error) { return do(acts, ctx) })(
		context.WithValue(h.ctx, askerKey{}, strconv.Itoa(h.calls)))
	dead := h.mishap.in(-1)
	if h.depth == 0 {
		h.settle() // it may have ended before it began with the flag
	}
	if h.told = !dead; dead {
		a.aims() // it may stand in the record
		h.seen["crash in "+does]++
		h.asked = ""
		return "crash"
	}
	if err = fail(h.ctx, err); err == nil {
		h.asked = ""
		return ""
	}
	application, ok := errors.AsType[*temporal.ApplicationError](err)
	require.True(h, ok)
	require.NotContains(h, application.Message(), "mallory", "a target's key")
	require.NotContains(h, application.Message(), "ann", "a target's key")
	became = application.Type()
	superseded := in.Origin.FirstRun != h.origin("").FirstRun || does != "undo" && h.undoing || h.over
	switch became {
	case "Superseded":
		require.True(h, superseded, "%v", err)
	case "Retryable":
		require.True(h, h.interrupted || h.muddled, "%v", err)
	case "Killed":
		presses, failed := h.books.ledger.Kills(h.ctx, in.Origin.FirstRun, in.Kills)
		require.NoError(h, failed)
		require.NotEmpty(h, presses, "%v", err)
	case "Stranger", "Refused", "Flag", "InUse":
		require.False(h, h.alone && !h.muddled, "nobody is there who could be asked about: %v", err)
	default:
		require.Failf(h, "unexpected", "%s: %v", became, err)
	}
	h.asked = ""
	if became != "Retryable" && became != "Superseded" {
		h.asked = became
		h.seen["asked: "+became]++
	}
	return became
}

// standing lets others go on while an attempt stands still.
func (h *history) standing(others func()) {
	told := h.told
	h.told = true
	h.depth++
	others()
	h.depth--
	h.told, h.interrupted, h.muddled = told, true, true
}

// wrote judges what an attempt's call to the service has changed, from outside.
func (h *history) wrote(a *attempt) {
	base, after := a.base, h.now()
	if same(base, after) {
		return
	}
	var holds, undoing bool
	require.NoError(h, h.books.control.QueryRow(h.ctx, `select first_run = $2 and ended_at is null, undoing from contraflow.migration where plan = $1`,
		h.key, a.in.Origin.FirstRun).Scan(&holds, &undoing))
	require.True(h, holds && (a.does == "undo" || !undoing), "%s: an attempt that comes too late has changed the flag", a.does)
	if base == nil { // it was made
		require.Equal(h, "stage", a.does)
		require.NotNil(h, a.in.Create)
		require.False(h, after.says().lit())
		h.settle()
		return
	}
	was, is := base.says(), after.says()
	agreed := a.in.Force && h.shown != nil && same(base, h.shown)
	if a.does != "retire" {
		require.True(h, agreed || h.knows(base), "%s: a stranger's change was overwritten", a.does)
	}
	switch a.does {
	case "stage":
		h.raised(a, was, is)
	case "undo":
		require.True(h, h.knows(after), "undone to what never was")
	case "retire":
		require.True(h, is.Archived)
		is.Archived = was.Archived
		require.Equal(h, was, is, "archived and nothing else")
		require.True(h, a.in.Force || was.uniform(), "archiving it switches somebody over")
	}
	h.known, h.last = append(h.known, after), after
}

// raised holds a stage's change against what stages may do.
func (h *history) raised(a *attempt, was, is reading) {
	require.Equal(h, was.Rest, is.Rest, "a stage has changed what is none of its business")
	require.Equal(h, was.Above, is.Above)
	require.Equal(h, was.Archived, is.Archived)
	if h.killed {
		require.False(h, is.lit(), "moved on although somebody turned it off")
	} else {
		require.Equal(h, was.Off, is.Off)
		require.GreaterOrEqual(h, is.reach(), was.reach(), "a stage has lowered it")
	}
	for user := range maps.Keys(was.Named) {
		require.Contains(h, is.Named, user)
	}
	for user, value := range is.Named {
		switch before, there := was.Named[user]; {
		case there && before == value:
		case slices.Contains(h.out, user):
			require.Contains(h, []string{"false", string(flags.StageOff)}, value, "the switch has turned it off for that one")
		default:
			require.Contains(h, a.in.Targets["user"], user)
			require.Equal(h, "true", value)
		}
	}
}

// uniform tells whether it serves everybody one value.
func (s reading) uniform() bool {
	if !s.On {
		return true
	}
	for value := range s.Usual {
		if value != "true" && flags.Stage(value).Order() < 0 { // nobody's new shape
			return len(s.Usual) == 1
		}
		for _, named := range s.Named {
			if named != value {
				return false
			}
		}
	}
	return len(s.Usual) == 1 && s.Above == 0
}
