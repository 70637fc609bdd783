package harness

import (
	"fmt"
	"maps"
	"slices"

	"github.com/contraflow/contraflow/flags"
)

// segmentMatch is the operator of a clause that looks at target groups.
const segmentMatch = "segmentMatch"

// bucketBy is the attribute that stands for a context kind: Harness has one kind of target, with attributes.
func bucketBy(contextKind string) string {
	if contextKind == "" || contextKind == flags.DefaultContextKind {
		return byIdentifier
	}
	return contextKind
}

// want returns the configuration in which c is served, and leaves current as it is. It refuses what would take true from some
// who are served it.
func (v values) want(key string, current configuration, c flags.Change) (configuration, error) {
	if err := c.Validate(); err != nil {
		return configuration{}, fmt.Errorf("flag %q: %w", key, err)
	}
	if err := v.refuse(key, current, c); err != nil {
		return configuration{}, err
	}
	if err := nameable(key, current, c); err != nil {
		return configuration{}, err
	}
	want := current
	if c.Exclude != nil {
		want = current.aim([]string{c.Exclude.Key}, v.off())
		return want, v.excludable(key, current)
	}
	want = want.aim(c.Targets[flags.DefaultContextKind], v.yes).favour(c.Segments, v.yes)
	switch {
	case c.Stage == flags.StageOff, c.Stage == "" && c.Percent == 0 && !c.Named():
		want.On, want.OffVariation = false, v.off()
	case c.Stage != "":
		want.On = true
		if usual := v.stages[c.Stage]; current.DefaultServe.only() != usual {
			want.DefaultServe = serve{Variation: usual}
		}
	case c.Percent == 0:
		want.On, want.DefaultServe = true, serve{Variation: v.no}
	case c.Percent == everybody:
		want.On, want.DefaultServe = true, serve{Variation: v.yes}
	default:
		rollout, err := v.rollout(key, current, c)
		if err != nil {
			return configuration{}, err
		}
		want.On, want.DefaultServe = true, serve{Distribution: &rollout}
	}
	return want, nil
}

// refuse says what this flag, or Harness, has no way to serve.
func (v values) refuse(key string, current configuration, c flags.Change) error {
	kinds := slices.Collect(maps.Keys(c.Targets))
	if c.Exclude != nil {
		kinds = append(kinds, c.Exclude.Kind)
	}
	for _, kind := range kinds {
		if kind != flags.DefaultContextKind {
			return fmt.Errorf("flag %q: Harness knows targets of one kind, no %s: name their identifiers under %s, or put them into a target "+
				"group by an attribute: %w", key, kind, flags.DefaultContextKind, flags.ErrInvalid)
		}
	}
	switch {
	case v.stages == nil && c.Stage != "":
		return fmt.Errorf("flag %q is boolean and knows no stage %s: move it by percentages, or give the plan a flag with the variations "+
			"%v: %w", key, c.Stage, flags.Stages(), flags.ErrNotBoolean)
	case v.stages != nil && c.Stage == "" && c.Exclude == nil:
		return fmt.Errorf("flag %q is a migration flag: move it by stages %v, without percentages, targets and segments: %w",
			key, flags.Stages(), flags.ErrNotBoolean)
	case v.stages == nil && !current.On && current.OffVariation == v.yes && (c.Percent > 0 || c.Named()) && c.Percent < everybody:
		return fmt.Errorf("flag %q serves true to everybody while it is off, and %d %% would take it from some: let its off variation "+
			"serve false first: %w", key, c.Percent, flags.ErrInvalid)
	}
	to := v.yes
	if c.Exclude != nil {
		to = v.off()
	}
	for _, m := range current.Targets {
		if (c.Named() || c.Exclude != nil) && m.Variation != to && len(m.Segments) > 0 {
			// SDKs take the variations one after the other, targets and groups of each: who is named under a later one is not seen,
			// and rules come behind all.
			return fmt.Errorf("flag %q serves the target group %q without a rule, which may go before targets and goes before rules: let a rule "+
				"serve that group instead (in Harness, take the flag off the group, and add the group on the flag's own page): %w",
				key, m.Segments[0], flags.ErrInvalid)
		}
	}
	return nil
}

