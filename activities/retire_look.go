package activities

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/age"
	"github.com/contraflow/contraflow/internal/ledger"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

const (
	// retireSoon is the first pause between two looks: whoever takes the last obstacle away is there and looks on.
	retireSoon = 5 * time.Second
	// retireLater is the longest: what is left by then takes days, and each look reads all the code, and asks the flag service
	// out of a limit that all of the account's tokens share. Who can't wait says retry.
	retireLater = 10 * time.Minute
	// retireMargin before the end of an attempt is for its last look, so that it ends with what is in the way and not with a
	// timeout: reading all the code takes seconds.
	retireMargin = 3 * time.Minute
)

// Retirable says that nothing is in the way of archiving the flags.
type Retirable struct {
	// Notes are for people: what could not be looked into, and who will notice.
	Notes []string `json:"notes,omitempty"`
}

// MayRetire looks whether the flags can be archived without anybody noticing, and changes nothing. While something is in the way
// it keeps looking, where the plan says so, or fails with the type "InUse", which lists all of it. What can't be seen is in the
// way, too: all that is left to undo is a migration that has done its work.
func (a *Activities) MayRetire(ctx context.Context, in RetireInput) (Retirable, error) {
	told := new(latest[signals.Blocked])
	tell := func(waiting string) { told.set(signals.Blocked{Step: in.Origin.Step, Text: waiting}) }
	tell("")
	defer beat(ctx, told.details)()
	ctx, release := untilStop(ctx)
	defer release()
	may, err := a.mayRetire(flags.Telling(ctx, tell), in, tell)
	if err = fail(ctx, err); temporal.IsCanceledError(err) && told.get().Text != "" {
		err = temporal.NewCanceledError(told.get().Text) // for who has ended the wait
	}
	return may, err
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
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < pause+retireMargin {
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

// unseen takes an error that lasts for something in the way, and returns one that passes.
func (r *retiring) unseen(ctx context.Context, what string, err error) error {
	application, ours := errors.AsType[*temporal.ApplicationError](err)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case ours && !application.NonRetryable() || !ours && permanentKind(err) == "":
		return err
	}
	r.blocks("%s can't be seen: %s", what, said(err))
	return nil
}

// said is an error's text for people.
func said(err error) string {
	if application, ok := errors.AsType[*temporal.ApplicationError](err); ok {
		return application.Message()
	}
	return text(err)
}

func (a *Activities) lookAtFlags(ctx context.Context, in RetireInput) (found retiring, err error) {
	provider, err := a.provider(in.Scope)
	if err != nil {
		return found, found.unseen(ctx, "whether the flags are in use", err)
	}
	db, err := a.database(ctx, in.Origin)
	if err == nil {
		err = lookAtPlans(ctx, db, in, &found)
	}
	if err := found.unseen(ctx, "whether other plans move the flags", err); err != nil {
		return found, err
	}
	var standing []string
	for _, key := range in.Retire.Flags {
		over, err := lookAtFlag(ctx, db, provider, in.Origin, key, &found)
		if err := found.unseen(ctx, "whether flag "+key+" is in use", err); err != nil {
			return found, err
		}
		if !over {
			standing = append(standing, key)
		}
	}
	return found, a.lookAtCode(ctx, in, standing, &found)
}

// lookAtPlans looks for other plans whose runs have moved the flags and not ended: they may put them back yet.
func lookAtPlans(ctx context.Context, db *Database, in RetireInput, found *retiring) error {
	uses, err := db.ledger.Unretired(ctx)
	for _, u := range uses {
		same := u.Scope == ledger.Scope{Project: in.Scope.Project, Environment: in.Scope.Environment}
		if same && u.Ended == nil && u.Plan != in.Origin.Plan && slices.Contains(in.Retire.Flags, u.Key) {
			found.blocks("flag %s is moved by plan %s, whose migration %s has not ended: let it end first", u.Key, u.Plan, u.Migration)
		}
	}
	return err
}

// lookAtFlag asks the flag service. A flag that is archived or gone is in nobody's way: its key in the code changes nothing any more.
func lookAtFlag(ctx context.Context, db *Database, provider flags.Provider, o Origin, key string, found *retiring) (over bool, err error) {
	now, err := provider.Get(ctx, key)
	if errors.Is(err, flags.ErrNotFound) {
		if ours, err := archivedByPlan(ctx, db, o, key); err != nil || ours {
			return ours, err
		}
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
	if service, ok := provider.(flags.Widely); ok {
		elsewhere, err := service.Elsewhere(ctx, key)
		if err != nil {
			return false, err
		}
		lookElsewhere(key, elsewhere, found)
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

// lookElsewhere looks at the other environments in which the flag would be archived as well. New is one where nobody has ever
// asked for it.
func lookElsewhere(key string, elsewhere map[string]flags.Status, found *retiring) {
	for _, environment := range slices.Sorted(maps.Keys(elsewhere)) {
		status := elsewhere[environment]
		switch status.Activity {
		case flags.New, flags.Inactive, flags.Unknown:
		case flags.Launched:
			found.note("flag %s is launched in environment %s as well, %s", key, environment, lastAsked(status))
		default:
			found.blocks("flag %s is %s in environment %s, %s, and is archived there as well: take it out of the application there, or wait until the "+
				"flag service calls it launched or inactive", key, status.Activity, environment, lastAsked(status))
		}
	}
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
	return "asked for " + age.Text(time.Since(s.LastRequested)) + " ago"
}
