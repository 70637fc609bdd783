package activities

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/contraflow/contraflow/flags"
)

// ApplyFlag makes the flag serve in.Percent, unless it serves that much already: a stage never lowers a flag, so that a plan
// that is started again goes on where it stopped. What the flag was before is recorded first, and what it will be as well:
// after a crash in between we still know our own change from a stranger's.
func (a *Activities) ApplyFlag(ctx context.Context, in FlagInput) (FlagNow, error) {
	told := waitingFlag(in)
	defer beat(ctx, told.details)()
	now, err := whenApproved(ctx, told, func(ctx context.Context) (FlagNow, error) { return a.applyFlag(ctx, in) })
	return now, fail(ctx, err)
}

func (a *Activities) applyFlag(ctx context.Context, in FlagInput) (FlagNow, error) {
	db, provider, err := a.forFlag(ctx, in)
	if err != nil {
		return FlagNow{}, err
	}
	now, err := provider.Get(ctx, in.Key)
	if err != nil {
		return FlagNow{}, err
	}
	record, known, err := a.record(ctx, db, in)
	if err != nil {
		return FlagNow{}, err
	}
	if now.Archived {
		return FlagNow{}, fmt.Errorf("flag %s serves nothing: unarchive it, or roll back: %w", in.Key, flags.ErrArchived)
	}
	if !known {
		record.before, record.ours = now, []flags.State{now}
	} else if !now.Equal(record.before) && !record.isOurs(now) {
		return FlagNow{}, fmt.Errorf("flag %s is %q, and this migration left it %q: %w; put it back to either, or roll back",
			in.Key, now.Summary, record.ours[len(record.ours)-1].Summary, flags.ErrStranger)
	}
	if err := a.reachesEverybody(ctx, provider, in.Key); err != nil {
		return FlagNow{}, err
	}
	if !now.On || now.Percent <= float64(in.Percent) {
		change := flags.Change{Percent: in.Percent, ContextKind: in.ContextKind}
		want, err := provider.Preview(ctx, in.Key, change)
		if err != nil {
			return FlagNow{}, err
		}
		record.ours = []flags.State{now, want} // until the change is seen it is one of the two
		if err := a.keep(ctx, db, in, record); err != nil {
			return FlagNow{}, err
		}
		// Also when nothing is missing: Apply then still proves that applications see it, which a killed attempt had not.
		if now, err = provider.Apply(ctx, in.Key, change, note(in.Origin), a.still(db, in, record)); err != nil {
			return FlagNow{}, err
		}
	} else if err := a.keep(ctx, db, in, record); err != nil {
		return FlagNow{}, err
	}
	return FlagNow{now.Summary, now.Version}, audit(ctx, db, in.Origin, "flag", in.Key+" "+now.Summary)
}

// reachesEverybody refuses a flag that even at 100 % could serve false to somebody: the plan would go on under an application
// that still lives in the old shape. It is asked at every stage, so that the first one finds it and nothing is half done.
func (a *Activities) reachesEverybody(ctx context.Context, provider flags.Provider, key string) error {
	full, err := provider.Preview(ctx, key, flags.Change{Percent: 100})
	if err != nil {
		return err
	}
	if len(full.Exceptions) == 0 {
		return nil
	}
	return permanent("Flag", "flag %s could serve false even at 100 %% (%s): take that out of its targeting, or let it serve true, then retry; or roll back",
		key, strings.Join(full.Exceptions, ", "))
}

// RestoreFlag puts back exactly what the flag was before the step, unless a stranger changed it since.
func (a *Activities) RestoreFlag(ctx context.Context, in FlagInput) (FlagNow, error) {
	told := waitingFlag(in)
	defer beat(ctx, told.details)()
	now, err := whenApproved(ctx, told, func(ctx context.Context) (FlagNow, error) { return a.restoreFlag(ctx, in) })
	return now, fail(ctx, err)
}

