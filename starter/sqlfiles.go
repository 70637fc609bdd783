package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/contraflow/contraflow/ddl"
	"github.com/contraflow/contraflow/plan"
)

// fileCheck looks at a sound plan's folder of SQL files and collects every mistake.
type fileCheck struct {
	plan     *plan.Plan
	file     string // the plan's
	document []byte
	folder   string
	problems plan.Problems
	notes    []string
}

// bad records a mistake that concerns the folder, or the version that a step leads to.
func (c *fileCheck) bad(step int, format string, args ...any) {
	path, keys := "migrations", []any{"migrations"}
	if step >= 0 {
		path, keys = fmt.Sprintf("steps[%d].migrate.to", step), []any{"steps", step, "migrate", "to"}
	}
	line, column := plan.Position(c.document, keys...)
	c.problems = append(c.problems, plan.Problem{File: c.file, Line: line, Column: column, Path: path, Message: fmt.Sprintf(format, args...)})
}

// noStep stands for the folder itself.
const noStep = -1

// read reads the folder; nil when it can't be read. Names that are refused are left out of what it returns.
func (c *fileCheck) read() *ddl.Files {
	folder := without{FS: os.DirFS(c.folder), hidden: map[string]bool{}}
	for {
		files, err := ddl.ReadFiles(folder)
		var stray *ddl.StrayError
		var path *fs.PathError
		switch {
		case err == nil:
			return files
		case errors.As(err, &stray) && !folder.hidden[stray.File]:
			c.bad(noStep, "%s: %s", filepath.Join(c.folder, stray.File), stray.Reason)
			folder.hidden[stray.File] = true // look on for others
			continue
		case errors.Is(err, fs.ErrNotExist):
			c.bad(noStep, "there is no folder %s: create it, or name the one that holds the SQL files", c.folder)
		case errors.As(err, &path):
			c.bad(noStep, "read %s: %v", filepath.Join(c.folder, path.Path), path.Err)
		default:
			c.bad(noStep, "%s: %v", c.folder, err)
		}
		return nil
	}
}

// without is a folder of which some names are not listed.
type without struct {
	fs.FS
	hidden map[string]bool
}

func (w without) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(w.FS, name)
	return slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return w.hidden[e.Name()] }), err
}

// versions looks at every version that a step may have to apply: those above the step before, up to its own.
func (c *fileCheck) versions(files *ddl.Files) {
	var reached uint
	for i, step := range c.plan.Steps {
		if step.Migrate == nil {
			continue
		}
		bad := func(err error) { c.bad(i, "in %s: %v", c.folder, err) }
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
				c.notes = append(c.notes, fmt.Sprintf("%v, in case the database stands below version %d when the migration starts", err, v))
			case err != nil:
				bad(err)
			}
		}
		reached = to
	}
}

// onDisk gives the sums the names that the files have in the folder; the hash knows them by version and direction alone.
func onDisk(files *ddl.Files, sums []plan.FileSum) []plan.FileSum {
	names := map[string]string{}
	for _, v := range files.Versions() {
		for _, direction := range []ddl.Direction{ddl.Up, ddl.Down} {
			if script, ok := files.Script(v, direction); ok {
				names[fmt.Sprintf("%d.%s.sql", v, direction)] = script.Name
			}
		}
	}
	named := slices.Clone(sums)
	for i, sum := range sums {
		named[i].Name = names[sum.Name]
	}
	return named
}
