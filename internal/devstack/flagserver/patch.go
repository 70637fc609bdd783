package flagserver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"slices"
	"time"

	"github.com/google/uuid"
)

// patch is a semantic patch. One type holds the fields of all instructions; each has its own, and no others.
type patch struct {
	Comment        string        `json:"comment"`
	EnvironmentKey string        `json:"environmentKey"`
	Instructions   []instruction `json:"instructions"`
}

type instruction struct {
	Kind string `json:"kind"`
	served
	ContextKind   string         `json:"contextKind"`
	Values        []string       `json:"values"`
	Targets       []targetPatch  `json:"targets"`
	Clauses       []Clause       `json:"clauses"`
	Description   string         `json:"description"`
	RuleID        string         `json:"ruleId"`
	BeforeRuleID  string         `json:"beforeRuleId"`
	Rules         []rulePatch    `json:"rules"`
	Prerequisites []prerequisite `json:"prerequisites"`
}

type served struct {
	VariationID        string         `json:"variationId"`
	RolloutWeights     map[string]int `json:"rolloutWeights"` // thousandths of a percent
	RolloutContextKind string         `json:"rolloutContextKind"`
	RolloutBucketBy    string         `json:"rolloutBucketBy"`
}

type targetPatch struct {
	ContextKind string   `json:"contextKind"`
	VariationID string   `json:"variationId"`
	Values      []string `json:"values"`
}

// takes are the fields that each instruction is documented to have, and the description of addRule as in LaunchDarkly's own examples.
var takes = map[string][]string{
	"turnFlagOn": nil, "turnFlagOff": nil, "archiveFlag": nil,
	"updateFallthroughVariationOrRollout": {"variationId", "rolloutWeights", "rolloutContextKind", "rolloutBucketBy"},
	"updateOffVariation":                  {"variationId"},
	"addTargets":                          {"contextKind", "variationId", "values"},
	"removeTargets":                       {"contextKind", "variationId", "values"},
	"replaceTargets":                      {"targets"},
	"addRule": {"clauses", "beforeRuleId", "variationId", "rolloutWeights", "rolloutContextKind", "rolloutBucketBy",
		"description"},
	"removeRule":           {"ruleId"},
	"replaceRules":         {"rules"},
	"replacePrerequisites": {"prerequisites"},
}

// UnmarshalJSON refuses what is not understood: LaunchDarkly promises nothing of fields that it doesn't know.
func (i *instruction) UnmarshalJSON(raw []byte) error {
	type plain instruction
	if err := strictly(bytes.NewReader(raw), (*plain)(i)); err != nil {
		return err
	}
	its, known := takes[i.Kind]
	if !known {
		return fmt.Errorf("unknown kind %q", i.Kind)
	}
	var given map[string]json.RawMessage
	if err := json.Unmarshal(raw, &given); err != nil {
		return err
	}
	for name := range given {
		if name != "kind" && !slices.Contains(its, name) {
			return fmt.Errorf("%s has no field %q", i.Kind, name)
		}
	}
	return nil
}

// strictly decodes what has no fields that nobody knows.
func strictly(raw io.Reader, into any) error {
	decoder := json.NewDecoder(raw)
	decoder.DisallowUnknownFields()
	return decoder.Decode(into)
}

type rulePatch struct {
	served
	Description string   `json:"description"`
	Clauses     []Clause `json:"clauses"`
	TrackEvents bool     `json:"trackEvents"`
}

type prerequisite struct {
	Key         string `json:"key"`
	VariationID string `json:"variationId"`
}

func (p *patch) apply(s *Server, flag Flag) (Flag, error) { return s.apply(flag, *p) }

// apply returns the patched copy of a flag. The caller holds mu.
func (s *Server) apply(flag Flag, p patch) (Flag, error) {
	if len(p.Instructions) == 0 {
		return Flag{}, fmt.Errorf("a patch needs instructions")
	}
	out, err := flag.clone()
	if err != nil {
		return Flag{}, err
	}
	for i, in := range p.Instructions {
		if err := s.instruct(&out, p.EnvironmentKey, in); err != nil {
			return Flag{}, fmt.Errorf("instruction %d (%s): %w", i, in.Kind, err)
		}
	}
	return s.counted(flag, out)
}

