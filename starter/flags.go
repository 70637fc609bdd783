package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/age"
	"github.com/contraflow/contraflow/internal/config"
	"github.com/contraflow/contraflow/internal/providers"
)

type staleOptions struct {
	config        string
	all, exitCode bool
}

func newFlags(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "flags",
		GroupID: groupRun,
		Short:   "Look after the flags that plans have moved",
		Long:    "Look after the flags that plans have moved: see which of them were never retired.",
		Example: "  contraflow flags stale --config worker.yaml",
		Args:    needs(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newStale(a))
	return cmd
}

func newStale(a *app) *cobra.Command {
	var o staleOptions
	cmd := &cobra.Command{
		Use:   "stale",
		Short: "List the flags of finished migrations that were never retired",
		Long: `List the flags of migrations that have completed, or were cut off, and that were never retired, in all databases of the worker's configuration, those
that have waited longest first: whose plan it was, how long ago it ended, what the flag serves now, and when applications
last asked for it.

A flag leaves the list when it is archived, by a plan's step retire or by you in the flag service: this command sees that,
and notes it in the database. One that is not in the flag service is left out as well, if another one of its project and
environment is there. Where the flag service doesn't answer, the list is what the databases know. Databases and flag service are asked by the worker's configuration.

A migration that was terminated, or that Temporal has lost, has left its flags as they were, and told no database. Temporal is
asked whether migrations without an end still run; where it doesn't answer, they are named, and their flags not listed.

Exit codes: 0 listed, also if there are some; 1 a database could not be asked, so that the list may be short, or, with
--exit-code, there are some; 2 wrong call.`,
		Example: `  contraflow flags stale --config worker.yaml
  contraflow flags stale --exit-code          in CI: fails while there are some
  contraflow flags stale --all --json | jq -r '.flags[].flag'`,
		Args: needs(),
		RunE: a.does(func(ctx context.Context, _ []string) error { return a.stale(ctx, o) }),
	}
	cmd.Flags().StringVar(&o.config, "config", workerConfig, "the worker's configuration file")
	cmd.Flags().BoolVar(&o.all, "all", false, "also of migrations that were rolled back or failed")
	cmd.Flags().BoolVar(&o.exitCode, "exit-code", false, "exit with 1 if there are some")
	return cmd
}

// staleFlags is the answer as JSON.
type staleFlags struct {
	Flags []staleFlag `json:"flags"`
	// Problems name what could not be asked.
	Problems []string `json:"problems,omitempty"`
	// short says that the list may lack some; unsure also that nobody knows whether some migrations have ended.
	short, unsure bool
}

type staleFlag struct {
	Flag        string    `json:"flag"`
	Project     string    `json:"project"`
	Environment string    `json:"environment"`
	Database    string    `json:"database"`
	Plan        string    `json:"plan"`
	Owner       string    `json:"owner,omitempty"`
	Migration   string    `json:"migration"`
	Outcome     string    `json:"outcome"`
	Finished    time.Time `json:"finished,omitzero"` // zero where Temporal has forgotten when
	// Serves and Status are what the flag service says; nil where it didn't.
	Serves *string       `json:"serves,omitempty"`
	Status *flags.Status `json:"status,omitempty"`
}

func (a *app) stale(ctx context.Context, o staleOptions) error {
	c, unreadable, err := config.LoadTargets(o.config, a.env.get)
	if err != nil {
		return misconfigured(err, o.config, "asks databases and flag service")
	}
	if len(c.Databases)+len(unreadable) == 0 {
		return fmt.Errorf("%s: databases: is empty: name at least one", o.config)
	}
	found := providers.New(ctx, c)
	defer found.Close()
	ask, done := a.holders()
	defer done()
	list, err := findStale(ctx, c, unreadable, found.Find, ask, o.all)
	if err != nil {
		return err
	}
	if !a.json {
		for _, problem := range list.Problems {
			fmt.Fprintln(a.stderr, problem)
		}
	}
	if err := a.answer(list, "%s", staleTable(list, time.Now())); err != nil {
		return err
	}
	if list.short || o.exitCode && len(list.Flags) > 0 {
		return &endedError{exitError}
	}
	return nil
}

// staleTable aligns the columns. What people have written in plans is shown on one line.
func staleTable(list staleFlags, now time.Time) string {
	switch {
	case len(list.Flags) > 0:
	case list.short || list.unsure:
		return "Not known whether a flag of a finished migration is left."
	default:
		return "No flag of a finished migration is left."
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FLAG\tPLAN\tOWNER\tOUTCOME\tFINISHED\tSERVES NOW\tSTATUS")
	for _, f := range list.Flags {
		finished, serves, status := "not known", "not known", "not known"
		if !f.Finished.IsZero() {
			finished = age.Text(now.Sub(f.Finished)) + " ago"
		}
		if f.Serves != nil {
			serves = oneLine(*f.Serves)
		}
		if f.Status != nil {
			status = statusText(*f.Status, now)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", oneLine(f.Flag), oneLine(f.Plan), cmp.Or(oneLine(f.Owner), "-"),
			strings.ReplaceAll(oneLine(f.Outcome), "_", " "), finished, serves, status)
	}
	_ = w.Flush() // a strings.Builder takes everything
	return strings.TrimSuffix(b.String(), "\n")
}

func statusText(s flags.Status, now time.Time) string {
	switch {
	case !s.LastRequested.IsZero():
		return fmt.Sprintf("%s, asked for %s ago", s.Activity, age.Text(now.Sub(s.LastRequested)))
	case s.Activity == flags.Unknown:
		return "not known"
	}
	return fmt.Sprintf("%s, never asked for", s.Activity)
}
