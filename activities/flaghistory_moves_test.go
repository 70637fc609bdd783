package activities

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/ledger"
)

// move lets one thing happen; what makes no sense by now does nothing.
func (h *history) move(m move) {
	if h.over && m.Do != "rerun" {
		return
	}
	h.seen[m.Do]++
	switch m.Do {
	case "stage":
		h.stage(m)
	case "undo":
		h.undo(m)
	case "undo all": // another worker goes on, or people answer
		h.undoAll()
	case "retire":
		h.retire(m)
	case "edit":
		h.edit(m.What)
	case "kill", "kill, cut off before its change", "kill, cut off behind its change":
		h.kill(m)
	case "time passes": // so that nobody is pressing the switch any more
		for _, table := range []string{"flag_kill", "audit"} {
			_, err := h.books.control.Exec(h.ctx, `update contraflow.`+table+` set at = at - interval '1 minute' where plan = $1`, h.key)
			require.NoError(h, err)
		}
	case "resume":
		h.resume()
	case "answer":
		h.force = h.shown != nil
	case "rerun":
		h.rerun(m.What)
	default:
		require.Failf(h, "no such move", "%s", m.Do)
	}
}

// stage tries the next stage.
func (h *history) stage(m move) string {
	if h.undoing || h.retired {
		return ""
	}
	at := h.at
	in := h.stages[min(at, len(h.stages)-1)]
	in.Origin, in.Kills, in.Force = h.origin(in.Origin.Step), h.kills, h.force && h.step == in.Origin.Step
	if found := h.now(); in.Force && same(found, h.shown) {
		h.known, h.agreed = append(h.known, found), true
	}
	became := h.try("stage", in, m, func(acts *Activities, ctx context.Context) (FlagNow, error) { return acts.applyFlag(ctx, in) })
	if h.over || h.undoing || in.Origin.FirstRun != h.origin("").FirstRun {
		return became
	}
	switch became {
	case "":
		h.served(in)
		h.shown, h.force = nil, false
		if h.at == at { // else another attempt has brought it further
			h.at = min(at+1, len(h.stages))
		}
	case "Stranger", "Refused":
		h.ask(in, h.now())
	case "Flag":
		h.obstructed()
	}
	return became
}

// ask shows people what a step has found.
func (h *history) ask(in FlagInput, found document) {
	h.step, h.shown, h.force = in.Origin.Step, found, false
	if h.interrupted { // who knows what it was
		h.shown = nil
	}
}

// served holds the flag against what a stage that is done has promised.
func (h *history) served(in FlagInput) {
	now := h.now()
	is := now.says()
	if h.interrupted && !h.applied { // it had nothing to do, and somebody came behind its look
		return
	}
	require.True(h, h.knows(now), "built on what it did not know")
	require.True(h, is.On)
	require.False(h, is.Archived)
	reach := float64(in.Percent)
	if in.Stage != "" {
		reach = float64(flags.Stage(in.Stage).Order())
	}
	require.GreaterOrEqual(h, is.reach(), reach)
	for _, user := range in.Targets["user"] {
		if !slices.Contains(h.out, user) {
			require.Equal(h, "true", is.Named[user])
		}
	}
	require.False(h, h.killed, "moved on although somebody turned it off")
}

// obstructed is why a flag can't be changed at all.
func (h *history) obstructed() {
	now := h.now()
	is := now.says()
	off := func(value string) bool { return value == "false" || value == string(flags.StageOff) }
	left := slices.ContainsFunc(slices.Collect(maps.Values(is.Named)), off)
	require.True(h, h.interrupted || now == nil || is.Archived || is.Above > 0 || left || !off(is.Off), "%v", now)
}

