// Package harness is the flags.Provider of Harness Feature Flags (the module FF; not FME): it changes flags over the
// admin API and reads each change back over the REST and stream endpoints of Harness's own server SDK.
//
// Where each shape comes from:
//
//	GET, PATCH /cf/admin/features/{identifier}  https://apidocs.harness.io/feature-flags/getfeatureflag and …/patchfeature: query
//	                                            parameters, fields of a feature, {comment, instructions[kind, parameters]}, and
//	                                            details.pipelineMetadata of the answer
//	GET …?metrics=true                          status is metrics data, which is given to those who ask for it: harness-core-ui,
//	                                            src/services/cf/index.tsx and pages/feature-flags/FeatureFlagsPage.tsx
//	POST, GET /cf/admin/features                harness-core-ui, src/services/cf/index.tsx, made from the API's specification:
//	                                            409 is a flag that exists; a page is {pageIndex, pageCount, features}
//	GET …/{identifier}/dependants               the same file, "all the flags which depend on it": a page as well
//	GET /ng/api/environmentsV2                  harness-go-sdk, harness/nextgen/docs/EnvironmentsApi.md, GetEnvironmentList: page and size;
//	                                            {data{content[environment{identifier}]}}. An API key sees those that it may view
//	GET /cf/admin/segments/{identifier}         the same, and harness-go-sdk, harness/nextgen/docs/TargetGroupsApi.md
//	GET, POST /cf/admin/targets                 the same file; harness-core-ui, pages/target-management/targets/NewTarget.tsx
//	instructions and their parameters           Harness's own console (harness-core-ui,
//	                                            src/modules/75-cf/utils/instructions.ts) and harness-core's
//	                                            io.harness.cf.CFApi, which both send them
//	one rule with one clause for each group     how that console's page of a flag adds target groups; its page of a group sets
//	                                            targetSegments of variationMap
//	DELETE …?forceDelete=false                  how that console archives (FlagArchiving/useArchiveFlagDialog.tsx)
//	errors {code, message, details}, 4xx, 5xx   the same API pages
//	429                                         https://developer.harness.io/docs/platform/rate-limits: no Retry-After is promised
//	who is served what                          evaluation/evaluator.go and util.go of ff-golang-server-sdk
//
// The public API has no dry run and no version to compare and set; what follows from that is said where it matters.
package harness

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/internal/retry"
)

// Name is the Provider of every State this package returns.
const Name = "harness"

const (
	// service is what people are told they wait for.
	service       = "Harness"
	defaultAPIURL = "https://app.harness.io/gateway"
	defaultSDKURL = "https://config.ff.harness.io/api/1.0"
	// defaultReadBack is far above the second or so that a change usually takes to reach SDKs.
	defaultReadBack = 15 * time.Second
	// defaultRequestTimeout bounds one request; flags with many targets take seconds.
	defaultRequestTimeout = 30 * time.Second
)

// Config of a Provider.
type Config struct {
	APIURL       string // base URL of the admin API. Defaults to https://app.harness.io/gateway
	APIKey       string // API key (or service account token) with the rights that docs/flags.md lists
	Account      string // account identifier
	Organization string // organization identifier
	Project      string // project identifier
	Environment  string // environment identifier
	SDKKey       string // server SDK key of the environment, for reading back
	// SDKURL is the base URL SDKs read from, for example of a Relay Proxy. Defaults to https://config.ff.harness.io/api/1.0
	SDKURL string
	// HTTPClient makes the admin API's requests. Defaults to one with a timeout of 30 s.
	HTTPClient *http.Client
	// ReadBack bounds the wait until a change is seen where SDKs read. Defaults to 15 s.
	ReadBack time.Duration
}

// Provider of one environment's flags.
type Provider struct {
	config  Config
	api     *url.URL
	sdk     *url.URL
	readers *http.Client // of the SDK's endpoints: streams last, so it has no timeout but each request's context
	met     acquaintances
}

var _ flags.Provider = (*Provider)(nil)

// New checks the configuration. It connects to nothing: a server that is down is an error of the first use.
func New(c Config) (*Provider, error) {
	for _, needed := range []struct{ name, value string }{
		{"API key", c.APIKey}, {"account identifier", c.Account}, {"organization identifier", c.Organization},
		{"project identifier", c.Project}, {"environment identifier", c.Environment}, {"SDK key", c.SDKKey},
	} {
		if needed.value == "" {
			return nil, fmt.Errorf("without the %s Harness cannot be used: %w", needed.name, flags.ErrInvalid)
		}
	}
	api, err := baseURL("API", cmp.Or(c.APIURL, defaultAPIURL), defaultAPIURL)
	if err != nil {
		return nil, err
	}
	sdk, err := baseURL("SDK", cmp.Or(c.SDKURL, defaultSDKURL), defaultSDKURL)
	if err != nil {
		return nil, err
	}
	if c.HTTPClient == nil {
		c.HTTPClient = &http.Client{Timeout: defaultRequestTimeout}
	}
	c.HTTPClient = staying(c.HTTPClient)
	c.ReadBack = cmp.Or(c.ReadBack, defaultReadBack)
	return &Provider{config: c, api: api, sdk: sdk, readers: staying(&http.Client{}), met: newAcquaintances()}, nil
}

