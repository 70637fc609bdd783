package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/contraflow/contraflow/internal/config"
	"github.com/contraflow/contraflow/rehearse"
	"github.com/contraflow/contraflow/signals"
)

// nowhere as --out writes no file.
const nowhere = "-"

// maxSample is far above what tells more: a sample is tried row by row where rows are refused.
const maxSample = 100_000

type rehearseFlags struct {
	config, database, scratch, out, by string
	sample                             int
}

func newRehearse(a *app) *cobra.Command {
	var f rehearseFlags
	cmd := &cobra.Command{
		Use: "rehearse PLAN", GroupID: groupRun,
		Short: "Try a plan on a copy of the database's schema, and show the locks it takes",
		Long: `Try a plan on a throwaway copy of the target's schema, without its rows: apply the SQL files up, down and up again, and tell of
each statement which locks it really took, what it rewrote and scanned, and how large that is on the target. Then the way down
is compared with what was before, and the plan's own SQL is explained at the schema where it would run.

The target is only read, by the connection string in the worker's configuration. The copy lives on a server of this machine's own
Postgres, which ends with the rehearsal; --scratch names another one, by reference: env:NAME or file:PATH.

--sample N copies N rows of each table that is filled, tries the new values on them, and names the rows that fail by key. Keys
stand on this terminal and nowhere else.

The result is written beside the plan, where start finds it and shows it to those who approve.

Exit codes: 0 all would run, whatever it blocks; 1 something would fail, or could not be rehearsed; 2 wrong call or bad plan.`,
		Example: `  contraflow rehearse plan.yaml --config worker.yaml
  contraflow rehearse plan.yaml --config worker.yaml --sample 1000
  contraflow rehearse plan.yaml --database staging --scratch env:SCRATCH_DSN --out - --json`,
		Args: needs("PLAN"),
		RunE: a.does(func(ctx context.Context, args []string) error { return a.rehearse(ctx, args[0], f) }),
	}
	cmd.Flags().StringVar(&f.config, "config", workerConfig, "the worker's configuration file")
	cmd.Flags().StringVar(&f.database, "database", "", "the database's name in the configuration (default the plan's)")
	cmd.Flags().StringVar(&f.scratch, "scratch", "", "connection string of a scratch server, as env:NAME or file:PATH (default a server that is started for it)")
	cmd.Flags().IntVar(&f.sample, "sample", 0, "how many rows to copy, to try each backfill on (default none)")
	cmd.Flags().StringVar(&f.out, "out", "", "file for the result, - for none (default beside the plan, with the ending "+signals.RehearsalSuffix+")")
	cmd.Flags().StringVar(&f.by, "by", "", "who rehearses (default the user of this machine)")
	return cmd
}

func (a *app) rehearse(ctx context.Context, file string, f rehearseFlags) error {
	if !isPlanFile(file) {
		return &usageError{fmt.Errorf("%s is no file that ends in .yaml, .yml or .json: name the plan's file, beside which its SQL files are", file)}
	}
	if f.sample < 0 || f.sample > maxSample {
		return &usageError{fmt.Errorf("--sample is %d: give a number from 0 to %d", f.sample, maxSample)}
	}
	by, err := person(f.by)
	if err != nil {
		return err
	}
	o, err := a.rehearsal(file, f)
	if err != nil {
		return err
	}
	live := styleOf(a.stderr).Color
	o.Report = func(line string) {
		if live { // the next one takes its place
			line = "\r\x1b[K" + line + " …"
		} else {
			line += "\n"
		}
		fmt.Fprint(a.stderr, line)
	}
	report, err := rehearse.Run(ctx, o)
	if live {
		fmt.Fprint(a.stderr, "\r\x1b[K")
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("interrupted: plan %s was not rehearsed, and nothing of it is left", o.Plan.Name)
	case err != nil:
		return fmt.Errorf("plan %s could not be rehearsed: %w", o.Plan.Name, err)
	}
	report.By = by
	if f.out == "" {
		f.out = besides(file)
	}
	if f.out != nowhere {
		if err := writeReport(f.out, report); err != nil {
			return err
		}
	}
	if a.json {
		err = printJSON(a.stdout, report)
	} else {
		style := styleOf(a.stdout)
		style.Color = a.coloured()
		_, err = fmt.Fprint(a.stdout, renderRehearsal(report, style, f.out))
	}
	if err == nil && len(report.Problems()) > 0 {
		return &endedError{exitError}
	}
	return err
}

// rehearsal reads the plan and finds the servers.
func (a *app) rehearsal(file string, f rehearseFlags) (o rehearse.Options, err error) {
	checked, err := validate(file)
	if err != nil {
		return o, err
	}
	in, err := lintInput(file)
	if err != nil {
		return o, err
	}
	o = rehearse.Options{Plan: in.Plan, Hash: checked.Hash, Files: in.Files, Sample: f.sample}
	if f.database != "" {
		o.Plan.Database = f.database
	}
	if f.scratch != "" {
		if kind, _, _ := strings.Cut(f.scratch, ":"); kind != "env" && kind != "file" {
			return o, &usageError{fmt.Errorf("--scratch must be env:NAME or file:PATH: everybody on this machine could read a connection string on the command line")}
		}
		if o.Scratch, err = config.ReadSecret(f.scratch, a.env.get); err != nil {
			return o, &usageError{fmt.Errorf("--scratch %w", err)}
		}
	}
	if o.Target, err = config.ReadDatabase(f.config, o.Plan.Database, a.env.get); err != nil {
		return o, misconfigured(err, f.config, "reads the target database")
	}
	return o, nil
}

// besides is the file of a plan's rehearsal.
func besides(planFile string) string {
	return strings.TrimSuffix(planFile, filepath.Ext(planFile)) + signals.RehearsalSuffix
}

// writeReport replaces the file as a whole. Others need not know how large the tables are.
func writeReport(file string, r *rehearse.Report) error {
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("write the rehearsal: %w", err)
	}
	next, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*") // for its owner alone
	if err != nil {
		return fmt.Errorf("write the rehearsal: %w", err)
	}
	_, err = next.Write(append(raw, '\n'))
	if closing := next.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = os.Rename(next.Name(), file)
	}
	if err != nil {
		_ = os.Remove(next.Name())
		return fmt.Errorf("write the rehearsal: %w", err)
	}
	return nil
}
