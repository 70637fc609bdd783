// Package openfeature lets an application read the table contraflow.flag through the OpenFeature SDK, so that its code knows
// no flag service:
//
//	provider := pgopenfeature.New(pgflags.Pool(pool), pgflags.Options{})
//	err := openfeature.SetProviderAndWait(provider)
//	client := openfeature.NewClient("shop")
//	on := client.Boolean(ctx, "checkout-new", false, openfeature.NewEvaluationContext("4711", map[string]any{"kind": "account"}))
//
// The provider is also the attest.Source of what it evaluates.
//
// LaunchDarkly and Harness have OpenFeature providers of their own.
package openfeature

import (
	"context"
	"fmt"
	"strconv"
	"sync"

	"github.com/open-feature/go-sdk/openfeature"

	"github.com/contraflow/contraflow/flags/attest"
	"github.com/contraflow/contraflow/flags/internal/broadcast"
	"github.com/contraflow/contraflow/flags/pgflags"
)

// Name of the provider in OpenFeature's metadata.
const Name = "contraflow-postgres"

// KindAttribute of an evaluation context is the context's kind, a text; "user" where it is missing. Its targetingKey is the
// context's key.
const KindAttribute = "kind"

// StaleReason is OpenFeature's reason of a value that may be out of date, which its Go SDK has no constant for.
const StaleReason openfeature.Reason = "STALE"

// events that may wait for the SDK, which takes them as they come; what is more is dropped, for nobody listens.
const events = 64

// Provider of boolean flags. It opens its Reader when OpenFeature initializes it, and closes it when it is shut down.
type Provider struct {
	source  pgflags.Source
	options pgflags.Options
	events  chan openfeature.Event

	mu      sync.RWMutex
	reader  *pgflags.Reader // nil before Init and behind Shutdown
	changed broadcast.Broadcast
}

var (
	_ openfeature.FeatureProvider          = (*Provider)(nil)
	_ openfeature.ContextAwareStateHandler = (*Provider)(nil)
	_ openfeature.EventHandler             = (*Provider)(nil)
	_ attest.Watcher                       = (*Provider)(nil)
)

// New makes a provider of the flags in a database. It does not connect yet.
func New(source pgflags.Source, options pgflags.Options) *Provider {
	return &Provider{source: source, options: options, events: make(chan openfeature.Event, events)}
}

// Metadata names the provider.
func (p *Provider) Metadata() openfeature.Metadata { return openfeature.Metadata{Name: Name} }

// Hooks of the provider: none.
func (p *Provider) Hooks() []openfeature.Hook { return nil }

// EventChannel tells of changed flags, of a copy that has become stale, and of one that is good again.
func (p *Provider) EventChannel() <-chan openfeature.Event { return p.events }

// Init is InitWithContext for who calls by OpenFeature's older interface, which has no context; the query is bounded anyway.
func (p *Provider) Init(evaluation openfeature.EvaluationContext) error {
	return p.InitWithContext(context.Background(), evaluation)
}

// InitWithContext takes the first copy of the flags. If it fails the provider goes on trying, and tells when it is ready.
func (p *Provider) InitWithContext(ctx context.Context, _ openfeature.EvaluationContext) error {
	options := p.options
	options.Changed = func(keys []string) {
		p.changed.Tell()
		if p.options.Changed != nil {
			p.options.Changed(keys)
		}
		p.tell(openfeature.ProviderConfigChange, openfeature.ProviderEventDetails{Message: "flags have changed", FlagChanges: keys})
	}
	options.Stale = func(stale bool) {
		p.changed.Tell() // there may have been no copy before
		if p.options.Stale != nil {
			p.options.Stale(stale)
		}
		if stale {
			p.tell(openfeature.ProviderStale, openfeature.ProviderEventDetails{Message: "the database can't be read: the last copy is served"})
		} else {
			p.tell(openfeature.ProviderReady, openfeature.ProviderEventDetails{Message: "the flags can be read again"})
		}
	}
	reader, err := pgflags.Open(ctx, p.source, options)
	if before := p.replace(reader); before != nil {
		_ = before.Close()
	}
	return err
}

// replace the reader, and return the one before.
func (p *Provider) replace(reader *pgflags.Reader) (before *pgflags.Reader) {
	p.mu.Lock()
	before, p.reader = p.reader, reader
	p.mu.Unlock()
	p.changed.Tell()
	return before
}

// See tells which versions of the flags the provider evaluates now; none before its initialization and behind its shutdown,
// when it serves fallbacks.
func (p *Provider) See(keys []string) []attest.Seen {
	if r := p.current(); r != nil {
		return r.See(keys)
	}
	return nil
}

// Watch calls changed at once, and whenever See may have something else to tell, until ctx ends.
func (p *Provider) Watch(ctx context.Context, changed func()) { p.changed.Watch(ctx, changed) }

func (p *Provider) tell(what openfeature.EventType, details openfeature.ProviderEventDetails) {
	select {
	case p.events <- openfeature.Event{ProviderName: Name, EventType: what, ProviderEventDetails: details}:
	default:
	}
}

