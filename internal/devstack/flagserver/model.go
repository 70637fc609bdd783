package flagserver

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/google/uuid"
)

// Flag is the REST representation of a flag.
type Flag struct {
	Key          string                  `json:"key"`
	Name         string                  `json:"name"`
	Description  string                  `json:"description"`
	Kind         string                  `json:"kind"` // boolean or multivariate
	Version      int                     `json:"_version"`
	CreationDate int64                   `json:"creationDate"` // epoch ms
	Archived     bool                    `json:"archived"`
	ArchivedDate int64                   `json:"archivedDate,omitempty"` // epoch ms
	Temporary    bool                    `json:"temporary"`
	Tags         []string                `json:"tags"`
	Variations   []Variation             `json:"variations"`
	Defaults     Defaults                `json:"defaults"`
	MaintainerID string                  `json:"maintainerId,omitempty"`
	Team         string                  `json:"maintainerTeamKey,omitempty"`
	Purpose      string                  `json:"_purpose,omitempty"` // migration, or empty
	Migration    *MigrationSettings      `json:"migrationSettings,omitempty"`
	Environments map[string]*Environment `json:"environments"`
}

// MigrationSettings of a flag whose purpose is migration.
type MigrationSettings struct {
	ContextKind string `json:"contextKind,omitempty"`
	StageCount  int    `json:"stageCount"`
}

// Variation is one value a flag may serve.
type Variation struct {
	ID    string `json:"_id"`
	Value any    `json:"value"`
	Name  string `json:"name,omitempty"`
}

// Defaults are the indexes of the variations a new environment starts with.
type Defaults struct {
	OnVariation  int `json:"onVariation"`
	OffVariation int `json:"offVariation"`
}

// Environment is a flag's configuration in one environment.
type Environment struct {
	On                     bool           `json:"on"`
	Archived               bool           `json:"archived"`
	Salt                   string         `json:"salt"`
	Sel                    string         `json:"sel"`
	LastModified           int64          `json:"lastModified"` // epoch ms
	Version                int            `json:"version"`
	Targets                []Target       `json:"targets"`
	ContextTargets         []Target       `json:"contextTargets"`
	Rules                  []Rule         `json:"rules"`
	Fallthrough            Serve          `json:"fallthrough"`
	OffVariation           *int           `json:"offVariation,omitempty"`
	Prerequisites          []Prerequisite `json:"prerequisites"`
	TrackEvents            bool           `json:"trackEvents"`
	TrackEventsFallthrough bool           `json:"trackEventsFallthrough"`
}

// Serve is one variation, by index, or a rollout.
type Serve struct {
	Variation *int     `json:"variation,omitempty"`
	Rollout   *Rollout `json:"rollout,omitempty"`
}

// only is the variation that everybody is served, if there is one.
func (s Serve) only() (variation int, ok bool) {
	if s.Variation != nil {
		return *s.Variation, true
	}
	if s.Rollout == nil {
		return 0, false
	}
	for _, w := range s.Rollout.Variations {
		if w.Weight == fullWeight {
			return w.Variation, true
		}
	}
	return 0, false
}

// uniform tells whether all contexts are served one variation while the flag is on.
func (e *Environment) uniform() bool {
	usual, ok := e.Fallthrough.only()
	other := func(t Target) bool { return t.Variation != usual && len(t.Values) > 0 }
	return ok && !slices.ContainsFunc(e.Targets, other) && !slices.ContainsFunc(e.ContextTargets, other) &&
		!slices.ContainsFunc(e.Rules, func(r Rule) bool {
			served, ok := r.only()
			return !ok || served != usual
		})
}

// Rollout distributes contexts over variations.
type Rollout struct {
	ContextKind string   `json:"contextKind,omitempty"`
	BucketBy    string   `json:"bucketBy,omitempty"`
	Variations  []Weight `json:"variations"`
}

// Weight is in thousandths of a percent.
type Weight struct {
	Variation int `json:"variation"`
	Weight    int `json:"weight"`
}

// Target serves one variation to contexts by key.
type Target struct {
	ContextKind string   `json:"contextKind"`
	Variation   int      `json:"variation"`
	Values      []string `json:"values"`
}

// Rule serves contexts that match all clauses.
type Rule struct {
	ID string `json:"_id"`
	Serve
	Description string   `json:"description,omitempty"`
	Clauses     []Clause `json:"clauses"`
	TrackEvents bool     `json:"trackEvents"`
}

// Clause is one test of a rule.
type Clause struct {
	ID          string `json:"_id"`
	ContextKind string `json:"contextKind"`
	Attribute   string `json:"attribute"`
	Op          string `json:"op"`
	Values      []any  `json:"values"`
	Negate      bool   `json:"negate"`
}

