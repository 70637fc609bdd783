package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/contraflow/contraflow/internal/watch"
	"github.com/contraflow/contraflow/plan"
)

// scenario is what happens to the migration.
type scenario string

const (
	split    scenario = "split"    // it runs to its end
	rollback scenario = "rollback" // a health check fails once reads go to the new shape
	crash    scenario = "crash"    // the worker is killed during the backfill, again and again
)

// outcome that the scenario must end with.
func (s scenario) outcome() watch.Outcome {
	if s == rollback {
		return watch.RolledBack
	}
	return watch.Completed
}

// wants is the outcome that is right, given the one that came: a person may reject what the scenario meant to complete.
func (s settings) wants(came watch.Outcome) watch.Outcome {
	if s.interactive && came == watch.RolledBack {
		return came
	}
	return s.scenario.outcome()
}

const (
	// Fewer rows make no backfill to speak of; more than these do not fit on a laptop's disk.
	minRows, maxRows = 1000, 100_000_000
	defaultRows      = "200000"
	// crashSeconds is how long the backfill of the crash scenario shall last at least, so that it can be killed several times.
	crashSeconds = 20
)

// kills are the shares of the backfill at which the crash scenario kills the worker.
func kills() []float64 { return []float64{0.15, 0.40, 0.65, 0.85} }

type settings struct {
	rows              int64
	scenario          scenario
	interactive, keep bool
}

// parseSettings reads what was given as text, from flags or from the environment.
func parseSettings(rows, name, interactive, keep string) (s settings, err error) {
	if s.rows, err = strconv.ParseInt(rows, 10, 64); err != nil || s.rows < minRows || s.rows > maxRows {
		return s, &usageError{fmt.Errorf("ROWS is %q: give a number from %d to %d", rows, minRows, maxRows)}
	}
	switch s.scenario = scenario(name); s.scenario {
	case split, rollback, crash:
	default:
		return s, &usageError{fmt.Errorf("SCENARIO is %q: give %s, %s or %s", name, split, rollback, crash)}
	}
	for key, given := range map[string]struct {
		text string
		to   *bool
	}{"INTERACTIVE": {interactive, &s.interactive}, "KEEP": {keep, &s.keep}} {
		if given.text == "" {
			continue
		}
		if *given.to, err = strconv.ParseBool(given.text); err != nil {
			return s, &usageError{fmt.Errorf("%s is %q: give 1 or 0", key, given.text)}
		}
	}
	return s, nil
}

// edit paces the backfill of the crash scenario; the other scenarios run the example's plan as it stands.
func (s settings) edit(p *plan.Plan) {
	if s.scenario != crash {
		return
	}
	for _, step := range p.Steps {
		if step.Backfill != nil {
			step.Backfill.RowsPerSecond = int(s.rows / crashSeconds)
		}
	}
}

func newDemo(c console) *cobra.Command {
	or := func(value, otherwise string) string {
		if value == "" {
			return otherwise
		}
		return value
	}
	rows, name := or(c.env("ROWS"), defaultRows), or(c.env("SCENARIO"), string(split))
	interactive, keep := c.env("INTERACTIVE"), c.env("KEEP")
	command := &cobra.Command{
		Use: "demo", Short: "Migrate a live shop on real servers", Args: cobra.NoArgs,
		Long: strings.TrimSpace(`
Migrate a live shop on real servers, all on free ports of this machine and gone when the demo ends.

The scenario split runs the plan to its end; rollback makes a health check fail as soon as reads go to the new shape;
crash kills the worker again and again during the backfill. Live view on stderr; a summary on stdout, whose last line
is one JSON object. Exit code 0 only if everything is as the scenario wants it; where you decide, a rollback is right as well.`),
	}
	command.Flags().StringVar(&rows, "rows", rows, "customers to begin with, or $ROWS")
	command.Flags().StringVar(&name, "scenario", name, "split, rollback or crash, or $SCENARIO")
	command.Flags().StringVar(&interactive, "interactive", interactive, "1: you decide, on the chat's page or the command line, or $INTERACTIVE")
	command.Flags().StringVar(&keep, "keep", keep, "1: keep the folder with logs, plan and history, or $KEEP")
	command.Flags().Lookup("interactive").NoOptDefVal = "1"
	command.Flags().Lookup("keep").NoOptDefVal = "1"
	command.RunE = func(command *cobra.Command, _ []string) error {
		s, err := parseSettings(rows, name, interactive, keep)
		if err != nil {
			return err
		}
		return runDemo(command.Context(), c, s)
	}
	return command
}
