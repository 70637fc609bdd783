package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/slack-go/slack"
	"go.temporal.io/sdk/contrib/envconfig"
	"go.temporal.io/sdk/worker"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/gateway"
	"github.com/contraflow/contraflow/internal/config"
	"github.com/contraflow/contraflow/internal/providers"
	"github.com/contraflow/contraflow/internal/slackcard"
	"github.com/contraflow/contraflow/workflows"
)

const (
	// throttle of heartbeats: progress is a second old at most, and a cancellation is seen within a second.
	throttle = time.Second
	// deadlockTimeout is how long a workflow task may compute, in time on the wall: on a machine that does much else a process stands
	// still for seconds without a fault of the workflow's. Shorter than the ten seconds in which Temporal wants the task's answer.
	deadlockTimeout = 8 * time.Second
	// readHeaderTimeout keeps slow clients from holding connections.
	readHeaderTimeout = 5 * time.Second
	// shutdownTimeout is for the HTTP server, behind the worker's own.
	shutdownTimeout = 5 * time.Second
)

// errConfiguration says that the configuration file or the environment has to be changed.
var errConfiguration = errors.New("bad configuration")

// serve works until ctx ends, then stops gracefully: lanes end between two chunks.
func serve(ctx context.Context, o Options, cfg *config.Config, env envconfig.EnvLookup, log *slog.Logger, stdout io.Writer) error {
	listener, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", cfg.Listen, err)
	}
	temporal, err := clientOptions(env)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	chat := slackClient(cfg.Slack)
	acts, closeAll, err := assemble(ctx, o, cfg, chat, temporal.Namespace)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	defer closeAll()

	metrics, registry, shutdown, err := newMetrics(log)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	defer func() { _ = shutdown(context.WithoutCancel(ctx)) }() // the process ends anyway

	var ready atomic.Bool
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if !ready.Load() {
			http.Error(w, "waiting for Temporal, or stopping", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	late := &lateHandler{}
	mux.Handle("POST "+gateway.InteractionsPath, late)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: readHeaderTimeout}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		_ = server.Shutdown(bounded) // what is left after that is cut off
	}()
	if err := json.NewEncoder(stdout).Encode(map[string]string{"listening": "http://" + listener.Addr().String()}); err != nil {
		return err
	}

	c := dial(ctx, temporal, metrics, log)
	if c == nil {
		return nil // stopped as asked, before there was anything to stop
	}
	defer c.Close()
	acts.Alive, acts.Home, acts.Transforms = alive(c), home(c, temporal), o.Transforms
	if cfg.Slack != nil {
		_, secret := cfg.Slack.Secrets()
		g, err := gateway.New(gateway.Config{SigningSecret: secret, People: cfg.Slack.People, Decider: decider{c}, Slack: chat, Log: log})
		if err != nil {
			return err
		}
		late.set(g.Handler())
		defer func() {
			bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
			defer cancel()
			_ = g.Close(bounded) // people whose clicks are cut off see no change and press again
		}()
	}
	fatal := make(chan error, 1)
	w, err := start(ctx, log, func() worker.Worker {
		w := worker.New(c, cfg.TaskQueue, worker.Options{
			WorkerStopTimeout: cfg.StopTimeout, MaxHeartbeatThrottleInterval: throttle, DefaultHeartbeatThrottleInterval: throttle,
			DeadlockDetectionTimeout: deadlockTimeout,
			OnFatalError: func(err error) {
				select {
				case fatal <- err:
				default: // the first one ends the worker
				}
			},
		})
		workflows.Register(w)
		w.RegisterActivity(acts)
		return w
	})
	if w == nil {
		return err
	}
	defer w.Stop()
	ready.Store(true)
	log.Info("working", "taskQueue", cfg.TaskQueue)
	select {
	case <-ctx.Done():
		ready.Store(false)
		log.Info("stopping: lanes end between two chunks")
		return nil
	case err := <-served:
		return fmt.Errorf("serve HTTP: %w", err)
	case err := <-fatal:
		return fmt.Errorf("work on task queue %s: %w", cfg.TaskQueue, err)
	}
}

// assemble opens what activities work with; nothing connects before it is used.
func assemble(
	ctx context.Context, o Options, cfg *config.Config, chat *slack.Client, namespace string,
) (*activities.Activities, func(), error) {
	var closers []func()
	closeAll := func() {
		for _, c := range closers {
			c()
		}
	}
	fail := func(err error) (*activities.Activities, func(), error) {
		closeAll()
		return nil, nil, fmt.Errorf("%w: %w", errConfiguration, err)
	}
	plans, err := activities.OpenPlans(cfg.Plans)
	if err != nil {
		return fail(fmt.Errorf("plans: %w", err))
	}
	acts := &activities.Activities{Databases: map[string]*activities.Database{}, Plans: plans}
	for name, db := range cfg.Databases {
		opened, err := activities.OpenDatabase(context.WithoutCancel(ctx), db.ConnectionString())
		if err != nil {
			return fail(fmt.Errorf("databases.%s.dsn: %w", name, err))
		}
		closers = append(closers, opened.Close)
		acts.Databases[name] = opened
	}
	if cfg.Flags.Given() && o.Flags != nil {
		return fail(errors.New("flags: this worker brings its own flag provider: take flags out"))
	}
	if set := flagProviders(context.WithoutCancel(ctx), o, cfg); set != nil {
		closers = append(closers, set.Close)
		acts.Flags = set.Find
	}
	if chat != nil {
		acts.Chat = &activities.Chat{Poster: slackcard.NewPoster(chat), Channel: cfg.Slack.Channel, WorkflowURL: workflowURL(cfg.TemporalUI, namespace)}
	}
	return acts, closeAll, nil
}

// flagProviders is nil where there are none.
func flagProviders(ctx context.Context, o Options, cfg *config.Config) *providers.Set {
	switch {
	case o.Flags != nil:
		return providers.Own(ctx, o.Flags)
	case cfg.Flags.Given():
		return providers.New(ctx, cfg)
	}
	return nil
}

// slackClient is nil where no chat is configured.
func slackClient(s *config.Slack) *slack.Client {
	if s == nil {
		return nil
	}
	token, _ := s.Secrets()
	var options []slack.Option
	if s.APIURL != "" {
		options = append(options, slack.OptionAPIURL(s.APIURL))
	}
	return slack.New(token, options...)
}

// lateHandler answers 503 until the gateway can reach Temporal; Slack then shows the person that the click was not taken.
type lateHandler struct{ handler atomic.Pointer[http.Handler] }

func (l *lateHandler) set(h http.Handler) { l.handler.Store(&h) }

func (l *lateHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h := l.handler.Load(); h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	http.Error(w, "waiting for Temporal", http.StatusServiceUnavailable)
}
