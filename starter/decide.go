package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/contraflow/contraflow/internal/watch"
	"github.com/contraflow/contraflow/signals"
)

// A worker that just answered a query answers an update too; one that died in between is not waited for any longer.
const decideTimeout = 10 * time.Second

// viaCLI is how decisions of this program are recorded.
const viaCLI = "cli"

type decideFlags struct{ reason, by, planHash string }

// decided is the answer as JSON. Exactly one of Receipt and Queued is set.
type decided struct {
	ID       string           `json:"id"`
	Decision signals.Decision `json:"decision"`
	Receipt  *signals.Receipt `json:"receipt,omitempty"`
	// Queued: no worker answered; Temporal keeps the decision until one does, and then it is checked.
	Queued bool `json:"queued,omitempty"`
}

func newApprove(a *app) *cobra.Command {
	return newDecide(a, signals.Approved, "Approve a step that waits for people",
		`Approve a step that waits for people. The decision is recorded with your name, the step and the plan's hash.

It is refused when you are not among those who may decide, when you started the migration, when the step does not wait,
or when the plan's hash is another one. Without --plan-hash the hash is the one the migration tells right now; give it to
be sure that what runs is what you have read.`,
		`  contraflow approve split-customer-address cutover --reason "numbers look right"
  contraflow approve split-customer-address contract --plan-hash 3f2a9c1b77de`)
}

func newReject(a *app) *cobra.Command {
	return newDecide(a, signals.Rejected, "Reject a step that waits for people, which rolls the migration back",
		"Reject a step that waits for people. The migration then undoes what it did, newest step first.",
		`  contraflow reject split-customer-address cutover --reason "not on a Friday"`)
}

func newDecide(a *app, verdict signals.Verdict, short, long, example string) *cobra.Command {
	var f decideFlags
	cmd := &cobra.Command{
		Use: string(verdict) + " ID STEP", GroupID: groupDecide, Short: short, Example: example,
		Long: long + "\n\nWhen no worker answers, Temporal keeps the decision until one does.",
		Args: needs("ID", "STEP"),
		RunE: a.does(func(ctx context.Context, args []string) error { return a.decide(ctx, args[0], args[1], verdict, f) }),
	}
	cmd.Flags().StringVar(&f.reason, "reason", "", "why; recorded and shown")
	cmd.Flags().StringVar(&f.by, "by", "", "who decides (default the user of this machine)")
	cmd.Flags().StringVar(&f.planHash, "plan-hash", "", "hash of the plan you have read; its first twelve digits will do")
	if verdict == signals.Rejected {
		cobra.CheckErr(cmd.MarkFlagRequired("reason"))
	}
	return cmd
}

func (a *app) decide(ctx context.Context, id, step string, verdict signals.Verdict, f decideFlags) error {
	by, err := person(f.by)
	if err != nil {
		return err
	}
	d := signals.Decision{Step: step, By: by, Verdict: verdict, Reason: f.reason, PlanHash: f.planHash, Via: viaCLI}
	return a.connected(ctx, func(c client.Client) error {
		s, err := watch.Fetch(ctx, c, id, "")
		if err != nil {
			return err
		}
		if s.Closed {
			return over(s)
		}
		if d.PlanHash == "" && s.Status != nil {
			d.PlanHash = s.Status.PlanHash
		}
		receipt, err := a.update(ctx, c, s, d)
		if err != nil {
			return err
		}
		answer := decided{ID: id, Decision: d, Receipt: receipt, Queued: receipt == nil}
		said := strings.TrimSuffix(string(verdict), "e") + "ed" // approved, rejected
		switch {
		case receipt == nil:
			return a.answer(answer, "Queued: no worker answers now. Temporal keeps that %s %s step %s; the next worker checks and records it.", by, said, step)
		case receipt.Decided:
			return a.answer(answer, "%s %s step %s: decided.", by, said, step)
		}
		return a.answer(answer, "%s %s step %s: %d of %d approvals.", by, said, step, receipt.Approvals, receipt.Quorum)
	})
}

// update hands the decision to the worker, which accepts or refuses it at once; the receipt is nil when none answered and
// the decision is queued as a signal. Should both arrive, the second one is the same person's same verdict.
func (a *app) update(ctx context.Context, c client.Client, s watch.Snapshot, d signals.Decision) (*signals.Receipt, error) {
	if !s.NoWorker {
		receipt, err := tryUpdate(ctx, c, s, d, decideTimeout+a.patience)
		if err == nil || !unanswered(err) || ctx.Err() != nil {
			return receipt, refusal(err, s, d)
		}
	}
	name := signals.Approve
	if d.Verdict == signals.Rejected {
		name = signals.Reject
	}
	sending, cancel := watch.Within(ctx, dialTimeout)
	defer cancel()
	if err := c.SignalWorkflow(sending, s.ID, s.RunID, name, d); err != nil {
		return nil, watch.Explain(err, "queue the decision for migration "+s.ID)
	}
	return nil, nil
}

func tryUpdate(ctx context.Context, c client.Client, s watch.Snapshot, d signals.Decision, within time.Duration) (*signals.Receipt, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	handle, err := c.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
		UpdateID: updateID(s.ID, d), WorkflowID: s.ID, RunID: s.RunID, UpdateName: signals.Decide, Args: []any{d},
		WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	if err != nil {
		return nil, err
	}
	var receipt signals.Receipt
	if err := handle.Get(ctx, &receipt); err != nil {
		return nil, err
	}
	return &receipt, nil
}

// updateID is the same for the same decision, so that one which is sent twice counts once and is answered alike.
func updateID(id string, d signals.Decision) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{id, d.Step, d.By, string(d.Verdict), d.PlanHash}, "\x00")))
	return "decide-" + hex.EncodeToString(sum[:16])
}

func unanswered(err error) bool {
	var late *client.WorkflowUpdateServiceTimeoutOrCanceledError
	var noWorker *serviceerror.FailedPrecondition
	return errors.As(err, &late) || errors.As(err, &noWorker) || errors.Is(watch.Explain(err, ""), watch.ErrUnreachable)
}

// refusal is what the migration itself answered, in its own words, and the way out for whom it does not know by this name.
func refusal(err error, s watch.Snapshot, d signals.Decision) error {
	if err == nil {
		return nil
	}
	var refused *temporal.ApplicationError
	if !errors.As(err, &refused) {
		return watch.Explain(err, "decide on migration "+s.ID)
	}
	text := fmt.Sprintf("migration %s refuses the decision on step %s: %s", s.ID, d.Step, refused.Message())
	if s.Status != nil && s.Status.Approval != nil && s.Status.Approval.Step == d.Step && !slices.Contains(s.Status.Approval.By, d.By) {
		text += ". If you go by another name there, say so with --by NAME"
	}
	return errors.New(text)
}

// over says that nothing can be said to a migration any more.
func over(s watch.Snapshot) error {
	return fmt.Errorf("migration %s is over (%s): nothing can be said to it any more; see contraflow status %s", s.ID, strings.ReplaceAll(string(s.Outcome), "_", " "), s.ID)
}