// counted is what has become of a flag, with a new version where that is another.
func (s *Server) counted(flag, out Flag) (Flag, error) {
	if same, err := flag.clone(); err != nil || reflect.DeepEqual(out, same) {
		return out, err
	}
	environment := out.Environments[s.options.Environment]
	environment.Version++
	environment.LastModified = time.Now().UnixMilli()
	out.Version++
	return out, nil
}

func (s *Server) instruct(flag *Flag, environmentKey string, in instruction) error {
	if in.Kind == "archiveFlag" {
		for _, other := range s.dependents(flag.Key) {
			if !s.flags[other.flag].Archived {
				return fmt.Errorf("the flag is a prerequisite of %q", other.flag)
			}
		}
		if !flag.Archived {
			flag.Archived, flag.ArchivedDate = true, time.Now().UnixMilli()
			flag.Environments[s.options.Environment].Archived = true
		}
		return nil
	}
	e, ok := flag.Environments[environmentKey]
	if !ok {
		return fmt.Errorf("unknown environmentKey %q", environmentKey)
	}
	if flag.Archived {
		return fmt.Errorf("the flag is archived")
	}
	if err := flag.fits(in); err != nil {
		return err
	}
	switch in.Kind {
	case "turnFlagOn", "turnFlagOff":
		e.On = in.Kind == "turnFlagOn"
		return nil
	case "updateFallthroughVariationOrRollout":
		serve, err := flag.serve(in.served)
		if err == nil {
			e.Fallthrough = serve
		}
		return err
	case "updateOffVariation":
		i, ok := flag.variation(in.VariationID)
		if !ok {
			return fmt.Errorf("unknown variationId")
		}
		e.OffVariation = &i
		return nil
	case "addTargets":
		return flag.addTargets(e, targetPatch{in.ContextKind, in.VariationID, in.Values})
	case "removeTargets":
		return flag.removeTargets(e, targetPatch{in.ContextKind, in.VariationID, in.Values})
	case "replaceTargets":
		e.Targets, e.ContextTargets = []Target{}, []Target{}
		for _, t := range in.Targets {
			if err := flag.addTargets(e, t); err != nil {
				return err
			}
		}
		return nil
	case "addRule":
		rule, err := flag.rule(rulePatch{served: in.served, Description: in.Description, Clauses: in.Clauses})
		if err != nil {
			return err
		}
		at := len(e.Rules)
		if in.BeforeRuleID != "" {
			if at = e.ruleIndex(in.BeforeRuleID); at < 0 {
				return fmt.Errorf("unknown beforeRuleId")
			}
		}
		e.Rules = slices.Insert(e.Rules, at, rule)
		return nil
	case "removeRule":
		if i := e.ruleIndex(in.RuleID); i >= 0 {
			e.Rules = slices.Delete(e.Rules, i, i+1)
		}
		return nil
	case "replaceRules":
		e.Rules = []Rule{}
		for _, r := range in.Rules {
			rule, err := flag.rule(r)
			if err != nil {
				return err
			}
			e.Rules = append(e.Rules, rule)
		}
		return nil
	case "replacePrerequisites":
		return s.replacePrerequisites(e, in.Prerequisites)
	default:
		return fmt.Errorf("unknown kind")
	}
}

func (s *Server) replacePrerequisites(e *Environment, wanted []prerequisite) error {
	e.Prerequisites = []Prerequisite{}
	for _, p := range wanted {
		i, ok := s.flags[p.Key].variation(p.VariationID)
		if !ok {
			return fmt.Errorf("unknown prerequisite %q or its variationId", p.Key)
		}
		e.Prerequisites = append(e.Prerequisites, Prerequisite{Key: p.Key, Variation: i})
	}
	return nil
}

func (e *Environment) ruleIndex(id string) int {
	return slices.IndexFunc(e.Rules, func(r Rule) bool { return r.ID == id })
}

