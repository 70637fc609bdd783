package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/contraflow/contraflow/lint"
)

// linting is how `lint` was called.
type linting struct {
	format, failOn string
	all, rules     bool
}

func newLint(a *app) *cobra.Command {
	var l linting
	cmd := &cobra.Command{
		Use: "lint PLAN", GroupID: groupOffline,
		Short: "Find what would stop traffic, break a version of the application, or not be undone",
		Long: `Read a plan and its SQL files with Postgres's own grammar, and find what would stop traffic, break a version of the application,
or not be undone. It needs no server and no database; what only a database can tell is told by rehearse.

Each finding says where, what happens and why, with the safe form to paste. A comment above the statement, or above the step,
takes a rule back for it; the reason is needed:

  -- contraflow: ignore RULE: reason

Exit codes: 0 nothing as bad as --fail-on, 1 something was found, 2 wrong call or bad plan.`,
		Example: "  contraflow lint plan.yaml\n  contraflow lint plan.yaml --format sarif > lint.sarif\n  contraflow lint plan.yaml --fail-on warning\n  contraflow lint --rules",
		Args: func(cmd *cobra.Command, args []string) error {
			if l.rules {
				return needs()(cmd, args)
			}
			return needs("PLAN")(cmd, args)
		},
		RunE: a.does(func(ctx context.Context, args []string) error {
			if l.rules {
				return a.listRules()
			}
			return a.lint(ctx, args[0], l)
		}),
	}
	cmd.Flags().StringVar(&l.format, "format", string(lint.Text), "how to write the findings: "+either(lint.Formats()))
	cmd.Flags().StringVar(&l.failOn, "fail-on", string(lint.Error), "what makes the exit code 1: "+either(lint.Severities())+", or worse")
	cmd.Flags().BoolVar(&l.all, "all", false, "look at the SQL files below the plan's too")
	cmd.Flags().BoolVar(&l.rules, "rules", false, "list the rules, and read no plan")
	return cmd
}

func either[T ~string](all []T) string {
	words := make([]string, 0, len(all))
	for _, one := range all {
		words = append(words, string(one))
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

func (a *app) lint(ctx context.Context, file string, l linting) error {
	format, failOn := lint.Format(l.format), lint.Severity(l.failOn)
	switch {
	case !slices.Contains(lint.Formats(), format):
		return &usageError{fmt.Errorf("--format is %q: give %s", l.format, either(lint.Formats()))}
	case !slices.Contains(lint.Severities(), failOn):
		return &usageError{fmt.Errorf("--fail-on is %q: give %s", l.failOn, either(lint.Severities()))}
	case a.json && format == lint.Text:
		format = lint.JSON
	case format == lint.JSON:
		a.json = true // errors too
	case a.json:
		return &usageError{fmt.Errorf("--json and --format %s: give one of them", format)}
	}
	in, err := lintInput(file)
	if err != nil {
		return err
	}
	in.All = l.all
	found := make(chan lint.Report, 1)
	go func() { found <- lint.Check(in) }()
	var report lint.Report
	select {
	case <-ctx.Done(): // it is only read: the process may end in the middle
		return ctx.Err()
	case report = <-found:
	}
	if err := report.Write(a.stdout, format, a.coloured()); err != nil {
		return fmt.Errorf("write the findings: %w", err)
	}
	if report.Reaches(failOn) {
		return &endedError{exitError}
	}
	return nil
}

// lintInput reads a plan and its folder. What stands in the way of reading them is plan.Problems.
func lintInput(file string) (lint.Input, error) {
	p, document, err := readPlan(file)
	if err != nil {
		return lint.Input{}, err
	}
	file = fromHere(file)
	in := lint.Input{Plan: p, File: file, Document: document, Folder: filepath.Join(filepath.Dir(file), filepath.FromSlash(p.Migrations))}
	if p.Migrations == "" {
		return in, nil
	}
	c := fileCheck{plan: p, file: file, document: document, folder: in.Folder}
	if in.Files = c.read(); len(c.problems) > 0 {
		return lint.Input{}, c.problems
	}
	return in, nil
}

// fromHere names a file below the working directory as code scanning and annotations want it.
func fromHere(file string) string {
	here, err := os.Getwd()
	if err != nil || !filepath.IsAbs(file) {
		return filepath.Clean(file)
	}
	if short, err := filepath.Rel(here, file); err == nil && filepath.IsLocal(short) {
		return short
	}
	return file
}

// coloured is for a terminal whose owner has not set https://no-color.org.
func (a *app) coloured() bool {
	no, _ := a.env.LookupEnv("NO_COLOR")
	return no == "" && styleOf(a.stdout).Color
}

// listedRule is a rule as JSON.
type listedRule struct {
	ID       string        `json:"id"`
	Severity lint.Severity `json:"severity"`
	Title    string        `json:"title"`
	Why      string        `json:"why"`
	Sources  []string      `json:"sources,omitempty"`
}

func (a *app) listRules() error {
	all := []listedRule{}
	width := 0
	for _, r := range lint.Rules() {
		all = append(all, listedRule(r))
		width = max(width, len(r.ID))
	}
	if a.json {
		return printJSON(a.stdout, all)
	}
	var b strings.Builder
	for _, r := range all {
		fmt.Fprintf(&b, "%-*s  %-7s  %s\n", width, r.ID, r.Severity, r.Title)
	}
	_, err := io.WriteString(a.stdout, b.String())
	return err
}
