// Package providers makes flag providers from a worker's configuration, for the worker and for those who work beside it.
package providers

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"sync"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/flagfile"
	"github.com/contraflow/contraflow/flags/harness"
	"github.com/contraflow/contraflow/flags/launchdarkly"
	"github.com/contraflow/contraflow/flags/postgres"
	"github.com/contraflow/contraflow/internal/config"
	"github.com/contraflow/contraflow/plan"
)

// Where the services' APIs are unless configured otherwise, as their packages have it.
const (
	launchDarklyAPI = "https://app.launchdarkly.com"
	harnessAPI      = "https://app.harness.io/gateway"
)

// ErrNone says that the configuration has no flag provider.
var ErrNone = errors.New("the worker's configuration has no flag provider: add flags to it")

// environment of a project, by their keys.
type environment struct{ project, key string }

// Set keeps one flag provider for each environment that is asked for. It is safe for concurrent use.
type Set struct {
	ctx    context.Context
	config *config.Config // nil in a set of one's own providers
	open   Opener

	mu     sync.Mutex
	opened map[environment]flags.Provider
}

// Opener makes the provider of one environment of a project. ctx is of the process.
type Opener func(ctx context.Context, project, environment string) (flags.Provider, error)

// New makes an empty set. ctx is of the process and not of a single call: a provider outlives the call that first needs it.
func New(ctx context.Context, c *config.Config) *Set {
	s := Own(ctx, nil)
	s.config, s.open = c, s.configured
	return s
}

// Own makes an empty set of providers that the configuration knows nothing of.
func Own(ctx context.Context, open Opener) *Set {
	return &Set{ctx: ctx, open: open, opened: map[environment]flags.Provider{}}
}

// Find returns the provider of an environment, made at its first use. Errors: ErrNone, and what a provider finds wrong with
// its configuration.
func (s *Set) Find(scope plan.FlagScope) (flags.Provider, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := environment{scope.Project, scope.Environment}
	if have, ok := s.opened[at]; ok {
		return have, nil
	}
	provider, err := s.open(s.ctx, scope.Project, scope.Environment)
	if err != nil {
		return nil, err
	}
	s.opened[at] = provider
	return provider, nil
}

func (s *Set) configured(ctx context.Context, project, environment string) (flags.Provider, error) {
	c := s.config.Flags
	switch {
	case c.FlagFile != nil:
		return flagfile.New(c.FlagFile.Path)
	case c.Postgres != nil:
		return postgres.Open(ctx, s.config.Databases[c.Postgres.Database].ConnectionString())
	case c.Harness != nil:
		apiKey, sdkKey := c.Harness.Secrets()
		return harness.New(harness.Config{
			APIURL: c.Harness.APIURL, APIKey: apiKey, Account: c.Harness.Account, Organization: c.Harness.Organization,
			Project: project, Environment: environment, SDKKey: sdkKey, SDKURL: c.Harness.SDKURL,
		})
	case c.LaunchDarkly != nil:
		ld := c.LaunchDarkly
		token, sdkKey := ld.Secrets()
		return launchdarkly.New(ctx, launchdarkly.Config{
			APIURL: ld.APIURL, Token: token, Project: project, Environment: environment, SDKKey: sdkKey, StreamURL: ld.StreamURL,
			RequestApprovals: ld.Approvals == config.RequestApprovals, NotifyTeams: ld.NotifyTeams,
		})
	}
	return nil, ErrNone
}

// Warm connects to the flag service's API, for whom milliseconds count: the first request then finds a connection. It is no
// error if nobody answers, since the request itself will tell.
func (s *Set) Warm(ctx context.Context) {
	if s.config == nil {
		return
	}
	var api string
	switch c := s.config.Flags; {
	case c.LaunchDarkly != nil:
		api = cmp.Or(c.LaunchDarkly.APIURL, launchDarklyAPI)
	case c.Harness != nil:
		api = cmp.Or(c.Harness.APIURL, harnessAPI)
	default:
		return
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, api, nil)
	if err != nil {
		return
	}
	if response, err := http.DefaultTransport.RoundTrip(request); err == nil { // its connections are the providers', too
		_ = response.Body.Close()
	}
}

// Close releases what all providers hold; nobody may use them any more.
func (s *Set) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, provider := range s.opened {
		_ = provider.Close() // the process ends anyway
	}
}
