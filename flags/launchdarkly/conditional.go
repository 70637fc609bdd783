package launchdarkly

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"strings"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/internal/targeting"
)

// jsonPatch is the body of a PATCH that holds on a condition, which semantic patches can't.
// https://launchdarkly.com/docs/api#updates-using-json-patch ("You can also test that certain preconditions are met before applying
// the patch"), with its comment as in "Updates with comments" there; of flags
// https://launchdarkly.com/docs/api/feature-flags/patch-feature-flag, "Using JSON patches on a feature flag".
type jsonPatch struct {
	Comment string      `json:"comment,omitempty"`
	Patch   []operation `json:"patch"`
}

// operation of https://datatracker.ietf.org/doc/html/rfc6902
type operation struct {
	Op    string `json:"op"` // test, replace or add
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// pointer to a member of the flag's configuration in this environment: https://datatracker.ietf.org/doc/html/rfc6901
func (p *Provider) pointer(member string) string {
	return "/environments/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(p.config.Environment) + "/" + member
}

// unchanged is the condition that nobody has changed the flag's configuration in this environment since it had this version.
func (p *Provider) unchanged(version int) operation {
	return operation{"test", p.pointer("version"), version}
}

// operations turn current into want if nobody has changed it since. Each member that differs is replaced as a whole, in the
// shape that LaunchDarkly's own Terraform provider writes: buildFFEPatches in resource_feature_flag_environment_framework.go of
// https://github.com/launchdarkly/terraform-provider-launchdarkly. Ok is false for what that shape does not hold: it has no ids
// and no trackEvents of rules, and takes weights in the order of the variations. Prerequisites are of other flags' variations,
// which the version of this one says nothing of.
func (p *Provider) operations(current snapshot, want targeting.Targeting) (out []operation, ok bool) {
	now := current.targeting
	if !reflect.DeepEqual(now.Rules, want.Rules) || !reflect.DeepEqual(now.Prerequisites, want.Prerequisites) {
		return nil, false
	}
	out = []operation{p.unchanged(current.state.Version)}
	set := func(member string, from, to, value any) {
		if reflect.DeepEqual(from, to) {
			return
		}
		op := "replace"
		if !current.members[member] { // there must be what is replaced
			op = "add"
		}
		out = append(out, operation{op, p.pointer(member), value})
	}
	serve, ok := weighed(want.Fallthrough, len(current.variationIDs))
	if !ok && !reflect.DeepEqual(now.Fallthrough, want.Fallthrough) {
		return nil, false
	}
	set("offVariation", now.OffVariation, want.OffVariation, want.OffVariation)
	set("targets", now.Targets, want.Targets, moved(current.lists.Targets, want.Targets))
	set("contextTargets", now.ContextTargets, want.ContextTargets, moved(current.lists.ContextTargets, want.ContextTargets))
	set("fallthrough", now.Fallthrough, want.Fallthrough, serve)
	set("on", now.On, want.On, want.On)
	return out, true
}

// standing are individual targets as an answer has them: in their order, with lists that are empty.
type standing struct {
	Targets        []targeting.Target `json:"targets"`
	ContextTargets []targeting.Target `json:"contextTargets"`
}

// moved are the lists as they stand, without who is wanted there no more, and behind them who is new. Nobody else moves.
func moved(lists, want []targeting.Target) []targeting.Target {
	of := func(t targeting.Target) list { return list{t.ContextKind, t.Variation} }
	out, missing := []targeting.Target{}, map[list][]string{}
	for _, t := range want {
		missing[of(t)] = t.Values
	}
	last := map[list]int{}
	for _, t := range lists {
		t.ContextKind = cmp.Or(t.ContextKind, flags.DefaultContextKind)
		wanted := missing[of(t)]
		missing[of(t)] = except(wanted, t.Values)
		t.Values = append([]string{}, except(t.Values, except(t.Values, wanted))...)
		last[of(t)] = len(out)
		out = append(out, t)
	}
	for _, t := range want {
		at, stands := last[of(t)]
		if !stands {
			out = append(out, t)
			continue
		}
		out[at].Values = append(out[at].Values, missing[of(t)]...)
	}
	return out
}

// weighed names each of the flag's variations, by its index and in their order.
func weighed(s targeting.Serve, variations int) (targeting.Serve, bool) {
	if s.Rollout == nil {
		return s, s.Variation != nil
	}
	rollout := targeting.Rollout{ContextKind: s.Rollout.ContextKind, BucketBy: s.Rollout.BucketBy}
	for i := range variations {
		rollout.Variations = append(rollout.Variations, targeting.Weight{Variation: i})
	}
	last := 0
	for _, w := range s.Rollout.Variations {
		if w.Variation < last || w.Variation >= variations || w.Untracked {
			return targeting.Serve{}, false
		}
		last = w.Variation
		rollout.Variations[last].Weight += w.Weight // one that stands twice has both
	}
	return targeting.Serve{Rollout: &rollout}, s.Rollout.Kind == "" && s.Rollout.Seed == nil
}

// members of a JSON object.
func members(raw json.RawMessage) (map[string]bool, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, err
	}
	out := map[string]bool{}
	for name := range all {
		out[name] = true
	}
	return out, nil
}

