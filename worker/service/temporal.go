package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	prometheusexporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	temporalotel "go.temporal.io/sdk/contrib/opentelemetry"
	sdklog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/gateway"
	"github.com/contraflow/contraflow/internal/holder"
	"github.com/contraflow/contraflow/internal/slackcard"
	"github.com/contraflow/contraflow/signals"
)

const (
	// dialTimeout of one attempt, and the pause before the next: Temporal may come up after its workers.
	dialTimeout = 5 * time.Second
	dialPause   = 2 * time.Second
)

// clientOptions are what the SDK's own environment and profiles say.
func clientOptions(env envconfig.EnvLookup) (client.Options, error) {
	options, err := envconfig.LoadClientOptions(envconfig.LoadClientOptionsRequest{EnvLookup: env})
	if err != nil {
		return options, fmt.Errorf("%w: Temporal's settings in the environment or its profile: %w", errConfiguration, err)
	}
	options.HostPort = cmp.Or(options.HostPort, client.DefaultHostPort)
	options.Namespace = cmp.Or(options.Namespace, client.DefaultNamespace)
	return options, nil
}

// dial connects to Temporal and waits, saying so, while it does not answer; nil when ctx ends meanwhile.
func dial(ctx context.Context, options client.Options, metrics client.MetricsHandler, log *slog.Logger) client.Client {
	options.MetricsHandler, options.Logger = metrics, sdklog.NewStructuredLogger(log)
	log = log.With("address", options.HostPort)
	for {
		bounded, cancel := context.WithTimeout(ctx, dialTimeout)
		c, err := client.DialContext(bounded, options)
		cancel()
		if err == nil {
			return c
		}
		log.Warn("waiting for Temporal", "error", err.Error())
		if !pause(ctx, log) {
			return nil
		}
	}
}

// start starts a worker, and another one as long as Temporal, which has answered before, does not: a worker starts once. What Temporal
// does answer, no such namespace for example, is the error; nil without one when ctx ends meanwhile.
func start(ctx context.Context, log *slog.Logger, newWorker func() worker.Worker) (worker.Worker, error) {
	for {
		w := newWorker()
		err := w.Start()
		if err == nil {
			return w, nil
		}
		if !unanswered(err) {
			return nil, fmt.Errorf("start the worker: %w", err)
		}
		log.Warn("waiting for Temporal", "error", err.Error())
		if !pause(ctx, log) {
			return nil, nil
		}
	}
}

func unanswered(err error) bool {
	var away *serviceerror.Unavailable
	var late *serviceerror.DeadlineExceeded
	return errors.As(err, &away) || errors.As(err, &late) || errors.Is(err, context.DeadlineExceeded)
}

// pause before Temporal is asked once more; false when ctx ends meanwhile.
func pause(ctx context.Context, log *slog.Logger) bool {
	select {
	case <-ctx.Done():
		log.Info("stopped while waiting for Temporal")
		return false
	case <-time.After(dialPause):
		return true
	}
}

// newMetrics collects the SDK's metrics, and those of Go and the process, in a registry of the worker's own.
func newMetrics(log *slog.Logger) (handler client.MetricsHandler, registry *prometheus.Registry, shutdown func(context.Context) error, err error) {
	registry = prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	exporter, err := prometheusexporter.New(prometheusexporter.WithRegisterer(registry))
	if err != nil {
		return nil, nil, nil, fmt.Errorf("export metrics: %w", err)
	}
	provider := metric.NewMeterProvider(metric.WithReader(exporter))
	handler = temporalotel.NewMetricsHandler(temporalotel.MetricsHandlerOptions{
		Meter: provider.Meter("temporal-sdk-go"), UseMonotonicCounters: true,
		OnError: func(err error) { log.Warn("metrics", "error", err.Error()) },
	})
	return handler, registry, provider.Shutdown, nil
}

// alive tells whether the run, or one that continues it, still runs.
func alive(c client.Client) func(context.Context, string, string) (bool, error) {
	return func(ctx context.Context, migration, firstRun string) (bool, error) {
		return holder.Alive(ctx, c, migration, firstRun)
	}
}

// home tells which Temporal this is, asked anew each time: it may have been wiped under a worker that lives on.
func home(c client.Client, options client.Options) func(context.Context) (activities.Home, error) {
	return func(ctx context.Context) (activities.Home, error) {
		return holder.Home(ctx, c, options.Namespace, options.HostPort)
	}
}

// decider hands clicks to migrations as signals: a signal needs no live workflow task, and none is lost.
type decider struct{ temporal client.Client }

// Decide implements gateway.Decider.
func (d decider) Decide(ctx context.Context, decision gateway.Decision) error {
	name := signals.Approve
	if decision.Decision == slackcard.Reject {
		name = signals.Reject
	}
	payload := signals.Decision{Step: decision.Step, By: decision.By, Reason: decision.Reason, PlanHash: decision.PlanHash, Via: "slack"}
	err := d.temporal.SignalWorkflow(ctx, decision.Migration, "", name, payload)
	if _, gone := errors.AsType[*serviceerror.NotFound](err); gone {
		return fmt.Errorf("%w: migration %s is not running any more", gateway.ErrRefused, decision.Migration)
	}
	return err
}

// workflowURL makes links to the Temporal UI; nil without its address.
func workflowURL(ui, namespace string) func(migration, run string) string {
	if ui == "" {
		return nil
	}
	return func(migration, run string) string {
		return strings.TrimSuffix(ui, "/") + "/namespaces/" + url.PathEscape(namespace) + "/workflows/" + url.PathEscape(migration) + "/" + url.PathEscape(run) + "/history"
	}
}