func baseURL(what, text, example string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimRight(text, "/"))
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("the %s URL of Harness is not like %s: %w", what, example, flags.ErrInvalid)
	}
	return u, nil
}

// Close releases idle connections.
func (p *Provider) Close() error {
	p.config.HTTPClient.CloseIdleConnections()
	p.readers.CloseIdleConnections()
	return nil
}

// Get returns the state the admin API answers.
func (p *Provider) Get(ctx context.Context, key string) (flags.State, error) {
	current, err := p.get(ctx, key)
	return current.state, err
}

func (p *Provider) get(ctx context.Context, key string) (snapshot, error) {
	return retry.Do(ctx, service, func() (snapshot, error) { return p.read(ctx, key) })
}

// Preview changes nothing.
func (p *Provider) Preview(ctx context.Context, key string, c flags.Change) (flags.State, error) {
	type preview struct {
		current snapshot
		want    configuration
	}
	now, err := retry.Do(ctx, service, func() (preview, error) {
		current, want, err := p.look(ctx, key, c)
		if err == nil && !want.equal(current.configuration) {
			err = current.free()
		}
		return preview{current, want}, err
	})
	if err != nil {
		return flags.State{}, err
	}
	return now.current.values.state(key, now.current.state.Version, false, now.want)
}

// look reads the flag and decides what serves c.
func (p *Provider) look(ctx context.Context, key string, c flags.Change) (current snapshot, want configuration, err error) {
	if current, err = p.read(ctx, key); err != nil {
		return snapshot{}, configuration{}, err
	}
	if want, err = current.want(c); err == nil {
		err = p.segmentsExist(ctx, key, c.Segments)
	}
	return current, want, err
}

// Apply makes one patch, or none if the flag serves c already, and waits until SDKs are told. A context kind other than
// "user" is the attribute of Harness's targets to distribute by. The API knows no compare-and-set: who is frozen, or
// overtaken by a stranger, in the milliseconds between still and the request goes unseen.
func (p *Provider) Apply(
	ctx context.Context, key string, c flags.Change, note string, still flags.Still,
) (flags.State, error) {
	operation := uuid.New()
	// Whatever fails, the next attempt reads and decides again: the request may have got through, or a stranger come.
	after, err := retry.Do(ctx, service, func() (snapshot, error) {
		current, want, err := p.look(ctx, key, c)
		if err != nil || want.equal(current.configuration) {
			return current, err
		}
		return p.change(ctx, operation, current, want, note, still)
	})
	return p.served(ctx, after, err)
}

// Restore makes one patch of what differs from before, or none, and waits until SDKs are told. Here, too, a stranger who
// changes the flag between our reading and our patch goes unseen.
func (p *Provider) Restore(ctx context.Context, key string, before, ours flags.State, note string, still flags.Still) (flags.State, error) {
	operation := uuid.New()
	after, err := retry.Do(ctx, service, func() (snapshot, error) {
		current, err := p.read(ctx, key)
		if err != nil {
			return snapshot{}, err
		}
		want, done, err := restoration(current.state, before, ours)
		if err != nil || done {
			return current, err
		}
		return p.change(ctx, operation, current, want, note, still)
	})
	return p.served(ctx, after, err)
}

// served adds the version that SDKs report, where they count otherwise.
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

// Archive archives the flag in all environments, as Harness does, and waits until SDKs are told of it no more. Harness
// keeps no comment of an archiving, so the note is not recorded there. A flag that is deleted instead is an ErrNotFound: forceDelete
// came with archiving, and a Harness from before that doesn't know it.
func (p *Provider) Archive(ctx context.Context, key, _ string) error {
	_, err := retry.Do(ctx, service, func() (snapshot, error) {
		current, err := p.read(ctx, key)
		if err != nil || current.state.Archived {
			return current, err
		}
		if err := flags.Late(ctx); err != nil {
			return snapshot{}, fmt.Errorf("too late to archive flag %q: %w", key, err)
		}
		return current, p.archive(ctx, key)
	})
	if err != nil {
		return err
	}
	if err := p.awaitGone(ctx, key); err != nil {
		return err
	}
	if _, err = p.get(ctx, key); errors.Is(err, flags.ErrNotFound) {
		return fmt.Errorf("flag %q is served no more, but Harness has deleted it for good instead of archiving it, as it did before it could "+
			"archive: nothing is left to do, or to put back: %w", key, flags.ErrNotFound)
	}
	return err
}

// snapshot is a flag as one answer of the admin API shows it.
type snapshot struct {
	state         flags.State
	configuration configuration
	values        values
	variations    []variation
	rules         []servingRule // in the order of configuration.Rules
	piped         bool          // changes start a pipeline, which makes them later, or doesn't
}