// patchIfUnchanged makes the change unless somebody else has changed the flag since current was read: that is a conflict, and is
// decided anew. Who is in a hurry says it plainly then: strangers shall not keep the kill switch from working.
func (p *Provider) patchIfUnchanged(
	ctx context.Context, current snapshot, want targeting.Targeting, operations []operation, o *order,
) (snapshot, error) {
	key := current.state.Key
	after, err := p.patch(ctx, key, jsonPatch{o.note, operations})
	switch {
	case err == nil && after.targeting.Equal(want) && after.state.Version > current.state.Version:
		return after, nil
	case err == nil: // taken, and not done
		o.plain, o.misread = true, true
		return snapshot{}, overtaken(key)
	case !turnedDown(err):
		return snapshot{}, err
	}
	o.plain = flags.IsUrgent(ctx)
	if errors.Is(err, flags.ErrConflict) {
		return snapshot{}, err
	}
	// The same status may be of a condition that does not hold, and of a patch that is not understood, or goes against what is
	// scheduled. Either changed nothing.
	if now, failed := p.read(ctx, key); failed == nil && now.state.Version == current.state.Version {
		o.plain, o.misread = true, true
	}
	return snapshot{}, overtaken(key)
}

// turnedDown tells whether a patch was refused for what it says, and so changed nothing. Which status a condition that does not
// hold is answered with is not documented: 409 is of all that is overtaken, 422 of patches that could not be applied, and the
// Terraform provider above knows a 400 of such.
func turnedDown(err error) bool {
	answer, ok := errors.AsType[*refused](err)
	if !ok {
		return false
	}
	switch answer.status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusRequestTimeout,
		http.StatusTooManyRequests:
		return false
	}
	return answer.status/100 == 4
}

// What is known of a service's way with conditions.
const (
	unproven int32 = iota
	honoured
	ignored // or JSON patches are not understood
)

// honoursConditions lets the service prove it, once. Who is in a hurry does not wait for that. Passing trouble proves nothing: this
// change is made without a condition then, and the next one asks again.
func (p *Provider) honoursConditions(ctx context.Context, current snapshot, o *order) (bool, error) {
	known := p.conditions.Load()
	if known != unproven || flags.IsUrgent(ctx) || flags.Late(ctx) != nil {
		return known == honoured, nil
	}
	found, err := p.prove(ctx, current)
	if err != nil {
		return false, err
	}
	p.conditions.CompareAndSwap(unproven, found)
	o.plain = found == unproven
	return p.conditions.Load() == honoured, nil
}

// prove asks with patches that consist of a condition alone, in a dry run: nothing is changed even by a service that knows no
// dry runs. A false condition has to be refused, and a true one accepted. The false one is asked twice, since a 409 may be passing
// trouble, and a condition that is taken to hold where it is not looked at is worse than none.
func (p *Provider) prove(ctx context.Context, current snapshot) (int32, error) {
	key, version := current.state.Key, current.state.Version
	before := version - 1 // versions rise, so that is over for good
	for _, asked := range []int{before, version, before} {
		err := p.probe(ctx, key, asked)
		switch {
		case err != nil && !turnedDown(err):
			return unproven, nil // passing trouble, or nobody who may ask
		case err == nil && asked == before:
			return ignored, nil
		case err != nil && asked == version:
			now, failed := p.read(ctx, key)
			if failed == nil && now.state.Version != version {
				return unproven, overtaken(key) // it is not true any more
			}
			if failed != nil || errors.Is(err, flags.ErrConflict) {
				return unproven, nil
			}
			return ignored, nil
		}
	}
	return honoured, nil
}

func (p *Provider) probe(ctx context.Context, key string, version int) error {
	return p.do(ctx, request{
		method: http.MethodPatch, key: key, path: p.flagPath(key), body: jsonPatch{Patch: []operation{p.unchanged(version)}},
		query: url.Values{dryRun: {"true"}, ignoreConflicts: {"true"}}, discreet: true, probe: true,
	}, &flag{})
}
