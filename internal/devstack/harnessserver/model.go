package harnessserver

import (
	"encoding/json"
	"slices"
	"time"
)

// Feature is the admin API's representation of a flag.
type Feature struct {
	Identifier          string         `json:"identifier"`
	Name                string         `json:"name"`
	Description         string         `json:"description"`
	Kind                string         `json:"kind"` // boolean, int, string or json
	Project             string         `json:"project"`
	Owner               []string       `json:"owner"`
	Permanent           bool           `json:"permanent"`
	Archived            bool           `json:"archived"`
	CreatedAt           int64          `json:"createdAt"`  // epoch ms
	ModifiedAt          int64          `json:"modifiedAt"` // epoch ms
	DefaultOnVariation  string         `json:"defaultOnVariation"`
	DefaultOffVariation string         `json:"defaultOffVariation"`
	Variations          []Variation    `json:"variations"`
	Prerequisites       []Prerequisite `json:"prerequisites"`
	Tags                []any          `json:"tags"`
	EnvProperties       *Environment   `json:"envProperties,omitempty"`
	Status              *Status        `json:"status,omitempty"`
}

// Variation is one value a flag may serve, as text whatever the flag's kind.
type Variation struct {
	Identifier string `json:"identifier"`
	Name       string `json:"name"`
	Value      string `json:"value"`
}

// Status says whether SDKs evaluate the flag.
type Status struct {
	Status     string `json:"status"`     // never-requested or active
	LastAccess int64  `json:"lastAccess"` // epoch ms
}

// Environment is a flag's configuration in one environment.
type Environment struct {
	Environment  string         `json:"environment"`
	State        string         `json:"state"` // on or off
	OffVariation string         `json:"offVariation"`
	DefaultServe Serve          `json:"defaultServe"`
	VariationMap []VariationMap `json:"variationMap"`
	Rules        []Rule         `json:"rules"`
	Version      int            `json:"version"`
	ModifiedAt   int64          `json:"modifiedAt"` // epoch ms
	Piped        bool           `json:"pipelineConfigured"`
}

// Serve is one variation, by identifier, or a distribution.
type Serve struct {
	Variation    string        `json:"variation,omitempty"`
	Distribution *Distribution `json:"distribution,omitempty"`
}

// Distribution over variations by a target's attribute.
type Distribution struct {
	BucketBy   string   `json:"bucketBy"`
	Variations []Weight `json:"variations"`
}

// Weight is in percent.
type Weight struct {
	Variation string `json:"variation"`
	Weight    int    `json:"weight"`
}

// VariationMap serves one variation to targets and target groups.
type VariationMap struct {
	Variation      string   `json:"variation"`
	Targets        []Target `json:"targets"`
	TargetSegments []string `json:"targetSegments"`
}

// Target is named.
type Target struct {
	Identifier string `json:"identifier"`
	Name       string `json:"name"`
}

// Rule serves targets that match all clauses.
type Rule struct {
	RuleID   string   `json:"ruleId"`
	Priority int      `json:"priority"`
	Clauses  []Clause `json:"clauses"`
	Serve    Serve    `json:"serve"`
}

// Clause is one test of a rule.
type Clause struct {
	ID        string   `json:"id"`
	Attribute string   `json:"attribute"`
	Op        string   `json:"op"`
	Values    []string `json:"values"`
	Negate    bool     `json:"negate"`
}

// Prerequisite is another flag that must serve one of some variations.
type Prerequisite struct {
	Feature    string   `json:"feature"`
	Variations []string `json:"variations"`
}

// clone copies deeply: what is handed out must not change under the reader.
func (f Feature) clone() (Feature, error) {
	raw, err := json.Marshal(f)
	if err != nil {
		return Feature{}, err
	}
	var out Feature
	err = json.Unmarshal(raw, &out)
	return out, err
}

func (f Feature) has(variation string) bool {
	return slices.ContainsFunc(f.Variations, func(v Variation) bool { return v.Identifier == variation })
}

// equip gives a new flag its environment: off, with its default on variation for everybody.
func (f *Feature) equip(environment string, now time.Time) {
	f.CreatedAt, f.ModifiedAt = now.UnixMilli(), now.UnixMilli()
	f.Owner, f.Tags = append([]string{}, f.Owner...), append([]any{}, f.Tags...)
	f.Prerequisites = append([]Prerequisite{}, f.Prerequisites...)
	f.EnvProperties = &Environment{
		Environment: environment, State: "off", OffVariation: f.DefaultOffVariation, Version: 1, ModifiedAt: now.UnixMilli(),
		DefaultServe: Serve{Variation: f.DefaultOnVariation}, VariationMap: []VariationMap{}, Rules: []Rule{},
	}
}

// config is the same flag as SDKs receive it.
type config struct {
	Feature       string         `json:"feature"`
	Project       string         `json:"project"`
	Environment   string         `json:"environment"`
	Kind          string         `json:"kind"`
	State         string         `json:"state"`
	OffVariation  string         `json:"offVariation"`
	DefaultServe  Serve          `json:"defaultServe"`
	VariationMap  []VariationMap `json:"variationToTargetMap"`
	Rules         []Rule         `json:"rules"`
	Prerequisites []Prerequisite `json:"prerequisites"`
	Variations    []Variation    `json:"variations"`
	Version       int            `json:"version"`
}

func (s *Server) forSDK(f Feature) config {
	e := f.EnvProperties
	return config{
		Feature: f.Identifier, Project: f.Project, Environment: e.Environment, Kind: f.Kind, State: e.State,
		OffVariation: e.OffVariation, DefaultServe: e.DefaultServe, VariationMap: e.VariationMap, Rules: e.Rules,
		Prerequisites: f.Prerequisites, Variations: f.Variations, Version: e.Version + s.options.SDKVersions,
	}
}
