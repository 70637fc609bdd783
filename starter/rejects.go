package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/contraflow/contraflow/backfill"
	"github.com/contraflow/contraflow/internal/config"
	"github.com/contraflow/contraflow/internal/pg"
	"github.com/contraflow/contraflow/internal/watch"
	"github.com/contraflow/contraflow/signals"
)

const (
	// workerConfig is where the worker looks for its configuration, too.
	workerConfig = "contraflow-worker.yaml"
	// listTimeout bounds the look into the target database: rejects are few.
	listTimeout = 30 * time.Second
	// planTimeout is for the plan, of a worker that has to replay a history first.
	planTimeout = 10 * time.Second
	// lateAnswer is when a person begins to wonder. A reject takes milliseconds.
	lateAnswer = 10 * time.Second
)

const undefinedTable = "42P01" // SQLSTATE

// rejected is a row that was set aside, as JSON.
type rejected struct {
	Step    string    `json:"step"`
	Key     []string  `json:"key"`
	Code    string    `json:"code"`
	Message string    `json:"message"`
	Tries   int       `json:"tries"`
	At      time.Time `json:"at"`
}

type rejectsFlags struct{ config, plan, database string }

func newRejects(a *app) *cobra.Command {
	var f rejectsFlags
	cmd := &cobra.Command{
		Use:     "rejects ID",
		GroupID: groupRun,
		Short:   "List the rows that a backfill has set aside",
		Long: `List the rows that a backfill has set aside because their new values are refused: key, SQLSTATE, why, and how often it
was tried. Mend them, then: contraflow retry-rejects ID.

Keys are values of your rows, and never leave the target database by way of Temporal. So this command reads that database
itself, by the connection string in the worker's configuration. Which database and which plan, the migration tells; where
Temporal does not know it any more, say so with --plan and --database.`,
		Example: `  contraflow rejects split-customer-address --config worker.yaml
  contraflow rejects split-customer-address --plan split-customer-address --database shop --json`,
		Args: needs("ID"),
		RunE: a.does(func(ctx context.Context, args []string) error { return a.rejects(ctx, args[0], f) }),
	}
	cmd.Flags().StringVar(&f.config, "config", workerConfig, "the worker's configuration file")
	cmd.Flags().StringVar(&f.plan, "plan", "", "the plan's name, where Temporal can't tell it")
	cmd.Flags().StringVar(&f.database, "database", "", "the database's name in the configuration, where Temporal can't tell it")
	cmd.MarkFlagsRequiredTogether("plan", "database")
	return cmd
}

func (a *app) rejects(ctx context.Context, id string, f rejectsFlags) error {
	if f.plan == "" {
		if err := a.locate(ctx, id, &f); err != nil {
			return err
		}
	}
	dsn, err := config.ReadDatabase(f.config, f.database, a.env.get)
	if err != nil {
		return misconfigured(err, f.config, "reads the target database")
	}
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	pool, err := pg.Open(ctx, dsn, pg.Settings{ApplicationName: "contraflow", StatementTimeout: listTimeout})
	if err != nil {
		return fmt.Errorf("database %s: %w", f.database, err)
	}
	defer pool.Close()
	found, err := backfill.New(pool).Rejects(ctx, f.plan, "")
	if statement, ok := errors.AsType[*backfill.StatementError](err); ok && statement.Code == undefinedTable {
		return fmt.Errorf("no migration of this release has worked on database %s yet: is it the right one?", f.database)
	}
	if err != nil {
		return fmt.Errorf("database %s: %w", f.database, err)
	}
	all := make([]rejected, 0, len(found))
	for _, r := range found {
		all = append(all, rejected(r))
	}
	if !a.json && len(all) == 0 {
		return a.answer(nil, "Plan %s has set no row aside.", f.plan)
	}
	return a.answer(all, "%s", rejectTable(all))
}

// locate asks the migration for its plan and its database.
func (a *app) locate(ctx context.Context, id string, f *rejectsFlags) error {
	err := a.connected(ctx, func(c client.Client) error {
		s, err := watch.Fetch(ctx, c, id, "")
		if err != nil {
			return err
		}
		if s.Status == nil || s.Status.Database == "" {
			return fmt.Errorf("migration %s can't tell its plan and its database now: no worker answers, or it never began", id)
		}
		f.plan, f.database = s.Status.Plan, s.Status.Database
		return nil
	})
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	return &hintedError{err, "It can do without Temporal: say --plan NAME --database NAME"}
}

// rejectTable aligns the columns. Keys are quoted as far as a terminal or a reader could be misled.
func rejectTable(all []rejected) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "STEP\tKEY\tCODE\tTRIES\tWHY")
	for _, r := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\n", r.Step, keyText(r.Key), r.Code, r.Tries, r.Message)
	}
	_ = w.Flush() // a strings.Builder takes everything
	return strings.TrimSuffix(b.String(), "\n")
}

// keyText is a key on one line: plain where it is plain, else as a quoted string.
func keyText(key []string) string {
	parts := make([]string, len(key))
	for i, value := range key {
		parts[i] = value
		if quoted := fmt.Sprintf("%q", value); value == "" || strings.ContainsAny(value, " ,") || quoted != `"`+value+`"` {
			parts[i] = quoted
		}
	}
	return strings.Join(parts, ", ")
}

