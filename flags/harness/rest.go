package harness

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

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
	Status        struct {
		Status     string `json:"status"`
		LastAccess int64  `json:"lastAccess"` // epoch ms; the year 1754, Go's zero time, where there was none
	} `json:"status"`
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

// read looks among the archived flags too: whether Harness shows an archived flag unasked is not documented.
func (p *Provider) read(ctx context.Context, key string) (snapshot, error) {
	f, err := p.feature(ctx, key, nil)
	if errors.Is(err, flags.ErrNotFound) {
		if archived, again := p.feature(ctx, key, url.Values{"archived": {"true"}}); again == nil {
			f, err = archived, nil
		} else if !errors.Is(again, flags.ErrNotFound) {
			err = again
		}
	}
	if err != nil {
		return snapshot{}, err
	}
	return p.snapshot(key, f)
}

func (p *Provider) feature(ctx context.Context, key string, query url.Values) (feature, error) {
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
	err = p.do(ctx, request{method: http.MethodPatch, path: ofFlag(key), key: key, body: body, discreet: discreet}, &answer)
	return answer.Details.PipelineMetadata.PipelineExecutionID, err
}

// archive never deletes for good.
func (p *Provider) archive(ctx context.Context, key string) error {
	return p.do(ctx, request{method: http.MethodDelete, path: ofFlag(key), key: key, query: url.Values{"forceDelete": {"false"}}}, nil)
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
	out.status = f.activity(out.configuration.launched())
	return out, err
}

// lately is how long ago the last evaluation of a flag is that Harness calls potentially stale for it:
// https://developer.harness.io/docs/feature-flags/ff-creating-flag/manage-stale-flags/
const lately = 60 * 24 * time.Hour

// activity in Harness's words: https://apidocs.harness.io/feature-flags/getallfeatures, parameter status. Potentially stale
// is not inactive by itself: Harness also says it of flags that are read all the time and only have not changed for long.
func (f feature) activity(launched bool) flags.Status {
	out := flags.Status{Activity: flags.Unknown}
	if f.Status.LastAccess > 0 {
		out.LastRequested = time.UnixMilli(f.Status.LastAccess)
	}
	switch f.Status.Status {
	case "never-requested":
		out.Activity = flags.New
	case "inactive":
		out.Activity = flags.Inactive
	case "active", "recently-accessed":
		out.Activity = flags.Active
	case "potentially-stale":
		switch {
		case out.LastRequested.IsZero():
		case time.Since(out.LastRequested) > lately:
			out.Activity = flags.Inactive
		default:
			out.Activity = flags.Active
		}
	}
	if out.Activity == flags.Active && launched {
		out.Activity = flags.Launched
	}
	return out
}
