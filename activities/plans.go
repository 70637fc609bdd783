package activities

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/contraflow/contraflow/ddl"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

// Plans is the folder that holds the plans a worker knows and all SQL files it may run: NAME.yaml or FOLDER/plan.yaml (or
// .yml, .json), each with its migrations folder beside it. Nothing outside the folder is ever read.
type Plans struct{ root *os.Root }

// OpenPlans opens the folder.
func OpenPlans(folder string) (*Plans, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, fmt.Errorf("open the plan root: %w", err)
	}
	return &Plans{root}, nil
}

// stored is a plan as found in the root.
type stored struct {
	plan   *plan.Plan
	folder string // in which its document lies, "." for the root
}

// find reads the plan of that name. A document that can't be read or decoded is reported only if it is the one asked for by its
// file name.
func (p *Plans) find(name string) (stored, error) {
	var known, files, unread []string
	var found stored
	var broken error
	for _, file := range p.documents() {
		decoded, err := p.read(file)
		if err != nil {
			if base := strings.TrimSuffix(path.Base(file), path.Ext(file)); base == name || path.Base(path.Dir(file)) == name {
				broken = err
			}
			unread = append(unread, file)
			continue
		}
		if decoded.Name == name {
			found, files = stored{decoded, path.Dir(file)}, append(files, file)
		}
		known = append(known, decoded.Name)
	}
	switch {
	case len(files) == 1:
		return found, nil
	case len(files) > 1:
		return stored{}, permanent("BadPlan", "plan %q stands in %s: give each its own name", name, strings.Join(files, " and in "))
	case broken != nil:
		return stored{}, broken
	}
	mistaken := ""
	if len(unread) > 0 {
		mistaken = "; files with mistakes, which `contraflow validate` lists: " + orNone(unread)
	}
	return stored{}, permanent("UnknownPlan", "the worker knows no plan %q; it knows: %s%s", name, orNone(known), mistaken)
}

func (p *Plans) read(file string) (*plan.Plan, error) {
	document, err := fs.ReadFile(p.root.FS(), file)
	if err != nil {
		return nil, permanent("BadPlan", "read plan %s below the worker's plan root: %v", file, err)
	}
	return plan.Decode(file, document)
}

func (p *Plans) documents() []string {
	var files []string
	for _, pattern := range []string{"*.yaml", "*.yml", "*.json", "*/plan.yaml", "*/plan.yml", "*/plan.json"} {
		found, _ := fs.Glob(p.root.FS(), pattern) // the patterns are constant, so they cannot be malformed
		files = append(files, found...)
	}
	return slices.DeleteFunc(files, func(file string) bool { return strings.HasSuffix(file, signals.RehearsalSuffix) })
}

// place finds the folder of SQL files for a plan that came as a whole: beside the document of the same name, else in the root.
func (p *Plans) place(whole *plan.Plan) stored {
	if known, err := p.find(whole.Name); err == nil {
		return stored{whole, known.folder}
	}
	return stored{whole, "."}
}

// files reads the SQL files of a folder below the root.
func (p *Plans) files(folder string) (*ddl.Files, error) {
	if info, err := fs.Stat(p.root.FS(), folder); err != nil || !info.IsDir() {
		return nil, permanent("SQLFiles", "there is no folder %s below the worker's plan root: put it there, beside the plan of the same name if the worker knows one", folder)
	}
	below, err := fs.Sub(p.root.FS(), folder)
	if err != nil {
		return nil, err
	}
	files, err := ddl.ReadFiles(below)
	if _, stray := errors.AsType[*ddl.StrayError](err); err != nil && !stray {
		return nil, permanent("SQLFiles", "folder %s below the worker's plan root: %v", folder, err)
	}
	return files, err
}

// Sums lists the SQL files up to a version as the plan hash takes them.
func Sums(files *ddl.Files, highest uint) []plan.FileSum {
	var sums []plan.FileSum
	for _, v := range files.Versions() {
		for _, direction := range []ddl.Direction{ddl.Up, ddl.Down} {
			if v <= highest && files.Has(v, direction) {
				sums = append(sums, plan.FileSum{Name: fmt.Sprintf("%d.%s.sql", v, direction), SHA256: files.SHA256(v, direction)})
			}
		}
	}
	return sums
}

// schema reads the files of a resolved plan and describes them for later activities.
func (p *Plans) schema(s stored) (Schema, *ddl.Files, error) {
	highest := s.plan.HighestVersion()
	if highest == 0 {
		return Schema{}, nil, nil
	}
	folder := path.Join(s.folder, s.plan.Migrations)
	files, err := p.files(folder)
	if err != nil {
		return Schema{}, nil, err
	}
	return Schema{Folder: folder, Highest: highest, Digest: digest(Sums(files, highest))}, files, nil
}

// unchanged reads the files again and refuses them if they are not the ones that were hashed.
func (p *Plans) unchanged(s Schema) (*ddl.Files, error) {
	files, err := p.files(s.Folder)
	if err != nil {
		return nil, err
	}
	if digest(Sums(files, s.Highest)) != s.Digest {
		return nil, fmt.Errorf("%w: folder %s is not what the plan hash was computed over; put the files back, or roll back and start anew", ddl.ErrChanged, s.Folder)
	}
	return files, nil
}

func digest(sums []plan.FileSum) string {
	h := sha256.New()
	for _, s := range sums {
		fmt.Fprintf(h, "%s %s\n", s.SHA256, s.Name)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
