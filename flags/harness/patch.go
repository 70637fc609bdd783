package harness

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	"github.com/google/uuid"

	"github.com/contraflow/contraflow/flags"
)

// patch is the body of a PATCH: https://apidocs.harness.io/feature-flags/patchfeature
type patch struct {
	Comment      string        `json:"comment,omitempty"`
	Instructions []instruction `json:"instructions"`
}

// rights that its instructions take.
func (p patch) rights() []string {
	var out []string
	for _, one := range p.Instructions {
		right := toEdit
		if one.Kind == setState {
			right = toToggle
		}
		if !slices.Contains(out, right) {
			out = append(out, right)
		}
	}
	return out
}

// setState turns a flag on or off.
const setState = "setFeatureFlagState"

type instruction struct {
	Kind       string `json:"kind"`
	Parameters any    `json:"parameters"`
}

// The parameters, each named after what Harness reads in it.
type (
	stateParameters struct {
		State featureState `json:"state"`
	}
	serveParameters struct {
		Variation  string   `json:"variation,omitempty"`
		BucketBy   string   `json:"bucketBy,omitempty"`
		Variations []weight `json:"variations,omitempty"`
	}
	targetParameters struct {
		Variation string   `json:"variation"`
		Targets   []string `json:"targets"`
	}
	segmentParameters struct {
		Variation string   `json:"variation"`
		Segments  []string `json:"targetSegments"`
	}
	removeRuleParameters struct {
		RuleID string `json:"ruleID"`
	}
	addRuleParameters struct {
		UUID     string `json:"uuid"`
		Priority int    `json:"priority"`
		rule
	}
	reorderParameters struct {
		Rules []string `json:"rules"`
	}
)

// instructions turn the snapshot into want and touch nothing that is alike already, so that rules keep their ids. New rules
// are called after the operation, so that an attempt that is repeated cannot make them twice. discreet says that they name
// people, whom an answer may quote.
func (s snapshot) instructions(operation uuid.UUID, want configuration) (out []instruction, discreet bool, err error) {
	now, key := s.configuration, s.state.Key
	if !reflect.DeepEqual(now.Prerequisites, want.Prerequisites) {
		return nil, false, fmt.Errorf("flag %q had other prerequisites, and Harness keeps those outside of the environment's configuration: "+
			"put them back by hand: %w", key, flags.ErrNotRestorable)
	}
	if err := s.known(want); err != nil {
		return nil, false, err
	}
	state := instruction{setState, stateParameters{stateOf(want.On)}}
	if now.On && !want.On { // nothing of the rest is served for a moment, should Harness not take all at once
		out = append(out, state)
	}
	if now.OffVariation != want.OffVariation {
		out = append(out, instruction{"updateOffVariation", serveParameters{Variation: want.OffVariation}})
	}
	targets := targetInstructions(now.Targets, want.Targets)
	rules, err := s.ruleInstructions(operation, want.Rules)
	if err != nil {
		return nil, false, fmt.Errorf("encode the rules of flag %q: %w", key, err)
	}
	out = append(append(out, targets...), rules...)
	if !reflect.DeepEqual(now.DefaultServe, want.DefaultServe) {
		parameters := serveParameters{Variation: want.DefaultServe.Variation}
		if d := want.DefaultServe.Distribution; d != nil {
			parameters = serveParameters{BucketBy: d.BucketBy, Variations: d.Variations}
		}
		out = append(out, instruction{"updateDefaultServe", parameters})
	}
	if !now.On && want.On {
		out = append(out, state)
	}
	return out, len(targets)+len(rules) > 0, nil
}

// known refuses variations that the flag has no more.
func (s snapshot) known(want configuration) error {
	has := func(id string) bool {
		return slices.ContainsFunc(s.variations, func(v variation) bool { return v.Identifier == id })
	}
	ids := []string{want.OffVariation}
	serves := []serve{want.DefaultServe}
	for _, r := range want.Rules {
		serves = append(serves, r.Serve)
	}
	for _, s := range serves {
		if s.Distribution == nil {
			ids = append(ids, s.Variation)
			continue
		}
		for _, w := range s.Distribution.Variations {
			ids = append(ids, w.Variation)
		}
	}
	for _, m := range want.Targets {
		ids = append(ids, m.Variation)
	}
	for _, id := range ids {
		if !has(id) {
			return fmt.Errorf("flag %q has no variation %q any more: restore it by hand: %w", s.state.Key, id, flags.ErrNotRestorable)
		}
	}
	return nil
}

// targetInstructions take away first: nobody may be named under two variations.
func targetInstructions(now, want []mapping) []instruction {
	var out []instruction
	each := func(from, to []mapping, targets, segments string) {
		for _, m := range from {
			var other mapping
			if i := slices.IndexFunc(to, func(o mapping) bool { return o.Variation == m.Variation }); i >= 0 {
				other = to[i]
			}
			if differ := without(m.Targets, other.Targets); len(differ) > 0 {
				out = append(out, instruction{targets, targetParameters{m.Variation, differ}})
			}
			if differ := without(m.Segments, other.Segments); len(differ) > 0 {
				out = append(out, instruction{segments, segmentParameters{m.Variation, differ}})
			}
		}
	}
	each(now, want, "removeTargetsToVariationTargetMap", "removeSegmentToVariationTargetMap")
	each(want, now, "addTargetsToVariationTargetMap", "addSegmentToVariationTargetMap")
	return out
}

func without(all, these []string) []string {
	gone := map[string]bool{}
	for _, one := range these {
		gone[one] = true
	}
	var out []string
	for _, one := range all {
		if !gone[one] {
			out = append(out, one)
		}
	}
	return out
}

// ruleInstructions leave alike rules alone, take the others away, add those that are missing behind all, and then put them
// into their order, if they are not.
func (s snapshot) ruleInstructions(operation uuid.UUID, want []rule) ([]instruction, error) {
	free, last := slices.Clone(s.rules), 0
	for _, r := range s.rules {
		last = max(last, r.Priority)
	}
	var added []instruction
	var order, fresh []string
	for _, w := range want {
		if i := slices.IndexFunc(free, func(r servingRule) bool { return reflect.DeepEqual(w, r.rule) }); i >= 0 {
			order = append(order, free[i].RuleID)
			free = slices.Delete(free, i, i+1)
			continue
		}
		raw, err := json.Marshal(w)
		if err != nil {
			return nil, err
		}
		id := uuid.NewSHA1(operation, fmt.Appendf(raw, "#%d", len(order))).String()
		order, fresh, last = append(order, id), append(fresh, id), last+1
		added = append(added, instruction{"addRule", addRuleParameters{id, last, w}})
	}
	var out []instruction
	for _, r := range free {
		out = append(out, instruction{"removeRule", removeRuleParameters{r.RuleID}})
	}
	var stand []string
	for _, r := range s.rules {
		if slices.Contains(order, r.RuleID) {
			stand = append(stand, r.RuleID)
		}
	}
	out = append(out, added...)
	if !slices.Equal(append(stand, fresh...), order) {
		out = append(out, instruction{"reorderRules", reorderParameters{order}})
	}
	return out, nil
}
