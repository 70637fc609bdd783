package harness

import (
	"fmt"

	"github.com/contraflow/contraflow/flags"
)

// restoration decides what a Restore has to do: done if the flag is as before already, else the configuration to put
// back. A flag that is neither as before nor ours is a flags.Stranger.
func restoration(current, before, ours flags.State) (want configuration, done bool, err error) {
	if before.Key != current.Key || before.Provider != current.Provider {
		return configuration{}, false, fmt.Errorf("the recorded state is of flag %q of %s, not of flag %q of %s: %w",
			before.Key, before.Provider, current.Key, current.Provider, flags.ErrInvalid)
	}
	if want, err = recorded(before); err != nil {
		return configuration{}, false, err
	}
	if current.Equal(before) {
		return want, true, nil
	}
	if current.Equal(ours) {
		if before.Archived || current.Archived {
			return configuration{}, false, fmt.Errorf("flag %q is %q and was %q before: archive it, or take it out of the archive, by hand: %w",
				current.Key, current.Summary, before.Summary, flags.ErrNotRestorable)
		}
		return want, false, nil
	}
	return configuration{}, false, stranger(current, before, ours)
}

func recorded(state flags.State) (configuration, error) {
	c, err := decode(state.Config)
	if err != nil {
		return configuration{}, fmt.Errorf("recorded state of flag %q: %w: %w", state.Key, err, flags.ErrInvalid)
	}
	return c, nil
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
	then, err := recorded(ours)
	if err != nil {
		return err
	}
	now, err := recorded(current)
	if err != nil {
		return err
	}
	out.Differs = differences(then, now)
	return out
}
