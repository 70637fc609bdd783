package service

import (
	"context"
	"sync"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/flagfile"
	"github.com/contraflow/contraflow/flags/harness"
	"github.com/contraflow/contraflow/flags/launchdarkly"
	"github.com/contraflow/contraflow/flags/postgres"
	"github.com/contraflow/contraflow/internal/config"
	"github.com/contraflow/contraflow/plan"
)

// flagEnvironment of a project, by their keys.
type flagEnvironment struct{ project, environment string }

// providers keeps one flag provider for each environment that plans use.
type providers struct {
	ctx    context.Context // of the worker: a provider outlives the activity that first needs it
	config *config.Config

	mu     sync.Mutex
	opened map[flagEnvironment]flags.Provider
}

func (p *providers) find(scope plan.FlagScope) (flags.Provider, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := flagEnvironment{scope.Project, scope.Environment}
	if have, ok := p.opened[key]; ok {
		return have, nil
	}
	provider, err := p.open(scope)
	if err != nil {
		return nil, err
	}
	if p.opened == nil {
		p.opened = map[flagEnvironment]flags.Provider{}
	}
	p.opened[key] = provider
	return provider, nil
}

func (p *providers) open(scope plan.FlagScope) (flags.Provider, error) {
	if f := p.config.Flags.FlagFile; f != nil {
		return flagfile.New(f.Path)
	}
	if f := p.config.Flags.Postgres; f != nil {
		return postgres.Open(p.ctx, p.config.Databases[f.Database].ConnectionString())
	}
	if h := p.config.Flags.Harness; h != nil {
		apiKey, sdkKey := h.Secrets()
		return harness.New(harness.Config{
			APIURL: h.APIURL, APIKey: apiKey, Account: h.Account, Organization: h.Organization, Project: scope.Project,
			Environment: scope.Environment, SDKKey: sdkKey, SDKURL: h.SDKURL,
		})
	}
	ld := p.config.Flags.LaunchDarkly
	token, sdkKey := ld.Secrets()
	return launchdarkly.New(p.ctx, launchdarkly.Config{
		APIURL: ld.APIURL, Token: token, Project: scope.Project, Environment: scope.Environment, SDKKey: sdkKey, StreamURL: ld.StreamURL,
		RequestApprovals: ld.Approvals == config.RequestApprovals, NotifyTeams: ld.NotifyTeams,
	})
}

func (p *providers) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, provider := range p.opened {
		_ = provider.Close() // the process ends anyway
	}
}
