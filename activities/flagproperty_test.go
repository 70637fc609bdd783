package activities

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"pgregory.net/rapid"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/plan"
)

const (
	// histories of each flag service take some seconds; RAPID_CHECKS or -rapid.checks asks for others.
	histories = 40
	// calls is more than any activity here makes to flag service and ledger.
	calls = 34
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
	var names atomic.Int64
	for title, open := range flagServices {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			m := new(mishap)
			m.in(-1)
			service := open(t, db)
			target := mortalDatabase(t, db.DSN, m)
			rapid.Check(t, func(r *rapid.T) {
				h := begin(t, r, service, m, target, fmt.Sprintf("flag-%d", names.Add(1)))
				h.live()
				h.end()
			})
		})
	}
}

// history of one flag, with a driver in the workflow's place.
type history struct {
	*rapid.T
	ctx     context.Context
	service flagService
	mishap  *mishap
	worker  *mortalProvider
	acts    *Activities
	db      *Database

	key    string
	run    int
	kills  int64
	stages []FlagInput // in their order, of two steps
	at     int         // stages that are done
	named  bool

	start  any               // the flag's document before everything
	ours   []any             // documents that the migration or the kill switch has left
	shown  any               // the stranger's document that people were asked about; nil while they are not
	force  bool              // they have said so
	killed bool              // off for everybody, and nobody has resumed
	lastK  any               // document behind the last kill for everybody, of an earlier run
	calls  int               // activities so far
	told   bool              // the latest has told what became of it
	aims   []json.RawMessage // configurations that a stage was to make
	killK  any               // behind the last kill for everybody
	out    []string          // contexts that are killed by name
	was    flags.State       // what a kill of this run has turned off for everybody
	gone   []string          // steps that are undone
	over   bool              // all is undone
	alone  bool              // nobody else was there: the end is known from the start
}

func begin(t *testing.T, r *rapid.T, service flagService, m *mishap, db *Database, key string) *history {
	worker := &mortalProvider{Provider: service.provider, mishap: m}
	h := &history{T: r, ctx: t.Context(), service: service, mishap: m, worker: worker, db: db, key: key, alone: true,
		acts: &Activities{Databases: map[string]*Database{"shop": db}, Flags: func(plan.FlagScope) (flags.Provider, error) { return worker, nil }}}
	m.in(-1)
	staged := service.staged && rapid.Bool().Draw(r, "migration flag")
	h.make(key, staged)
	h.make(key+"-twin", staged)
	h.named = !staged && rapid.Bool().Draw(r, "named contexts first")
	for _, stage := range []struct {
		step, name string
		percent    int
	}{{"some", "dualwrite", 10}, {"some", "live", 50}, {"all", "complete", 100}} {
		in := FlagInput{Origin: Origin{Step: stage.step}, Scope: scope, Key: key, Percent: stage.percent}
		if staged {
			in.Percent, in.Stage = 0, stage.name
		}
		if h.named {
			in.Targets = map[string][]string{"user": {"ann", "bob"}}
		}
		h.stages = append(h.stages, in)
	}
	for _, before := range []flags.Change{{Percent: 5}, {Percent: 60}, {Percent: 0}} {
		if !staged && rapid.Bool().Draw(r, fmt.Sprintf("once at %d", before.Percent)) {
			h.raw(key, before)
			h.raw(key+"-twin", before)
		}
	}
	h.start = h.now()
	h.ours = []any{h.start}
	h.rerun()
	return h
}

func (h *history) make(key string, staged bool) {
	require.NoError(h, h.service.provider.(flags.Creator).Create(h.ctx, key, flags.NewFlag{Migration: staged}))
}

// raw changes a flag behind the migration's back.
func (h *history) raw(key string, c flags.Change) flags.State {
	state, err := h.service.provider.Apply(h.ctx, key, c, "somebody", nil)
	require.NoError(h, err)
	return state
}

func (h *history) now() any { return h.service.document(h, h.key) }

func known(documents []any, d any) bool {
	for _, one := range documents {
		if same(one, d) {
			return true
		}
	}
	return false
}

func same(a, b any) bool {
	x, err := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err == nil && err2 == nil && string(x) == string(y)
}

// mine tells whether the migration or the kill switch may have left the flag as it is.
func (h *history) mine() bool {
	config := h.state().Config
	return known(h.ours, h.now()) || slices.ContainsFunc(h.aims, func(aim json.RawMessage) bool { return same(aim, config) })
}

func (h *history) origin(step string) Origin {
	return Origin{Migration: "m", FirstRun: fmt.Sprintf("%s/%d", h.key, h.run), Plan: h.key, PlanHash: "h", Database: "shop", Step: step}
}

// rerun starts the plan again, after its run was terminated.
func (h *history) rerun() {
	gone := h.origin("").holder()
	h.run++
	require.NoError(h, h.db.ledger.Claim(h.ctx, h.key, "h", h.origin("").holder(), gone))
	if h.killed {
		h.lastK = h.killK
	}
	h.at, h.kills, h.killed, h.shown, h.force, h.was = 0, 0, false, nil, false, flags.State{}
}

// try calls an activity as a worker does, which may die on the way, and tells what became of it: "" for done.
func (h *history) try(do func(context.Context) (FlagNow, error)) string {
	if h.told { // the attempts at one activity go on until they have told what became of it
		h.calls++
	}
	_, err := lookingAgain(do)(context.WithValue(h.ctx, askerKey{}, strconv.Itoa(h.calls)))
	h.mishap.mu.Lock()
	dead := h.mishap.dead
	h.mishap.mu.Unlock()
	h.mishap.in(-1)
	h.worker.beforeRead, h.worker.beforeChange = nil, nil
	if h.told = !dead; dead {
		return "crash"
	}
	err = fail(h.ctx, err)
	if err == nil {
		return ""
	}
	application, ok := errors.AsType[*temporal.ApplicationError](err)
	require.True(h, ok)
	require.NotContains(h, application.Message(), "mallory", "a target's key")
	require.NotContains(h, application.Message(), "ann", "a target's key")
	return application.Type()
}

