package harnessserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
)

// patch is the body of a PATCH.
type patch struct {
	Comment      string `json:"comment"`
	Instructions []struct {
		Kind       string          `json:"kind"`
		Parameters json.RawMessage `json:"parameters"`
	} `json:"instructions"`
}

// rights that it takes.
func (p patch) rights() (out []string) {
	for _, in := range p.Instructions {
		if in.Kind == "setFeatureFlagState" {
			out = append(out, toToggle)
		} else {
			out = append(out, toEdit)
		}
	}
	return out
}

// parameters of all instructions; each reads its own.
type parameters struct {
	State          string   `json:"state"`
	Variation      string   `json:"variation"`
	BucketBy       string   `json:"bucketBy"`
	Variations     []Weight `json:"variations"`
	Targets        []string `json:"targets"`
	TargetSegments []string `json:"targetSegments"`
	RuleID         string   `json:"ruleID"`
	UUID           string   `json:"uuid"`
	Priority       int      `json:"priority"`
	Serve          Serve    `json:"serve"`
	Clauses        []Clause `json:"clauses"`
	Rules          []string `json:"rules"`
}

var errUnknownTarget = errors.New("unknown target")

// apply returns the patched copy of a flag. It asks known for the targets that an instruction names.
func (f Feature) apply(p patch, known func(*parameters, Feature) bool) (Feature, error) {
	if len(p.Instructions) == 0 {
		return Feature{}, fmt.Errorf("a patch needs instructions")
	}
	out, err := f.clone()
	if err != nil {
		return Feature{}, err
	}
	for i, in := range p.Instructions {
		if in.Kind == "addPrerequisite" || in.Kind == "removePrerequisite" {
			if err := out.prerequisite(in.Kind, in.Parameters); err != nil {
				return Feature{}, fmt.Errorf("instruction %d (%s): %w", i, in.Kind, err)
			}
			continue
		}
		var read parameters
		if err := json.Unmarshal(in.Parameters, &read); err != nil {
			return Feature{}, fmt.Errorf("instruction %d (%s): malformed parameters", i, in.Kind)
		}
		if in.Kind == "addTargetsToVariationTargetMap" && !known(&read, f) {
			return Feature{}, fmt.Errorf("instruction %d (%s): %w", i, in.Kind, errUnknownTarget)
		}
		if err := out.instruct(in.Kind, read); err != nil {
			return Feature{}, fmt.Errorf("instruction %d (%s): %w", i, in.Kind, err)
		}
	}
	return out, nil
}

// prerequisite adds or takes away one.
func (f *Feature) prerequisite(kind string, raw json.RawMessage) error {
	var p Prerequisite
	if json.Unmarshal(raw, &p) != nil || p.Feature == "" {
		return fmt.Errorf("malformed parameters")
	}
	f.Prerequisites = slices.DeleteFunc(f.Prerequisites, func(other Prerequisite) bool { return other.Feature == p.Feature })
	if kind == "addPrerequisite" {
		if len(p.Variations) == 0 {
			return fmt.Errorf("a prerequisite needs variations")
		}
		f.Prerequisites = append(f.Prerequisites, p)
	}
	return nil
}

