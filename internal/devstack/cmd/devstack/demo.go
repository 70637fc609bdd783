package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/contraflow/contraflow/examples/shop/app"
	"github.com/contraflow/contraflow/examples/shop/load"
	"github.com/contraflow/contraflow/internal/devstack/demo"
	"github.com/contraflow/contraflow/internal/devstack/temporalserver"
	"github.com/contraflow/contraflow/internal/watch"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

const (
	// requestRate of the load: enough for thousands of requests at each stage, and half of what two cores carry beside the rest.
	requestRate = 250
	// humanPause between a card and the click on it, so that one sees the card.
	humanPause = time.Second
	// afterglow is how long the shop is kept busy behind the end of the migration, when all of its writes go to the new shape.
	afterglow = 2 * time.Second
	// warmup is how long the shop is busy before the migration begins, so that there are customers of its own making.
	warmup = time.Second
	// startedBy is none of the people who may approve: the starter may not.
	startedBy = "demo"
	// backfillStep of the example's plan.
	backfillStep = "fill"
)

// errFailed says that checks failed; which ones, is told already.
var errFailed = errors.New("not everything is as it should be")

// show is one run of the demo.
type show struct {
	console
	settings
	stack   *demo.Stack
	load    *load.Generator
	before  demo.World
	witness *demo.Witness
	view    *view
}

// runDemo starts everything, migrates, looks at the result and stops everything, however it ends.
func runDemo(ctx context.Context, c console, s settings) error {
	d := &show{console: c, settings: s}
	d.say("contraflow demo: scenario %s, %s customers\n", s.scenario, number(s.rows))
	stack, err := demo.Start(ctx, demo.Options{Rows: s.rows, Edit: s.edit, UI: true, Keep: s.keep,
		Say: func(part, about string) { d.say("  %-10s %s", part, about) }})
	if err != nil {
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		return err
	}
	defer func() {
		stack.Stop()
		if s.keep {
			d.say("kept: %s", stack.Folder)
		}
	}()
	d.stack = stack
	ended, err := d.perform(ctx)
	if err == nil {
		err = d.conclude(ctx, ended)
	}
	if ctx.Err() != nil {
		return errors.New("interrupted: everything is stopped")
	}
	if err != nil {
		d.logs(err)
	}
	return err
}

func (d *show) say(format string, args ...any) { fmt.Fprintf(d.stderr, format+"\n", args...) }

// ended is what is known when the load has ended.
type ended struct {
	snapshot watch.Snapshot
	stats    load.Stats
	readBack int // customers
	shop     app.Stats
	backfill time.Duration // how long it took; 0 when it did not end
	// kills of the worker, and how many of them met a chunk.
	kills, inChunk int
	revivals       int // how often the worker was started again after somebody else killed it
}

// perform runs the migration under load.
func (d *show) perform(ctx context.Context) (e ended, err error) {
	if err := d.prepare(ctx); err != nil {
		return e, err
	}
	var tasks sync.WaitGroup
	loading, stopLoad := context.WithCancel(ctx)
	others, stopOthers := context.WithCancelCause(ctx)
	defer tasks.Wait()
	defer stopLoad()
	defer stopOthers(nil)
	tasks.Go(func() { d.mind(others, stopOthers) })
	loaded := make(chan struct{})
	tasks.Go(func() { d.load.Run(loading); close(loaded) })
	tasks.Go(func() { d.view.ask(others) })

	if !pause(others, warmup) {
		return e, context.Cause(others)
	}
	run, err := d.stack.Migrate(others, startedBy)
	if err != nil {
		return e, err
	}
	d.links(run.GetID())
	if !d.interactive {
		tasks.Go(func() { d.stack.ApproveAll(others, demo.Alice, humanPause, d.view.pressed) })
	}
	if d.scenario == crash {
		tasks.Go(func() {
			if err := d.stack.KillDuring(others, backfillStep, kills(), d.view.killed); err != nil {
				stopOthers(err)
			}
		})
	}
	if e.snapshot, err = d.view.follow(others, run.GetID(), run.GetRunID()); err != nil {
		return e, cmp.Or(context.Cause(others), err)
	}
	if !pause(others, afterglow) {
		return e, context.Cause(others)
	}
	stopLoad()
	<-loaded
	e.readBack = d.load.ReadBack(others)
	e.stats, e.backfill = d.load.Stats(), d.view.backfill
	e.kills, e.inChunk, e.revivals = d.view.kills()
	if e.shop, err = d.stack.ShopStats(others); err != nil {
		return e, cmp.Or(context.Cause(others), err)
	}
	return e, context.Cause(others)
}

// mind ends the show when a process ends by itself. Where a person is in the house, it starts the worker again, as a
// supervisor would: killing it is what that person wanted to see.
func (d *show) mind(ctx context.Context, end context.CancelCauseFunc) {
	for {
		select {
		case err := <-d.stack.Broken():
			if _, worker := errors.AsType[*demo.WorkerEnded](err); worker && d.interactive {
				if err = d.stack.StartWorker(ctx); err == nil {
					d.view.revived()
					continue
				}
			}
			end(err)
			return
		case <-ctx.Done():
			return
		}
	}
}

// prepare looks at the world before, and makes what the scenario needs.
func (d *show) prepare(ctx context.Context) (err error) {
	if d.before, err = d.stack.Look(ctx); err != nil {
		return err
	}
	switch d.scenario {
	case rollback:
		err = d.stack.ArmFault(ctx)
	case crash:
		d.witness, err = demo.PlaceWitness(ctx, d.stack.Pool, "customers")
	}
	if err != nil {
		return err
	}
	if d.load, err = load.New(load.Options{BaseURL: d.stack.Shop.URL, Rate: requestRate, Seeded: d.rows}); err != nil {
		return err
	}
	d.view = newView(d)
	return nil
}

