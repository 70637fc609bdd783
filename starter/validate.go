package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/contraflow/contraflow/activities"
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

Every mistake of the plan is told at once, as file:line:column, with the way out. Then those of the SQL files: each version that
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

// validate returns plan.Problems for every mistake of the plan or, when it has none, of its SQL files.
func validate(file string) (validated, error) {
	p, document, err := readPlan(file)
	if err != nil {
		return validated{}, err
	}
	checked := validated{Plan: p.Name, Steps: len(p.Steps), Files: []plan.FileSum{}}
	var sums []plan.FileSum
	if p.HighestVersion() > 0 {
		c := fileCheck{plan: p, file: file, document: document, folder: filepath.Join(filepath.Dir(file), filepath.FromSlash(p.Migrations))}
		files := c.read()
		if files != nil {
			c.versions(files)
		}
		if len(c.problems) > 0 {
			return validated{}, c.problems
		}
		checked.Notes = c.notes
		sums = activities.Sums(files, p.HighestVersion()) // as the worker takes them, so that the hashes agree
		checked.Files = onDisk(files, sums)
	}
	if checked.Hash, err = p.Hash(sums); err != nil {
		return validated{}, err
	}
	return checked, nil
}
