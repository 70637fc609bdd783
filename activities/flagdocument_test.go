package activities

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/devstack/harnessserver"
)

// document is a flag as its service holds it, without versions, dates, and what means nothing; nil for none.
type document map[string]any

// reading is a document in the terms of the plan: what a stage may change, apart from what it never may.
type reading struct {
	On       bool
	Off      string             // what is served while it is off
	Usual    map[string]float64 // the default rule: percent by value
	Kind     string             // of the contexts that a percentage is taken over
	Named    map[string]string  // users, by the value they are served
	Above    int                // rules and prerequisites that somebody has put before the default rule
	Archived bool
	Rest     any
}

func same(a, b any) bool {
	x, err := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err == nil && err2 == nil && string(x) == string(y)
}

// ofLaunchDarkly normalizes what LaunchDarkly, its SDKs and the file have in common.
func ofLaunchDarkly(flag map[string]any, archived bool) document {
	if flag == nil {
		return nil
	}
	delete(flag, "version")
	flag["archived"] = archived
	if rollout, ok := at(flag, "fallthrough", "rollout").(map[string]any); ok {
		var weights []any
		for _, w := range list(rollout["variations"]) {
			if at(w, "weight") != 0.0 { // said or not
				weights = append(weights, w)
			}
		}
		rollout["variations"] = weights
	}
	for _, rule := range list(flag["rules"]) {
		if byTheSwitch(rule) { // one that has grown is made anew, by ids that LaunchDarkly gives; others keep theirs
			delete(rule.(map[string]any), "_id")
			for _, clause := range list(at(rule, "clauses")) {
				delete(clause.(map[string]any), "_id")
			}
		}
	}
	return flag
}

func at(value any, path ...string) any {
	for _, name := range path {
		object, _ := value.(map[string]any)
		value = object[name]
	}
	return value
}

func list(value any) []any {
	all, _ := value.([]any)
	return all
}

// byTheSwitch tells the rules that the kill switch makes.
func byTheSwitch(rule any) bool {
	return strings.HasPrefix(fmt.Sprint(at(rule, "description")), "contraflow: ")
}

// says reads a document of any service.
func (d document) says() reading {
	switch {
	case d == nil:
		return reading{}
	case d["envProperties"] != nil:
		return d.asHarness()
	case d["percent"] != nil:
		return d.asPostgres()
	}
	return d.asLaunchDarkly()
}

func (d document) without(members ...string) any {
	rest := maps.Clone(d)
	for _, name := range members {
		delete(rest, name)
	}
	return rest
}

func (d document) asLaunchDarkly() reading {
	values := list(d["variations"])
	value := func(index any) string {
		if i, ok := index.(float64); ok {
			return fmt.Sprint(values[int(i)])
		}
		return ""
	}
	s := reading{On: d["on"] == true, Off: value(d["offVariation"]), Archived: d["archived"] == true, Usual: map[string]float64{}, Named: map[string]string{},
		Above: len(list(d["prerequisites"]))}
	if rollout := at(d["fallthrough"], "rollout"); rollout != nil {
		for _, w := range list(at(rollout, "variations")) {
			s.Usual[value(at(w, "variation"))] += at(w, "weight").(float64) / 1000
		}
		s.Kind = fmt.Sprint(at(rollout, "contextKind"))
	} else {
		s.Usual[value(at(d["fallthrough"], "variation"))] = 100
	}
	for _, member := range []string{"targets", "contextTargets"} {
		for _, t := range list(d[member]) {
			for _, user := range list(at(t, "values")) {
				s.Named[user.(string)] = value(at(t, "variation"))
			}
		}
	}
	theirs := []any{}
	for _, rule := range list(d["rules"]) {
		if !byTheSwitch(rule) {
			theirs = append(theirs, rule)
			continue
		}
		for _, clause := range list(at(rule, "clauses")) {
			for _, user := range list(at(clause, "values")) {
				s.Named[user.(string)] = string(flags.StageOff)
			}
		}
	}
	s.Above += len(theirs)
	s.Rest = []any{d.without("on", "archived", "offVariation", "fallthrough", "targets", "contextTargets", "rules"), theirs}
	return s.alone()
}

