package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/ddl"
	"github.com/contraflow/contraflow/plan"
)

// validated is the answer as JSON.
type validated struct {
	Plan  string `json:"plan"`
	Hash  string `json:"hash"`
	Steps int    `json:"steps"`
	// Files are the SQL files that the hash covers.
	Files []plan.FileSum `json:"files"`
	// Notes are no mistakes, but worth a look.
	Notes []string `json:"notes,omitempty"`
}

func newValidate(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "validate PLAN", GroupID: groupOffline,
		Short: "Check a plan and its SQL files",
		Long: `Check a plan file and the folder of SQL files beside it. It needs no server and no database.

Every mistake of the plan is told at once, as file:line:column, with the way out. Then the SQL files: each version that
the plan migrates to must be there, with a way back unless the step is irreversible, and names that golang-migrate would
silently ignore are refused. A sound plan's hash is printed: approvals are bound to it.`,
		Example: "  contraflow validate examples/shop/plan.yaml\n  contraflow validate plan.yaml --json | jq -r .hash",
		Args:    needs("PLAN"),
		RunE: a.does(func(_ context.Context, args []string) error {
			checked, err := validate(args[0])
			if err != nil {
				return err
			}
			for _, note := range checked.Notes {
				if !a.json {
					fmt.Fprintln(a.stderr, "note: "+note)
				}
			}
			return a.answer(checked, "Plan %s is sound: %d steps, %d SQL files, hash %s", checked.Plan, checked.Steps, len(checked.Files), checked.Hash)
		}),
	}
}

// validate returns plan.Problems, or a usageError for what is wrong around the plan.
func validate(file string) (validated, error) {
	p, err := readPlan(file)
	if err != nil {
		return validated{}, err
	}
	checked := validated{Plan: p.Name, Steps: len(p.Steps), Files: []plan.FileSum{}}
	if p.HighestVersion() > 0 {
		folder := filepath.Join(filepath.Dir(file), filepath.FromSlash(p.Migrations))
		files, err := ddl.ReadFiles(os.DirFS(folder))
		if err != nil {
			return validated{}, &usageError{fmt.Errorf("SQL files in %s: %w", folder, err)}
		}
		if checked.Notes, err = checkFiles(folder, p, files); err != nil {
			return validated{}, &usageError{err}
		}
		checked.Files = activities.Sums(files, p.HighestVersion()) // as the worker takes them, so that the hashes agree
	}
	if checked.Hash, err = p.Hash(checked.Files); err != nil {
		return validated{}, err
	}
	return checked, nil
}

// checkFiles looks at every version that a step may have to apply: those above the step before, up to its own. The error
// is every mistake, joined.
func checkFiles(folder string, p *plan.Plan, files *ddl.Files) (notes []string, err error) {
	var reached uint
	var mistakes []error
	for _, step := range p.Steps {
		if step.Migrate == nil {
			continue
		}
		bad := func(err error) {
			mistakes = append(mistakes, fmt.Errorf("%s: step %s: %w", folder, step.Name, err))
		}
		to := step.Migrate.To
		if !files.Has(to, ddl.Up) {
			bad(files.Check(to, ddl.Up))
		}
		for _, v := range files.Versions() {
			if v <= reached || v > to {
				continue
			}
			if err := files.Check(v, ddl.Up); err != nil && (v != to || files.Has(v, ddl.Up)) {
				bad(err)
			}
			if step.Migrate.Irreversible {
				continue
			}
			err := files.Check(v, ddl.Down)
			switch {
			case errors.Is(err, ddl.ErrMissing) && reached == 0 && v < to:
				// Most likely the database stands there already, and then nobody goes below.
				notes = append(notes, fmt.Sprintf("%v, in case the database stands below version %d when the migration starts", err, v))
			case err != nil:
				bad(err)
			}
		}
		reached = to
	}
	return notes, errors.Join(mistakes...)
}
