package harness

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/contraflow/contraflow/flags"
)

// state describes c.
func (v values) state(key string, version int, archived bool, c configuration) (flags.State, error) {
	raw, err := json.Marshal(c)
	if err != nil {
		return flags.State{}, fmt.Errorf("encode the configuration of flag %q: %w", key, err)
	}
	out := flags.State{
		Provider: Name, Key: key, Version: version, Archived: archived, On: c.On, Stage: v.stage(c.OffVariation), Summary: "off", Config: raw,
	}
	if c.On {
		out.Stage = v.stage(c.DefaultServe.only())
		if v.stages == nil {
			out.Percent = float64(c.DefaultServe.percents()[v.yes])
		}
		before := append(c.before(""), count(len(c.Prerequisites), "prerequisite"))
		out.Summary = strings.Join(said("on: "+v.usual(c.DefaultServe), before...), ", ")
		out.Exceptions = c.exceptions()
	} else if c.OffVariation != v.off() {
		out.Summary = "off: true"
		if v.stages != nil {
			out.Summary = "off: stage " + string(out.Stage)
		}
	}
	if archived {
		out.Summary = "archived"
	}
	return out, nil
}

// usual is what a default rule serves, in words: "25 % true", "stage shadow", "50 % shadow, 50 % live".
func (v values) usual(s serve) string {
	percents := s.percents()
	if v.stages == nil {
		return strconv.Itoa(percents[v.yes]) + " % true"
	}
	if stage := v.stage(s.only()); stage != "" {
		return "stage " + string(stage)
	}
	var shares []string
	for _, stage := range flags.Stages() {
		if percent := percents[v.stages[stage]]; percent > 0 {
			shares = append(shares, strconv.Itoa(percent)+" % "+string(stage))
		}
	}
	return strings.Join(shares, ", ")
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
	return said(count(targets, "target"), count(segments, "target group"), count(rules, "rule"))
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
	return out
}

// launched is a flag that is on and serves everybody one value.
func (c configuration) launched() bool {
	return c.On && c.DefaultServe.only() != "" && len(c.exceptions()) == 0
}

// said leaves out what is empty; nil if nothing is left.
func said(first string, more ...string) []string {
	out := slices.DeleteFunc(append([]string{first}, more...), func(what string) bool { return what == "" })
	if len(out) == 0 {
		return nil
	}
	return out
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
