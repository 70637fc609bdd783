package harness

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/contraflow/contraflow/flags"
)

// boolean holds the identifiers of a boolean flag's variations.
type boolean struct{ yes, no string }

// newBoolean finds the two variations. Anything but exactly one true and one false is flags.ErrNotBoolean.
func newBoolean(key string, variations []variation) (boolean, error) {
	var b boolean
	for _, v := range variations {
		switch fmt.Sprint(v.Value) { // Harness writes values as texts, whatever their kind
		case "true":
			b.yes = v.Identifier
		case "false":
			b.no = v.Identifier
		}
	}
	if len(variations) != 2 || b.yes == "" || b.no == "" {
		return boolean{}, fmt.Errorf("flag %q has %d variations: give a migration a flag with exactly true and false: %w",
			key, len(variations), flags.ErrNotBoolean)
	}
	return b, nil
}

// bucketBy is the attribute that stands for a context kind: Harness has one kind of target, with attributes.
func bucketBy(contextKind string) string {
	if contextKind == "" || contextKind == flags.DefaultContextKind {
		return byIdentifier
	}
	return contextKind
}

// want returns the configuration in which c is served. It refuses what would take true from some who are served it.
func (b boolean) want(key string, current configuration, c flags.Change) (configuration, error) {
	if err := c.Validate(); err != nil {
		return configuration{}, fmt.Errorf("flag %q: %w", key, err)
	}
	want := current
	if c.Percent == 0 {
		want.On, want.OffVariation = false, b.no
		return want, nil
	}
	want.On = true
	if c.Percent == everybody {
		want.DefaultServe = serve{Variation: b.yes}
		return want, nil
	}
	rollout := &distribution{BucketBy: bucketBy(c.ContextKind), Variations: []weight{{b.yes, c.Percent}, {b.no, everybody - c.Percent}}}
	want.DefaultServe = serve{Distribution: rollout}
	if standing := b.percent(current.DefaultServe); current.On && standing > 0 && standing < everybody {
		was := current.DefaultServe.Distribution
		if was.BucketBy != rollout.BucketBy {
			return configuration{}, fmt.Errorf("flag %q is rolled out to %d %%, and going on with it differently would take it from some "+
				"who are served true (it distributes by the attribute %s, not by %s): give the plan the same contextKind, or bring the flag "+
				"to 0 or 100 %% by hand first: %w", key, standing, was.BucketBy, rollout.BucketBy, flags.ErrInvalid)
		}
		// Buckets are handed out in this order: who was served true stays so as it grows.
		if slices.IndexFunc(was.Variations, func(w weight) bool { return w.Weight > 0 && w.Variation == b.no }) <
			slices.IndexFunc(was.Variations, func(w weight) bool { return w.Weight > 0 && w.Variation == b.yes }) {
			slices.Reverse(rollout.Variations)
		}
	}
	return want, nil
}

// state describes c.
func (b boolean) state(key string, version int, archived bool, c configuration) (flags.State, error) {
	raw, err := json.Marshal(c)
	if err != nil {
		return flags.State{}, fmt.Errorf("encode the configuration of flag %q: %w", key, err)
	}
	out := flags.State{Provider: Name, Key: key, Version: version, Archived: archived, On: c.On, Summary: "off", Config: raw}
	if c.On {
		percent := b.percent(c.DefaultServe)
		out.Percent = float64(percent)
		out.Summary = "on: " + strconv.Itoa(percent) + " % true"
		for _, what := range c.before("") {
			out.Summary += ", " + what
		}
		if n := count(len(c.Prerequisites), "prerequisite"); n != "" {
			out.Summary += ", " + n
		}
		out.Exceptions = c.exceptions()
	}
	if archived {
		out.Summary = "archived"
	}
	return out, nil
}

// percent of targets that s serves true.
func (b boolean) percent(s serve) int {
	if s.Distribution == nil {
		if s.Variation == b.yes {
			return everybody
		}
		return 0
	}
	sum := 0
	for _, w := range s.Distribution.Variations {
		if w.Variation == b.yes {
			sum += w.Weight
		}
	}
	return sum
}

// before counts what comes before the default rule, without what can only serve one variation.
func (c configuration) before(without string) []string {
	targets, segments, rules := 0, 0, 0
	for _, m := range c.Targets {
		if without == "" || m.Variation != without {
			targets += len(m.Targets)
			segments += len(m.Segments)
		}
	}
	for _, r := range c.Rules {
		if without == "" || r.Serve.only() != without {
			rules++
		}
	}
	return slices.DeleteFunc(
		[]string{count(targets, "target"), count(segments, "target group"), count(rules, "rule")},
		func(what string) bool { return what == "" },
	)
}

// exceptions names what can serve another variation than the default rule of a flag that is on.
func (c configuration) exceptions() []string {
	usual := c.DefaultServe.only()
	out := c.before(usual)
	if usual == "" || c.OffVariation != usual { // which is what an unmet prerequisite leaves
		for _, p := range c.Prerequisites {
			out = append(out, "prerequisite "+p.Feature)
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// only is the one variation that s serves; empty if it may be one or another.
func (s serve) only() string {
	if s.Distribution == nil {
		return s.Variation
	}
	for _, w := range s.Distribution.Variations {
		if w.Weight >= everybody {
			return w.Variation
		}
	}
	return ""
}

func count(n int, what string) string {
	switch n {
	case 0:
		return ""
	case 1:
		return "1 " + what
	default:
		return strconv.Itoa(n) + " " + what + "s"
	}
}