// Shutdown is ShutdownWithContext for who calls by OpenFeature's older interface, which has no context; the last report is bounded anyway.
func (p *Provider) Shutdown() { _ = p.ShutdownWithContext(context.Background()) }

// ShutdownWithContext ends the reader and waits within ctx for its last report; the error is of that. The provider is not ready
// then, until it is initialized again.
func (p *Provider) ShutdownWithContext(ctx context.Context) error {
	r := p.replace(nil)
	if r == nil {
		return nil
	}
	closed := make(chan error, 1)
	go func() { closed <- r.Close() }()
	select {
	case err := <-closed:
		return err
	case <-ctx.Done():
		return fmt.Errorf("wait for the last report of evaluated flags: %w", ctx.Err())
	}
}

func (p *Provider) current() *pgflags.Reader {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.reader
}

// BooleanEvaluation evaluates a flag of the table.
func (p *Provider) BooleanEvaluation(
	_ context.Context, flag string, fallback bool, evaluation openfeature.FlattenedContext,
) openfeature.BoolResolutionDetail {
	refused := func(err openfeature.ResolutionError) openfeature.BoolResolutionDetail {
		return openfeature.BoolResolutionDetail{Value: fallback, ProviderResolutionDetail: failed(err)}
	}
	kind, isText := evaluation[KindAttribute].(string)
	if !isText && evaluation[KindAttribute] != nil {
		return refused(openfeature.NewInvalidContextResolutionError("the attribute " + KindAttribute + " must be a text"))
	}
	key, hasKey := evaluation[openfeature.TargetingKey].(string)
	found, stale, problem := p.evaluate(flag, kind, key, fallback)
	if problem != nil {
		return refused(*problem)
	}
	if found.Reason == pgflags.Split && !hasKey {
		return refused(openfeature.NewTargetingKeyMissingResolutionError("flag " + flag + " is rolled out by percent: name the context with a targeting key"))
	}
	detail := openfeature.ProviderResolutionDetail{
		Reason: reasons[found.Reason], Variant: strconv.FormatBool(found.Value), FlagMetadata: openfeature.FlagMetadata{"version": found.Version},
	}
	if stale {
		detail.Reason = StaleReason
	}
	return openfeature.BoolResolutionDetail{Value: found.Value, ProviderResolutionDetail: detail}
}

var reasons = map[pgflags.Reason]openfeature.Reason{
	pgflags.Off: openfeature.DisabledReason, pgflags.Target: openfeature.TargetingMatchReason,
	pgflags.Everyone: openfeature.DefaultReason, pgflags.Split: openfeature.SplitReason,
}

// evaluate asks one reader, whatever Init and Shutdown do meanwhile.
func (p *Provider) evaluate(flag, kind, key string, fallback bool) (out pgflags.Evaluation, stale bool, problem *openfeature.ResolutionError) {
	out.Reason = pgflags.NotReady
	if r := p.current(); r != nil {
		out, stale = r.Evaluate(flag, kind, key, fallback), r.Stale()
	}
	switch out.Reason {
	case pgflags.NotReady:
		problem = new(openfeature.NewProviderNotReadyResolutionError("the flags could not be read yet"))
	case pgflags.NotFound:
		problem = new(openfeature.NewFlagNotFoundResolutionError("flag " + flag + " is not in contraflow.flag, or archived"))
	}
	return out, stale, problem
}

func failed(err openfeature.ResolutionError) openfeature.ProviderResolutionDetail {
	return openfeature.ProviderResolutionDetail{ResolutionError: err, Reason: openfeature.ErrorReason}
}

// mismatch is the answer to whoever asks for another type: there are boolean flags only.
func mismatch[T any](p *Provider, flag string, fallback T) openfeature.GenericResolutionDetail[T] {
	out := openfeature.GenericResolutionDetail[T]{Value: fallback}
	if _, _, problem := p.evaluate(flag, "", "", false); problem != nil {
		out.ProviderResolutionDetail = failed(*problem)
	} else {
		out.ProviderResolutionDetail = failed(openfeature.NewTypeMismatchResolutionError("flag " + flag + " is boolean"))
	}
	return out
}

// StringEvaluation serves the fallback: flags are boolean.
func (p *Provider) StringEvaluation(_ context.Context, flag, fallback string, _ openfeature.FlattenedContext) openfeature.StringResolutionDetail {
	return mismatch(p, flag, fallback)
}

// FloatEvaluation serves the fallback: flags are boolean.
func (p *Provider) FloatEvaluation(_ context.Context, flag string, fallback float64, _ openfeature.FlattenedContext) openfeature.FloatResolutionDetail {
	return mismatch(p, flag, fallback)
}

// IntEvaluation serves the fallback: flags are boolean.
func (p *Provider) IntEvaluation(_ context.Context, flag string, fallback int64, _ openfeature.FlattenedContext) openfeature.IntResolutionDetail {
	return mismatch(p, flag, fallback)
}

// ObjectEvaluation serves the fallback: flags are boolean.
func (p *Provider) ObjectEvaluation(_ context.Context, flag string, fallback any, _ openfeature.FlattenedContext) openfeature.InterfaceResolutionDetail {
	return mismatch(p, flag, fallback)
}
