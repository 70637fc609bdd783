// Package targeting is the part of a flag's environment that decides who is served what, in the JSON shape which
// LaunchDarkly's REST API, its SDK's stream and the SDK's file source have in common.
package targeting

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	"github.com/contraflow/contraflow/flags"
)

// experiment is the kind of a rollout that LaunchDarkly itself sees to, as the SDK's stream writes it.
const experiment = "experiment"

// fullWeight is 100 % in the thousandths of a percent that rollout weights are counted in.
const fullWeight = 100_000

// Targeting of one flag in one environment, without ids, versions and dates.
type Targeting struct {
	On             bool           `json:"on"`
	OffVariation   *int           `json:"offVariation"`
	Fallthrough    Serve          `json:"fallthrough"`
	Targets        []Target       `json:"targets"`
	ContextTargets []Target       `json:"contextTargets"`
	Rules          []Rule         `json:"rules"`
	Prerequisites  []Prerequisite `json:"prerequisites"`
	// Ordered says that Targets are the lists of all kinds, in the order in which SDKs look at them, and ContextTargets none. A
	// file keeps an order, which decides for contexts of several kinds; LaunchDarkly's API promises none.
	Ordered bool `json:"ordered,omitempty"`
}

// Serve is either one variation or a rollout.
type Serve struct {
	Variation *int     `json:"variation,omitempty"`
	Rollout   *Rollout `json:"rollout,omitempty"`
}

// Rollout distributes contexts by the hash of an attribute; the order of Variations decides who gets which.
type Rollout struct {
	Kind        string   `json:"kind,omitempty"` // empty: rollout; or experiment
	ContextKind string   `json:"contextKind"`
	BucketBy    string   `json:"bucketBy,omitempty"` // empty: the context's key
	Seed        *int64   `json:"seed,omitempty"`
	Variations  []Weight `json:"variations"`
	// Allocation is how the REST API says, instead of by Kind, that an experiment or an automatic rollout sees to it:
	// https://launchdarkly.com/docs/api/feature-flags/get-feature-flag. The normal form has none.
	Allocation json.RawMessage `json:"experimentAllocation,omitempty"`
}

// Weight of one variation, in thousandths of a percent.
type Weight struct {
	Variation int  `json:"variation"`
	Weight    int  `json:"weight"`
	Untracked bool `json:"untracked,omitempty"`
	// Unseen is how the REST API writes Untracked. The normal form has none.
	Unseen bool `json:"_untracked,omitempty"`
}

// Target serves one variation to named contexts.
type Target struct {
	ContextKind string   `json:"contextKind"`
	Variation   int      `json:"variation"`
	Values      []string `json:"values"`
}

// Rule serves contexts that match all of its clauses.
type Rule struct {
	Serve
	Description string   `json:"description,omitempty"`
	Clauses     []Clause `json:"clauses"`
	TrackEvents bool     `json:"trackEvents"`
}

// Clause is one test of a rule.
type Clause struct {
	ContextKind string `json:"contextKind"`
	Attribute   string `json:"attribute"`
	Op          string `json:"op"`
	Values      []any  `json:"values"`
	Negate      bool   `json:"negate"`
}

// Prerequisite is another flag that must serve a variation.
type Prerequisite struct {
	Key       string `json:"key"`
	Variation int    `json:"variation"`
}

// Decode reads any of the three shapes, or a normal form, into the normal form.
func Decode(raw []byte) (Targeting, error) {
	t, err := shaped(raw)
	if err != nil {
		return Targeting{}, err
	}
	t.normalize()
	return t, nil
}

func shaped(raw []byte) (t Targeting, err error) {
	if err := json.Unmarshal(raw, &t); err != nil {
		return Targeting{}, fmt.Errorf("the flag's targeting is not of LaunchDarkly's shape: %w", shapeOnly(err))
	}
	return t, nil
}

// shapeOnly keeps a decoding error's place and drops the text around it, which may be a target's key.
func shapeOnly(err error) error {
	if wrong, ok := err.(*json.UnmarshalTypeError); ok {
		return fmt.Errorf("field %s has the wrong type", wrong.Field)
	}
	return fmt.Errorf("malformed JSON")
}

func (t *Targeting) normalize() {
	t.Fallthrough.normalize()
	t.Targets = t.normalTargets(t.Targets)
	t.ContextTargets = t.normalTargets(t.ContextTargets)
	t.Rules = append([]Rule{}, t.Rules...)
	for i := range t.Rules {
		rule := &t.Rules[i]
		rule.normalize()
		rule.Clauses = append([]Clause{}, rule.Clauses...)
		for j := range rule.Clauses {
			rule.Clauses[j].normalize()
		}
	}
	t.Prerequisites = append([]Prerequisite{}, t.Prerequisites...)
	slices.SortFunc(t.Prerequisites, func(a, b Prerequisite) int { return cmp.Compare(a.Key, b.Key) })
}

