package activities

import (
	"context"
	"errors"
	"slices"

	"go.temporal.io/sdk/temporal"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/ledger"
)

// takingBack deletes what people were asked to approve where the change has come to its end without it, since the kill switch or a
// stranger is in the way: approved behind that, it would be made all the same. Once it may be made, it is asked for anew.
func (a *Activities) takingBack(
	in FlagInput, note string, change func(context.Context) (FlagNow, error),
) func(context.Context) (FlagNow, error) {
	return func(ctx context.Context) (FlagNow, error) {
		now, err := change(ctx)
		if !forPeople(err) {
			return now, err
		}
		provider, failed := a.provider(in.Scope)
		if asking, ok := provider.(flags.Withdrawer); ok && failed == nil {
			failed = asking.Withdraw(ctx, in.Key, note)
		}
		if failed != nil && !flags.Permanent(failed) {
			return now, failed // the next attempt takes it back
		}
		return now, err
	}
}

// forget deletes what presses have asked people for, once the migration goes on or back: they ask for what nobody wants any more.
func (ps presses) forget(ctx context.Context, provider flags.Provider, key string) error {
	asking, ok := provider.(flags.Withdrawer)
	for _, k := range ps {
		if !ok || k.Key != key || k.FirstRun == "" || k.Done != nil || k.Age < killSettles {
			continue
		}
		if err := asking.Withdraw(ctx, key, ledger.KillNote(k.Migration)); err != nil {
			return err
		}
	}
	return nil
}

// forPeople tells whether a change waits for the answer of people who know nothing of what was asked of others.
func forPeople(err error) bool {
	application, ok := errors.AsType[*temporal.ApplicationError](err)
	kind := permanentKind(err)
	if ok {
		kind = application.Type()
	}
	return slices.Contains([]string{"Stranger", "Refused", "Killed"}, kind)
}
