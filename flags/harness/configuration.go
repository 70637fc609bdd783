package harness

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
)

const (
	// byIdentifier is the attribute Harness distributes by when nothing else is asked for, or where a target lacks the
	// attribute that was.
	byIdentifier = "identifier"
	// everybody is the sum of a distribution's weights, which are whole percents.
	everybody = 100
)

// configuration of one flag in one environment: who is served what, in a normal form without ids, versions, names and
// dates. Variations are named by their identifiers.
type configuration struct {
	On            bool           `json:"on"`
	OffVariation  string         `json:"offVariation"`
	DefaultServe  serve          `json:"defaultServe"`
	Targets       []mapping      `json:"targets"`
	Rules         []rule         `json:"rules"`
	Prerequisites []prerequisite `json:"prerequisites"`
}

// serve is one variation or a distribution.
type serve struct {
	Variation    string        `json:"variation,omitempty"`
	Distribution *distribution `json:"distribution,omitempty"`
}

// distribution over variations by the hash of a target's attribute; the order decides who gets which.
type distribution struct {
	BucketBy   string   `json:"bucketBy"`
	Variations []weight `json:"variations"`
}

// weight of one variation in percent.
type weight struct {
	Variation string `json:"variation"`
	Weight    int    `json:"weight"`
}

// mapping serves one variation to targets and to target groups, which the API calls segments.
type mapping struct {
	Variation string   `json:"variation"`
	Targets   []string `json:"targets,omitempty"`
	Segments  []string `json:"segments,omitempty"`
}

// rule serves targets that match all of its clauses. Rules stand in the order in which they are tried: SDKs sort them by
// priority, and nothing promises which numbers Harness gives them when they move.
type rule struct {
	Clauses []clause `json:"clauses"`
	Serve   serve    `json:"serve"`
}

// clause is one test of a rule. Those that look at target groups have no attribute, and Harness's console sends none.
type clause struct {
	Attribute string   `json:"attribute,omitempty"`
	Op        string   `json:"op"`
	Values    []string `json:"values"`
	Negate    bool     `json:"negate,omitempty"`
}

// prerequisite is another flag that must serve one of some variations.
type prerequisite struct {
	Feature    string   `json:"feature"`
	Variations []string `json:"variations"`
}

// decode reads a recorded configuration.
func decode(raw json.RawMessage) (configuration, error) {
	var c configuration
	if json.Unmarshal(raw, &c) != nil { // whose text may hold a target's identifier
		return configuration{}, fmt.Errorf("it is not a configuration of Harness")
	}
	c.normalize()
	return c, nil
}

func (c *configuration) normalize() {
	c.DefaultServe.normalize()
	c.Targets = normalMappings(c.Targets)
	c.Rules = append([]rule{}, c.Rules...)
	for i := range c.Rules {
		c.Rules[i].normalize()
	}
	c.Prerequisites = append([]prerequisite{}, c.Prerequisites...)
	for i := range c.Prerequisites {
		p := &c.Prerequisites[i]
		p.Variations = append([]string{}, slices.Sorted(slices.Values(p.Variations))...)
	}
	slices.SortFunc(c.Prerequisites, func(a, b prerequisite) int { return cmp.Compare(a.Feature, b.Feature) })
}

// normalMappings has one mapping for each variation that anybody is served.
func normalMappings(mappings []mapping) []mapping {
	merged := map[string]mapping{}
	for _, m := range mappings {
		one := merged[m.Variation]
		merged[m.Variation] = mapping{m.Variation, slices.Concat(one.Targets, m.Targets), slices.Concat(one.Segments, m.Segments)}
	}
	out := []mapping{}
	for _, variation := range slices.Sorted(maps.Keys(merged)) {
		m := merged[variation]
		m.Targets = slices.Compact(slices.Sorted(slices.Values(m.Targets)))
		m.Segments = slices.Compact(slices.Sorted(slices.Values(m.Segments)))
		if len(m.Targets)+len(m.Segments) > 0 {
			out = append(out, m)
		}
	}
	return out
}

func (r *rule) normalize() {
	r.Serve.normalize()
	r.Clauses = append([]clause{}, r.Clauses...)
	for i := range r.Clauses {
		one := &r.Clauses[i]
		one.Values = append([]string{}, one.Values...)
		if one.Op == segmentMatch {
			one.Attribute = "" // SDKs don't look at it
		}
	}
}

// normalize drops what the SDK's evaluator doesn't look at: a variation beside a distribution.
func (s *serve) normalize() {
	if s.Distribution == nil {
		return
	}
	if len(s.Distribution.Variations) == 0 {
		s.Distribution = nil
		return
	}
	s.Variation = ""
	s.Distribution = &distribution{
		BucketBy:   cmp.Or(s.Distribution.BucketBy, byIdentifier),
		Variations: slices.Clone(s.Distribution.Variations),
	}
}

// equal compares normal forms.
func (c configuration) equal(other configuration) bool { return reflect.DeepEqual(c, other) }

// differences names in words what differs between two normal forms, never a target's identifier.
func differences(ours, current configuration) []string {
	var out []string
	differ := func(what string, a, b any) {
		if !reflect.DeepEqual(a, b) {
			out = append(out, what)
		}
	}
	if ours.On != current.On {
		out = append(out, map[bool]string{true: "it was turned on", false: "it was turned off"}[current.On])
	}
	differ("the default rule serves something else", ours.DefaultServe, current.DefaultServe)
	differ("the off variation is another", ours.OffVariation, current.OffVariation)
	differ("the individual targets are others", ours.Targets, current.Targets)
	differ("the rules are others", ours.Rules, current.Rules)
	differ("the prerequisites are others", ours.Prerequisites, current.Prerequisites)
	return out
}