// excludable refuses a flag that serves something else than off to those who are named, too.
func (v values) excludable(key string, current configuration) error {
	const wayOut = "turn it off for everybody instead, by the kill switch without a context, or correct its off variation"
	switch {
	case current.OffVariation == v.off():
	case !current.On:
		return fmt.Errorf("flag %q is off and serves everybody %s then, whoever is named: %s: %w", key, current.OffVariation, wayOut, flags.ErrInvalid)
	case len(current.Prerequisites) > 0:
		return fmt.Errorf("flag %q serves everybody %s while its prerequisite %s is not met, whoever is named: %s: %w",
			key, current.OffVariation, current.Prerequisites[0].Feature, wayOut, flags.ErrInvalid)
	}
	return nil
}

// rollout over true and false. Buckets are handed out in the order of the weights, from the first one on.
func (v values) rollout(key string, current configuration, c flags.Change) (distribution, error) {
	out := distribution{BucketBy: bucketBy(c.ContextKind), Variations: []weight{{v.yes, c.Percent}, {v.no, everybody - c.Percent}}}
	was := current.DefaultServe.Distribution
	if standing := current.DefaultServe.percents()[v.yes]; !current.On || standing <= 0 || standing >= everybody {
		return out, nil
	}
	weights := slices.DeleteFunc(slices.Clone(was.Variations), func(w weight) bool { return w.Weight <= 0 })
	var why string
	switch {
	case was.BucketBy != out.BucketBy:
		why = fmt.Sprintf("it distributes by the attribute %s, not by %s", was.BucketBy, out.BucketBy)
	case len(weights) != 2:
		why = "it counts true or false more than once"
	default:
		if weights[0].Variation == v.no { // who was served true stays so as it grows
			slices.Reverse(out.Variations)
		}
		return out, nil
	}
	return out, fmt.Errorf("flag %q is rolled out to %d %%, and going on with it differently would take it from some who are served true "+
		"(%s): give the plan the same contextKind, or bring the flag to 0 or 100 %% by hand first: %w",
		key, current.DefaultServe.percents()[v.yes], why, flags.ErrInvalid)
}

// aim moves targets under one variation, away from all others.
func (c configuration) aim(targets []string, variation string) configuration {
	if len(targets) == 0 {
		return c
	}
	mappings := []mapping{{Variation: variation, Targets: targets}}
	for _, m := range c.Targets {
		m.Targets = without(m.Targets, targets)
		mappings = append(mappings, m)
	}
	c.Targets = normalMappings(mappings)
	return c
}

// favour lets rules above all others serve a variation to target groups: one rule for each, as Harness's console makes them. One
// rule for several would miss those whom SDKs find excluded from the first group before they look at the second.
func (c configuration) favour(segments []string, variation string) configuration {
	if len(segments) == 0 {
		return c
	}
	var above []rule
	rest := slices.Clone(c.Rules)
	for _, segment := range slices.Compact(slices.Sorted(slices.Values(segments))) {
		ours := func(r rule) bool { return r.favours(segment, variation) }
		one := rule{Serve: serve{Variation: variation}, Clauses: []clause{{Op: segmentMatch, Values: []string{segment}}}}
		if at := slices.IndexFunc(rest, ours); at >= 0 {
			one = rest[at]
		}
		above, rest = append(above, one), slices.DeleteFunc(rest, ours)
	}
	c.Rules = append(above, rest...)
	return c
}

// favours tells whether r does nothing but serve one variation to a target group.
func (r rule) favours(segment, variation string) bool {
	if len(r.Clauses) != 1 || r.Serve.only() != variation {
		return false
	}
	one := r.Clauses[0]
	return one.Op == segmentMatch && !one.Negate && len(one.Values) == 1 && one.Values[0] == segment
}