// undo puts the flag back, the last step first, and tells what became of it.
func (h *history) undo(m move) string {
	if h.retired {
		return ""
	}
	h.undoing, h.at = true, 0
	for _, step := range []string{"all", "some"} {
		in := FlagInput{Origin: h.origin(step), Scope: scope, Key: h.key, Force: h.force && h.step == step}
		found, within := h.now(), move{}
		if m.What == step {
			within = m
		}
		became := h.try("undo", in, within, func(acts *Activities, ctx context.Context) (FlagNow, error) { return acts.restoreFlag(ctx, in) })
		if h.over || in.Origin.FirstRun != h.origin("").FirstRun {
			return became
		}
		if became == "Stranger" {
			require.True(h, h.interrupted || h.muddled || h.agreed || !same(found, h.last), "asked about what nobody else has done")
			h.ask(in, found)
		}
		if became != "" {
			return became
		}
		h.force = h.force && h.step != step
	}
	require.True(h, slices.ContainsFunc(h.starts, func(d document) bool { return same(d, h.now()) }), "exactly as it was: %v, and is %v", h.starts, h.now())
	require.Zero(h, h.records())
	h.over = true
	return ""
}

// undoAll puts the flag back whatever it takes, unless no answer does.
func (h *history) undoAll() {
	for range 2 * len(h.stages) {
		became := h.undo(move{})
		if h.over || h.retired || h.stuck() {
			return
		}
		if became == "Retryable" { // somebody is pressing the switch
			h.move(move{Do: "time passes"})
		}
		require.Contains(h, []string{"Stranger", ""}, h.asked)
		h.agreed = h.force || h.agreed
		h.force = h.shown != nil
	}
	require.Fail(h, "it asks for ever")
}

// stuck tells whether people have something to mend in the service before the flag can be put back.
func (h *history) stuck() bool {
	now := h.now()
	return now == nil || now.says().Archived || h.key != "" && now["envProperties"] != nil && !same(now["prerequisites"], h.starts[0]["prerequisites"])
}

// retire archives the flag as the plan's last step.
func (h *history) retire(m move) string {
	if h.undoing || h.at < len(h.stages) {
		return ""
	}
	in := FlagInput{Origin: h.origin("retire"), Scope: scope, Key: h.key, Force: m.What == "force", Kills: h.kills}
	became := h.try("retire", in, m, func(acts *Activities, ctx context.Context) (FlagNow, error) {
		return FlagNow{}, acts.retireFlag(ctx, in)
	})
	if h.over || h.undoing || in.Origin.FirstRun != h.origin("").FirstRun {
		return became
	}
	require.NoError(h, h.books.control.QueryRow(h.ctx, `select past_return_at is not null from contraflow.migration where plan = $1`, h.key).Scan(&h.retired))
	if now := h.now(); became == "" {
		require.True(h, now == nil || now.says().Archived)
	}
	return became
}

// edits of a stranger that any service has.
var edits = map[string]flags.Change{
	"0 %": {Percent: 0}, "33 %": {Percent: 33}, "100 %": {Percent: 100},
	"20 % and mallory":  {Percent: 20, Targets: map[string][]string{"user": {"mallory"}}},
	"100 % and mallory": {Percent: 100, Targets: map[string][]string{"user": {"mallory"}}},
	"without mallory":   {Exclude: &flags.Context{Kind: "user", Key: "mallory"}},
	"off":               {Stage: flags.StageOff}, "shadow": {Stage: flags.StageShadow}, "complete": {Stage: flags.StageComplete},
}

// edit is a stranger's.
func (h *history) edit(what string) {
	before := h.now()
	if change, ok := edits[what]; ok {
		_, _ = h.service.provider.Apply(h.ctx, h.key, change, "somebody", nil) // who can't has not
	} else if edit := h.service.edits[what]; edit != nil && before != nil {
		edit(h, h.key)
	}
	if !same(before, h.now()) {
		h.seen["edited: "+what]++
		h.alone = false
		h.settle()
	}
}

