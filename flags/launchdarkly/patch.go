package launchdarkly

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/internal/targeting"
)

// semanticPatch is the body of a PATCH: https://launchdarkly.com/docs/api/feature-flags/patch-feature-flag
type semanticPatch struct {
	Comment        string `json:"comment,omitempty"`
	EnvironmentKey string `json:"environmentKey,omitempty"`
	Instructions   []any  `json:"instructions"`
}

// The instructions, each named after what LaunchDarkly reads in it.
type (
	kindOnly struct {
		Kind string `json:"kind"`
	}
	serveInstruction struct {
		Kind string `json:"kind"`
		served
	}
	targetsInstruction struct {
		Kind string `json:"kind"`
		target
	}
	addRuleInstruction struct {
		Kind string `json:"kind"`
		newRule
		BeforeRuleID string `json:"beforeRuleId,omitempty"` // empty: at the end
	}
	removeRuleInstruction struct {
		Kind   string `json:"kind"`
		RuleID string `json:"ruleId"`
	}
	rulesInstruction struct {
		Kind  string `json:"kind"`
		Rules []rule `json:"rules"`
	}
	prerequisitesInstruction struct {
		Kind          string         `json:"kind"`
		Prerequisites []prerequisite `json:"prerequisites"`
	}
)

// served is one variation by id, or weights by variation id in thousandths of a percent.
type served struct {
	VariationID        string         `json:"variationId,omitempty"`
	RolloutWeights     map[string]int `json:"rolloutWeights,omitempty"`
	RolloutContextKind string         `json:"rolloutContextKind,omitempty"`
	RolloutBucketBy    string         `json:"rolloutBucketBy,omitempty"`
}

type target struct {
	ContextKind string   `json:"contextKind"`
	VariationID string   `json:"variationId"`
	Values      []string `json:"values"`
}

// newRule is what addRule takes. A description in it is in LaunchDarkly's own examples:
// https://github.com/launchdarkly/agent-skills, "Approval Workflows".
type newRule struct {
	served
	Description string             `json:"description,omitempty"`
	Clauses     []targeting.Clause `json:"clauses"`
}

// rule is what replaceRules takes, of which alone trackEvents are documented.
type rule struct {
	newRule
	TrackEvents bool `json:"trackEvents"`
}

type prerequisite struct {
	Key         string `json:"key"`
	VariationID string `json:"variationId"`
}

// instructions turn current into want and touch nothing that is alike already: rules keep their ids, and what a stranger does
// at the same moment to other targets and rules is not undone.
func (p *Provider) instructions(ctx context.Context, current snapshot, want targeting.Targeting) ([]any, error) {
	ids := variations{current.state.Key, current.variationIDs}
	now := current.targeting
	var out []any
	if !reflect.DeepEqual(now.OffVariation, want.OffVariation) {
		if want.OffVariation == nil {
			return nil, fmt.Errorf("flag %q had no off variation, and the API cannot take one away: remove it by hand: %w",
				current.state.Key, flags.ErrNotRestorable)
		}
		id, err := ids.id(*want.OffVariation)
		if err != nil {
			return nil, err
		}
		out = append(out, serveInstruction{"updateOffVariation", served{VariationID: id}})
	}
	if !reflect.DeepEqual(now.Prerequisites, want.Prerequisites) {
		prerequisites, err := p.prerequisites(ctx, current.state.Key, want.Prerequisites)
		if err != nil {
			return nil, err
		}
		out = append(out, prerequisitesInstruction{"replacePrerequisites", prerequisites})
	}
	if !reflect.DeepEqual(now.Targets, want.Targets) || !reflect.DeepEqual(now.ContextTargets, want.ContextTargets) {
		targets, err := ids.targets(now, want)
		if err != nil {
			return nil, err
		}
		out = append(out, targets...)
	}
	if !reflect.DeepEqual(now.Rules, want.Rules) {
		rules, err := ids.rules(now.Rules, current.ruleIDs, want.Rules)
		if err != nil {
			return nil, err
		}
		out = append(out, rules...)
	}
	if !reflect.DeepEqual(now.Fallthrough, want.Fallthrough) {
		serve, err := ids.serve(want.Fallthrough)
		if err != nil {
			return nil, err
		}
		out = append(out, serveInstruction{"updateFallthroughVariationOrRollout", serve})
	}
	if now.On != want.On {
		out = append(out, kindOnly{map[bool]string{true: "turnFlagOn", false: "turnFlagOff"}[want.On]})
	}
	return out, nil
}

// variations translates a flag's variation indexes into their ids.
type variations struct {
	key string
	ids []string
}

func (v variations) id(index int) (string, error) {
	if index < 0 || index >= len(v.ids) {
		return "", fmt.Errorf("flag %q has no variation %d any more: restore it by hand: %w", v.key, index, flags.ErrNotRestorable)
	}
	return v.ids[index], nil
}

func (v variations) serve(s targeting.Serve) (served, error) {
	if s.Variation != nil {
		id, err := v.id(*s.Variation)
		return served{VariationID: id}, err
	}
	if s.Rollout == nil || s.Rollout.Kind != "" || s.Rollout.Seed != nil {
		return served{}, fmt.Errorf("flag %q ran an experiment, which the API cannot put back: restore it by hand: %w",
			v.key, flags.ErrNotRestorable)
	}
	out := served{
		RolloutWeights: map[string]int{}, RolloutContextKind: s.Rollout.ContextKind, RolloutBucketBy: s.Rollout.BucketBy,
	}
	for _, id := range v.ids { // what an unnamed variation weighs is not documented
		out.RolloutWeights[id] = 0
	}
	for _, w := range s.Rollout.Variations {
		id, err := v.id(w.Variation)
		if err != nil {
			return served{}, err
		}
		out.RolloutWeights[id] += w.Weight // one that stands twice has both
	}
	return out, nil
}

// prerequisites asks the other flags for their variations' ids.
func (p *Provider) prerequisites(ctx context.Context, key string, want []targeting.Prerequisite) ([]prerequisite, error) {
	out := []prerequisite{}
	for _, w := range want {
		other, err := p.flag(ctx, w.Key)
		if errors.Is(err, flags.ErrNotFound) {
			return nil, fmt.Errorf("flag %q had the prerequisite %q, which is no more: make that flag again, or restore this one by hand: %w",
				key, w.Key, flags.ErrNotRestorable)
		}
		if err != nil {
			return nil, err
		}
		if other.Archived {
			return nil, fmt.Errorf("flag %q had the prerequisite %q, which is archived: take that flag out of the archive, or restore this "+
				"one by hand: %w", key, w.Key, flags.ErrNotRestorable)
		}
		id, err := variations{w.Key, other.variationIDs()}.id(w.Variation)
		if err != nil {
			return nil, err
		}
		out = append(out, prerequisite{w.Key, id})
	}
	return out, nil
}
