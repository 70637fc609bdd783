package targeting

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/contraflow/contraflow/flags"
)

// Boolean holds the indexes of a boolean flag's variations.
type Boolean struct{ True, False int }

// Want returns the targeting in which c is served.
func (b Boolean) Want(key string, current Targeting, c flags.Change) (Targeting, error) {
	if err := c.Validate(); err != nil {
		return Targeting{}, fmt.Errorf("flag %q: %w", key, err)
	}
	switch {
	case c.Stage != "":
		return Targeting{}, fmt.Errorf("flag %q serves true and false and has no stage %q: move it by percentages: %w", key, c.Stage, flags.ErrInvalid)
	case c.Exclude != nil:
		if err := current.excludable(key, b.False, "true"); err != nil {
			return current, err
		}
		return current.aimFirst(c.Exclude.Kind, c.Exclude.Key, b.False), nil
	case c.Percent == 0 && !c.Named():
		return current.off(key, b.False)
	}
	if err := experimenting(key, current); err != nil {
		return Targeting{}, err
	}
	if off := current.OffVariation; !current.On && off != nil && *off == b.True && c.Percent < 100 {
		return Targeting{}, fmt.Errorf("flag %q serves true to everybody while it is off, and %d %% would take it from some: let its off "+
			"variation serve false first: %w", key, c.Percent, flags.ErrInvalid)
	}
	want, err := b.rollout(key, current, c)
	if err != nil {
		return Targeting{}, err
	}
	for _, kind := range slices.Sorted(maps.Keys(c.Targets)) {
		want = want.aim(kind, c.Targets[kind], b.True)
	}
	if len(c.Segments) > 0 {
		want = want.favour(c.Segments, b.True)
	}
	return want, nil
}

// rollout turns the flag on and lets its default rule serve true to a percentage.
func (b Boolean) rollout(key string, current Targeting, c flags.Change) (Targeting, error) {
	want := current
	want.On = true
	switch c.Percent {
	case 0:
		want.Fallthrough = Serve{Variation: &b.False}
		return want, nil
	case 100:
		want.Fallthrough = Serve{Variation: &b.True}
		return want, nil
	}
	standing := b.percent(current.Fallthrough)
	rolling := current.On && standing > 0 && standing < 100
	want.Fallthrough = Serve{Rollout: &Rollout{
		ContextKind: cmp.Or(c.ContextKind, flags.DefaultContextKind), Variations: b.weights(c.Percent, current, rolling),
	}}
	if rolling {
		if err := current.Fallthrough.Rollout.sameBuckets(*want.Fallthrough.Rollout); err != nil {
			return Targeting{}, fmt.Errorf("flag %q is rolled out to %v %%, and going on with it differently would take it from some who "+
				"are served true (%w): give the plan the same contextKind, or bring the flag to 0 or 100 %% by hand first: %w",
				key, standing, err, flags.ErrInvalid)
		}
	}
	return want, nil
}

// weights in the order of their indexes, as LaunchDarkly keeps them: contexts once served true then stay so as it grows. SDKs
// serve the first of them to contexts that lack the rollout's kind. So where the order is ours that is false, unless a rollout
// that goes on begins with true.
func (b Boolean) weights(percent int, current Targeting, rolling bool) []Weight {
	yes := Weight{Variation: b.True, Weight: percent * fullWeight / 100}
	no := Weight{Variation: b.False, Weight: fullWeight - yes.Weight}
	first := b.True == 0
	if current.Ordered {
		first = rolling && current.Fallthrough.Rollout.Variations[0].Variation == b.True
	}
	if first {
		return []Weight{yes, no}
	}
	return []Weight{no, yes}
}

// sameBuckets says what makes two rollouts distribute contexts differently, apart from the weights.
func (r Rollout) sameBuckets(want Rollout) error {
	order := func(r Rollout) []int {
		var out []int
		for _, w := range r.Variations {
			out = append(out, w.Variation)
		}
		return out
	}
	switch {
	case r.ContextKind != want.ContextKind:
		return fmt.Errorf("it distributes by %s, not by %s", r.ContextKind, want.ContextKind)
	case r.BucketBy != want.BucketBy:
		return fmt.Errorf("it distributes by the attribute %s, not by the key", r.BucketBy)
	case !slices.Equal(order(r), order(want)):
		return errors.New("it counts true and false in another order")
	}
	return nil
}

// State describes t.
func (b Boolean) State(provider, key string, version int, archived bool, t Targeting) (flags.State, error) {
	state, err := describe(provider, key, version, archived, t)
	if err == nil && !t.On && !archived && t.OffVariation != nil && *t.OffVariation == b.True {
		state.Summary = "off: true"
	}
	if err == nil && t.On {
		state.Percent = b.percent(t.Fallthrough)
		if !archived {
			state.Summary = "on: " + strconv.FormatFloat(state.Percent, 'f', -1, 64) + " % true" + details(t)
		}
	}
	return state, err
}

func (b Boolean) percent(s Serve) float64 { return s.percents()[b.True] }
