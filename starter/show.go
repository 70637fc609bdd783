package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.temporal.io/sdk/client"
	"golang.org/x/term"

	"github.com/contraflow/contraflow/internal/watch"
)

func newStatus(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "status ID",
		GroupID: groupRun,
		Short:   "Show a migration as it stands now",
		Long: `Show a migration as it stands now: its steps, the guard's readings, who is asked, what it waits for.

Without a worker the steps are unknown; the rest is shown from what Temporal keeps.`,
		Example: "  contraflow status split-customer-address\n  contraflow status split-customer-address --json | jq .status.state",
		Args:    needs("ID"),
		RunE: a.does(func(ctx context.Context, args []string) error {
			return a.connected(ctx, func(c client.Client) error {
				s, err := watch.Fetch(ctx, c, args[0], "")
				if err != nil {
					return err
				}
				return a.answer(s, "%s", strings.Join(watch.Render(s, styleOf(a.stdout)), "\n"))
			})
		}),
	}
}

func newWatch(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "watch ID",
		GroupID: groupRun,
		Short:   "Look on until a migration has ended",
		Long: `Look on until a migration has ended. On a terminal the picture is redrawn in place; elsewhere each change is a line.

It survives a restart of Temporal. Ctrl-C stops the looking, never the migration. With --json nothing is written until the
end, and then one document. Exit codes: 0 completed, 3 rolled back, 1 any other end.`,
		Example: "  contraflow watch split-customer-address",
		Args:    needs("ID"),
		RunE: a.does(func(ctx context.Context, args []string) error {
			return a.connected(ctx, func(c client.Client) error { return a.follow(ctx, c, args[0], "") })
		}),
	}
}

// follow shows a migration to its end; how it ended becomes the exit code.
func (a *app) follow(ctx context.Context, c client.Client, id, runID string) error {
	out := a.stdout
	if a.json {
		out = io.Discard
	}
	live := watch.NewLive(out, nil)
	s, err := watch.Follow(ctx, c, id, runID, live)
	if closing := live.Close(); err == nil {
		err = closing
	}
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("look on at migration %s: %w", id, ctx.Err())
	}
	if err != nil {
		return err
	}
	if a.json {
		if err := printJSON(a.stdout, s); err != nil {
			return err
		}
	}
	switch s.Outcome {
	case watch.Completed:
		return nil
	case watch.RolledBack:
		return &endedError{exitRolledBack}
	}
	return &endedError{exitError}
}

// styleOf is as wide as the terminal, and in colour on one.
func styleOf(out io.Writer) watch.Style {
	f, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return watch.Style{}
	}
	style := watch.Style{Color: true}
	if w, _, err := term.GetSize(int(f.Fd())); err == nil {
		style.Width = w
	}
	return style
}

// Two screens of migrations; who looks for an older one knows its id.
const defaultListLimit = 50

func newList(a *app) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:     "list",
		GroupID: groupRun,
		Short:   "List the open and the recent migrations",
		Long:    "List migrations: the open ones first, then those that ended last. Temporal's list may lag behind by a second.",
		Example: "  contraflow list\n  contraflow list --limit 5 --json",
		Args:    needs(),
		RunE: a.does(func(ctx context.Context, _ []string) error {
			if limit < 1 || limit > maxListLimit {
				return &usageError{fmt.Errorf("--limit is %d: give a number from 1 to %d", limit, maxListLimit)}
			}
			return a.connected(ctx, func(c client.Client) error {
				entries, err := watch.List(ctx, c, limit)
				if err != nil {
					return err
				}
				if a.json {
					return printJSON(a.stdout, entries)
				}
				_, err = fmt.Fprintln(a.stdout, strings.Join(watch.RenderList(entries, time.Now(), styleOf(a.stdout)), "\n"))
				return err
			})
		}),
	}
	cmd.Flags().IntVar(&limit, "limit", defaultListLimit, "how many to list at most")
	return cmd
}

// The largest page that Temporal serves unless configured otherwise.
const maxListLimit = 1000
