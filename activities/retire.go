package activities

import (
	"context"
	"strings"
)

// RetireFlag archives a flag that serves one value to everybody.
func (a *Activities) RetireFlag(ctx context.Context, in FlagInput) error {
	told := waitingFlag(in)
	defer beat(ctx, told.details)()
	_, err := whenApproved(ctx, told, func(ctx context.Context) (FlagNow, error) { return FlagNow{}, a.retireFlag(ctx, in) })
	return fail(ctx, err)
}

func (a *Activities) retireFlag(ctx context.Context, in FlagInput) error {
	db, provider, err := a.forFlag(ctx, in)
	if err != nil {
		return err
	}
	now, err := provider.Get(ctx, in.Key)
	if err != nil {
		return err
	}
	if !now.Archived {
		if now.On && now.Percent != 0 && now.Percent != 100 {
			return permanent("Flag", "flag %s is %q: it still serves both values, and archiving it would switch some users over; finish its rollout first", in.Key, now.Summary)
		}
		if len(now.Exceptions) > 0 {
			return permanent("Flag", "flag %s is %q, but may serve the other value to some (%s), whom archiving it would switch over; take that out of its targeting first",
				in.Key, now.Summary, strings.Join(now.Exceptions, ", "))
		}
		// First the intent: a run that is cut off behind the archiving is known by it, and goes on here when it is started again.
		if err := audit(ctx, db, in.Origin, "archiving flag", in.Key); err != nil {
			return err
		}
		if err := provider.Archive(ctx, in.Key, note(in.Origin)); err != nil {
			return err
		}
	}
	return audit(ctx, db, in.Origin, "flag archived", in.Key)
}
