package harness

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/internal/retry"
)

var (
	_ flags.Rehearser = (*Provider)(nil)
	_ flags.Creator   = (*Provider)(nil)
	_ flags.Depender  = (*Provider)(nil)
)

// Rehearse tells as much as can be told without a dry run, which the API doesn't have: that flag, variations and target groups
// exist and can serve the change, that targets can be looked for, and that no pipeline makes it.
func (p *Provider) Rehearse(ctx context.Context, key string, c flags.Change) error {
	if _, err := p.Preview(ctx, key, c); err != nil {
		return err
	}
	_, err := retry.Do(ctx, service, func() (struct{}, error) { return struct{}{}, p.canLook(ctx, key, c) })
	return err
}

// canLook looks for the first of the targets that a change names. Whether it is there is nothing to refuse: Apply adds who is not.
func (p *Provider) canLook(ctx context.Context, key string, c flags.Change) error {
	targets := c.Targets[flags.DefaultContextKind]
	if len(targets) == 0 {
		return nil
	}
	_, err := p.knows(ctx, key, targets[0])
	return err
}

// segmentsExist looks for target groups: a rule for one that is missing would be passed over by SDKs without a word.
func (p *Provider) segmentsExist(ctx context.Context, key string, segments []string) error {
	for _, segment := range segments {
		err := p.do(ctx, request{
			method: http.MethodGet, path: "/cf/admin/segments/" + url.PathEscape(segment), key: key, rights: []string{toViewGroups},
		}, nil)
		if errors.Is(err, flags.ErrNotFound) {
			return fmt.Errorf("flag %q: project %q has no target group %q in environment %q: create it, or correct the identifier in the plan: %w",
				key, p.config.Project, segment, p.config.Environment, flags.ErrInvalid)
		}
		if err != nil {
			return fmt.Errorf("look for target group %q: %w", segment, err)
		}
	}
	return nil
}

// newFeature is the body of a flag's creation.
type newFeature struct {
	Identifier          string         `json:"identifier"`
	Name                string         `json:"name"`
	Description         string         `json:"description,omitempty"`
	Kind                string         `json:"kind"`
	Project             string         `json:"project"`
	Permanent           bool           `json:"permanent"`
	Variations          []newVariation `json:"variations"`
	DefaultOnVariation  string         `json:"defaultOnVariation"`
	DefaultOffVariation string         `json:"defaultOffVariation"`
	Tags                []tag          `json:"tags,omitempty"`
}

type newVariation struct {
	Identifier string `json:"identifier"`
	Name       string `json:"name"`
	Value      string `json:"value"`
}

type tag struct {
	Identifier string `json:"identifier"`
	Name       string `json:"name"`
}

// Create makes a flag that is off in all environments, as Harness does, with variations called after their values. A migration
// flag is a string flag.
func (p *Provider) Create(ctx context.Context, key string, f flags.NewFlag) error {
	if err := creatable(key, f); err != nil {
		return err
	}
	after, err := retry.Do(ctx, service, func() (snapshot, error) {
		current, err := p.read(ctx, key)
		if !errors.Is(err, flags.ErrNotFound) {
			return current, p.alike(key, f, current, err)
		}
		if err := flags.Late(ctx); err != nil {
			return snapshot{}, fmt.Errorf("too late to create flag %q: %w", key, err)
		}
		// A flag that exists by now is a conflict, and found by the next attempt.
		err = p.do(ctx, request{method: http.MethodPost, path: allFlags, key: key, body: p.newFeature(key, f), rights: []string{toEdit}}, nil)
		if err != nil {
			return snapshot{}, err
		}
		return p.read(ctx, key)
	})
	if err != nil {
		return err
	}
	_, err = p.awaitServed(ctx, after)
	return err
}