func (c *Clause) normalize() {
	c.ContextKind = cmp.Or(c.ContextKind, flags.DefaultContextKind)
	c.Values = append([]any{}, c.Values...)
	if c.Op == segmentMatch { // neither kind nor attribute mean anything there, and each place writes others
		c.ContextKind, c.Attribute = flags.DefaultContextKind, segmentMatch
	}
}

func (s *Serve) normalize() {
	if s.Rollout == nil {
		return
	}
	rollout := *s.Rollout
	rollout.ContextKind = cmp.Or(rollout.ContextKind, flags.DefaultContextKind)
	if rollout.Kind == "rollout" {
		rollout.Kind = ""
	}
	if rollout.BucketBy == "key" {
		rollout.BucketBy = ""
	}
	rollout.Variations = append([]Weight{}, rollout.Variations...)
	for i, w := range rollout.Variations {
		rollout.Variations[i].Untracked, rollout.Variations[i].Unseen = w.Untracked || w.Unseen, false
		if w.Unseen {
			rollout.Kind = experiment
		}
	}
	if len(rollout.Allocation) > 0 && string(rollout.Allocation) != "null" {
		rollout.Kind = experiment
	}
	rollout.Allocation = nil
	if rollout.Kind == "" {
		rollout.Variations = served(rollout.Variations)
	}
	s.Rollout = &rollout
}

// served are the weights as SDKs take them: what is beyond everybody weighs nothing, what is missing goes to the last. A
// variation that nobody is served may be named or not.
func served(weights []Weight) []Weight {
	left := fullWeight
	for i := range weights {
		weights[i].Weight = max(0, min(weights[i].Weight, left))
		if i == len(weights)-1 {
			weights[i].Weight = left
		}
		left -= weights[i].Weight
	}
	return slices.DeleteFunc(weights, func(w Weight) bool { return w.Weight == 0 })
}

// Equal compares normal forms.
func (t Targeting) Equal(other Targeting) bool { return reflect.DeepEqual(t, other) }

// Encode returns the JSON of the normal form.
func (t Targeting) Encode() (json.RawMessage, error) { return json.Marshal(t) }

// SameEffect compares what an SDK is told with what the REST API says, as far as both say it alike: rules are told
// without descriptions and with other ids, and attributes may be written otherwise.
func (t Targeting) SameEffect(sdk Targeting) bool {
	return t.On == sdk.On &&
		reflect.DeepEqual(t.OffVariation, sdk.OffVariation) &&
		t.Fallthrough.sameEffect(sdk.Fallthrough) &&
		reflect.DeepEqual(t.Targets, sdk.Targets) &&
		reflect.DeepEqual(t.ContextTargets, sdk.ContextTargets) &&
		slices.EqualFunc(t.Rules, sdk.Rules, Rule.sameEffect) &&
		reflect.DeepEqual(t.Prerequisites, sdk.Prerequisites)
}

func (r Rule) sameEffect(sdk Rule) bool {
	return r.Serve.sameEffect(sdk.Serve) &&
		slices.EqualFunc(r.Clauses, sdk.Clauses, func(a, b Clause) bool {
			return a.Op == b.Op && a.ContextKind == b.ContextKind && a.Negate == b.Negate && reflect.DeepEqual(a.Values, b.Values)
		})
}

// sameEffect does without kind and seed where only one of both says them.
func (s Serve) sameEffect(sdk Serve) bool {
	a, b := s.weights(), sdk.weights()
	if a.Rollout != nil && b.Rollout != nil {
		if a.Rollout.Kind == "" || b.Rollout.Kind == "" {
			a.Rollout.Kind, b.Rollout.Kind = "", ""
		}
		if a.Rollout.Seed == nil || b.Rollout.Seed == nil {
			a.Rollout.Seed, b.Rollout.Seed = nil, nil
		}
	}
	return reflect.DeepEqual(a, b)
}

// weights leaves out what has no effect on who is served what.
func (s Serve) weights() Serve {
	if s.Rollout == nil {
		return s
	}
	rollout := *s.Rollout
	rollout.Variations = nil
	for _, w := range s.Rollout.Variations {
		if w.Weight > 0 {
			rollout.Variations = append(rollout.Variations, Weight{Variation: w.Variation, Weight: w.Weight})
		}
	}
	return Serve{Rollout: &rollout}
}

// Differences names in words what differs between two normal forms, never a target's key.
func Differences(ours, current Targeting) []string {
	var out []string
	differ := func(what string, a, b any) {
		if !reflect.DeepEqual(a, b) {
			out = append(out, what)
		}
	}
	if ours.On != current.On {
		out = append(out, map[bool]string{true: "it was turned on", false: "it was turned off"}[current.On])
	}
	differ("the default rule serves something else", ours.Fallthrough, current.Fallthrough)
	differ("the off variation is another", ours.OffVariation, current.OffVariation)
	differ("the individual targets are others", [2][]Target{ours.Targets, ours.ContextTargets},
		[2][]Target{current.Targets, current.ContextTargets})
	differ("the rules are others", ours.Rules, current.Rules)
	differ("the prerequisites are others", ours.Prerequisites, current.Prerequisites)
	return out
}