// links tells a person where to look, and where to press. Without the run's id, which the page finds itself, and on a line of
// its own the address fits into 80 columns.
func (d *show) links(id string) {
	d.say("\n  the chat   %s", d.stack.Chat.URL())
	d.say("  watch it:\n  %s/namespaces/%s/workflows/%s", d.stack.Temporal.UIURL(), temporalserver.Namespace, id)
	if d.interactive {
		d.say("\nYou decide: in the chat, as alice or bob, press Approve or Reject on each card.")
		d.say("%s", commandLine(d.stack.EnvFile(), d.stack.ConfigFile(), id, d.stack.Plan))
	}
	d.say("")
}

// commandLine tells how to decide from another terminal, and how to press the kill switch, in lines of 80 columns at most.
func commandLine(env, config, id string, p *plan.Plan) string {
	var first string
	if i := slices.IndexFunc(p.Steps, func(s plan.Step) bool { return s.Approve != nil }); i >= 0 {
		first = p.Steps[i].Name
	}
	return fmt.Sprintf(`Or paste this in another terminal, in this folder:

  . %[1]s
  bin/contraflow approve %[3]s %[4]s --by alice

bin/contraflow status and watch work the same way, and so does Temporal's own
command line, .cache/bin/temporal. The kill switch, at any moment:

  . %[1]s
  bin/contraflow kill %[3]s \
    --config %[2]s

The migration pauses then. To put the flags back and go on:

  bin/contraflow resume %[3]s

Where it asks then, because customers were written in the old shape alone:

  psql "$SHOP_DSN" -f examples/shop/refill.sql
  bin/contraflow retry %[3]s`, env, config, id, first)
}

// conclude checks the result, and writes the summary and the report.
func (d *show) conclude(ctx context.Context, e ended) error {
	r := report{
		Scenario: string(d.scenario), Outcome: string(e.snapshot.Outcome), Rows: d.rows, Backfilled: backfilled(e.snapshot),
		Requests: e.stats.Requests, FailedRequests: e.stats.Failed, WrongReads: e.stats.WrongReads,
		HistoryEvents: e.snapshot.HistoryEvents, Seconds: seconds(e.snapshot.Ended.Sub(e.snapshot.Started)),
	}
	want := d.wants(e.snapshot.Outcome)
	checks := []demo.Check{
		expect("the outcome is "+strings.ReplaceAll(string(want), "_", " "), e.snapshot.Outcome == want,
			"it is %s %s", e.snapshot.Outcome, e.snapshot.Failure),
		expect("no request failed", e.stats.Failed == 0, "%d did, the last one: %s", e.stats.Failed, e.stats.LastError),
		expect("no read was wrong", e.stats.WrongReads == 0, "%d were", e.stats.WrongReads),
	}
	if d.witness != nil {
		testimony, err := d.witness.Ask(ctx)
		if err = errors.Join(err, d.witness.Remove(ctx)); err != nil {
			return err
		}
		r.CommittedTwice = &testimony.Twice
		checks = append(checks, expect("no row was committed twice", testimony.Twice == 0, "%d were", testimony.Twice))
		if want == watch.Completed { // a person may have ended the backfill before the last kill
			checks = append(checks,
				expect("the witness saw every row", testimony.Changes == r.Backfilled, "it saw %d of %d", testimony.Changes, r.Backfilled),
				expect("the worker was killed", e.kills == len(kills()), "%d times only", e.kills))
		}
	}
	if e.snapshot.Outcome == watch.RolledBack { // also when a person rejected what the scenario meant to complete
		checks = append(checks, d.stack.CheckUnchanged(ctx, d.before)...)
	} else {
		checks = append(checks, d.stack.CheckMigrated(ctx)...)
	}
	fmt.Fprint(d.stdout, summary(e, r, checks))
	line, err := r.line()
	if err != nil {
		return err
	}
	fmt.Fprintln(d.stdout, line)
	failed := false
	for _, c := range checks {
		if c.Problem != "" {
			failed = true
			d.say("FAILED: %s: %s", c.Name, c.Problem)
		}
	}
	if failed {
		return errFailed
	}
	return nil
}

func expect(name string, holds bool, problem string, args ...any) demo.Check {
	if holds {
		return demo.Check{Name: name}
	}
	return demo.Check{Name: name, Problem: strings.TrimSpace(fmt.Sprintf(problem, args...))}
}

// backfilled is how many rows the backfill has changed, also when they have been taken back since.
func backfilled(s watch.Snapshot) int64 {
	if s.Result != nil {
		return s.Result.Rows
	}
	var rows int64
	if s.Status != nil {
		for _, step := range s.Status.Steps {
			rows += step.Rows
		}
	}
	return rows
}

// logs shows the ends of the logs of the two programs that are ours, unless the error shows them.
func (d *show) logs(err error) {
	processes := map[string]*demo.Process{"shop": d.stack.Shop, "worker": d.stack.Worker()}
	for _, name := range []string{"shop", "worker"} {
		if p := processes[name]; p != nil {
			if text := p.LogEnd(); text != "" && !strings.Contains(err.Error(), text) {
				d.say("\nend of the %s's log:\n%s", name, text)
			}
		}
	}
	d.say("")
}

// hopeless tells what a migration waits for that nobody may ever do; "" when it works.
func hopeless(s watch.Snapshot) string {
	if s.Status == nil || s.Closed {
		return ""
	}
	switch s.Status.State {
	case signals.Stuck, signals.Paused, signals.Waiting:
		return fmt.Sprintf("it is %s: %s", s.Status.State, s.Status.Needs)
	}
	return ""
}

// pause returns true after d, or false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