// RehearseCreate tells as much as can be told without a dry run: that Harness has such flags, under such a key, and that the new
// flag can serve the changes, to target groups that exist. What policies and the API key's rights refuse is found out by Create.
func (p *Provider) RehearseCreate(ctx context.Context, key string, f flags.NewFlag, changes []flags.Change) error {
	if err := creatable(key, f); err != nil {
		return err
	}
	_, err := retry.Do(ctx, service, func() (struct{}, error) { return struct{}{}, p.rehearseCreate(ctx, key, f, changes) })
	return err
}

func (p *Provider) rehearseCreate(ctx context.Context, key string, f flags.NewFlag, changes []flags.Change) error {
	current, err := p.read(ctx, key)
	if !errors.Is(err, flags.ErrNotFound) {
		return p.alike(key, f, current, err)
	}
	body := p.newFeature(key, f)
	var variations []variation
	for _, v := range body.Variations {
		variations = append(variations, variation{v.Identifier, v.Value})
	}
	current, err = p.snapshot(key, feature{Identifier: key, Kind: body.Kind, Variations: variations, EnvProperties: &environment{
		State: stateOf(false), OffVariation: body.DefaultOffVariation, DefaultServe: serve{Variation: body.DefaultOnVariation},
	}})
	for _, c := range changes {
		if err != nil {
			return err
		}
		if current.configuration, err = current.want(c); err == nil {
			err = p.segmentsExist(ctx, key, c.Segments)
		}
		if err == nil {
			err = p.canLook(ctx, key, c)
		}
	}
	return err
}

// identifiers is the widest of the rules that Harness has for them; what it says of one that fits is found out by Create.
var identifiers = regexp.MustCompile(`^[A-Za-z0-9_$.-]+$`)

// creatable refuses what Harness has no flag for.
func creatable(key string, f flags.NewFlag) error {
	if f.Migration && f.ContextKind != "" && f.ContextKind != flags.DefaultContextKind {
		return fmt.Errorf("flag %q: Harness has no migration flags by %s, only by %s: leave the context kind out: %w",
			key, f.ContextKind, flags.DefaultContextKind, flags.ErrInvalid)
	}
	if !identifiers.MatchString(key) {
		return fmt.Errorf("flag %q: an identifier of Harness has letters, digits, '_', '$', '.' and '-' alone: choose another key: %w", key, flags.ErrInvalid)
	}
	return nil
}

// alike is nil for a flag that is what was to be made.
func (p *Provider) alike(key string, f flags.NewFlag, current snapshot, err error) error {
	switch {
	case errors.Is(err, flags.ErrNotBoolean):
		return fmt.Errorf("flag %q exists and is another flag: give the plan a key of its own: %w: %w", key, err, flags.ErrInvalid)
	case err != nil:
		return err
	case current.state.Archived:
		return fmt.Errorf("flag %q exists in the archive: restore it in Harness, or give the plan another key: %w", key, flags.ErrArchived)
	case f.Migration != (current.values.stages != nil):
		return fmt.Errorf("flag %q exists and is %s: give the plan a key of its own: %w",
			key, map[bool]string{true: "boolean", false: "a migration flag"}[f.Migration], flags.ErrInvalid)
	}
	return nil
}

func (p *Provider) newFeature(key string, f flags.NewFlag) newFeature {
	out := newFeature{
		Identifier: key, Name: f.Name, Description: f.Description, Kind: kindBoolean, Project: p.config.Project,
		DefaultOnVariation: "true", DefaultOffVariation: "false",
	}
	if out.Name == "" {
		out.Name = key
	}
	values := []string{"true", "false"}
	if f.Migration {
		values = nil
		for _, stage := range flags.Stages() {
			values = append(values, string(stage))
		}
		out.Kind, out.DefaultOnVariation, out.DefaultOffVariation = kindString, string(flags.StageOff), string(flags.StageOff)
	}
	for _, value := range values {
		out.Variations = append(out.Variations, newVariation{value, value, value})
	}
	for _, name := range f.Tags {
		out.Tags = append(out.Tags, tag{tagIdentifier(name), name})
	}
	return out
}

// tagIdentifier has the characters that identifiers have everywhere in Harness.
func tagIdentifier(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' {
			return r
		}
		return '_'
	}, name)
}
