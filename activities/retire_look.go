package activities

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/references"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

const (
	// retireSoon is the first pause between two looks: whoever takes the last obstacle away is there and looks on.
	retireSoon = 5 * time.Second
	// retireLater is the longest: what is left by then takes days, and each look reads all the code.
	retireLater = time.Minute
	// retireMargin before the end of an attempt is for its last look, so that it ends with what is in the way and not with a
	// timeout.
	retireMargin = 3 * retireLater
)

// Retirable says that nothing is in the way of archiving the flags.
type Retirable struct {
	// Notes are for people: what could not be looked into, and who will notice.
	Notes []string `json:"notes,omitempty"`
}

// MayRetire looks whether the flags can be archived without anybody noticing, and changes nothing. While something is in the way
// it keeps looking, where the plan says so, or fails with the type "InUse", which lists all of it.
func (a *Activities) MayRetire(ctx context.Context, in RetireInput) (Retirable, error) {
	told := new(latest[signals.Blocked])
	tell := func(waiting string) { told.set(signals.Blocked{Step: in.Origin.Step, Text: waiting}) }
	tell("")
	defer beat(ctx, told.details)()
	ctx, release := untilStop(ctx)
	defer release()
	may, err := a.mayRetire(flags.Telling(ctx, tell), in, tell)
	return may, fail(ctx, err)
}

func (a *Activities) mayRetire(ctx context.Context, in RetireInput, tell func(string)) (Retirable, error) {
	for pause := retireSoon; ; pause = min(2*pause, retireLater) {
		found, err := a.lookAtFlags(ctx, in)
		if err != nil {
			return Retirable{}, err
		}
		if len(found.obstacles) == 0 {
			tell("")
			return Retirable{Notes: found.notes}, nil
		}
		if in.Retire.Otherwise != plan.OtherwiseWait || found.hopeless {
			return Retirable{}, permanent("InUse", "%s", strings.Join(found.obstacles, "\n"))
		}
		waits := "waits until its flags can be retired: " + strings.Join(found.obstacles, "; ")
		tell(waits)
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < retireMargin {
			return Retirable{}, temporal.NewApplicationErrorWithOptions(waits, "Waiting", temporal.ApplicationErrorOptions{NextRetryDelay: retireSoon})
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return Retirable{}, ctx.Err()
		case <-timer.C:
		}
	}
}

// retiring is what one look at the flags of a step has found.
type retiring struct {
	obstacles []string // each with its way out
	notes     []string
	// hopeless says that waiting won't take an obstacle away.
	hopeless bool
}

func (r *retiring) blocks(format string, args ...any) {
	r.obstacles = append(r.obstacles, fmt.Sprintf(format, args...))
}

func (r *retiring) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

func (a *Activities) lookAtFlags(ctx context.Context, in RetireInput) (found retiring, err error) {
	provider, err := a.provider(in.Scope)
	if err != nil {
		return found, err
	}
	var standing []string
	for _, key := range in.Retire.Flags {
		archived, err := lookAtFlag(ctx, provider, key, &found)
		if err != nil {
			return found, err
		}
		if !archived {
			standing = append(standing, key)
		}
	}
	return found, a.lookAtCode(ctx, in, standing, &found)
}

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
		found.blocks("whether the code still names the flags can't be seen: %v", err)
		return nil
	}
	for _, f := range report.Found {
		found.blocks("flag %s stands in the code (%s): take it out there, and deploy that", f.Key, f)
	}
	if report.Files == 0 {
		found.note("no file of code was found in %s", strings.Join(folders, ", "))
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
			return permanent("BadPlan", "step %s names folders of code, which lie beside the plan: put the plan below the worker's plan root, with the code beside it: %s", s.Name, text(err))
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

// lookAtFlag asks the flag service. A flag that is archived or gone is in nobody's way: its key in the code changes nothing any more.
func lookAtFlag(ctx context.Context, provider flags.Provider, key string, found *retiring) (archived bool, err error) {
	now, err := provider.Get(ctx, key)
	if errors.Is(err, flags.ErrNotFound) {
		found.hopeless = true
		found.blocks("flag %s is gone from the flag service, so there is nothing to archive: go on with force", key)
		return true, nil
	}
	if err != nil || now.Archived {
		return now.Archived, err
	}
	several, err := servesSeveral(ctx, provider, now)
	if err != nil {
		return false, err
	}
	if several != "" {
		found.blocks("%s", several)
	}
	status, err := provider.Status(ctx, key)
	if err != nil {
		return false, err
	}
	asked := lastAsked(status)
	switch status.Activity {
	case flags.Launched:
		found.note("flag %s is launched, %s: who still asks is served the fallback in its own code from then on", key, asked)
	case flags.Inactive:
	case flags.Unknown:
		found.note("the flag service hears nothing of who asks for flag %s", key)
	case flags.New:
		found.blocks("flag %s is new, %s: see that the application evaluates it in this environment, or wait until the flag service calls it inactive", key, asked)
	default:
		found.blocks("flag %s is %s, %s: take it out of the application, or wait until the flag service calls it launched or inactive", key, status.Activity, asked)
	}
	if service, ok := provider.(flags.Depender); ok {
		dependents, err := service.Dependents(ctx, key)
		if err != nil {
			return false, err
		}
		if len(dependents) > 0 {
			found.blocks("flag %s is a prerequisite of %s: take it out of their prerequisites, or retire them first", key, strings.Join(dependents, ", "))
		}
	}
	return false, nil
}

// servesSeveral says that a flag serves not everybody the same, and the way out; "" if archiving it switches nobody over.
func servesSeveral(ctx context.Context, provider flags.Provider, now flags.State) (string, error) {
	several := ""
	if now.On && now.Percent != 0 && now.Percent != 100 {
		several = "both values"
	} else if now.On && now.Percent == 0 && now.Stage == "" {
		// A boolean flag that serves false, or a migration flag whose default rule serves more than one stage.
		_, err := provider.Preview(ctx, now.Key, flags.Change{Percent: 100})
		if errors.Is(err, flags.ErrNotBoolean) {
			several = "several stages"
		} else if err != nil {
			return "", err
		}
	}
	if several != "" {
		return fmt.Sprintf("flag %s is %q: it still serves %s, and archiving it would switch some users over; finish its rollout first",
			now.Key, now.Summary, several), nil
	}
	if len(now.Exceptions) > 0 {
		return fmt.Sprintf("flag %s is %q, but may serve the other value to some (%s), whom archiving it would switch over; take that out of its targeting first",
			now.Key, now.Summary, strings.Join(now.Exceptions, ", ")), nil
	}
	return "", nil
}

func lastAsked(s flags.Status) string {
	if s.LastRequested.IsZero() {
		return "never asked for"
	}
	return "asked for " + age(time.Since(s.LastRequested)) + " ago"
}

// age in the unit that people would choose.
func age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", max(0, int(d.Seconds())))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}
