package activities

import (
	"context"
	"errors"
	"fmt"

	"github.com/contraflow/contraflow/flags"
)

// ApplyFlag brings the flag to a stage, unless it is there or beyond already. What the flag was before is recorded first, and
// what it will be as well: after a crash in between we still know our own change from a stranger's. It returns once applications
// are served the change, and where the plan wants that, once their instances say so.
//
// Errors of type "Stranger", "Refused" and "Killed" are for people. in.Force goes on from a stranger's state that an error of the
// first type has shown; what is refused has to be mended first.
func (a *Activities) ApplyFlag(ctx context.Context, in FlagInput) (FlagNow, error) {
	told := waitingFlag(in)
	defer beat(ctx, told.details)()
	now, err := whenApproved(asking(ctx), told, lookingAgain(a.takingBack(in, note(in.Origin), func(ctx context.Context) (FlagNow, error) {
		return a.applyFlag(ctx, in)
	})))
	return now, fail(ctx, err)
}

func (a *Activities) applyFlag(ctx context.Context, in FlagInput) (FlagNow, error) {
	db, provider, err := a.forFlag(ctx, in)
	if err != nil {
		return FlagNow{}, err
	}
	if err := holds(ctx, db, in.Origin, false); err != nil {
		return FlagNow{}, err
	}
	if _, err := db.ledger.KeepOut(ctx, in.Origin.Plan, in.Origin.holder(), in.Key); err != nil {
		return FlagNow{}, err
	}
	record, err := a.record(ctx, db, in)
	if err != nil {
		return FlagNow{}, err
	}
	if err := record.presses.forbid(in); err != nil {
		return FlagNow{}, a.darken(ctx, db, provider, in, record, err)
	}
	if err := record.presses.settled(in.Key); err != nil {
		return FlagNow{}, err
	}
	if err := record.presses.forget(ctx, provider, in.Key); err != nil {
		return FlagNow{}, err
	}
	in, record.out = in.without(record.presses)
	now, err := a.found(ctx, db, provider, in, record)
	if err != nil {
		return FlagNow{}, err
	}
	mine, err := a.goingOn(ctx, db, in, record, now)
	if err != nil {
		return FlagNow{}, err
	}
	in = in.putBack(record.presses, now)
	if mine, now, err = a.keepOut(ctx, db, provider, in, mine, now); err != nil {
		return FlagNow{}, err
	}
	if err := a.reachesEverybody(ctx, db, provider, in, now, record, mine); err != nil {
		return FlagNow{}, err
	}
	if now, err = a.move(ctx, db, provider, in, mine, now); err != nil {
		return FlagNow{}, err
	}
	return FlagNow{now.Summary, now.Version, record.out}, nil
}

// goingOn decides whether the plan may go on from the flag as it is now, and returns the record to go on with.
func (a *Activities) goingOn(ctx context.Context, db *Database, in FlagInput, r flagRecord, now flags.State) (flagRecord, error) {
	press, err := earlier(ctx, db, in, r.presses, now)
	switch {
	case err != nil:
		return r, err
	case now.Archived && !r.begun():
		return r, fmt.Errorf("flag %s serves nothing: unarchive it, or roll back: %w", in.Key, flags.ErrArchived)
	case now.Archived:
		return r, r.archived(now)
	case r.forced(ctx, in, now): // it stays shown, so that an attempt after a crash knows it again
	case press != "":
		return r, a.show(ctx, db, in, r, now, false, permanent("Stranger",
			"flag %s is %q since %s; force goes on, and turns it on again", in.Key, now.Summary, press))
	case r.begun() && !r.isOurs(now):
		return r, a.stranger(ctx, db, in, r, now, false)
	default:
		r.shown = nil
	}
	if !r.known {
		r.known, r.before = true, r.presses.start(in, now)
	}
	r.ours = []flags.State{now}
	return r, nil
}

// move makes the change and returns the flag behind it.
func (a *Activities) move(ctx context.Context, db *Database, provider flags.Provider, in FlagInput, r flagRecord, now flags.State) (flags.State, error) {
	change, needed := in.wanted(now)
	var want flags.State
	if needed {
		var err error
		if want, err = provider.Preview(ctx, in.Key, change); err != nil {
			return now, err
		}
		r.ours = append(r.ours, want) // until the change is seen it is one of the two
	}
	r, err := a.keep(ctx, db, in, r, false)
	if err != nil {
		return now, err
	}
	if needed {
		// Also when nothing is missing: Apply then still proves that applications see it, which a killed attempt had not.
		if now, err = provider.Apply(ctx, in.Key, change, note(in.Origin), a.still(db, in, r)); err != nil {
			return now, err
		}
		if err := a.staysKilled(ctx, db, provider, in, r); err != nil {
			return now, err
		}
		if !now.Equal(want) { // somebody made it serve this in between, and perhaps left some out
			return now, fmt.Errorf("flag %s: %w", in.Key, errMeanwhile)
		}
	} else if err := a.fence(ctx, db, in, r, false); err != nil { // nobody else asks whether it serves that still
		return now, err
	}
	served := standing(now)
	if r.out > 0 {
		served += fmt.Sprintf(", without %d of the named contexts, for whom the kill switch was pressed", r.out)
	}
	if err := audit(ctx, db, in.Origin, "flag", served); err != nil {
		return now, err
	}
	if !needed && in.Attest != nil {
		// Who made it serve more may have done so a moment ago. To restore what stands changes nothing, and tells as which version
		// applications see it.
		var err error
		now, err = provider.Restore(ctx, in.Key, now, now, note(in.Origin), nil)
		if errors.Is(err, flags.ErrStranger) {
			err = fmt.Errorf("flag %s: %w", in.Key, errMeanwhile)
		}
		if err != nil {
			return now, err
		}
	}
	return now, attested(ctx, db, in, now)
}