// fullWeight is 100 %.
const fullWeight = 100_000

// serve keeps a rollout's variations in the order of their indexes.
func (f Flag) serve(in served) (Serve, error) {
	if (in.VariationID == "") == (len(in.RolloutWeights) == 0) {
		return Serve{}, fmt.Errorf("give either variationId or rolloutWeights")
	}
	if in.VariationID != "" {
		i, ok := f.variation(in.VariationID)
		if !ok {
			return Serve{}, fmt.Errorf("unknown variationId")
		}
		return Serve{Variation: &i}, nil
	}
	rollout := &Rollout{ContextKind: kind(in.RolloutContextKind), BucketBy: in.RolloutBucketBy}
	sum, known := 0, 0
	for i, v := range f.Variations {
		weight, given := in.RolloutWeights[v.ID]
		if !given {
			continue
		}
		if weight < 0 {
			return Serve{}, fmt.Errorf("a weight is negative")
		}
		known++
		sum += weight
		rollout.Variations = append(rollout.Variations, Weight{Variation: i, Weight: weight})
	}
	if known != len(in.RolloutWeights) || sum != fullWeight {
		return Serve{}, fmt.Errorf("rolloutWeights must name this flag's variations and add up to %d", fullWeight)
	}
	return Serve{Rollout: rollout}, nil
}

func kind(contextKind string) string {
	if contextKind == "" {
		return "user"
	}
	return contextKind
}

func (f Flag) rule(in rulePatch) (Rule, error) {
	serve, err := f.serve(in.served)
	if err != nil {
		return Rule{}, err
	}
	rule := Rule{ID: uuid.NewString(), Serve: serve, Description: in.Description, TrackEvents: in.TrackEvents}
	for _, c := range in.Clauses {
		if c.Attribute == "" || c.Op == "" || len(c.Values) == 0 {
			return Rule{}, fmt.Errorf("a clause needs an attribute, an operator and values")
		}
		c.ID, c.ContextKind = uuid.NewString(), kind(c.ContextKind)
		rule.Clauses = append(rule.Clauses, c)
	}
	if len(rule.Clauses) == 0 {
		return Rule{}, fmt.Errorf("a rule needs clauses")
	}
	return rule, nil
}

// list is where targets of a kind stand.
func (e *Environment) list(contextKind string) *[]Target {
	if kind(contextKind) == "user" {
		return &e.Targets
	}
	return &e.ContextTargets
}

func (f Flag) addTargets(e *Environment, in targetPatch) error {
	variation, ok := f.variation(in.VariationID)
	if !ok {
		return fmt.Errorf("unknown variationId")
	}
	list := e.list(in.ContextKind)
	at := -1
	for i, t := range *list {
		if t.ContextKind != kind(in.ContextKind) {
			continue
		}
		if t.Variation == variation {
			at = i
		} else if slices.ContainsFunc(in.Values, func(v string) bool { return slices.Contains(t.Values, v) }) {
			return fmt.Errorf("a context is targeted by two variations")
		}
	}
	if at < 0 {
		*list = append(*list, Target{ContextKind: kind(in.ContextKind), Variation: variation, Values: []string{}})
		at = len(*list) - 1
	}
	for _, value := range in.Values {
		if !slices.Contains((*list)[at].Values, value) {
			(*list)[at].Values = append((*list)[at].Values, value)
		}
	}
	return nil
}

func (f Flag) removeTargets(e *Environment, in targetPatch) error {
	variation, ok := f.variation(in.VariationID)
	if !ok {
		return fmt.Errorf("unknown variationId")
	}
	list := e.list(in.ContextKind)
	for i, t := range *list {
		if t.ContextKind == kind(in.ContextKind) && t.Variation == variation {
			(*list)[i].Values = slices.DeleteFunc(t.Values, func(v string) bool { return slices.Contains(in.Values, v) })
		}
	}
	*list = slices.DeleteFunc(*list, func(t Target) bool { return len(t.Values) == 0 })
	return nil
}
