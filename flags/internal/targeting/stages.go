package targeting

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/contraflow/contraflow/flags"
)

// Stages are the variations of a migration flag with six stages.
type Stages struct {
	// Index of the variation of each stage, in the order of flags.Stages.
	Index [6]int
	// ContextKind of a default rule that names none; whoever knows the flag's own fills it in. Defaults to
	// flags.DefaultContextKind.
	ContextKind string
}

// exclusion marks the rules by which contexts are excluded, for people and to find them again: migration flags know no individual
// targets. https://launchdarkly.com/docs/home/flags/target-migration
const exclusion = "contraflow: excluded by the kill switch"

// Want returns the targeting in which c is served.
func (s Stages) Want(key string, current Targeting, c flags.Change) (Targeting, error) {
	if err := c.Validate(); err != nil {
		return Targeting{}, fmt.Errorf("flag %q: %w", key, err)
	}
	off := s.Index[flags.StageOff.Order()]
	switch {
	case c.Exclude != nil:
		var other flags.Stage
		if current.OffVariation != nil {
			other = s.stage(*current.OffVariation)
		}
		if err := current.excludable(key, off, "stage "+string(other)); err != nil {
			return current, err
		}
		return current.exclude(*c.Exclude, s.serve(current, off)), nil
	case c.Stage == "":
		return Targeting{}, fmt.Errorf("flag %q is a migration flag: move it by stages %v, without percentages, targets and segments: %w",
			key, flags.Stages(), flags.ErrNotBoolean)
	case c.Stage == flags.StageOff:
		return current.off(key, off)
	}
	if err := experimenting(key, current); err != nil {
		return Targeting{}, err
	}
	want, at := current, s.Index[c.Stage.Order()]
	want.On = true
	if usual := current.Fallthrough.only(); usual == nil || *usual != at {
		want.Fallthrough = s.serve(current, at)
	}
	return want, nil
}

// serve is a rollout, because cohorts always are: https://launchdarkly.com/docs/home/flags/target-migration
func (s Stages) serve(current Targeting, variation int) Serve {
	kind := cmp.Or(s.ContextKind, flags.DefaultContextKind)
	if r := current.Fallthrough.Rollout; r != nil {
		kind = r.ContextKind
	}
	return Serve{Rollout: &Rollout{ContextKind: kind, Variations: []Weight{{Variation: variation, Weight: fullWeight}}}}
}

// exclude lets a rule above all others serve the context. One such rule of its kind holds all that are excluded.
func (t Targeting) exclude(who flags.Context, serve Serve) Targeting {
	rule := Rule{Serve: serve, Description: exclusion, Clauses: []Clause{{
		ContextKind: who.Kind, Attribute: "key", Op: "in", Values: []any{who.Key},
	}}}
	above := 0 // how many exclude, too, and so may stand above
	for above < len(t.Rules) && t.Rules[above].Description == exclusion {
		above++
	}
	for i, standing := range t.Rules {
		if !standing.does(rule) {
			continue
		}
		if i <= above && slices.Contains(standing.Clauses[0].Values, any(who.Key)) {
			return t // whoever made it
		}
		if standing.Description != exclusion {
			continue
		}
		rule.Clauses[0].Values = append(slices.Clone(standing.Clauses[0].Values), rule.Clauses[0].Values...)
		rule.Clauses[0].Values = sortedValues(rule.Clauses[0].Values)
		if i < above {
			t.Rules = slices.Clone(t.Rules)
			t.Rules[i] = rule
			return t
		}
		t.Rules = slices.Delete(slices.Clone(t.Rules), i, i+1)
		break
	}
	t.Rules = slices.Insert(slices.Clone(t.Rules), 0, rule)
	return t
}

// State describes t.
func (s Stages) State(provider, key string, version int, archived bool, t Targeting) (flags.State, error) {
	state, err := describe(provider, key, version, archived, t)
	if err != nil {
		return state, err
	}
	served := t.OffVariation
	if t.On {
		served = t.Fallthrough.only()
	}
	if served != nil {
		state.Stage = s.stage(*served)
	}
	switch {
	case archived:
	case t.On && state.Stage != "":
		state.Summary = "on: stage " + string(state.Stage) + details(t)
	case t.On:
		state.Summary = "on: " + s.shares(t.Fallthrough) + details(t)
	case state.Stage != "" && state.Stage != flags.StageOff:
		state.Summary = "off: stage " + string(state.Stage)
	}
	return state, nil
}

func (s Stages) stage(variation int) flags.Stage {
	if at := slices.Index(s.Index[:], variation); at >= 0 {
		return flags.Stages()[at]
	}
	return ""
}

// shares of the stages in words: "50 % shadow, 50 % live".
func (s Stages) shares(serve Serve) string {
	var out []string
	percents := serve.percents()
	for i, stage := range flags.Stages() {
		if percent := percents[s.Index[i]]; percent > 0 {
			out = append(out, strconv.FormatFloat(percent, 'f', -1, 64)+" % "+string(stage))
		}
	}
	return strings.Join(out, ", ")
}