// alone drops the kind where nothing is taken over it.
func (s reading) alone() reading {
	if len(s.Usual) == 1 {
		s.Kind = ""
	}
	return s
}

func ofHarness(t require.TestingT, feature harnessserver.Feature) document {
	raw, err := json.Marshal(feature)
	require.NoError(t, err)
	var d document
	require.NoError(t, json.Unmarshal(raw, &d))
	env := d["envProperties"].(map[string]any)
	var named []any
	for _, m := range list(env["variationMap"]) {
		if len(list(at(m, "targets")))+len(list(at(m, "targetSegments"))) > 0 { // it keeps those that had some once
			named = append(named, m)
		}
	}
	env["variationMap"] = named
	return d
}

func (d document) asHarness() reading {
	env := d["envProperties"]
	s := reading{On: at(env, "state") == "on", Off: at(env, "offVariation").(string), Archived: d["archived"] == true, Usual: map[string]float64{},
		Named: map[string]string{}, Above: len(list(at(env, "rules"))) + len(list(d["prerequisites"]))}
	if distribution := at(env, "defaultServe", "distribution"); distribution != nil {
		for _, w := range list(at(distribution, "variations")) {
			if weight := at(w, "weight").(float64); weight > 0 {
				s.Usual[at(w, "variation").(string)] += weight
			}
		}
		s.Kind = "user"
	} else {
		s.Usual[fmt.Sprint(at(env, "defaultServe", "variation"))] = 100
	}
	for _, m := range list(at(env, "variationMap")) {
		for _, target := range list(at(m, "targets")) {
			s.Named[at(target, "identifier").(string)] = at(m, "variation").(string)
		}
	}
	s.Rest = []any{d.without("envProperties", "archived"), at(env, "rules")}
	return s.alone()
}

func (d document) asPostgres() reading {
	percent := d["percent"].(float64)
	s := reading{On: d["on"] == true, Off: "false", Archived: d["archived"] == true, Kind: d["kind"].(string), Named: map[string]string{}, Rest: d["salt"],
		Usual: map[string]float64{"true": percent, "false": 100 - percent}}
	maps.DeleteFunc(s.Usual, func(_ string, percent float64) bool { return percent == 0 })
	for _, value := range []string{"true", "false"} {
		for _, user := range list(at(d["targets"], "user", value)) {
			s.Named[user.(string)] = value
		}
	}
	return s.alone()
}

// lit tells whether it serves anybody anything but off.
func (s reading) lit() bool {
	return s.On && s.Usual[string(flags.StageOff)] != 100
}

// reach is how far it serves the new shape by its default rule: a percentage, or the order of a stage.
func (s reading) reach() float64 {
	if !s.On {
		return -1
	}
	for value, percent := range s.Usual {
		if order := flags.Stage(value).Order(); order >= 0 && percent == 100 {
			return float64(order)
		}
	}
	return s.Usual["true"]
}

// with is what a change makes of it.
func (s reading) with(c flags.Change) reading {
	s.Named = maps.Clone(s.Named)
	for _, user := range c.Targets["user"] {
		s.Named[user] = "true"
	}
	staged := false
	for value := range s.Usual {
		staged = staged || flags.Stage(value).Order() >= 0
	}
	switch {
	case c.Exclude != nil:
		s.Named[c.Exclude.Key] = map[bool]string{false: "false", true: string(flags.StageOff)}[staged]
	case c.Stage == flags.StageOff, c.Stage == "" && c.Percent == 0 && !c.Named():
		s.On, s.Off = false, map[bool]string{false: "false", true: string(flags.StageOff)}[staged]
	case c.Stage != "":
		s.On, s.Usual = true, map[string]float64{string(c.Stage): 100}
	default:
		s.On, s.Kind, s.Usual = true, "user", map[string]float64{"true": float64(c.Percent), "false": 100 - float64(c.Percent)}
		maps.DeleteFunc(s.Usual, func(_ string, percent float64) bool { return percent == 0 })
	}
	return s.alone()
}
