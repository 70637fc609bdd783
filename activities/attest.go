package activities

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/ledger"
	"github.com/contraflow/contraflow/plan"
)

const (
	// attestPoll is how often the reports are looked at: instances report a change at once, so that most waits are over
	// within a look or two, and each is one small query.
	attestPoll = 250 * time.Millisecond
	// attestMargin before the end of an attempt is for its last look, so that it ends with who is missing and not with a
	// timeout.
	attestMargin = 5 * time.Second
	// attestNames is how many instances a text names: enough to go and look, few enough for a card.
	attestNames = 5
)

// awaitAttested returns once every instance of the application that is alive reports the flag in the state that the service
// has it in now, and at least as many are alive as the plan asks for; at once where it asks for none. Meanwhile it tells
// who is missing. An instance whose last report is older than the plan's `within` is not waited for. A wait that outlasts
// this attempt ends with an error that is retried: the next attempt looks at the flag again and goes on waiting.
func awaitAttested(ctx context.Context, db *Database, in FlagInput, now flags.State) error {
	if in.Attest == nil {
		return nil
	}
	return attestsOf(in, now, cmp.Or(in.Attest.Instances, plan.DefaultAttestInstances)).await(ctx, db, in.Origin)
}

// awaitAttestedBack is awaitAttested for a flag that was put back, however many are alive: the application may be down, which
// may be why it was put back, or may never have reported at all.
func awaitAttestedBack(ctx context.Context, db *Database, in FlagInput, now flags.State) error {
	if in.Attest == nil {
		return nil
	}
	return attestsOf(in, now, 0).await(ctx, db, in.Origin)
}

// attestWait is what instances must report.
type attestWait struct {
	key       string
	version   int64
	value     string // "" for any
	within    time.Duration
	instances int // how many must be alive at least
}

func attestsOf(in FlagInput, now flags.State, instances int) attestWait {
	return attestWait{
		key: in.Key, version: int64(now.SeenAs()), value: servedToEverybody(now), instances: instances,
		within: cmp.Or(in.Attest.Within.Std(), plan.DefaultAttestWithin),
	}
}

func (w attestWait) await(ctx context.Context, db *Database, o Origin) error {
	ticker := time.NewTicker(attestPoll)
	defer ticker.Stop()
	for {
		alive, err := db.ledger.Attestations(ctx, w.key, w.within)
		if err != nil {
			return err
		}
		missing := w.missing(alive)
		flags.Tell(ctx, missing)
		if missing == "" {
			return audit(ctx, db, o, "flag attested", fmt.Sprintf("%s version %d by %s", w.key, w.version, cmp.Or(someOf(alive, w.name), "nobody")))
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < attestMargin {
			return temporal.NewApplicationErrorWithOptions(missing, "Attest", temporal.ApplicationErrorOptions{NextRetryDelay: attestPoll})
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-activity.GetWorkerStopChannel(ctx):
			return errStopping
		case <-ticker.C:
		}
	}
}

// servedToEverybody is the value that every context is served, as instances report it; "" where that depends on who asks.
// So it is for boolean flags that are off: one that is restored may have true as its off variation, and versions tell enough.
func servedToEverybody(s flags.State) string {
	switch {
	case s.On && len(s.Exceptions) > 0:
		return ""
	case s.Stage != "":
		return string(s.Stage)
	case s.On && s.Percent == 100:
		return "true"
	}
	return ""
}

func (w attestWait) attests(a ledger.Attestation) bool {
	return a.Version >= w.version && (w.value == "" || a.Value == "" || a.Value == w.value)
}

// missing says in words what is waited for; "" for nothing.
func (w attestWait) missing(alive []ledger.Attestation) string {
	if len(alive) == 0 && w.instances > 0 {
		return fmt.Sprintf("no instance has reported flag %s within %s: let the application attest it, as docs/guide.md says, or roll back and "+
			"remove attest from the plan", w.key, w.within)
	}
	var late []ledger.Attestation
	for _, a := range alive {
		if !w.attests(a) {
			late = append(late, a)
		}
	}
	few := max(w.instances-len(alive), 0)
	switch {
	case len(late) == 0 && few == 0:
		return ""
	case len(late) == 0:
		return fmt.Sprintf("flag %s waits for %d more of %d instances: only %s report it", w.key, few, w.instances, someOf(alive, w.name))
	}
	text := fmt.Sprintf("flag %s waits for %d of %d instances: %s", w.key, len(late), len(alive), someOf(late, w.tell))
	if few > 0 {
		text += fmt.Sprintf("; and for %d more to report it", few)
	}
	return text
}

func (w attestWait) name(a ledger.Attestation) string { return a.Instance }

// tell says how far an instance is that does not attest.
func (w attestWait) tell(a ledger.Attestation) string {
	state := fmt.Sprintf("version %d", a.Version)
	switch {
	case a.Version == 0:
		state = "does not know the flag"
	case a.Version >= w.version:
		state += fmt.Sprintf(", but %s", a.Value)
	}
	return fmt.Sprintf("%s (%s, %s ago)", a.Instance, state, a.Age.Round(time.Second))
}

// someOf tells as many as people can take in.
func someOf(all []ledger.Attestation, tell func(ledger.Attestation) string) string {
	var told []string
	for _, a := range all[:min(len(all), attestNames)] {
		told = append(told, tell(a))
	}
	text := strings.Join(told, ", ")
	if more := len(all) - attestNames; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