// stage tries the next stage. Somebody may come in the middle of it; whom no service tells of between its look and its change,
// comes before the look.
func (h *history) stage(within func(), unseen bool) {
	in := h.stages[min(h.at, len(h.stages)-1)]
	in.Origin, in.Kills, in.Force = h.origin(in.Origin.Step), h.kills, h.force
	found, run, forbidden := h.now(), h.run, h.killed
	foreseen := slices.ContainsFunc(h.aims, func(aim json.RawMessage) bool { return same(aim, h.state().Config) })
	mine := h.mine() && !(h.lastK != nil && same(found, h.lastK))
	agreed := h.force && same(found, h.shown)
	want := h.wanted(in)
	if mine || agreed {
		h.aims = append(h.aims, want.Config) // it may say so, and be killed before it is made
	}
	if agreed {
		h.ours = append(h.ours, found)
	}
	interrupted, knew := false, false
	if within != nil {
		meanwhile := func() {
			interrupted = true
			within()
			found, knew = h.now(), h.mine()
		}
		if unseen || h.service.locks || rapid.Bool().Draw(h.T, "before it reads") {
			h.worker.beforeRead = meanwhile
		} else {
			h.worker.beforeChange = meanwhile
		}
	}
	became := h.try(func(ctx context.Context) (FlagNow, error) { return h.acts.applyFlag(ctx, in) })
	now := h.now()
	touched := !same(now, found)
	switch {
	case h.over:
		require.Equal(h, h.start, now, "it was undone meanwhile, and stays so")
		if became == "" { // there was nothing left to change
			require.JSONEq(h, string(want.Config), string(h.state().Config))
		}
		return
	case interrupted && became == "":
		require.True(h, knew, "built on what it did not know")
		require.False(h, h.killed, "moved on although somebody turned it off")
	case forbidden && foreseen && touched: // for all it knows its own change has come behind the press
		require.NotEmpty(h, became)
		require.False(h, lit(h.state()))
		h.ours = append(h.ours, now)
	case forbidden && touched: // somebody had put on again what was ours: for all we know that came too late for the kill
		require.Equal(h, "Killed", became)
		require.True(h, mine || interrupted)
		require.False(h, lit(h.state()))
		h.ours = append(h.ours, now)
	case forbidden || !mine && !agreed:
		require.NotEmpty(h, became, "it went on from what it had to ask about")
		require.False(h, touched, "it changed what it had to ask about")
	case became == "":
		require.JSONEq(h, string(want.Config), string(h.state().Config))
	}
	switch became {
	case "":
		h.ours, h.shown, h.force, h.lastK = append(h.ours, now), nil, false, nil
		h.at = min(h.at+1, len(h.stages))
	case "Stranger", "Refused":
		if !interrupted {
			require.False(h, touched, "a question, and yet a change")
		}
		h.shown, h.force = now, false
	case "Killed":
		require.True(h, h.killed)
	case "crash":
		if mine || agreed || interrupted {
			h.ours = append(h.ours, now)
			if agreed {
				h.lastK = nil
			}
		}
	case "Retryable":
	default:
		require.Equal(h, run, h.run, became)
		require.Failf(h, "unexpected", "%s", became)
	}
}

func (h *history) state() flags.State {
	state, err := h.service.provider.Get(h.ctx, h.key)
	require.NoError(h, err)
	return state
}

// wanted is what a stage makes of the flag as it is.
func (h *history) wanted(in FlagInput) flags.State {
	want, err := h.service.provider.Preview(h.ctx, h.key, h.raised(in, h.state()))
	require.NoError(h, err)
	return want
}

// raised is the change of a stage, which raises a flag and never lowers it.
func (h *history) raised(in FlagInput, now flags.State) flags.Change {
	if !lit(now) && !in.Force {
		now = h.was
	}
	if in.Stage != "" {
		return flags.Change{Stage: flags.Stages()[max(flags.Stage(in.Stage).Order(), now.Stage.Order())]}
	}
	targets := map[string][]string{}
	for kind, keys := range in.Targets {
		targets[kind] = slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return slices.Contains(h.out, key) })
	}
	return flags.Change{Percent: max(in.Percent, int(now.Percent)), Targets: targets}
}

// edit is a stranger's.
func (h *history) edit() {
	h.alone = false
	edits := []flags.Change{{Percent: 0}, {Percent: 33}, {Percent: 100}, {Percent: 20, Targets: map[string][]string{"user": {"mallory"}}},
		{Percent: 100, Targets: map[string][]string{"user": {"mallory"}}}}
	if h.stages[0].Stage != "" {
		edits = []flags.Change{{Stage: flags.StageOff}, {Stage: flags.StageShadow}, {Stage: flags.StageComplete}}
	}
	h.raw(h.key, rapid.SampledFrom(edits).Draw(h.T, "edit"))
	h.found()
}

// found takes the flag as it is for its start, until the migration has begun with it.
func (h *history) found() {
	left, err := h.db.ledger.Left(h.ctx, h.key, h.key)
	require.NoError(h, err)
	if len(left) == 0 {
		h.start, h.ours = h.now(), []any{h.now()}
	}
}