// Prerequisite is another flag that must serve a variation, by index.
type Prerequisite struct {
	Key       string `json:"key"`
	Variation int    `json:"variation"`
}

// newFlag is off everywhere, as LaunchDarkly makes them: on it would serve the first variation, off it serves the last.
func newFlag(key, name, environment string, values []Variation, now time.Time) Flag {
	kind := "multivariate"
	if len(values) == 2 && values[0].Value == true && values[1].Value == false {
		kind = "boolean"
	}
	for i := range values {
		values[i].ID = uuid.NewString()
	}
	on, off := 0, len(values)-1
	return Flag{
		Key: key, Name: name, Kind: kind, Version: 1, CreationDate: now.UnixMilli(), Temporary: true, Tags: []string{},
		Variations: values, Defaults: Defaults{OnVariation: on, OffVariation: off},
		Environments: map[string]*Environment{environment: {
			Salt: uuid.NewString(), Sel: uuid.NewString(), LastModified: now.UnixMilli(), Version: 1,
			Targets: []Target{}, ContextTargets: []Target{}, Rules: []Rule{}, Prerequisites: []Prerequisite{},
			Fallthrough: Serve{Variation: &on}, OffVariation: &off,
		}},
	}
}

// clone copies deeply: what is handed out must not change under the reader.
func (f Flag) clone() (Flag, error) {
	raw, err := json.Marshal(f)
	if err != nil {
		return Flag{}, err
	}
	var out Flag
	err = json.Unmarshal(raw, &out)
	return out, err
}

func (f Flag) variation(id string) (int, bool) {
	i := slices.IndexFunc(f.Variations, func(v Variation) bool { return v.ID == id })
	return i, i >= 0
}

// allTargets are those of all kinds but user, and an empty entry for each list of users: SDKs look at it only where contextTargets
// points there, and the reference's complete flag has them, too: https://launchdarkly.com/docs/api/feature-flags
func (e *Environment) allTargets() []Target {
	out := []Target{}
	for _, t := range e.Targets {
		out = append(out, Target{ContextKind: "user", Variation: t.Variation, Values: []string{}})
	}
	return append(out, e.ContextTargets...)
}

// sdkFlag is the same flag as SDKs receive it.
type sdkFlag struct {
	Key                    string         `json:"key"`
	Version                int            `json:"version"`
	On                     bool           `json:"on"`
	Targets                []Target       `json:"targets"`
	ContextTargets         []Target       `json:"contextTargets"`
	Rules                  []sdkRule      `json:"rules"`
	Fallthrough            Serve          `json:"fallthrough"`
	OffVariation           *int           `json:"offVariation"`
	Prerequisites          []Prerequisite `json:"prerequisites"`
	Variations             []any          `json:"variations"`
	Salt                   string         `json:"salt"`
	ClientSide             bool           `json:"clientSide"`
	TrackEvents            bool           `json:"trackEvents"`
	TrackEventsFallthrough bool           `json:"trackEventsFallthrough"`
	Deleted                bool           `json:"deleted"`
	Migration              *sdkMigration  `json:"migration,omitempty"` // of migration flags alone
}

type sdkMigration struct {
	CheckRatio int `json:"checkRatio"`
}

type sdkRule struct {
	ID string `json:"id"`
	Serve
	Clauses     []sdkClause `json:"clauses"`
	TrackEvents bool        `json:"trackEvents"`
}

type sdkClause struct {
	ContextKind string `json:"contextKind"`
	Attribute   string `json:"attribute"`
	Op          string `json:"op"`
	Values      []any  `json:"values"`
	Negate      bool   `json:"negate"`
}

func (f Flag) forSDK(environment string, ahead int) sdkFlag {
	e := f.Environments[environment]
	out := sdkFlag{
		Key: f.Key, Version: e.Version + ahead, On: e.On, Targets: e.Targets, ContextTargets: e.allTargets(),
		Rules: []sdkRule{}, Fallthrough: e.Fallthrough, OffVariation: e.OffVariation, Prerequisites: e.Prerequisites,
		Salt: e.Salt, TrackEvents: e.TrackEvents, TrackEventsFallthrough: e.TrackEventsFallthrough,
	}
	if f.Purpose == purposeMigration {
		out.Migration = &sdkMigration{CheckRatio: 1} // check each
	}
	for _, v := range f.Variations {
		out.Variations = append(out.Variations, v.Value)
	}
	for _, r := range e.Rules {
		rule := sdkRule{ID: r.ID, Serve: r.Serve, Clauses: []sdkClause{}, TrackEvents: r.TrackEvents}
		for _, c := range r.Clauses {
			rule.Clauses = append(rule.Clauses, sdkClause{c.ContextKind, c.Attribute, c.Op, c.Values, c.Negate})
		}
		out.Rules = append(out.Rules, rule)
	}
	return out
}
