// Package launchdarkly is the flags.Provider of LaunchDarkly: it changes flags over the REST API, by JSON patches
// that hold on a condition and by semantic patches, and reads each change back over the stream of LaunchDarkly's own server SDK.
package launchdarkly

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/internal/targeting"
)

// Name is the Provider of every State this package returns.
const Name = "launchdarkly"

const (
	defaultAPIURL    = "https://app.launchdarkly.com"
	defaultStreamURL = "https://stream.launchdarkly.com"
	// defaultReadBack is far above LaunchDarkly's usual propagation (below a second) and leaves room for the SDK to
	// reconnect a few times.
	defaultReadBack = 15 * time.Second
	// defaultRequestTimeout bounds one REST request; flags with many rules take seconds.
	defaultRequestTimeout = 30 * time.Second
)

// Config of a Provider.
type Config struct {
	APIURL      string // base URL of the REST API. Defaults to https://app.launchdarkly.com
	Token       string // REST access token with the rights to read and update flags
	Project     string // project key
	Environment string // environment key
	SDKKey      string // server-side SDK key of the environment, for reading back
	// StreamURL is the base URL of the SDK's endpoints, for example of a Relay Proxy. Defaults to LaunchDarkly's own.
	StreamURL string
	// HTTPClient makes REST requests. Redirects are not followed. Defaults to one with a timeout of 30 s.
	HTTPClient *http.Client
	// RequestApprovals files LaunchDarkly's own approval request for a change that needs one, and applies it once it is
	// approved. Without it the change has to be made by people. Defaults to false.
	RequestApprovals bool
	// NotifyTeams are the keys of the teams that are asked to review such requests, beside the flag's maintainer, a member or a team.
	NotifyTeams []string
	// ReadBack bounds the wait until a change is seen on the stream. Defaults to 15 s.
	ReadBack time.Duration
}

// Provider of one environment's flags.
type Provider struct {
	config Config
	api    *url.URL
	stream *url.URL // as shown in errors
	// conditions is what the service has shown of how it takes them, a belief.
	conditions atomic.Int32
	shown      sync.Map // by key, a shown
}

var (
	_ flags.Provider   = (*Provider)(nil)
	_ flags.Rehearser  = (*Provider)(nil)
	_ flags.Withdrawer = (*Provider)(nil)
	_ flags.Creator    = (*Provider)(nil)
	_ flags.Depender   = (*Provider)(nil)
)

// New checks the configuration. It connects to nothing: a server that is down is an error of the first use.
func New(_ context.Context, c Config) (*Provider, error) {
	for name, value := range map[string]string{
		"API token": c.Token, "project key": c.Project, "environment key": c.Environment, "SDK key": c.SDKKey,
	} {
		if value == "" {
			return nil, fmt.Errorf("LaunchDarkly needs the %s: %w", name, flags.ErrInvalid)
		}
	}
	api, err := baseURL("API", cmp.Or(c.APIURL, defaultAPIURL))
	if err != nil {
		return nil, err
	}
	stream, err := baseURL("stream", cmp.Or(c.StreamURL, defaultStreamURL))
	if err != nil {
		return nil, err
	}
	if c.HTTPClient == nil {
		c.HTTPClient = &http.Client{Timeout: defaultRequestTimeout}
	}
	// A redirected change would arrive as a GET, and the token elsewhere.
	client := *c.HTTPClient
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.HTTPClient = &client
	c.ReadBack = cmp.Or(c.ReadBack, defaultReadBack)
	return &Provider{config: c, api: api, stream: stream}, nil
}

func baseURL(what, text string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimRight(text, "/"))
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("LaunchDarkly's %s URL is not like %s: %w", what, defaultAPIURL, flags.ErrInvalid)
	}
	return u, nil
}

// Close releases idle connections.
func (p *Provider) Close() error {
	p.config.HTTPClient.CloseIdleConnections()
	return nil
}

// Get returns the state the REST API answers.
func (p *Provider) Get(ctx context.Context, key string) (flags.State, error) {
	current, err := retry(ctx, func() (snapshot, error) { return p.read(ctx, key) })
	return current.state, err
}

