package targeting

import (
	"fmt"

	"github.com/contraflow/contraflow/flags"
)

// describe fills in what is alike for all kinds of flags.
func describe(provider, key string, version int, archived bool, t Targeting) (flags.State, error) {
	config, err := t.Encode()
	if err != nil {
		return flags.State{}, fmt.Errorf("encode the configuration of flag %q: %w", key, err)
	}
	state := flags.State{
		Provider: provider, Key: key, Version: version, Archived: archived, On: t.On, Summary: "off", Config: config,
	}
	if t.On {
		state.Exceptions = exceptions(t)
	}
	if archived {
		state.Summary = "archived"
	}
	return state, nil
}

// details counts what comes before the default rule.
func details(t Targeting) string {
	var out string
	for _, what := range []string{
		count(targeted(t, nil), "target"), count(len(t.Rules), "rule"), count(len(t.Prerequisites), "prerequisite"),
	} {
		if what != "" {
			out += ", " + what
		}
	}
	return out
}

// exceptions names what can serve another variation than the default rule of a flag that is on.
func exceptions(t Targeting) []string {
	usual := t.Fallthrough.only()
	rules := 0
	for _, r := range t.Rules {
		if v := r.only(); v == nil || usual == nil || *v != *usual {
			rules++
		}
	}
	var out []string
	for _, what := range []string{count(targeted(t, usual), "target"), count(rules, "rule")} {
		if what != "" {
			out = append(out, what)
		}
	}
	if usual == nil || t.OffVariation == nil || *t.OffVariation != *usual { // which is what an unmet prerequisite leaves
		for _, p := range t.Prerequisites {
			out = append(out, "prerequisite "+p.Key)
		}
	}
	return out
}

// percents of contexts by the variation that they are served.
func (s Serve) percents() map[int]float64 {
	out := map[int]float64{}
	if s.Rollout == nil {
		if s.Variation != nil {
			out[*s.Variation] = 100
		}
		return out
	}
	for _, w := range s.Rollout.Variations {
		out[w.Variation] += float64(w.Weight) * 100 / fullWeight
	}
	return out
}

// only is the one variation that s serves; nil if it may be one or another, or none.
func (s Serve) only() *int {
	if s.Rollout == nil {
		return s.Variation
	}
	for _, w := range s.Rollout.Variations {
		if w.Weight >= fullWeight {
			return &w.Variation
		}
	}
	return nil
}

// targeted counts the contexts that are targeted by key, without those who are served one variation.
func targeted(t Targeting, without *int) int {
	n := 0
	for _, list := range [][]Target{t.Targets, t.ContextTargets} {
		for _, target := range list {
			if without == nil || target.Variation != *without {
				n += len(target.Values)
			}
		}
	}
	return n
}

func count(n int, what string) string {
	switch n {
	case 0:
		return ""
	case 1:
		return "1 " + what
	default:
		return fmt.Sprintf("%d %ss", n, what)
	}
}