func (f *Feature) instruct(kind string, p parameters) error {
	e := f.EnvProperties
	switch kind {
	case "setFeatureFlagState":
		if p.State != "on" && p.State != "off" {
			return fmt.Errorf("the state is on or off")
		}
		e.State = p.State
		return nil
	case "updateOffVariation":
		e.OffVariation = p.Variation
		return f.known(p.Variation)
	case "updateDefaultServe":
		serve := Serve{Variation: p.Variation}
		if p.Variation == "" {
			serve.Distribution = &Distribution{BucketBy: p.BucketBy, Variations: p.Variations}
		}
		e.DefaultServe = serve
		return f.servable(serve)
	case "addTargetsToVariationTargetMap", "addSegmentToVariationTargetMap":
		return f.name(p)
	case "removeTargetsToVariationTargetMap", "removeSegmentToVariationTargetMap":
		for i := range e.VariationMap {
			if m := &e.VariationMap[i]; m.Variation == p.Variation {
				m.Targets = slices.DeleteFunc(m.Targets, func(t Target) bool { return slices.Contains(p.Targets, t.Identifier) })
				m.TargetSegments = slices.DeleteFunc(m.TargetSegments, func(s string) bool { return slices.Contains(p.TargetSegments, s) })
			}
		}
		return f.known(p.Variation)
	case "addRule":
		if len(p.Clauses) == 0 {
			return fmt.Errorf("a rule needs clauses")
		}
		if slices.ContainsFunc(e.Rules, func(r Rule) bool { return r.RuleID == p.UUID }) {
			return fmt.Errorf("a rule of that uuid exists")
		}
		for i := range p.Clauses {
			p.Clauses[i].ID = uuid.NewString()
		}
		e.Rules = append(e.Rules, Rule{RuleID: p.UUID, Priority: p.Priority, Clauses: p.Clauses, Serve: p.Serve})
		return f.servable(p.Serve)
	case "removeRule":
		e.Rules = slices.DeleteFunc(e.Rules, func(r Rule) bool { return r.RuleID == p.RuleID })
		return nil
	case "reorderRules":
		return e.reorder(p.Rules)
	default:
		return fmt.Errorf("unknown kind")
	}
}

// reorder numbers the rules anew, and leaves them where they stand in the list: SDKs sort them.
func (e *Environment) reorder(ids []string) error {
	if len(ids) != len(e.Rules) {
		return fmt.Errorf("name all rules, once each")
	}
	for i := range e.Rules {
		at := slices.Index(ids, e.Rules[i].RuleID)
		if at < 0 {
			return fmt.Errorf("name all rules, once each")
		}
		e.Rules[i].Priority = at + 1
	}
	return nil
}

func (f *Feature) known(variation string) error {
	if !f.has(variation) {
		return fmt.Errorf("unknown variation")
	}
	return nil
}

// everybody is the sum of a distribution's weights.
const everybody = 100

func (f *Feature) servable(s Serve) error {
	if s.Distribution == nil {
		return f.known(s.Variation)
	}
	sum := 0
	for _, w := range s.Distribution.Variations {
		if w.Weight < 0 || !f.has(w.Variation) {
			return fmt.Errorf("a weight is negative, or its variation unknown")
		}
		sum += w.Weight
	}
	if sum != everybody || s.Distribution.BucketBy == "" {
		return fmt.Errorf("a distribution needs bucketBy, and weights that add up to %d", everybody)
	}
	return nil
}

// name adds targets and target groups to a variation.
func (f *Feature) name(p parameters) error {
	e := f.EnvProperties
	at := slices.IndexFunc(e.VariationMap, func(m VariationMap) bool { return m.Variation == p.Variation })
	if at < 0 {
		at = len(e.VariationMap)
		e.VariationMap = append(e.VariationMap, VariationMap{Variation: p.Variation, Targets: []Target{}, TargetSegments: []string{}})
	}
	for i, m := range e.VariationMap {
		if i != at && slices.ContainsFunc(m.Targets, func(t Target) bool { return slices.Contains(p.Targets, t.Identifier) }) {
			return fmt.Errorf("a target is named under two variations")
		}
	}
	m := &e.VariationMap[at]
	for _, identifier := range p.Targets {
		if !slices.ContainsFunc(m.Targets, func(t Target) bool { return t.Identifier == identifier }) {
			m.Targets = append(m.Targets, Target{identifier, identifier})
		}
	}
	for _, segment := range p.TargetSegments {
		if !slices.Contains(m.TargetSegments, segment) {
			m.TargetSegments = append(m.TargetSegments, segment)
		}
	}
	return f.known(p.Variation)
}
