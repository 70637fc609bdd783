package harness

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
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

// lacks tells whether c is want but for these targets.
func (c configuration) lacks(want configuration, targets []string) bool {
	mappings := slices.Clone(want.Targets)
	for i := range mappings {
		mappings[i].Targets = without(mappings[i].Targets, targets)
	}
	want.Targets = normalMappings(mappings)
	return c.equal(want)
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

// knows tells whether Harness has a target. No error quotes it.
func (p *Provider) knows(ctx context.Context, key, target string) (bool, error) {
	err := p.do(ctx, request{
		method: http.MethodGet, path: allTargets + "/" + url.PathEscape(target), key: key, rights: []string{toViewGroups}, discreet: true,
	}, nil)
	if errors.Is(err, flags.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for targets: %w", err)
	}
	return true, nil
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

// introduce adds those of the targets that Harness doesn't know, and asks wanted before each. It goes on where an attempt before was
// stopped, by a limit or the end of its time: else a plan that names more than one attempt can ask for would never begin.
func (p *Provider) introduce(ctx context.Context, key string, targets []string, wanted func() error) error {
	if targets = p.met.strangers(targets); len(targets) > atOnce {
		flags.Tell(ctx, fmt.Sprintf("%d targets are looked for in %s, which limits requests", len(targets), service))
		defer flags.Tell(ctx, "")
	}
	for _, one := range targets {
		if err := p.pace(ctx, key); err != nil {
			return err
		}
		known, err := p.knows(ctx, key, one)
		if err == nil && !known {
			err = p.add(ctx, key, one, wanted)
		}
		if err != nil {
			return err
		}
		p.met.remember(one)
	}
	return nil
}

func (p *Provider) add(ctx context.Context, key, target string, wanted func() error) error {
	if err := p.pace(ctx, key); err != nil {
		return err
	}
	if err := wanted(); err != nil {
		return err
	}
	body := newTarget{
		Identifier: target, Name: target, Attributes: map[string]string{},
		Account: p.config.Account, Org: p.config.Organization, Project: p.config.Project, Environment: p.config.Environment,
	}
	err := p.do(ctx, request{method: http.MethodPost, path: allTargets, key: key, body: body, rights: []string{toEditGroups}, discreet: true}, nil)
	if err != nil && !errors.Is(err, flags.ErrConflict) { // which an SDK was quicker to add
		return leftOut(key, err)
	}
	return nil
}

// pace keeps to a part of what an API key may ask for.
func (p *Provider) pace(ctx context.Context, key string) error {
	if err := p.met.pace.Wait(ctx); err != nil {
		return fmt.Errorf("flag %q names more targets than this attempt has time to look for; the next one goes on: %w", key,
			cmp.Or(ctx.Err(), context.DeadlineExceeded))
	}
	return nil
}

// leftOut says that a flag can't name targets, and the way out.
func leftOut(key string, why error) error {
	if why == nil || errors.Is(why, flags.ErrNotFound) { // of which the flag is none
		why = flags.ErrInvalid
	}
	return fmt.Errorf("flag %q doesn't name all targets that it shall: Harness doesn't know them, or not any more; add them on its page of "+
		"targets, or let the application ask for them once, or serve everybody the same: %w", key, why)
}
