package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"github.com/spf13/cobra"

	"github.com/contraflow/contraflow/internal/watch"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

type startFlags struct {
	id, by, taskQueue string
	rehearsal         string
	noRehearsal, wait bool
}

// started is start's answer as JSON.
type started struct {
	ID        string `json:"id"`
	RunID     string `json:"runId"`
	Plan      string `json:"plan"`
	StartedBy string `json:"startedBy"`
	// Rehearsed: it brought its rehearsal along.
	Rehearsed bool `json:"rehearsed,omitempty"`
	// Begun: its plan was found and the database looked at. A migration that has not begun yet may still be refused.
	Begun bool `json:"begun"`
	// Waits says why it has not begun, as far as that is known.
	Waits string `json:"waits,omitempty"`
}

const (
	// A worker that is alive begins in well under a second; one that must wait for something says so after its first attempts.
	beginTimeout = 3 * time.Second
	// Short beside a beginning, so that a script hardly notices the wait.
	beginPoll = 100 * time.Millisecond
)

func newStart(a *app) *cobra.Command {
	var f startFlags
	cmd := &cobra.Command{
		Use:     "start PLAN",
		GroupID: groupRun,
		Short:   "Start a migration",
		Long: `Start a migration: one run of a plan.

PLAN is a file (.yaml, .yml or .json), which is checked here first and then travels whole, or the name of a plan the
worker knows. The SQL files always come from the worker's own plan folder.

What contraflow rehearse has left beside the plan goes along, if it is of exactly this plan and these SQL files: it stands in the
status, and on the first card for those who approve.

One migration of a plan runs at a time. A plan that was stopped half way is simply started again: each step looks at
the world first and does only what is missing. Who starts a migration may not approve it.

The program waits a moment for the migration to begin. One that is refused there (no such plan, no such database, the
plan runs under another id) has changed nothing and ends the program with 1, or with 2 when the plan is at fault.

With --wait the program stays and shows the migration until it has ended, also over a restart of Temporal; stopping it
with Ctrl-C does not stop the migration. Exit codes then: 0 completed, 3 rolled back, 1 any other end.`,
		Example: `  contraflow start examples/shop/plan.yaml --wait
  contraflow start split-customer-address --by carol
  contraflow start plan.yaml --wait --json > outcome.json    # in CI`,
		Args: needs("PLAN"),
		RunE: a.does(func(ctx context.Context, args []string) error { return a.start(ctx, args[0], f) }),
	}
	cmd.Flags().StringVar(&f.id, "id", "", "id of the migration (default the plan's name)")
	cmd.Flags().StringVar(&f.by, "by", "", "who starts it (default the user of this machine)")
	cmd.Flags().StringVar(&f.taskQueue, "task-queue", signals.TaskQueue, "task queue the workers listen on")
	cmd.Flags().StringVar(&f.rehearsal, "rehearsal", "", "file that rehearse has written (default the one beside the plan, if it is of this plan)")
	cmd.Flags().BoolVar(&f.noRehearsal, "no-rehearsal", false, "leave the rehearsal beside the plan")
	cmd.Flags().BoolVar(&f.wait, "wait", false, "stay and show it until it has ended")
	return cmd
}

func (a *app) start(ctx context.Context, planArg string, f startFlags) error {
	name, input, err := readInput(planArg)
	if err != nil {
		return err
	}
	if input.StartedBy, err = person(f.by); err != nil {
		return err
	}
	if err := a.attach(planArg, f, &input); err != nil {
		return err
	}
	if f.id == "" {
		f.id = name
	}
	return a.connected(ctx, func(c client.Client) error {
		run, err := execute(ctx, c, f, input)
		if err != nil {
			return err
		}
		if f.wait {
			return a.follow(ctx, c, f.id, run.GetRunID())
		}
		s, err := a.begin(ctx, c, f.id, run.GetRunID())
		if err != nil {
			return err
		}
		answer := started{ID: f.id, RunID: run.GetRunID(), Plan: name, StartedBy: input.StartedBy, Rehearsed: input.Rehearsal != nil, Begun: begun(s), Waits: s.Waits()}
		switch {
		case answer.Begun:
			answer.Waits = ""
			return a.answer(answer, "Migration %s started. Look on: contraflow watch %s", f.id, f.id)
		case answer.Waits == "":
			return a.answer(answer, "Migration %s started; it has not begun yet. Look on: contraflow watch %s", f.id, f.id)
		}
		return a.answer(answer, "Migration %s started; it waits: %s\nLook on: contraflow watch %s", f.id, answer.Waits, f.id)
	})
}

