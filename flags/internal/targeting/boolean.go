package targeting

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/contraflow/contraflow/flags"
)

// Boolean holds the indexes of a boolean flag's variations.
type Boolean struct{ True, False int }

// NewBoolean finds the two variations. Anything but exactly one true and one false is flags.ErrNotBoolean.
func NewBoolean(key string, variations []any) (Boolean, error) {
	b := Boolean{True: -1, False: -1}
	for i, value := range variations {
		switch value {
		case true:
			b.True = i
		case false:
			b.False = i
		}
	}
	if len(variations) != 2 || b.True < 0 || b.False < 0 {
		return Boolean{}, fmt.Errorf("flag %q has %d variations: give a migration a flag with exactly true and false: %w",
			key, len(variations), flags.ErrNotBoolean)
	}
	return b, nil
}

// Want returns the targeting in which c is served. It refuses what could not be put back afterwards.
func (b Boolean) Want(key string, current Targeting, c flags.Change) (Targeting, error) {
	if err := c.Validate(); err != nil {
		return Targeting{}, fmt.Errorf("flag %q: %w", key, err)
	}
	want := current
	if c.Percent == 0 {
		if current.OffVariation == nil {
			return Targeting{}, fmt.Errorf("flag %q serves no variation when off: give it an off variation first: %w",
				key, flags.ErrNotRestorable)
		}
		want.On, want.OffVariation = false, &b.False
		return want, nil
	}
	if r := current.Fallthrough.Rollout; r != nil && (r.Kind != "" || r.Seed != nil) {
		return Targeting{}, fmt.Errorf("flag %q runs an experiment on its default rule: stop the experiment first: %w",
			key, flags.ErrNotRestorable)
	}
	want.On = true
	if c.Percent == 100 {
		want.Fallthrough = Serve{Variation: &b.True}
		return want, nil
	}
	// In the order of their indexes, as LaunchDarkly keeps them: contexts once served true then stay so as it grows.
	weights := make([]Weight, 2)
	weights[b.True] = Weight{Variation: b.True, Weight: c.Percent * fullWeight / 100}
	weights[b.False] = Weight{Variation: b.False, Weight: fullWeight - weights[b.True].Weight}
	want.Fallthrough = Serve{Rollout: &Rollout{
		ContextKind: cmp.Or(c.ContextKind, flags.DefaultContextKind), Variations: weights,
	}}
	if standing := b.percent(current.Fallthrough); current.On && standing > 0 && standing < 100 {
		if err := current.Fallthrough.Rollout.sameBuckets(*want.Fallthrough.Rollout); err != nil {
			return Targeting{}, fmt.Errorf("flag %q is rolled out to %v %%, and going on with it differently would take it from some who "+
				"are served true (%w): give the plan the same contextKind, or bring the flag to 0 or 100 %% by hand first: %w",
				key, standing, err, flags.ErrInvalid)
		}
	}
	return want, nil
}

// sameBuckets says what makes two rollouts distribute contexts differently, apart from the weights.
func (r Rollout) sameBuckets(want Rollout) error {
	switch {
	case r.ContextKind != want.ContextKind:
		return fmt.Errorf("it distributes by %s, not by %s", r.ContextKind, want.ContextKind)
	case r.BucketBy != want.BucketBy:
		return fmt.Errorf("it distributes by the attribute %s, not by the key", r.BucketBy)
	case !slices.Equal(r.order(), want.order()):
		return errors.New("it counts true and false in another order")
	}
	return nil
}

// order of the variations that anybody is served: it decides who gets which.
func (r Rollout) order() []int {
	var out []int
	for _, w := range r.Variations {
		if w.Weight > 0 {
			out = append(out, w.Variation)
		}
	}
	return out
}

// State describes t.
func (b Boolean) State(provider, key string, version int, archived bool, t Targeting) (flags.State, error) {
	config, err := t.Encode()
	if err != nil {
		return flags.State{}, fmt.Errorf("encode the configuration of flag %q: %w", key, err)
	}
	state := flags.State{
		Provider: provider, Key: key, Version: version, Archived: archived, On: t.On, Summary: "off", Config: config,
	}
	if t.On {
		state.Percent = b.percent(t.Fallthrough)
		state.Summary = "on: " + strconv.FormatFloat(state.Percent, 'f', -1, 64) + " % true" + details(t)
		state.Exceptions = exceptions(t)
	}
	if archived {
		state.Summary = "archived"
	}
	return state, nil
}

func (b Boolean) percent(s Serve) float64 {
	if s.Rollout == nil {
		if s.Variation != nil && *s.Variation == b.True {
			return 100
		}
		return 0
	}
	weight := 0
	for _, w := range s.Rollout.Variations {
		if w.Variation == b.True {
			weight += w.Weight
		}
	}
	return float64(weight) * 100 / fullWeight
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