func (a *Activities) restoreFlag(ctx context.Context, in FlagInput) (FlagNow, error) {
	db, provider, err := a.forFlag(ctx, in)
	if err != nil {
		return FlagNow{}, err
	}
	record, known, err := a.record(ctx, db, in)
	if err != nil {
		return FlagNow{}, err
	}
	if !known { // the step never got as far as the flag, which may not even exist, or this is a second attempt
		return FlagNow{Summary: "as it was"}, nil
	}
	// First what the step has asked people for: approved and applied behind the compensation, it would change the flag again.
	if asking, ok := provider.(flags.Withdrawer); ok {
		if err := asking.Withdraw(ctx, in.Key, note(in.Origin)); err != nil {
			return FlagNow{}, err
		}
	}
	now, err := provider.Get(ctx, in.Key)
	if errors.Is(err, flags.ErrNotFound) {
		return FlagNow{}, fmt.Errorf("flag %s was %q and is gone: make it again as it was, then retry; or skip, and applications live with the fallback in their code: %w",
			in.Key, record.before.Summary, err)
	}
	if err != nil {
		return FlagNow{}, err
	}
	ours := record.ours[len(record.ours)-1]
	if record.isOurs(now) {
		ours = now
	}
	// From here on the flag may be as before, too; a frozen attempt at a stage knows by that that it is too late.
	if last := record.ours[len(record.ours)-1]; !last.Equal(record.before) {
		record.ours = append(record.ours, record.before)
		if err := a.keep(ctx, db, in, record); err != nil {
			return FlagNow{}, err
		}
	}
	if now, err = provider.Restore(ctx, in.Key, record.before, ours, note(in.Origin)+", compensation"); err != nil {
		return FlagNow{}, err
	}
	if err := audit(ctx, db, in.Origin, "flag restored", in.Key+" "+now.Summary); err != nil {
		return FlagNow{}, err
	}
	return FlagNow{now.Summary, now.Version}, db.ledger.ForgetFlag(ctx, in.Origin.Plan, in.Origin.Step, in.Key)
}

func (a *Activities) forFlag(ctx context.Context, in FlagInput) (*Database, flags.Provider, error) {
	db, err := a.database(ctx, in.Origin)
	if err != nil {
		return nil, nil, err
	}
	provider, err := a.provider(in.Scope)
	return db, provider, err
}

// flagRecord is the ledger's record in the provider's terms: the flag as it was found, and the states that this step may have
// left it in: the one before its latest change and the one after, since a crash can come between them.
type flagRecord struct {
	before flags.State
	ours   []flags.State
	// others are what the plan's other steps may have left it in: a run before this one may have got further.
	others []flags.State
}

func (r flagRecord) isOurs(s flags.State) bool {
	return slices.ContainsFunc(r.ours, s.Equal) || slices.ContainsFunc(r.others, s.Equal)
}

func (a *Activities) record(ctx context.Context, db *Database, in FlagInput) (r flagRecord, known bool, err error) {
	stored, known, err := db.ledger.Flag(ctx, in.Origin.Plan, in.Origin.Step, in.Key)
	if err != nil || !known {
		return r, false, err
	}
	if err := json.Unmarshal(stored.Before, &r.before); err != nil {
		return r, false, fmt.Errorf("read the record of flag %s: %w", in.Key, err)
	}
	if err := json.Unmarshal(stored.Ours, &r.ours); err != nil {
		return r, false, fmt.Errorf("read the record of flag %s: %w", in.Key, err)
	}
	left, err := db.ledger.Left(ctx, in.Origin.Plan, in.Key)
	if err != nil {
		return r, false, err
	}
	for _, raw := range left {
		var states []flags.State
		if err := json.Unmarshal(raw, &states); err != nil {
			return r, false, fmt.Errorf("read the records of flag %s: %w", in.Key, err)
		}
		r.others = append(r.others, states...)
	}
	return r, true, nil
}

// still fences an attempt that was frozen since it kept its record: the flag must be one of the two that it reckoned with, and
// the record its own, which compensation alters before it touches the flag, and removes behind it.
func (a *Activities) still(db *Database, in FlagInput, kept flagRecord) flags.Still {
	return func(ctx context.Context, found flags.State) error {
		if !slices.ContainsFunc(kept.ours, found.Equal) {
			return fmt.Errorf("flag %s is %q by now: %w; put it back to %q, or roll back", in.Key, found.Summary, flags.ErrStranger, kept.ours[0].Summary)
		}
		now, known, err := a.record(ctx, db, in)
		if err == nil && !(known && slices.EqualFunc(now.ours, kept.ours, flags.State.Equal)) {
			err = fmt.Errorf("flag %s is left alone: this attempt came too late: %w", in.Key, flags.ErrSuperseded)
		}
		return err
	}
}

func (a *Activities) keep(ctx context.Context, db *Database, in FlagInput, r flagRecord) error {
	if err := flags.Late(ctx); err != nil {
		return err
	}
	before, err := json.Marshal(r.before)
	if err != nil {
		return err
	}
	ours, err := json.Marshal(r.ours)
	if err != nil {
		return err
	}
	return db.ledger.RecordFlag(ctx, in.Origin.Plan, in.Origin.Step, in.Key, before, ours)
}
