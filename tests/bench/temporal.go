package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/contraflow/contraflow/internal/devstack/demo"
	"github.com/contraflow/contraflow/internal/devstack/temporalserver"
	"github.com/contraflow/contraflow/signals"
)

// planName of the plan that does nothing but the backfill.
const planName = "bench"

const planText = `name: ` + planName + `
database: bench
steps:
  - name: fill
    backfill:
      table: customers
      set:
        street: "` + setStreet + `"
        street_number: "` + setNumber + `"
      where: ` + where + `
      lanes: %d
`

const workerText = `plans: %q
databases:
  bench: {dsn: "env:BENCH_DSN"}
listen: 127.0.0.1:0
`

// path is the whole way: a Temporal server and a worker, each a process of its own.
type path struct {
	server *temporalserver.Server
	worker *demo.Process
	client client.Client
}

// pave starts both on a database. They are stopped before anything else is measured.
func (b *bench) pave(ctx context.Context, t *target, lanes int) (*path, error) {
	plans := filepath.Join(b.folder, "plans")
	if err := os.MkdirAll(plans, 0o700); err != nil {
		return nil, err
	}
	config := filepath.Join(b.folder, "worker.yaml")
	for file, text := range map[string]string{
		filepath.Join(plans, planName+".yaml"): fmt.Sprintf(planText, lanes), config: fmt.Sprintf(workerText, plans),
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	server, err := temporalserver.Start(ctx, temporalserver.Options{})
	if err != nil {
		return nil, err
	}
	p := &path{server: server}
	p.worker, err = demo.Program{
		Name: "worker", Path: b.options.worker, Log: filepath.Join(b.folder, "worker.log"), Args: []string{"--config", config},
		Env: []string{"HOME=" + b.folder, "TEMPORAL_ADDRESS=" + server.Address(), "TEMPORAL_NAMESPACE=" + temporalserver.Namespace,
			"BENCH_DSN=" + t.dsn},
		Broken: func(err error) { b.say("%v", err) },
	}.Start(ctx)
	if err == nil {
		p.client, err = client.DialContext(ctx, client.Options{HostPort: server.Address(), Logger: temporalserver.Quiet()})
	}
	if err == nil {
		err = p.warmUp(ctx)
	}
	if err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

// warmUp sends a migration whose plan the worker does not know all the way: a server's and a worker's first task takes a tenth of a second,
// in which they set up what they need for all others.
func (p *path) warmUp(ctx context.Context) error {
	run, err := p.client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: "warm-up", TaskQueue: signals.TaskQueue},
		signals.Workflow, signals.Input{Name: "unknown"})
	if err != nil {
		return err
	}
	if err := run.Get(ctx, nil); err == nil {
		return errors.New("the worker knows a plan that it was not given")
	}
	return ctx.Err()
}

func (p *path) stop() {
	if p.client != nil {
		p.client.Close()
	}
	if p.worker != nil {
		p.worker.Stop()
	}
	p.server.Stop()
}

// migrate runs the plan, from the start call to the workflow's result.
func (p *path) migrate(ctx context.Context) (events int64, took time.Duration, err error) {
	began := time.Now()
	run, err := p.client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: planName, TaskQueue: signals.TaskQueue},
		signals.Workflow, signals.Input{Name: planName})
	if err == nil {
		err = run.Get(ctx, nil)
	}
	took = time.Since(began)
	if err != nil {
		return 0, 0, fmt.Errorf("migrate: %w; the worker's log ends:\n%s", err, p.worker.LogEnd())
	}
	found, err := p.client.DescribeWorkflowExecution(ctx, run.GetID(), run.GetRunID())
	if err != nil {
		return 0, 0, fmt.Errorf("count the events: %w", err)
	}
	return found.GetWorkflowExecutionInfo().GetHistoryLength(), took, nil
}

var peak = regexp.MustCompile(`(?m)^VmHWM:\s+(\d+) kB$`)

// peakMB is the most memory that a process has had in RAM so far, in MB of 10⁶ bytes.
func peakMB(pid int) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	m := peak.FindSubmatch(status)
	if m == nil {
		return 0, fmt.Errorf("/proc/%d/status tells no VmHWM", pid)
	}
	kib, err := strconv.ParseFloat(string(m[1]), 64)
	return kib * 1024 / 1e6, err
}

// temporalPath measures one run of the plan. Of its servers' start nothing counts.
func (b *bench) temporalPath(lanes int) func(context.Context, *target) (time.Duration, error) {
	return func(ctx context.Context, t *target) (time.Duration, error) {
		_, took, err := b.migrate(ctx, t, lanes)
		return took, err
	}
}

func (b *bench) migrate(ctx context.Context, t *target, lanes int) (events int64, took time.Duration, err error) {
	p, err := b.pave(ctx, t, lanes)
	if err != nil {
		return 0, 0, err
	}
	defer p.stop()
	if events, took, err = p.migrate(ctx); err != nil {
		return 0, 0, err
	}
	mb, err := peakMB(p.worker.Pid())
	if err == nil {
		b.results.add("worker_peak_mb", mb)
	}
	return events, took, err
}

const (
	// fewest and most rows at which events are counted; the most only when asked for: filling that table takes minutes.
	fewest, most7 = 10_000, 10_000_000
	// often is up to where they are counted in any case.
	often = 1_000_000
)

// history counts the events of the same plan at tenfold numbers of rows.
func (b *bench) history(ctx context.Context) error {
	last := min(b.options.rows, often)
	if b.options.big {
		last = most7
	}
	sizes := map[int64]bool{b.options.rows: true}
	for rows := int64(fewest); rows <= last; rows *= 10 {
		sizes[rows] = true
	}
	var all sample
	for _, rows := range slices.Sorted(maps.Keys(sizes)) {
		t, err := b.fresh(ctx, bigint(), rows)
		if err != nil {
			return err
		}
		events, took, err := b.migrate(ctx, t, 1)
		if err == nil {
			err = t.changed(ctx, rows)
		}
		t.close()
		if err == nil && rows != b.options.rows {
			err = b.forget(ctx, bigint(), rows)
		}
		if err != nil {
			return fmt.Errorf("%d rows: %w", rows, err)
		}
		b.say("history at %10s rows  %8.2f s  %4d events", thousands(float64(rows)), took.Seconds(), events)
		all = append(all, float64(events))
		b.results.byRows[rows] = float64(events)
	}
	b.results.add("history_events", b.results.byRows[b.options.rows])
	b.results.add("history_events_difference", all.max()-all.min())
	return nil
}