// begin looks for beginTimeout whether the migration has begun; s is then as it was last seen. The error is the migration's own
// failure, or ctx's.
func (a *app) begin(ctx context.Context, c client.Client, id, runID string) (s watch.Snapshot, err error) {
	tick := time.NewTicker(beginPoll)
	defer tick.Stop()
	late := time.NewTimer(beginTimeout + a.patience)
	defer late.Stop()
	for {
		// Started it is, whatever becomes of the connection now.
		if seen, err := watch.Fetch(ctx, c, id, runID); err == nil {
			s = seen
		}
		switch {
		case s.Outcome == watch.Failed:
			return s, failed(s)
		case begun(s):
			return s, nil
		}
		select {
		case <-ctx.Done():
			return s, ctx.Err()
		case <-late.C:
			return s, nil
		case <-tick.C:
		}
	}
}

func begun(s watch.Snapshot) bool { return s.Closed || s.Status != nil && s.Status.PlanHash != "" }

// failed is how a migration failed; a plan that is at fault counts like one that is found bad here.
func failed(s watch.Snapshot) error {
	err := fmt.Errorf("migration %s failed: %s", s.ID, s.Failure)
	if s.FailureType == "BadPlan" || s.FailureType == "UnknownPlan" {
		return &usageError{err}
	}
	return err
}

func execute(ctx context.Context, c client.Client, f startFlags, input signals.Input) (client.WorkflowRun, error) {
	ctx, cancel := watch.Within(ctx, dialTimeout)
	defer cancel()
	run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: f.id, TaskQueue: f.taskQueue,
		WorkflowIDConflictPolicy:                 enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
		WorkflowIDReusePolicy:                    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
	}, signals.Workflow, input)
	var running *serviceerror.WorkflowExecutionAlreadyStarted
	switch {
	case err == nil:
		return run, nil
	case errors.As(err, &running):
		return nil, fmt.Errorf("migration %s is running already (run %s), and one runs at a time. Look at it: contraflow watch %s; undo it: contraflow rollback %s", f.id, running.RunId, f.id, f.id)
	}
	return nil, watch.Explain(err, "start migration "+f.id)
}

var planName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// readInput tells a file from a name, and checks a file. name is the plan's.
func readInput(arg string) (name string, input signals.Input, err error) {
	if !isPlanFile(arg) {
		if !planName.MatchString(arg) {
			return "", signals.Input{}, &usageError{fmt.Errorf("%s is neither a file that ends in .yaml, .yml or .json nor the name of a plan (lower-case letters, digits and hyphens)", arg)}
		}
		return arg, signals.Input{Name: arg}, nil
	}
	p, _, err := readPlan(arg)
	if err != nil {
		return "", signals.Input{}, err
	}
	document, err := json.Marshal(p)
	if err != nil {
		return "", signals.Input{}, fmt.Errorf("write plan %s as JSON: %w", arg, err)
	}
	return p.Name, signals.Input{Document: document}, nil
}

func isPlanFile(arg string) bool {
	return slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(arg))
}

func readPlan(file string) (p *plan.Plan, document []byte, err error) {
	if document, err = os.ReadFile(file); err != nil {
		return nil, nil, &usageError{fmt.Errorf("read the plan: %w", err)}
	}
	p, err = plan.Decode(file, document)
	return p, document, err
}
