package targeting

import (
	"fmt"

	"github.com/contraflow/contraflow/flags"
)

// Restoration decides what a Restore has to do: done if the flag is as before already, else the targeting to put back.
// A flag that is neither as before nor ours is a flags.Stranger.
func Restoration(current, before, ours flags.State) (want Targeting, done bool, err error) {
	if before.Key != current.Key || before.Provider != current.Provider {
		return Targeting{}, false, fmt.Errorf("the recorded state is of flag %q of %s, not of flag %q of %s: %w",
			before.Key, before.Provider, current.Key, current.Provider, flags.ErrInvalid)
	}
	if want, err = Decode(before.Config); err != nil {
		return Targeting{}, false, fmt.Errorf("recorded state of flag %q: %w: %w", before.Key, err, flags.ErrInvalid)
	}
	if current.Equal(before) {
		return want, true, nil
	}
	if current.Equal(ours) {
		if before.Archived || current.Archived {
			return Targeting{}, false, fmt.Errorf("flag %q is %q and was %q before: archive it, or take it out of the archive, by hand: %w",
				current.Key, current.Summary, before.Summary, flags.ErrNotRestorable)
		}
		return want, false, nil
	}
	return Targeting{}, false, stranger(current, before, ours)
}

func stranger(current, before, ours flags.State) error {
	out := &flags.Stranger{Key: current.Key, Theirs: current.Summary}
	if len(ours.Config) > 0 {
		out.Ours = ours.Summary
	}
	if current.Archived && !ours.Archived {
		out.Differs = []string{"it was archived"}
		return out
	}
	if len(ours.Config) == 0 {
		ours = before // nothing was recorded of our own change
	}
	now, err := Decode(current.Config)
	if err != nil {
		return err
	}
	then, err := Decode(ours.Config)
	if err != nil {
		return fmt.Errorf("recorded state of flag %q: %w: %w", ours.Key, err, flags.ErrInvalid)
	}
	out.Differs = Differences(then, now)
	return out
}
