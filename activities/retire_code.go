package activities

import (
	"context"
	"path"
	"strings"

	"github.com/contraflow/contraflow/flags/references"
	"github.com/contraflow/contraflow/plan"
)

// lookAtCode looks for the keys in the folders that the plan names. What can't be looked into is in the way, too.
func (a *Activities) lookAtCode(ctx context.Context, in RetireInput, keys []string, found *retiring) error {
	if len(in.Retire.Code) == 0 || len(keys) == 0 {
		return nil
	}
	folders, err := a.Plans.code(in.Origin.Plan, in.Retire.Code)
	var report references.Report
	if err == nil {
		report, err = references.Find(ctx, a.Plans.root, folders, keys)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		found.blocks("whether the code still names the flags can't be seen: %s", said(err))
		return nil
	}
	for _, f := range report.Found {
		found.blocks("flag %s stands in the code (%s): take it out there, and deploy that", f.Key, f)
	}
	for _, link := range report.Linked {
		found.blocks("%s, where nobody has looked for the flags: name that folder in retire.code as well, or take the link away", link)
	}
	switch where := strings.Join(folders, ", "); {
	case report.Gone > 0:
		found.blocks("the code in %s was changed while it was looked at: look again", where)
	case report.Files == 0:
		found.blocks("no file of code was found in %s: put the application's code there, or remove the folder from retire.code", where)
	}
	if n := len(report.Unread); n > 0 {
		shown := report.Unread[:min(n, references.MostPlaces)]
		found.note("%d of the files in %s were not looked into: %s", n, strings.Join(folders, ", "), strings.Join(shown, ", "))
	}
	return nil
}

// code resolves the folders of a retire step below the root: they lie beside the plan, as its SQL files do.
func (p *Plans) code(name string, folders []string) ([]string, error) {
	known, err := p.find(name)
	if err != nil {
		return nil, err
	}
	below := make([]string, 0, len(folders))
	for _, folder := range folders {
		below = append(below, path.Join(known.folder, folder))
	}
	return below, nil
}

// checkRetire refuses folders of code that the worker doesn't have, or that name the flags for ever.
func (a *Activities) checkRetire(p *plan.Plan, from int) error {
	for _, s := range p.Steps[from:] {
		if s.Retire == nil || len(s.Retire.Code) == 0 {
			continue
		}
		folders, err := a.Plans.code(p.Name, s.Retire.Code)
		if err != nil {
			return permanent("BadPlan", "step %s names folders of code, which lie beside the plan: put the plan below the worker's plan root, with the code beside it: %s", s.Name, said(err))
		}
		for i, folder := range folders {
			if path.Clean(s.Retire.Code[i]) == "." {
				return permanent("BadPlan", "step %s looks for its flags where the plan itself lies, which names them: name the folders of the application's code", s.Name)
			}
			if info, err := a.Plans.root.Stat(folder); err != nil || !info.IsDir() {
				return permanent("BadPlan", "step %s: there is no folder %s below the worker's plan root: put the application's code there, or remove it from retire.code", s.Name, folder)
			}
		}
	}
	return nil
}
