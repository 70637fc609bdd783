package activities

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/contraflow/contraflow/flags"
)

// stranger refuses to touch a flag that somebody else has changed, and shows both states.
func (a *Activities) stranger(ctx context.Context, db *Database, in FlagInput, r flagRecord, now flags.State, undoing bool) error {
	var question error = r.blame(now)
	if _, moved := in.wanted(now); moved && !undoing && !lit(now) {
		question = fmt.Errorf("%w, and force turns it on", question)
	}
	return a.show(ctx, db, in, r, now, undoing, question)
}

// show refuses with a question, once it has kept the state that the question is about: force is of that alone.
func (a *Activities) show(ctx context.Context, db *Database, in FlagInput, r flagRecord, now flags.State, undoing bool, question error) error {
	switch {
	case r.known:
	case r.begun(): // what an earlier step has left is what goes back
		r.before, r.ours = r.left(), []flags.State{r.left()}
	default:
		r.before, r.ours = now, []flags.State{now}
	}
	if r.shown == nil || !now.Equal(*r.shown) { // who was shown it once may answer still
		r.shown, r.showing = &now, asker(ctx)
	}
	if err := a.fence(ctx, db, in, r, undoing); err != nil { // it may have an answer by now
		return err
	}
	if _, err := a.keep(ctx, db, in, r, undoing); err != nil {
		return err
	}
	return question
}

// missing refuses to take a flag that the plan has moved, and that is gone, for one that was never there.
func (r flagRecord) missing(key string) error {
	return permanent("Refused", "%v: make it again as it was, then retry",
		&flags.Stranger{Key: key, Differs: []string{"it is gone"}, Ours: r.left().Summary})
}

// archived refuses a flag that the plan has moved and that serves nothing now: no change of it reaches anybody.
func (r flagRecord) archived(now flags.State) error {
	return permanent("Refused", "%v: take it out of the archive, then retry", r.blame(now))
}

// blame says what others have made of the flag since the plan left it. What the kill switch did in between was not them.
func (r flagRecord) blame(now flags.State) *flags.Stranger {
	left := r.left()
	var differs []string
	for _, k := range r.presses {
		found, state, ok := bothSides(k)
		if ok && k.Key == now.Key && state.Version > left.Version { // and people have not resumed from it since
			differs, left = append(differs, differences(left, found)...), state
		}
	}
	theirs := &flags.Stranger{Key: now.Key, Ours: left.Summary, Theirs: now.Summary}
	for _, what := range append(differs, differences(left, now)...) {
		if !slices.Contains(theirs.Differs, what) {
			theirs.Differs = append(theirs.Differs, what)
		}
	}
	return theirs
}

// differing are the parts of a configuration, as all providers call them, in words.
var differing = map[string]string{
	"fallthrough": "the default rule serves something else", "defaultServe": "the default rule serves something else",
	"weight": "the default rule serves something else", "contextKind": "percentages are by another kind of context",
	"offVariation": "the off variation is another", "targets": "the individual targets are others",
	"contextTargets": "the individual targets are others", "rules": "the rules are others",
	"prerequisites": "the prerequisites are others", "salt": "the salt is another",
}

// differences names in words what differs between two states of a flag, and no values: those may be targets' keys.
func differences(ours, now flags.State) []string {
	if now.Archived != ours.Archived {
		return []string{map[bool]string{true: "it was archived", false: "it was taken out of the archive"}[now.Archived]}
	}
	var out []string
	if now.On != ours.On {
		out = append(out, map[bool]string{true: "it was turned on", false: "it was turned off"}[now.On])
	}
	then, current := parts(ours), parts(now)
	maps.Copy(then, missingFrom(then, current))
	for _, part := range slices.Sorted(maps.Keys(then)) {
		if part == "on" || reflect.DeepEqual(then[part], current[part]) {
			continue
		}
		words, ok := differing[part]
		if !ok {
			words = "its targeting is another"
		}
		if !slices.Contains(out, words) {
			out = append(out, words)
		}
	}
	return out
}

// missingFrom returns nil values for the parts that only the other has.
func missingFrom(have, other map[string]any) map[string]any {
	out := map[string]any{}
	for part := range other {
		if _, ok := have[part]; !ok {
			out[part] = nil
		}
	}
	return out
}

func parts(s flags.State) map[string]any {
	out := map[string]any{}
	if json.Unmarshal(s.Config, &out) != nil || out == nil {
		return map[string]any{} // of a provider whose configuration is no object
	}
	return out
}
