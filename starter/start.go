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
	wait              bool
}

// started is start's answer as JSON.
type started struct {
	ID        string `json:"id"`
	RunID     string `json:"runId"`
	Plan      string `json:"plan"`
	StartedBy string `json:"startedBy"`
}

func newStart(a *app) *cobra.Command {
	var f startFlags
	cmd := &cobra.Command{
		Use:     "start PLAN",
		GroupID: groupRun,
		Short:   "Start a migration",
		Long: `Start a migration: one run of a plan.

PLAN is a file (.yaml, .yml or .json), which is checked here first and then travels whole, or the name of a plan the
worker knows. The SQL files always come from the worker's own plan folder.

One migration of a plan runs at a time. A plan that was stopped half way is simply started again: each step looks at
the world first and does only what is missing. Who starts a migration may not approve it.

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
		return a.answer(started{f.id, run.GetRunID(), name, input.StartedBy},
			"Migration %s started. Look on: contraflow watch %s", f.id, f.id)
	})
}

func execute(ctx context.Context, c client.Client, f startFlags, input signals.Input) (client.WorkflowRun, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
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
	p, err := readPlan(arg)
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

func readPlan(file string) (*plan.Plan, error) {
	document, err := os.ReadFile(file)
	if err != nil {
		return nil, &usageError{fmt.Errorf("read the plan: %w", err)}
	}
	return plan.Decode(file, document)
}