// Preview changes nothing.
func (p *Provider) Preview(ctx context.Context, key string, c flags.Change) (flags.State, error) {
	return retry(ctx, func() (flags.State, error) {
		current, err := p.read(ctx, key)
		if err != nil {
			return flags.State{}, err
		}
		want, err := p.want(ctx, current, c)
		if err != nil {
			return flags.State{}, err
		}
		return current.variations.State(Name, key, current.state.Version, false, want)
	})
}

// Apply makes one patch, or none if the flag serves c already, and waits until the stream shows it. The patch holds on condition
// that nobody has changed the flag since it was looked at, if the service honours conditions and the change is not of rules. Else it
// is a semantic patch, which knows none: who is frozen, or overtaken by a stranger, in the milliseconds between still and the request
// goes unseen.
func (p *Provider) Apply(
	ctx context.Context, key string, c flags.Change, note string, still flags.Still,
) (flags.State, error) {
	// Whatever fails, the next attempt reads and decides again: the request may have got through, or a stranger come.
	o := &order{note: note, still: still}
	after, err := p.change(ctx, key, o, func(current snapshot) (targeting.Targeting, bool, error) {
		want, err := p.want(ctx, current, c)
		return want, want.Equal(current.targeting), err
	})
	state, err := p.settled(ctx, after, note, err)
	if err == nil && c.Exclude != nil {
		after.tellBeside(ctx, c.Exclude.Kind)
	}
	return state, err
}

// tellBeside says that an excluded context may be served true as one of another kind: SDKs go through the individual targets kind by
// kind, in an order that the service makes and the API does not tell.
func (s snapshot) tellBeside(ctx context.Context, kind string) {
	values, ok := s.variations.(targeting.Boolean)
	if !ok { // rules for all kinds exclude from the others
		return
	}
	beside := 0
	for _, list := range slices.Concat(s.targeting.Targets, s.targeting.ContextTargets) {
		if list.Variation == values.True && list.ContextKind != kind {
			beside += len(list.Values)
		}
	}
	if beside > 0 {
		flags.Tell(ctx, fmt.Sprintf("%d individual targets of other kinds than %s are served true by name: a context that is of such a kind as well "+
			"may stay on, so turn it off for those, too", beside, kind))
		flags.Tell(ctx, "")
	}
}

// Rehearse lets LaunchDarkly try the change in a dry run, and looks whether the environment asks for approvals: whether a dry
// run tells is not documented. An API token whose role bypasses approvals will not need them after all.
func (p *Provider) Rehearse(ctx context.Context, key string, c flags.Change) error {
	_, err := retry(ctx, func() (snapshot, error) {
		current, err := p.read(ctx, key)
		if err != nil {
			return snapshot{}, err
		}
		want, err := p.want(ctx, current, c)
		if err != nil || want.Equal(current.targeting) {
			return current, err
		}
		instructions, err := p.instructions(ctx, current, want)
		if err != nil {
			return snapshot{}, err
		}
		_, err = p.patch(ctx, key, semanticPatch{EnvironmentKey: p.config.Environment, Instructions: instructions}, dryRun)
		if err != nil && !errors.Is(err, flags.ErrApprovalRequired) {
			return current, err
		}
		known := p.settings(ctx, key) // where the token may not look, the change itself will tell
		if err != nil || known != nil && known.guard(current.tags) {
			err = &flags.ApprovalRequired{Key: key, Who: p.who(current, known)}
		}
		return current, err
	})
	return err
}

// Restore makes one patch of what differs from before, or none, and waits until the stream shows it. It holds on the same condition
// as that of Apply.
func (p *Provider) Restore(ctx context.Context, key string, before, ours flags.State, note string, still flags.Still) (flags.State, error) {
	o := &order{note: note, still: still}
	after, err := p.change(ctx, key, o, func(current snapshot) (targeting.Targeting, bool, error) {
		return targeting.Restoration(current.state, before, ours)
	})
	return p.settled(ctx, after, note, err)
}

