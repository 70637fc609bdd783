package harness

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/contraflow/contraflow/flags"
)

// featureState is how Harness writes on and off.
type featureState string

func stateOf(on bool) featureState {
	if on {
		return "on"
	}
	return "off"
}

// feature is the part of the admin API's representation that matters here.
type feature struct {
	Identifier    string         `json:"identifier"`
	Kind          string         `json:"kind"`
	Archived      bool           `json:"archived"`
	Variations    []variation    `json:"variations"`
	Prerequisites []prerequisite `json:"prerequisites"`
	EnvProperties *environment   `json:"envProperties"`
	Status        featureStatus  `json:"status"` // where a request asks for metrics
}

type variation struct {
	Identifier string `json:"identifier"`
	Value      any    `json:"value"`
}

// environment has the same shape for SDKs, but for the name of the variation map.
type environment struct {
	State        featureState    `json:"state"`
	OffVariation string          `json:"offVariation"`
	DefaultServe serve           `json:"defaultServe"`
	VariationMap []targetMapping `json:"variationMap"`
	Rules        []servingRule   `json:"rules"`
	Version      int             `json:"version"`
	Piped        bool            `json:"pipelineConfigured"`
}

type targetMapping struct {
	Variation string `json:"variation"`
	Targets   []struct {
		Identifier string `json:"identifier"`
	} `json:"targets"`
	TargetSegments []string `json:"targetSegments"`
}

type servingRule struct {
	RuleID   string `json:"ruleId"`
	Priority int    `json:"priority"`
	rule
}

func (e environment) configuration(prerequisites []prerequisite) configuration {
	c := configuration{
		On: e.State == stateOf(true), OffVariation: e.OffVariation, DefaultServe: e.DefaultServe, Prerequisites: prerequisites,
	}
	for _, m := range e.VariationMap {
		named := mapping{Variation: m.Variation, Segments: m.TargetSegments}
		for _, t := range m.Targets {
			named.Targets = append(named.Targets, t.Identifier)
		}
		c.Targets = append(c.Targets, named)
	}
	for _, r := range e.ordered() {
		c.Rules = append(c.Rules, r.rule)
	}
	c.normalize()
	return c
}

// ordered are the rules as SDKs try them, in their normal form.
func (e environment) ordered() []servingRule {
	out := slices.SortedStableFunc(slices.Values(e.Rules), func(a, b servingRule) int { return cmp.Compare(a.Priority, b.Priority) })
	for i := range out {
		out[i].normalize()
	}
	return out
}

func (p *Provider) read(ctx context.Context, key string) (snapshot, error) {
	f, err := p.feature(ctx, key, url.Values{})
	if err != nil {
		return snapshot{}, err
	}
	return p.snapshot(key, f)
}

// feature looks among the archived flags too: whether Harness shows an archived flag unasked is not documented.
func (p *Provider) feature(ctx context.Context, key string, query url.Values) (feature, error) {
	f, err := p.shown(ctx, key, query)
	if !errors.Is(err, flags.ErrNotFound) {
		return f, err
	}
	query.Set("archived", "true")
	archived, again := p.shown(ctx, key, query)
	if errors.Is(again, flags.ErrNotFound) {
		return feature{}, err
	}
	return archived, again
}

func (p *Provider) shown(ctx context.Context, key string, query url.Values) (feature, error) {
	var f feature
	return f, p.do(ctx, request{method: http.MethodGet, path: ofFlag(key), key: key, query: query}, &f)
}

// patch returns the pipeline execution that makes the change instead of Harness itself, if there is one.
func (p *Provider) patch(ctx context.Context, key string, body patch, discreet bool) (pipeline string, err error) {
	var answer struct {
		Details struct {
			PipelineMetadata struct {
				PipelineExecutionID string `json:"pipelineExecutionId"`
			} `json:"pipelineMetadata"`
		} `json:"details"`
	}
	err = p.do(ctx, request{method: http.MethodPatch, path: ofFlag(key), key: key, body: body, rights: body.rights(), discreet: discreet}, &answer)
	return answer.Details.PipelineMetadata.PipelineExecutionID, err
}

// archive never deletes for good.
func (p *Provider) archive(ctx context.Context, key string) error {
	query := url.Values{"forceDelete": {"false"}}
	return p.do(ctx, request{method: http.MethodDelete, path: ofFlag(key), key: key, query: query, rights: []string{toDelete}}, nil)
}

func (p *Provider) snapshot(key string, f feature) (snapshot, error) {
	if f.EnvProperties == nil {
		return snapshot{}, fmt.Errorf("flag %q has no environment %q in project %q: correct the environment identifier: %w",
			key, p.config.Environment, p.config.Project, flags.ErrNotFound)
	}
	out := snapshot{
		configuration: f.EnvProperties.configuration(f.Prerequisites), variations: f.Variations, rules: f.EnvProperties.ordered(),
		piped: f.EnvProperties.Piped,
	}
	var err error
	if out.values, err = newValues(key, f.Kind, f.Variations); err != nil {
		return snapshot{}, err
	}
	out.state, err = out.values.state(key, f.EnvProperties.Version, f.Archived, out.configuration)
	return out, err
}
