package harness

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"slices"

	"github.com/contraflow/contraflow/flags"
)

// A flag names targets that Harness knows, from SDKs or its console, and Harness forgets those that it hasn't heard of for 60 days,
// unless a flag or a group names them: https://developer.harness.io/docs/feature-flags/use-ff/ff-target-management/add-targets.
// What it answers to a patch that names another isn't documented, so such targets are added first, as its console does.

// targetIdentifiers is the pattern that they have to match, of the same page.
var targetIdentifiers = regexp.MustCompile(`^[A-Za-z0-9.@_-]+$`)

// named are the targets that have a variation of their own.
func (c configuration) named() []string {
	var out []string
	for _, m := range c.Targets {
		out = append(out, m.Targets...)
	}
	return out
}

// withTargets of another.
func (c configuration) withTargets(of configuration) configuration {
	c.Targets = of.Targets
	return c
}

// lacks tells whether c is want but for these targets.
func (c configuration) lacks(want configuration, targets []string) bool {
	mappings := slices.Clone(want.Targets)
	for i := range mappings {
		mappings[i].Targets = without(mappings[i].Targets, targets)
	}
	return c.withTargets(want).equal(want) && reflect.DeepEqual(c.Targets, normalMappings(mappings))
}

// nameable refuses targets that Harness can't have, and the flag therefore can't name.
func nameable(key string, current configuration, c flags.Change) error {
	targets, wayOut := c.Targets[flags.DefaultContextKind], "put them into a target group by an attribute, and name that"
	if c.Exclude != nil {
		targets, wayOut = []string{c.Exclude.Key}, "turn the flag off for everybody instead, by the kill switch without a context"
	}
	strange := slices.DeleteFunc(without(targets, current.named()), targetIdentifiers.MatchString)
	if len(strange) == 0 {
		return nil
	}
	return fmt.Errorf("flag %q: %d of %d targets can't be Harness's, whose identifiers have letters without accents, digits, '.', '@', '_' and "+
		"'-' alone: %s: %w", key, len(strange), len(targets), wayOut, flags.ErrInvalid)
}

const allTargets = "/cf/admin/targets"

// unknown are those of the targets that Harness has none of. No error quotes one.
func (p *Provider) unknown(ctx context.Context, key string, targets []string) ([]string, error) {
	var out []string
	for _, one := range targets {
		err := p.do(ctx, request{
			method: http.MethodGet, path: allTargets + "/" + url.PathEscape(one), key: key, rights: []string{toViewGroups}, discreet: true,
		}, nil)
		if errors.Is(err, flags.ErrNotFound) {
			out = append(out, one)
		} else if err != nil {
			return nil, fmt.Errorf("look for targets: %w", err)
		}
	}
	return out, nil
}

// newTarget is the body of a target's creation, as Harness's console has it (harness-core-ui, pages/target-management/targets).
type newTarget struct {
	Identifier  string            `json:"identifier"`
	Name        string            `json:"name"`
	Anonymous   bool              `json:"anonymous"`
	Attributes  map[string]string `json:"attributes"`
	Account     string            `json:"account"`
	Org         string            `json:"org"`
	Project     string            `json:"project"`
	Environment string            `json:"environment"`
}

// introduce adds those of the targets that Harness doesn't know.
func (p *Provider) introduce(ctx context.Context, key string, targets []string) error {
	unknown, err := p.unknown(ctx, key, targets)
	if err != nil {
		return err
	}
	for _, one := range unknown {
		body := newTarget{
			Identifier: one, Name: one, Attributes: map[string]string{},
			Account: p.config.Account, Org: p.config.Organization, Project: p.config.Project, Environment: p.config.Environment,
		}
		err := p.do(ctx, request{method: http.MethodPost, path: allTargets, key: key, body: body, rights: []string{toEditGroups}, discreet: true}, nil)
		if err != nil && !errors.Is(err, flags.ErrConflict) { // which an SDK was quicker to add
			return leftOut(key, len(unknown), err)
		}
	}
	return nil
}

// leftOut says that a flag can't name targets, and the way out.
func leftOut(key string, n int, why error) error {
	if errors.Is(why, flags.ErrNotFound) { // of which the flag is none
		why = nil
	}
	if why == nil {
		why = flags.ErrInvalid
	}
	return fmt.Errorf("flag %q doesn't name %d of the targets that it shall: Harness doesn't know them, or not any more; add them on its page of "+
		"targets, or let the application ask for them once, or serve everybody the same: %w", key, n, why)
}