func newRetryRejects(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "retry-rejects ID",
		GroupID: groupDecide,
		Short:   "Fill the rows that were set aside, after you have mended them",
		Long: `Fill the rows that a backfill has set aside, after you have mended them or what refused them. Each row is tried on its own;
one that is refused again stays listed, with the newest reason. It works while the migration waits and after it has completed.

Exit codes: 0 none is left, 1 some are left or it could not be done.`,
		Example: "  contraflow rejects split-customer-address --config worker.yaml\n  contraflow retry-rejects split-customer-address",
		Args:    needs("ID"),
		RunE: a.does(func(ctx context.Context, args []string) error {
			return a.connected(ctx, func(c client.Client) error { return a.retryRejects(ctx, c, args[0]) })
		}),
	}
}

func (a *app) retryRejects(ctx context.Context, c client.Client, id string) error {
	running, queue, err := planOf(ctx, c, id)
	if err != nil {
		return err
	}
	run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: signals.RetryRejectsID(id), TaskQueue: queue, WorkflowExecutionErrorWhenAlreadyStarted: true,
		WorkflowIDConflictPolicy: enums.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
	}, signals.RetryRejectsWorkflow, running)
	if temporal.IsWorkflowExecutionAlreadyStartedError(err) {
		return fmt.Errorf("the rejects of migration %s are being tried already: wait until that is done", id)
	}
	if err != nil {
		return watch.Explain(err, "try the rejects of migration "+id)
	}
	var done signals.RejectsRetried
	if err := a.wait(ctx, run, queue, &done); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if failed, ok := errors.AsType[*temporal.ApplicationError](err); ok {
			err := fmt.Errorf("the rejects of migration %s could not be tried: %s", id, failed.Message())
			if failed.HasDetails() && failed.Details(&done) == nil && done.Tried > 0 {
				return &hintedError{err, "Besides: " + retriedText(done)}
			}
			return err
		}
		return watch.Explain(err, "try the rejects of migration "+id)
	}
	if err := a.answer(done, "%s", retriedText(done)); err != nil {
		return err
	}
	if done.Left > 0 {
		return &endedError{exitError}
	}
	return nil
}

// wait for the result, and say so where it takes long: a worker may have died, and the rest is waiting for another one.
func (a *app) wait(ctx context.Context, run client.WorkflowRun, queue string, done *signals.RejectsRetried) error {
	ended := make(chan error, 1)
	go func() { ended <- run.Get(ctx, done) }()
	late := time.NewTimer(lateAnswer + a.patience)
	defer late.Stop()
	select {
	case err := <-ended:
		return err
	case <-late.C:
		fmt.Fprintf(a.stderr, "Still waiting: many rows take their time, but see that a worker runs on task queue %s. Ctrl-C ends the waiting alone.\n", queue)
	}
	return <-ended
}

func retriedText(done signals.RejectsRetried) string {
	if done.Tried == 0 {
		return "No row is set aside."
	}
	text := fmt.Sprintf("%d tried: %d filled, %d left", done.Tried, done.Filled, done.Left)
	if rest := done.Tried - done.Filled - done.Left; rest > 0 {
		text += fmt.Sprintf(", %d needed nothing any more", rest)
	}
	return text + "."
}

// planOf asks a migration for the plan that it runs, and finds its task queue.
func planOf(ctx context.Context, c client.Client, id string) (running signals.RunningPlan, queue string, err error) {
	s, err := watch.Fetch(ctx, c, id, "") // follows runs that continued as new
	if err != nil {
		return running, "", err
	}
	if s.Outcome == watch.RolledBack {
		return running, "", fmt.Errorf("migration %s was rolled back: there is nothing left to fill. Start its plan again", id)
	}
	if rollingBack(s) {
		return running, "", fmt.Errorf("migration %s is being rolled back: what would be filled goes again. Start its plan again afterwards", id)
	}
	described, err := c.DescribeWorkflowExecution(ctx, s.ID, s.RunID)
	if err != nil {
		return running, "", watch.Explain(err, "look at migration "+id)
	}
	asked, cancel := watch.Within(ctx, planTimeout)
	defer cancel()
	answer, err := c.QueryWorkflow(asked, s.ID, s.RunID, signals.PlanQuery)
	if err == nil {
		err = answer.Get(&running)
	}
	_, refused := errors.AsType[*serviceerror.QueryFailed](err)
	_, nobody := errors.AsType[*serviceerror.FailedPrecondition](err) // no worker has asked for work lately
	// Temporal, which has just answered, gives up before us or after.
	late := errors.Is(watch.Explain(err, "ask"), watch.ErrUnreachable)
	switch {
	case err == nil:
		return running, described.GetExecutionConfig().GetTaskQueue().GetName(), nil
	case ctx.Err() != nil:
		return running, "", ctx.Err()
	case refused:
		return running, "", fmt.Errorf("migration %s has no plan to fill rows by: %s", id, err)
	case nobody || late:
		return running, "", fmt.Errorf("no worker answers for migration %s: start one, then try again", id)
	}
	return running, "", watch.Explain(err, "ask migration "+id+" for its plan")
}

// rollingBack tells it also where the rollback is stuck or paused.
func rollingBack(s watch.Snapshot) bool {
	return s.Status != nil && (s.Status.State == signals.RollingBack || slices.ContainsFunc(s.Status.Steps, func(step signals.StepStatus) bool {
		return step.State == signals.StepCompensating || step.State == signals.StepCompensated
	}))
}