// kill presses the switch, as the command line does.
func (h *history) kill(m move) {
	change, k := flags.Change{}, ledger.Kill{Plan: h.key, Migration: "m", FirstRun: h.origin("").FirstRun, Key: h.key, Actor: "alice"}
	if h.story.Staged {
		change.Stage = flags.StageOff
	}
	if m.What != "everybody" {
		change = flags.Change{Exclude: &flags.Context{Kind: "user", Key: m.What}}
		k.ContextKind, k.ContextKey = "user", m.What
	}
	before := h.now()
	calm := h.knows(before) // else it leaves what a stranger has made, but off
	ids, err := h.books.ledger.Press(h.ctx, []ledger.Kill{k}, false)
	if errors.Is(err, ledger.ErrPastReturn) {
		require.True(h, h.retired || h.depth > 0)
		return
	}
	require.NoError(h, err)
	h.alone = false
	h.killed = h.killed || k.Everybody()
	if !k.Everybody() {
		h.out = append(h.out, m.What)
	}
	if m.Do == "kill, cut off before its change" {
		h.muddled = true
		return
	}
	found, err := h.service.provider.Get(h.ctx, h.key)
	var state flags.State
	if err == nil {
		state, err = h.service.provider.Apply(h.ctx, h.key, change, "kill switch", nil)
	}
	if h.muddled = h.muddled || err != nil || m.Do != "kill"; err != nil {
		return
	}
	if m.Do == "kill" {
		require.NoError(h, h.books.ledger.Found(h.ctx, ids[0], encoded(h, found)))
		require.NoError(h, h.books.ledger.Killed(h.ctx, ids[0], encoded(h, state)))
		if calm {
			h.known, h.last = append(h.known, h.now()), h.now()
		}
		if h.records() == 0 { // a stage that comes now knows what it was before the press
			h.starts = append(h.starts, h.now())
		}
		return
	}
	h.settle()
}

func encoded(t require.TestingT, s flags.State) json.RawMessage {
	raw, err := json.Marshal(s)
	require.NoError(t, err)
	return raw
}

// resume is a person's, who has seen all kills; then what the migration had reached comes back first.
func (h *history) resume() {
	all, err := h.books.ledger.Kills(h.ctx, h.origin("").FirstRun, h.kills)
	require.NoError(h, err)
	if len(all) > 0 {
		h.kills, h.killed, h.at, h.asked = all[len(all)-1].ID, false, max(h.at-1, 0), ""
	}
}

// end goes on without further trouble, to the goal or to a question, and from there as the story wants. It tells where that is.
func (h *history) end() string {
	h.move(move{Do: "time passes"})
	if h.undoing {
		h.undoAll()
	}
	for range 2 * len(h.stages) {
		if h.over || h.undoing || h.retired || h.at == len(h.stages) {
			break
		}
		if h.stage(move{}); h.asked != "" {
			break
		}
	}
	require.False(h, h.alone && h.asked != "")
	end := "asking"
	switch {
	case h.over:
		return "start"
	case h.undoing: // and nobody can mend it here
		require.True(h, h.stuck())
		return end
	case h.killed: // it waits for somebody to resume
	case h.at == len(h.stages) && h.asked == "":
		h.goal()
		end = "goal"
	default:
		require.NotEmpty(h, h.asked, "it neither ends nor asks")
	}
	switch h.story.End {
	case "undo":
		if h.force = false; !h.retired {
			if h.undoAll(); h.over {
				return "start"
			}
			return "asking"
		}
	case "retire":
		if h.at == len(h.stages) && h.asked == "" {
			for _, how := range []string{"", "", "force"} {
				if h.retire(move{What: how}); h.asked == "" {
					return "retired"
				}
			}
			return "asking"
		}
	}
	return end
}

// goal holds the flag against what the plan wants of it; all that it may not touch was held at each change.
func (h *history) goal() {
	now := h.now()
	if h.retired && (now == nil || now.says().Archived) {
		return
	}
	if same(now, h.last) { // else somebody has come since
		full := h.stages[len(h.stages)-1]
		h.served(full)
		is := now.says()
		require.Len(h, is.Usual, 1)
		above := is.Above
		if is.Off == "true" { // which is what a prerequisite that is not met serves
			above -= len(list(now["prerequisites"]))
		}
		require.True(h, h.agreed || above == 0 && (is.Named["mallory"] != "false" || !h.alone))
	}
}
