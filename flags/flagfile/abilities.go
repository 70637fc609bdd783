package flagfile

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/internal/targeting"
)

var (
	_ flags.Creator   = (*Provider)(nil)
	_ flags.Depender  = (*Provider)(nil)
	_ flags.Rehearser = (*Provider)(nil)
)

// flagKey is what LaunchDarkly takes as a key: a file shall be no dead end.
var flagKey = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// Create adds a flag that is off, and the file if there is none.
func (p *Provider) Create(ctx context.Context, key string, f flags.NewFlag) error {
	return p.locked(ctx, func() error {
		d, missing, err := p.withNew(key, f)
		if err != nil || !missing {
			return err
		}
		return p.write(ctx, d)
	})
}

// RehearseCreate makes flag and changes in memory, and finds out whether the file could be replaced.
func (p *Provider) RehearseCreate(ctx context.Context, key string, f flags.NewFlag, changes []flags.Change) error {
	return p.locked(ctx, func() error {
		d, missing, err := p.withNew(key, f)
		if err != nil || !missing {
			return err
		}
		for _, c := range changes {
			current, err := d.find(key)
			if err != nil {
				return err
			}
			want, err := d.want(current, c)
			if err != nil {
				return err
			}
			if err := d.setTargeting(current, want); err != nil {
				return err
			}
		}
		return p.tryWrite(d)
	})
}

// withNew is the file with the flag, which was missing there if missing is true. The caller holds the lock.
func (p *Provider) withNew(key string, f flags.NewFlag) (d document, missing bool, err error) {
	if !flagKey.MatchString(key) {
		return document{}, false, fmt.Errorf("flag %q: keys are letters, digits, '.', '_' or '-': %w", key, flags.ErrInvalid)
	}
	if d, err = p.readOrNew(); err != nil {
		return document{}, false, err
	}
	if _, ok := d.values[key]; ok {
		return document{}, false, fmt.Errorf("flag %q stands in %q of %s: make it a full flag in %q, or choose another key: %w",
			key, valuesMember, d.path, flagsMember, flags.ErrInvalid)
	}
	if d.flags[key] != nil || d.archived[key] != nil {
		return d, false, d.alike(key, f)
	}
	d.flags[key], err = fresh(key, f)
	return d, true, err
}

// alike refuses to take a flag for one that it is not.
func (d document) alike(key string, wanted flags.NewFlag) error {
	found, err := d.find(key)
	switch _, staged := found.variations.(targeting.Stages); {
	case errors.Is(err, flags.ErrNotBoolean), err == nil && staged != wanted.Migration:
		return fmt.Errorf("flag %q stands in %s and is of another kind: choose another key: %w", key, d.path, flags.ErrInvalid)
	case err != nil:
		return err
	case found.state.Archived:
		return fmt.Errorf("flag %q stands in %q of %s and serves nothing: move it back to %q, or choose another key: %w",
			key, archivedMember, d.path, flagsMember, flags.ErrArchived)
	}
	return nil
}

// fullWeight is 100 % in the SDK's model.
const fullWeight = 100_000

// fresh is a flag that is off. SDKs read neither name nor description nor tags; they are for people.
func fresh(key string, f flags.NewFlag) (json.RawMessage, error) {
	flag := map[string]any{
		// The key as salt: flags must not distribute contexts alike, and the file should be the same wherever it is made.
		"key": key, "version": 1, "on": false, "salt": key,
		"targets": []any{}, "contextTargets": []any{}, "rules": []any{}, "prerequisites": []any{},
	}
	if f.Migration {
		flag["variations"], flag["offVariation"], flag["migration"] = flags.Stages(), 0, map[string]any{}
		flag["fallthrough"] = map[string]any{"rollout": map[string]any{
			"contextKind": cmp.Or(f.ContextKind, flags.DefaultContextKind),
			"variations":  []map[string]int{{"variation": 0, "weight": fullWeight}},
		}}
	} else {
		flag["variations"], flag["offVariation"] = []bool{true, false}, 1
		flag["fallthrough"] = map[string]int{"variation": 0}
	}
	if f.Name != "" {
		flag["name"] = f.Name
	}
	if f.Description != "" {
		flag["description"] = f.Description
	}
	if len(f.Tags) > 0 {
		flag["tags"] = f.Tags
	}
	raw, err := json.Marshal(flag)
	if err != nil {
		return nil, fmt.Errorf("encode flag %q: %w", key, err)
	}
	return raw, nil
}

// Dependents looks through the file.
func (p *Provider) Dependents(_ context.Context, key string) ([]string, error) {
	d, err := p.read()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, other := range slices.Sorted(maps.Keys(d.flags)) {
		t, err := targeting.Decode(d.flags[other])
		if err != nil {
			return nil, fmt.Errorf("flag %q in %s: %w: %w", other, d.path, err, flags.ErrInvalid)
		}
		if slices.ContainsFunc(t.Prerequisites, func(p targeting.Prerequisite) bool { return p.Key == key }) {
			out = append(out, other)
		}
	}
	return out, nil
}

// Rehearse finds out whether the file could be replaced: whether its folder takes the lock and a new file.
func (p *Provider) Rehearse(ctx context.Context, key string, c flags.Change) error {
	if _, err := p.Preview(ctx, key, c); err != nil {
		return err
	}
	return p.locked(ctx, func() error {
		d, err := p.read()
		if err != nil {
			return err
		}
		return p.tryWrite(d)
	})
}

// tryWrite does all of a replacement but the last step, and finds out whether that one can be done.
func (p *Provider) tryWrite(d document) error {
	if err := p.replaceable(); err != nil {
		return err
	}
	temporary, err := p.prepare(d)
	if err != nil {
		return err
	}
	if err := os.Remove(temporary); err != nil {
		return fmt.Errorf("rehearse a change of the flag file: %w", err)
	}
	return nil
}