// settled waits until a change is served, and takes back what was asked for and done by somebody else: carried out later it
// would undo what follows.
func (p *Provider) settled(ctx context.Context, after snapshot, note string, err error) (flags.State, error) {
	state, err := p.served(ctx, after, err)
	if err == nil {
		err = p.Withdraw(ctx, after.state.Key, note)
	}
	return state, err
}

func (p *Provider) served(ctx context.Context, after snapshot, err error) (flags.State, error) {
	if err != nil {
		return flags.State{}, err
	}
	version, err := p.awaitServed(ctx, after)
	if err != nil {
		return flags.State{}, err
	}
	if version != after.state.Version {
		after.state.Served = version
	}
	return after.state, nil
}

// Archive archives the flag in all environments, as LaunchDarkly does, and waits until the stream has dropped it.
func (p *Provider) Archive(ctx context.Context, key, note string) error {
	_, err := retry(ctx, func() (snapshot, error) {
		current, err := p.read(ctx, key)
		if err != nil || current.state.Archived {
			return current, err
		}
		after, err := p.patch(ctx, key, semanticPatch{Comment: note, Instructions: []any{kindOnly{"archiveFlag"}}})
		if errors.Is(err, flags.ErrApprovalRequired) { // which nobody can ask for: approval requests are of targeting and variations
			err = &flags.ApprovalRequired{Key: key, Who: p.who(current, p.settings(ctx, key)) + "; archive it there, and the migration goes on"}
		}
		if errors.Is(err, flags.ErrInvalid) { // a prerequisite cannot be archived
			needed, failed := p.Dependents(ctx, key)
			switch {
			case failed == nil && len(needed) > 0:
				err = fmt.Errorf("flag %q is a prerequisite of %s: remove it there first: %w", key, strings.Join(needed, ", "), flags.ErrInvalid)
			case failed == nil:
				err = fmt.Errorf("%w (of no flag that the API token may see in environment %q it is a prerequisite; look whether it is one in another)",
					err, p.config.Environment)
			}
			err = p.overtaken(ctx, current, err)
		}
		return after, err
	})
	if err != nil {
		return err
	}
	return p.awaitGone(ctx, key)
}

// Status asks LaunchDarkly, which hears of requests with a delay of minutes.
func (p *Provider) Status(ctx context.Context, key string) (flags.Status, error) {
	return retry(ctx, func() (flags.Status, error) { return p.status(ctx, key) })
}

// snapshot is a flag as one answer of the REST API shows it.
type snapshot struct {
	state        flags.State
	targeting    targeting.Targeting
	variations   targeting.Variations
	variationIDs []string
	ruleIDs      []string        // as the rules of targeting
	members      map[string]bool // of the environment, as the answer has them
	lists        standing
	contextKind  string // of a migration flag; empty for others
	tags         []string
	maintainer   string // member id; empty for none
	// maintainerTeam is its key; empty for none. A flag has a member or a team.
	maintainerTeam string
	page           string // path of the flag's page for people
}

// want is the targeting in which c is served, if LaunchDarkly can serve it.
func (p *Provider) want(ctx context.Context, current snapshot, c flags.Change) (targeting.Targeting, error) {
	key := current.state.Key
	if current.state.Archived {
		return targeting.Targeting{}, fmt.Errorf("flag %q serves nothing: restore it in LaunchDarkly first: %w", key, flags.ErrArchived)
	}
	if current.targeting.OffVariation == nil && c.Exclude == nil {
		return targeting.Targeting{}, fmt.Errorf("flag %q serves no variation when off, so that the kill switch could not turn it off: give it an "+
			"off variation first: %w", key, flags.ErrNotRestorable)
	}
	want, err := current.variations.Want(key, current.targeting, c)
	if err != nil {
		return targeting.Targeting{}, err
	}
	// https://launchdarkly.com/docs/home/flags/target-migration
	if kind := current.contextKind; c.Exclude != nil && kind != "" && c.Exclude.Kind != kind {
		return targeting.Targeting{}, fmt.Errorf("flag %q is a migration flag of contexts of kind %q, and can't exclude one of kind %q: %w",
			key, kind, c.Exclude.Kind, flags.ErrInvalid)
	}
	return want, p.segments(ctx, key, c.Segments)
}
