package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.temporal.io/sdk/client"

	"github.com/contraflow/contraflow/internal/watch"
	"github.com/contraflow/contraflow/signals"
)

// said is the answer of the steering commands as JSON.
type said struct {
	ID      string `json:"id"`
	Signal  string `json:"signal"`
	Payload any    `json:"payload"`
	// Queued: no worker answered; Temporal keeps it until one does.
	Queued bool `json:"queued,omitempty"`
}

// newRequests are the commands that carry a request: who, and why.
func newRequests(a *app) []*cobra.Command {
	return []*cobra.Command{
		newRequest(a, signals.Pause, "Pause a migration",
			`Pause a migration: no further step or stage begins, a running backfill stops within one chunk, and the guard watches on.`),
		newRequest(a, signals.Resume, "Let a paused migration go on",
			`Let a paused migration go on where it stopped. Behind a press of the kill switch the flags that it has turned off for
everybody are first put back to where the migration had come.`),
		newRequest(a, signals.Rollback, "Undo a migration, newest step first",
			`Undo a migration: what runs is stopped, and every step that acted is compensated, newest first.

Behind the point of no return (an irreversible step has run) nothing is undone by itself; the migration says so and asks.`),
		newRequest(a, signals.Retry, "Try again what a stuck migration could not do",
			`Try again what a stuck migration could not do: the step or the compensation that it asks about. Look at what it needs
first: contraflow status ID.`),
		newRequest(a, signals.Force, "Let a stuck migration do it all the same",
			`Let a stuck migration do what it asks about all the same, where it offers that: change a flag, or put it back, over what
somebody else has made of it; archive flags that are in use. It holds for what was asked and for nothing later.`),
		newRequest(a, signals.Skip, "Give up what a stuck migration could not do, and go on",
			`Give up what a stuck migration could not do, and go on with the next. What was given up stays as it is and is a person's
to clean up; the report names it.`),
	}
}

func newRequest(a *app, signal, short, long string) *cobra.Command {
	var request signals.Request
	answers := slices.Contains([]string{signals.Retry, signals.Force, signals.Skip}, signal)
	var cmd *cobra.Command
	cmd = &cobra.Command{
		Use: signal + " ID", GroupID: groupDecide, Short: short, Long: long,
		Example: fmt.Sprintf("  contraflow %s split-customer-address --reason \"why, for the record\"", signal),
		Args:    needs("ID"),
		RunE: a.does(func(ctx context.Context, args []string) error {
			by, err := person(request.By)
			if err != nil {
				return err
			}
			request.By = by
			if cmd.Flags().Changed("question") && request.Question < 1 {
				return &usageError{fmt.Errorf("--question is %d: give the number that contraflow status shows", request.Question)}
			}
			return a.say(ctx, args[0], signal, by, func(s *signals.Status) any {
				if answers && request.Question == 0 && s != nil {
					request.Question = s.Question
				}
				return request
			})
		}),
	}
	cmd.Flags().StringVar(&request.Reason, "reason", "", "why; recorded and shown")
	cmd.Flags().StringVar(&request.By, "by", "", "who says so (default the user of this machine)")
	if answers {
		cmd.Flags().IntVar(&request.Question, "question", 0, "number of the question that it answers, as status shows it (default the one that is asked when it is sent)")
	}
	return cmd
}

func newThrottle(a *app) *cobra.Command {
	var request signals.ThrottleRequest
	cmd := &cobra.Command{
		Use: "throttle ID", GroupID: groupDecide,
		Short:   "Cap the rows a running backfill changes per second",
		Long:    "Cap the rows a running backfill changes per second, over all its lanes. It acts within one chunk; 0 takes the cap away.",
		Example: "  contraflow throttle split-customer-address --rows-per-second 5000\n  contraflow throttle split-customer-address --rows-per-second 0",
		Args:    needs("ID"),
		RunE: a.does(func(ctx context.Context, args []string) error {
			if request.RowsPerSecond < 0 || request.RowsPerSecond > math.MaxInt32 {
				return &usageError{fmt.Errorf("--rows-per-second is %d: give 0 for no cap, or up to %d", request.RowsPerSecond, math.MaxInt32)}
			}
			by, err := person(request.By)
			if err != nil {
				return err
			}
			request.By = by
			return a.say(ctx, args[0], signals.Throttle, by, func(*signals.Status) any { return request })
		}),
	}
	const flag = "rows-per-second"
	cmd.Flags().IntVar(&request.RowsPerSecond, flag, 0, "the cap; 0 takes it away")
	cmd.Flags().StringVar(&request.By, "by", "", "who says so (default the user of this machine)")
	cobra.CheckErr(cmd.MarkFlagRequired(flag))
	return cmd
}

// say sends a signal to the running migration and tells what the migration answers. The payload may depend on the status before,
// which is nil where no worker answers.
func (a *app) say(ctx context.Context, id, signal, by string, from func(*signals.Status) any) error {
	return a.connected(ctx, func(c client.Client) error {
		before, err := watch.Fetch(ctx, c, id, "")
		if err != nil {
			return err
		}
		if before.Closed {
			return over(before)
		}
		payload := from(before.Status)
		sending, cancel := watch.Within(ctx, dialTimeout)
		defer cancel()
		err = watch.Explain(c.SignalWorkflow(sending, id, "", signal, payload), "say "+signal+" to migration "+id)
		if errors.Is(err, watch.ErrUnknown) { // it ended just now
			if s, fetched := watch.Fetch(ctx, c, id, ""); fetched == nil && s.Closed {
				return over(s)
			}
		}
		if err != nil {
			return err
		}
		answer := said{ID: id, Signal: signal, Payload: payload}
		// A query sees every signal that was sent before it. Said it is, also when nobody tells what became of it.
		after, err := watch.Fetch(ctx, c, id, "")
		switch {
		case err == nil && after.NoWorker:
			answer.Queued = true
			return a.answer(answer, "Queued: no worker answers now. Temporal keeps %s for migration %s until one does.", signal, id)
		case err == nil:
			if text := refusedNow(before, after, signal, by); text != "" {
				return fmt.Errorf("migration %s: %s", id, text)
			}
		}
		return a.answer(answer, "Said %s to migration %s. See what it makes of it: contraflow status %s", signal, id, id)
	})
}

// refusedNow is the notice that the signal was refused, when it is a new one; else "".
func refusedNow(before, after watch.Snapshot, signal, by string) string {
	if after.Status == nil {
		return ""
	}
	var known []signals.Notice
	if before.Status != nil {
		known = before.Status.Notices
	}
	for _, n := range slices.Backward(after.Status.Notices) {
		ours := strings.HasPrefix(n.Text, signal+" refused: ") || strings.HasPrefix(n.Text, signal+" by "+by+" refused: ")
		if ours && !slices.ContainsFunc(known, func(k signals.Notice) bool { return k.Text == n.Text && k.At.Equal(n.At) }) {
			return n.Text
		}
	}
	return ""
}
