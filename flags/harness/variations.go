package harness

import (
	"fmt"
	"slices"

	"github.com/contraflow/contraflow/flags"
)

// The kinds of flags that a migration can use.
const (
	kindBoolean = "boolean"
	kindString  = "string"
)

// values are a flag's variations, by their identifiers and what they mean: true and false, or the stages of a migration flag,
// which Harness has no kind of its own for: it is a string flag with six variations, and applications ask for the text.
type values struct {
	yes, no string
	stages  map[flags.Stage]string // nil for a boolean flag
}

// newValues finds out which. Anything but a boolean flag of exactly true and false, or a string flag of exactly the six stages, is
// flags.ErrNotBoolean: SDKs of some languages serve nothing where an application asks for another kind.
func newValues(key, kind string, variations []variation) (values, error) {
	ids := map[string]string{}
	for _, v := range variations {
		ids[fmt.Sprint(v.Value)] = v.Identifier // Harness writes values as texts, whatever their kind
	}
	has := func(value string) bool { return ids[value] != "" }
	stages := flags.Stages()
	switch {
	case kind == kindBoolean && len(variations) == 2 && has("true") && has("false"):
		return values{yes: ids["true"], no: ids["false"]}, nil
	case kind == kindString && len(variations) == len(stages) && !slices.ContainsFunc(stages, func(s flags.Stage) bool { return !has(string(s)) }):
		v := values{stages: map[flags.Stage]string{}}
		for _, stage := range stages {
			v.stages[stage] = ids[string(stage)]
		}
		return v, nil
	}
	return values{}, fmt.Errorf("flag %q is a %s flag with %d variations, neither a boolean one with exactly true and false nor a string one "+
		"with the six stages %v: give a migration one of both: %w", key, kind, len(variations), stages, flags.ErrNotBoolean)
}

// off is what a flag serves that is to do nothing.
func (v values) off() string {
	if v.stages != nil {
		return v.stages[flags.StageOff]
	}
	return v.no
}

// stage that a variation is; "" for those of boolean flags.
func (v values) stage(variation string) flags.Stage {
	for stage, id := range v.stages {
		if id == variation {
			return stage
		}
	}
	return ""
}

// percents of targets that s serves each variation.
func (s serve) percents() map[string]int {
	if s.Distribution == nil {
		return map[string]int{s.Variation: everybody}
	}
	out := map[string]int{}
	for _, w := range s.Distribution.Variations {
		out[w.Variation] += w.Weight
	}
	return out
}

// only is the one variation that s serves; empty if it may be one or another.
func (s serve) only() string {
	for variation, percent := range s.percents() {
		if percent >= everybody {
			return variation
		}
	}
	return ""
}
