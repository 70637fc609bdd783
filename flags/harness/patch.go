package harness

import (
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
		UUID string `json:"uuid"`
		rule
	}
)

// instructions turn the snapshot into want and touch nothing that is alike already, so that rules keep their ids.
// discreet says that they name people, whom an answer may quote.
func (s snapshot) instructions(want configuration) (out []instruction, discreet bool, err error) {
	now, key := s.configuration, s.state.Key
	if !reflect.DeepEqual(now.Prerequisites, want.Prerequisites) {
		return nil, false, fmt.Errorf("flag %q had other prerequisites, and how the API puts them back is not documented: "+
			"put them back by hand: %w", key, flags.ErrNotRestorable)
	}
	if err := s.known(want); err != nil {
		return nil, false, err
	}
	if now.OffVariation != want.OffVariation {
		out = append(out, instruction{"updateOffVariation", serveParameters{Variation: want.OffVariation}})
	}
	targets := targetInstructions(now.Targets, want.Targets)
	rules := s.ruleInstructions(want.Rules)
	out = append(append(out, targets...), rules...)
	if !reflect.DeepEqual(now.DefaultServe, want.DefaultServe) {
		parameters := serveParameters{Variation: want.DefaultServe.Variation}
		if d := want.DefaultServe.Distribution; d != nil {
			parameters = serveParameters{BucketBy: d.BucketBy, Variations: d.Variations}
		}
		out = append(out, instruction{"updateDefaultServe", parameters})
	}
	if now.On != want.On {
		out = append(out, instruction{"setFeatureFlagState", stateParameters{stateOf(want.On)}})
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
	var out []string
	for _, one := range all {
		if !slices.Contains(these, one) {
			out = append(out, one)
		}
	}
	return out
}

// ruleInstructions leave alike rules alone, take the others away and add those that are missing.
func (s snapshot) ruleInstructions(want []rule) []instruction {
	missing := slices.Clone(want)
	var out []instruction
	for _, r := range s.rules {
		if i := slices.IndexFunc(missing, func(w rule) bool { return reflect.DeepEqual(w, r.rule) }); i >= 0 {
			missing = slices.Delete(missing, i, i+1)
			continue
		}
		out = append(out, instruction{"removeRule", removeRuleParameters{r.RuleID}})
	}
	for _, r := range missing {
		out = append(out, instruction{"addRule", addRuleParameters{uuid.NewString(), r}})
	}
	return out
}