// free refuses a flag whose changes a pipeline makes: each attempt at one would start another run of it.
// https://developer.harness.io/docs/feature-flags/ff-build-pipeline/default-pipeline-ff
func (s snapshot) free() error {
	if !s.piped {
		return nil
	}
	return fmt.Errorf("flag %q has a pipeline that makes its changes, and may ask people first: take the pipeline off the flag until "+
		"the migration is over, or change the flag by hand: %w", s.state.Key, flags.ErrApprovalRequired)
}

func (s snapshot) want(c flags.Change) (configuration, error) {
	if s.state.Archived {
		return configuration{}, fmt.Errorf("flag %q serves nothing: restore it in Harness first: %w", s.state.Key, flags.ErrArchived)
	}
	return s.values.want(s.state.Key, s.configuration, c)
}

// change makes a patch of current into want. What Harness does with a target that it doesn't know is not known, and a flag of which a
// part is changed would be nobody's, should this process die: so targets are introduced before any part of a change. One that is nothing
// but one more target, as the kill switch of one context, has no parts: it is tried at once, and introduced only where that is needed.
func (p *Provider) change(
	ctx context.Context, operation uuid.UUID, current snapshot, want configuration, note string, still flags.Still,
) (snapshot, error) {
	key := current.state.Key
	if err := current.free(); err != nil {
		return snapshot{}, err
	}
	wanted := func() error { // asked right before anything is made outside
		if err := still.Ask(ctx, current.state); err != nil {
			return err
		}
		if err := flags.Late(ctx); err != nil {
			return fmt.Errorf("too late to change flag %q: %w", key, err)
		}
		return nil
	}
	newcomers := without(want.named(), current.configuration.named())
	partless := len(newcomers) == 1 && current.configuration.lacks(want, newcomers)
	if len(newcomers) > 0 && !partless {
		if err := p.introduce(ctx, key, newcomers, wanted); err != nil {
			return snapshot{}, err
		}
		now, err := p.read(ctx, key) // that may have taken minutes
		if err != nil {
			return snapshot{}, err
		}
		if !now.state.Equal(current.state) {
			return snapshot{}, meanwhile(key)
		}
	}
	after, missing, err := p.patched(ctx, operation, current, want, note, wanted)
	if len(missing) == 0 || !partless {
		return after, err
	}
	if untold := p.introduce(ctx, key, missing, wanted); untold != nil {
		return snapshot{}, leftOut(key, untold)
	}
	after, _, err = p.patched(ctx, operation, after, want, note, wanted)
	return after, err
}

// patched makes one patch of current into want and reads the outcome: a patch's answer doesn't show the flag. With an error come the
// targets that may be its reason, and the flag without them.
func (p *Provider) patched(
	ctx context.Context, operation uuid.UUID, current snapshot, want configuration, note string, wanted func() error,
) (after snapshot, missing []string, err error) {
	key := current.state.Key
	instructions, discreet, err := current.instructions(operation, want)
	if err != nil {
		return snapshot{}, nil, err
	}
	if err := wanted(); err != nil {
		return snapshot{}, nil, err
	}
	newcomers := without(want.named(), current.configuration.named())
	defer p.met.forget(newcomers) // whatever comes of it: it is known better now
	pipeline, refusal := p.patch(ctx, key, patch{Comment: note, Instructions: instructions}, discreet)
	if refusal != nil && !errors.Is(refusal, flags.ErrInvalid) && !errors.Is(refusal, flags.ErrNotFound) {
		return snapshot{}, nil, refusal
	}
	after, err = p.read(ctx, key)
	missing = without(newcomers, after.configuration.named())
	switch {
	case err != nil:
		return snapshot{}, nil, cmp.Or(refusal, err)
	case after.configuration.equal(want): // also where it was refused: an attempt before got through late, and twice is refused
		return after, nil, nil
	case refusal != nil && !after.configuration.equal(current.configuration): // decided on what is not so any more
		return snapshot{}, nil, meanwhile(key)
	case errors.Is(refusal, flags.ErrNotFound) && len(newcomers) > 0: // the flag is there
		return after, newcomers, leftOut(key, nil)
	case refusal != nil:
		return after, newcomers, refusal
	case pipeline != "":
		return snapshot{}, nil, fmt.Errorf("flag %q: Harness left the change to pipeline execution %q: end that, take the pipeline off the "+
			"flag and retry: %w", key, pipeline, flags.ErrApprovalRequired)
	case len(missing) > 0 && after.configuration.lacks(want, missing):
		return after, missing, leftOut(key, nil)
	default:
		return snapshot{}, nil, meanwhile(key)
	}
}

// meanwhile is decided on anew.
func meanwhile(key string) error {
	return fmt.Errorf("flag %q was changed by someone else at the same moment: %w", key, flags.ErrConflict)
}
