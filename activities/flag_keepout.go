package activities

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/ledger"
)

// open are the contexts that are to stay out of the flag and that nobody has taken out of it so far: the flag had not been moved
// when the switch was pressed, or whoever pressed it was cut off.
func (ps presses) open(key string) presses {
	return slices.DeleteFunc(slices.Clone(ps), func(k ledger.Kill) bool {
		return k.Key != key || k.Everybody() || k.Done != nil || pressing(k)
	})
}

// keepOut takes those contexts out of the flag before it is moved for the others: one that writes the old shape must not read the
// new one. Where the service can't, people are asked.
func (a *Activities) keepOut(ctx context.Context, db *Database, provider flags.Provider, in FlagInput, r flagRecord, now flags.State) (flagRecord, flags.State, error) {
	r.presses = slices.Clone(r.presses)
	for _, k := range r.presses.open(in.Key) {
		change := flags.Change{Exclude: &flags.Context{Kind: k.ContextKind, Key: k.ContextKey}}
		want, err := provider.Preview(ctx, in.Key, change)
		switch {
		case errors.Is(err, flags.ErrInvalid) && r.forced(ctx, in, now):
			if err := db.ledger.Killed(ctx, k.ID, nil); err != nil {
				return r, now, err
			}
			r.presses.made(k.ID)
			continue
		case errors.Is(err, flags.ErrInvalid):
			return r, now, a.show(ctx, db, in, r, now, false, permanent("Stranger", "the kill switch was pressed for one %s, which stays out of all flags of this plan, "+
				"and flag %s has no way to leave it out: %v; force moves the flag for that one, too", k.ContextKind, in.Key, err))
		case err != nil:
			return r, now, err
		}
		found, err := json.Marshal(now)
		if err == nil {
			err = db.ledger.Found(ctx, k.ID, found)
		}
		if err != nil {
			return r, now, err
		}
		if !want.Equal(now) {
			r.ours = []flags.State{now, want}
			if r, err = a.keep(ctx, db, in, r, false); err != nil {
				return r, now, err
			}
			if now, err = provider.Apply(ctx, in.Key, change, note(in.Origin)+", kill switch", a.still(db, in, r)); err != nil {
				return r, now, err
			}
			if r.ours = []flags.State{now}; !now.Equal(want) {
				return r, now, fmt.Errorf("flag %s: %w", in.Key, errMeanwhile)
			}
		}
		left, err := json.Marshal(now)
		if err != nil {
			return r, now, err
		}
		if err := db.ledger.Killed(ctx, k.ID, left); err != nil {
			return r, now, err
		}
		r.presses.made(k.ID)
	}
	return r, now, nil
}

// darken turns off what an attempt that was cut off has put on behind a press of the switch, and then refuses, too.
func (a *Activities) darken(ctx context.Context, db *Database, provider flags.Provider, in FlagInput, r flagRecord, refusal error) error {
	for _, k := range r.presses.unseen(in) {
		if k.Key == in.Key && k.Done == nil { // whoever presses it sees to that
			return refusal
		}
	}
	if len(r.ours) < 2 || r.resumed > in.Kills { // nothing was about to be changed, or people have resumed since this attempt began
		return refusal
	}
	now, err := provider.Get(ctx, in.Key)
	switch {
	case errors.Is(err, flags.ErrNotFound):
		return refusal
	case err != nil:
		return err
	case !lit(now), now.Equal(r.ours[0]), !slices.ContainsFunc(r.ours[1:], now.Equal): // as it was, or somebody else's
		return refusal
	}
	return a.turnOff(ctx, db, provider, in, r, refusal)
}

// turnOff turns the flag off for everybody, and refuses what had put it on.
func (a *Activities) turnOff(ctx context.Context, db *Database, provider flags.Provider, in FlagInput, kept flagRecord, refusal error) error {
	off := flags.Change{}
	if in.Stage != "" {
		off.Stage = flags.StageOff
	}
	ctx = flags.Urgent(ctx)
	want, err := provider.Preview(ctx, in.Key, off)
	if err != nil {
		return err
	}
	kept.ours = append(slices.Clone(kept.ours), want)
	if kept, err = a.keep(ctx, db, in, kept, false); err != nil {
		return err
	}
	now, err := provider.Apply(ctx, in.Key, off, note(in.Origin)+", kill switch", a.still(db, in, kept))
	if err != nil {
		return err
	}
	if err := audit(ctx, db, in.Origin, "flag taken back", standing(now)+": a stage had turned it on behind the kill switch"); err != nil {
		return err
	}
	return refusal
}
