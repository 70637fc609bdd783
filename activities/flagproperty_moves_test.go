package activities

import (
	"context"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/ledger"
)

// live lets things happen.
func (h *history) live() {
	for range rapid.IntRange(1, 10).Draw(h.T, "moves") {
		if h.over {
			return
		}
		what := rapid.SampledFrom([]string{"stage", "stage", "stage", "crash", "crash", "edit", "asked", "overtaken", "kill", "resume", "answer", "rerun", "undo"}).Draw(h.T, "what")
		switch what {
		case "stage":
			h.stage(nil, false)
		case "crash":
			h.mishap.in(rapid.IntRange(0, calls).Draw(h.T, "calls until then"))
			h.stage(nil, false)
		case "edit":
			h.edit()
		case "asked": // and answered, and perhaps the stranger goes on meanwhile
			h.edit()
			h.stage(nil, false)
			h.force = h.shown != nil
			if rapid.Bool().Draw(h.T, "edited again") {
				h.edit()
			}
			h.mishap.in(rapid.IntRange(-1, calls).Draw(h.T, "calls until then"))
			h.stage(nil, false)
		case "overtaken":
			switch rapid.SampledFrom([]string{"edit", "kill", "undo"}).Draw(h.T, "by") {
			case "edit":
				h.stage(h.edit, true)
			case "kill":
				h.stage(h.kill, false)
			case "undo":
				h.stage(h.undoAll, false)
			}
		case "kill":
			h.kill()
		case "resume":
			h.resume()
		case "answer":
			h.force = h.shown != nil
		case "rerun":
			h.rerun()
		case "undo":
			h.mishap.in(rapid.IntRange(0, calls).Draw(h.T, "calls until then"))
			h.undo()
			h.undoAll() // another worker goes on, or a person has answered
		}
	}
}

// kill presses the switch, as the command line does.
func (h *history) kill() {
	change, k := flags.Change{}, ledger.Kill{Plan: h.key, Migration: "m", FirstRun: h.origin("").FirstRun, Key: h.key, Actor: "alice"}
	if h.stages[0].Stage != "" {
		change.Stage = flags.StageOff
	}
	if rapid.Bool().Draw(h.T, "for one context") {
		who := rapid.SampledFrom([]string{"mallory", "ann"}).Draw(h.T, "who") // of whom the plan may name the second
		change = flags.Change{Exclude: &flags.Context{Kind: "user", Key: who}}
		k.ContextKind, k.ContextKey = "user", who
		h.out = append(h.out, who)
	}
	h.alone = false
	if was := h.state(); k.Everybody() && lit(was) {
		h.was = was
	}
	calm := h.mine() // else it leaves what a stranger has made, but off
	ids, err := h.db.ledger.Press(h.ctx, []ledger.Kill{k}, false)
	require.NoError(h, err)
	turned(h, h.db.ledger, ids[0], h.service.provider, h.key, change)
	if calm {
		h.ours = append(h.ours, h.now())
	}
	if k.Everybody() {
		h.killed, h.killK = true, h.now()
	}
	h.found()
}

// resume is a person's, who has seen all kills; then what the migration had reached comes back first.
func (h *history) resume() {
	all, err := h.db.ledger.Kills(h.ctx, h.origin("").FirstRun, h.kills)
	require.NoError(h, err)
	if len(all) > 0 {
		if h.killed {
			h.lastK = nil
		}
		h.kills, h.killed, h.at = all[len(all)-1].ID, false, max(h.at-1, 0)
	}
}

// undo puts the flag back, the last step first, and tells what became of it.
func (h *history) undo() string {
	for _, step := range []string{"all", "some"} {
		if slices.Contains(h.gone, step) {
			continue
		}
		in := FlagInput{Origin: h.origin(step), Scope: scope, Key: h.key, Force: h.force}
		found := h.now()
		agreed, mine := h.force && h.shown != nil && same(found, h.shown), h.mine()
		became := h.try(func(ctx context.Context) (FlagNow, error) { return h.acts.restoreFlag(ctx, in) })
		if !mine && !agreed {
			require.True(h, same(h.now(), found), "a stranger's change was overwritten")
		}
		if became != "" {
			if became == "crash" && mine {
				h.ours = append(h.ours, h.now())
			}
			if became == "Stranger" {
				h.shown, h.force = h.now(), false
			}
			return became
		}
		h.gone, h.force = append(h.gone, step), false
		h.ours = append(h.ours, h.now())
	}
	return ""
}

// undoAll puts the flag back whatever it takes.
func (h *history) undoAll() {
	for range 2 * len(h.stages) {
		became := h.undo()
		if became == "" {
			require.Equal(h, h.start, h.now(), "exactly as it was")
			h.over = true
			return
		}
		require.Equal(h, "Stranger", became)
		h.force = true
	}
	require.Fail(h, "it asks for ever")
}

// end goes on without further trouble: to the goal or to a question, and from there back to the start.
func (h *history) end() {
	for range 2 * len(h.stages) {
		if h.over || h.at == len(h.stages) {
			break
		}
		h.stage(nil, false)
	}
	if h.alone && !h.over {
		require.Equal(h, len(h.stages), h.at, "nobody was in the way")
		for _, in := range h.stages {
			twin, err := h.service.provider.Get(h.ctx, h.key+"-twin")
			require.NoError(h, err)
			h.raw(h.key+"-twin", h.raised(in, twin))
		}
		twin, err := h.service.provider.Get(h.ctx, h.key+"-twin")
		require.NoError(h, err)
		want := strings.ReplaceAll(string(twin.Config), h.key+"-twin", h.key) // which is part of a flag's salt
		require.JSONEq(h, want, string(h.state().Config), "exactly as the plan wants it")
	}
	if !h.over {
		h.force = false
		h.undoAll()
	}
	require.Equal(h, h.start, h.now(), "exactly as it was")
	left, err := h.db.ledger.Left(h.ctx, h.key, h.key)
	require.NoError(h, err)
	require.Empty(h, left)
}