// standing is a flag in the audit. The version tells one time that it came to stand so from another.
func standing(s flags.State) string {
	return fmt.Sprintf("%s %s, version %d", s.Key, s.Summary, s.Version)
}

// RestoreFlag puts back exactly what the flag was before the step. It belongs to the rollback, behind which no stage of this run
// is made any more. A stranger's change is an error of type "Stranger", and nothing is changed; in.Force puts the flag back over
// the state that such an error has shown.
func (a *Activities) RestoreFlag(ctx context.Context, in FlagInput) (FlagNow, error) {
	told := waitingFlag(in)
	defer beat(ctx, told.details)()
	now, err := whenApproved(asking(ctx), told, lookingAgain(a.takingBack(in, backNote(in.Origin), func(ctx context.Context) (FlagNow, error) {
		return a.restoreFlag(ctx, in)
	})))
	return now, fail(ctx, err)
}

func (a *Activities) restoreFlag(ctx context.Context, in FlagInput) (FlagNow, error) {
	db, provider, err := a.forFlag(ctx, in)
	if err != nil {
		return FlagNow{}, err
	}
	// First of all, so that an attempt at a stage which was frozen knows that it is too late.
	if err := db.ledger.Undoing(ctx, in.Origin.Plan, in.Origin.holder()); err != nil {
		return FlagNow{}, err
	}
	record, err := a.record(ctx, db, in)
	if err != nil {
		return FlagNow{}, err
	}
	if !record.known { // the step never got as far as the flag, which may not even exist, or this is a second attempt
		return FlagNow{Summary: "as it was"}, nil
	}
	if err := record.presses.settled(in.Key); err != nil {
		return FlagNow{}, err
	}
	// What the step has asked people for: approved and applied behind the compensation, it would change the flag again.
	if asking, ok := provider.(flags.Withdrawer); ok {
		if err := asking.Withdraw(ctx, in.Key, note(in.Origin)); err != nil {
			return FlagNow{}, err
		}
	}
	if err := record.presses.forget(ctx, provider, in.Key); err != nil {
		return FlagNow{}, err
	}
	now, err := provider.Get(ctx, in.Key)
	if errors.Is(err, flags.ErrNotFound) {
		return FlagNow{}, fmt.Errorf("flag %s was %q and is gone: make it again as it was, then retry; or skip, and applications live with the fallback in their code: %w",
			in.Key, record.before.Summary, err)
	}
	if err != nil {
		return FlagNow{}, err
	}
	if !record.isOurs(now) && !record.forced(ctx, in, now) {
		return FlagNow{}, a.stranger(ctx, db, in, record, now, true)
	}
	now, err = provider.Restore(ctx, in.Key, record.before, now, backNote(in.Origin), a.stillBack(db, in, record))
	if errors.Is(err, flags.ErrStranger) || err == nil && !now.Equal(record.before) { // it was not put back alone
		err = fmt.Errorf("flag %s: %w", in.Key, errMeanwhile)
	}
	if err != nil {
		return FlagNow{}, err
	}
	if err := audit(ctx, db, in.Origin, "flag restored", standing(now)); err != nil {
		return FlagNow{}, err
	}
	if err := awaitAttestedBack(ctx, db, in, now); err != nil {
		return FlagNow{}, err
	}
	return FlagNow{Summary: now.Summary, Version: now.Version}, a.forget(ctx, db, in, record, now)
}

// looks is how often an attempt looks at a flag that changes under its hands before it leaves that to the next one.
const looks = 3

// lookingAgain does what was overtaken from the start: then it is known who came in between.
func lookingAgain(change func(context.Context) (FlagNow, error)) func(context.Context) (FlagNow, error) {
	return func(ctx context.Context) (now FlagNow, err error) {
		for range looks {
			if now, err = change(ctx); !errors.Is(err, errMeanwhile) {
				break
			}
		}
		return now, err
	}
}

func (a *Activities) forFlag(ctx context.Context, in FlagInput) (*Database, flags.Provider, error) {
	db, err := a.database(ctx, in.Origin)
	if err != nil {
		return nil, nil, err
	}
	provider, err := a.provider(in.Scope)
	return db, provider, err
}
