package launchdarkly

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/internal/targeting"
)

// newKey is what the API takes as the key of a flag.
// https://launchdarkly.com/docs/home/flags/new
var newKey = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// RehearseCreate tells as much as can be told without a dry run of a creation, which the API doesn't have: that the project and the
// environment are there, that the API token is no reader's, that the new flag can serve the changes, to segments that exist, and
// whether people will have to approve them.
func (p *Provider) RehearseCreate(ctx context.Context, key string, f flags.NewFlag, changes []flags.Change) error {
	if !newKey.MatchString(key) {
		return fmt.Errorf("flag %q: LaunchDarkly's keys are letters, digits, '.', '_' or '-': choose another: %w", key, flags.ErrInvalid)
	}
	_, err := retry(ctx, func() (struct{}, error) { return struct{}{}, p.rehearseCreate(ctx, key, f, changes) })
	return err
}

func (p *Provider) rehearseCreate(ctx context.Context, key string, f flags.NewFlag, changes []flags.Change) error {
	found, err := p.flag(ctx, key)
	if err == nil {
		return found.alike(key, f)
	}
	if !errors.Is(err, flags.ErrNotFound) {
		return err
	}
	known, err := p.environment(ctx, key)
	if errors.Is(err, flags.ErrNotFound) {
		return fmt.Errorf("flag %q can't be made: %w", key, err)
	}
	looked := err == nil // else the token may not look, and the change itself will tell
	if err := p.mayCreate(ctx, key); err != nil {
		return err
	}
	current, err := imagine(key, f)
	if err != nil {
		return err
	}
	made := current.targeting
	for _, c := range changes {
		if current.targeting, err = p.want(ctx, current, c); err != nil {
			return err
		}
	}
	if looked && !current.targeting.Equal(made) && known.guard(f.Tags) {
		return &flags.ApprovalRequired{Key: key, Who: p.who(current, &known)}
	}
	return nil
}

// imagine is the flag as it will be found when it is made.
func imagine(key string, f flags.NewFlag) (out snapshot, err error) {
	values, on, off := []any{true, false}, 0, 1
	if f.Migration {
		values, off = nil, 0
		for _, stage := range flags.Stages() {
			values = append(values, string(stage))
		}
	}
	if out.variations, err = targeting.New(key, values); err != nil {
		return snapshot{}, err
	}
	if stages, ok := out.variations.(targeting.Stages); ok {
		stages.ContextKind = cmp.Or(f.ContextKind, flags.DefaultContextKind)
		out.variations, out.contextKind = stages, stages.ContextKind
	}
	out.targeting, out.tags = targeting.Targeting{OffVariation: &off, Fallthrough: targeting.Serve{Variation: &on}}, f.Tags
	out.state, err = out.variations.State(Name, key, 0, false, out.targeting)
	return out, err
}

// roleReader is the built-in role that changes nothing: https://launchdarkly.com/docs/home/account/built-in-roles
const roleReader = "reader"

// mayCreate refuses an API token that has the reader's role and no other. What custom roles and inline policies allow is not
// guessed, and a token that may not look itself up passes.
func (p *Provider) mayCreate(ctx context.Context, key string) error {
	var caller struct {
		TokenID string `json:"tokenId"`
	}
	// https://launchdarkly.com/docs/api/other/get-caller-identity
	err := p.do(ctx, request{method: http.MethodGet, key: key, path: "/api/v2/caller-identity", probe: true}, &caller)
	if err != nil || caller.TokenID == "" {
		return unlessPermanent(err)
	}
	var token struct {
		Role          string            `json:"role"`
		CustomRoleIDs []string          `json:"customRoleIds"`
		InlineRole    []json.RawMessage `json:"inlineRole"`
	}
	// https://launchdarkly.com/docs/api/access-tokens/get-token
	err = p.do(ctx, request{method: http.MethodGet, key: key, path: "/api/v2/tokens/" + escape(caller.TokenID), probe: true}, &token)
	if err != nil {
		return unlessPermanent(err)
	}
	if token.Role == roleReader && len(token.CustomRoleIDs)+len(token.InlineRole) == 0 {
		return fmt.Errorf("flag %q is missing, and the API token has the role %s, which can't make it: give the token a role with the action "+
			"\"createFlag\" in project %q, or make the flag by hand: %w", key, roleReader, p.config.Project, flags.ErrUnauthorized)
	}
	return nil
}

// unlessPermanent passes over what the service won't tell, and not over what it can't tell now.
func unlessPermanent(err error) error {
	if flags.Permanent(err) {
		return nil
	}
	return err
}
