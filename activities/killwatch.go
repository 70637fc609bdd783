package activities

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/contraflow/contraflow/internal/ledger"
)

const (
	// killLook is how often the guard looks for presses of the kill switch: the flags are off already, and until it looks the
	// migration may only begin something new, which asks for kills itself. One lookup by index a second is nothing to a database.
	killLook = time.Second
	// killSettles is how long a press may take, from its record to the last flag that is off, before the guard tells of it all
	// the same: whoever pressed it may have been cut off. It is more than the switch usually needs for several flags.
	killSettles = 5 * time.Second
	// killLookTimeout bounds one look, so that a connection that has gone silent does not blind the guard.
	killLookTimeout = 5 * time.Second
)

// killWatch looks for presses of the kill switch behind the one with the id after.
type killWatch struct {
	ledger   *ledger.Ledger
	firstRun string
	after    int64
}

// watch returns a verdict that is Killed once there is a press, and Healthy when the slice or ctx ends before. A database that
// does not answer is asked again: no answer is no verdict.
func (w killWatch) watch(ctx context.Context, slice time.Duration) GuardVerdict {
	ctx, cancel := context.WithTimeout(ctx, slice)
	defer cancel()
	ticker := time.NewTicker(killLook)
	defer ticker.Stop()
	for {
		kills, err := w.look(ctx)
		if err == nil && settled(kills) {
			return killed(kills)
		}
		select {
		case <-ctx.Done():
			return GuardVerdict{Outcome: Healthy}
		case <-ticker.C:
		}
	}
}

// last looks once more, and waits for a press that it finds under way.
func (w killWatch) last(ctx context.Context) GuardVerdict {
	kills, err := w.look(ctx)
	if err != nil || len(kills) == 0 {
		return GuardVerdict{Outcome: Healthy}
	}
	if verdict := w.watch(ctx, killSettles); verdict.Outcome == Killed {
		return verdict
	}
	return killed(kills)
}

func (w killWatch) look(ctx context.Context) ([]ledger.Kill, error) {
	ctx, cancel := context.WithTimeout(ctx, killLookTimeout)
	defer cancel()
	return w.ledger.Kills(ctx, w.firstRun, w.after)
}

// settled tells whether there are kills, and all of them are made or the first of them has had its time.
func settled(kills []ledger.Kill) bool {
	undone := func(k ledger.Kill) bool { return k.Done == nil }
	return len(kills) > 0 && (kills[0].Age > killSettles || !slices.ContainsFunc(kills, undone))
}

// killed tells people of the presses: who, what and why, and never whose context.
func killed(kills []ledger.Kill) GuardVerdict {
	v := GuardVerdict{Outcome: Killed, Kill: kills[len(kills)-1].ID}
	var told []string
	for rest := kills; len(rest) > 0; {
		same := func(k ledger.Kill) bool { return k.At.Equal(rest[0].At) && k.Actor == rest[0].Actor }
		n := slices.IndexFunc(rest, func(k ledger.Kill) bool { return !same(k) })
		if n < 0 {
			n = len(rest)
		}
		told = append(told, press(rest[:n]))
		for _, k := range rest[:n] {
			v.Alone = v.Alone || !k.Everybody()
			if k.Everybody() && len(v.KilledFlags) == 0 {
				v.Since = time.Now().Add(-k.Age)
			}
			if k.Everybody() && !slices.Contains(v.KilledFlags, k.Key) {
				v.KilledFlags = append(v.KilledFlags, k.Key)
			}
		}
		rest = rest[n:]
	}
	v.Reading = strings.Join(told, "; ")
	return v
}

// press tells of the flags that one press of the switch turned off.
func press(kills []ledger.Kill) string {
	k := kills[0]
	var done, open []string
	for _, k := range kills {
		if k.Done != nil {
			done = append(done, k.Key)
		} else {
			open = append(open, k.Key)
		}
	}
	whom := "for everybody"
	if !k.Everybody() {
		whom = "for one " + k.ContextKind
	}
	text := "kill switch pressed"
	if k.Actor != "" {
		text += " by " + k.Actor
	}
	if k.Reason != "" {
		text += fmt.Sprintf(" (%s)", k.Reason)
	}
	if len(done) > 0 {
		text += fmt.Sprintf(": %s off %s", strings.Join(done, ", "), whom)
	}
	if len(open) > 0 {
		text += fmt.Sprintf(": %s perhaps not off %s, look there", strings.Join(open, ", "), whom)
	}
	return text
}
