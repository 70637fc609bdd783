package activities

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"

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
// who is missing. An instance that has gone without a report for longer than the plan's `within` is waited for until the wait,
// and the database's server, are that old; then it is dead. A wait that outlasts this attempt ends with an error that is
// retried: the next attempt looks at the flag again and goes on waiting.
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
	version   int64  // 0: there is none
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
	since, err := db.ledger.Awaiting(ctx, w.begun(o))
	if err != nil {
		return err
	}
	ticker := time.NewTicker(attestPoll)
	defer ticker.Stop()
	for {
		all, err := db.ledger.Attestations(ctx, w.key, w.within, since)
		if err != nil {
			return err
		}
		missing := w.missing(all)
		flags.Tell(ctx, missing)
		if missing == "" {
			return audit(ctx, db, o, "flag attested", fmt.Sprintf("%s version %d by %s", w.key, w.version, cmp.Or(someOf(all, w.name), "nobody")))
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

// begun is the event with which this wait begins; that of a second attempt is the same.
func (w attestWait) begun(o Origin) ledger.Event {
	const event = "flag awaits instances"
	detail := fmt.Sprintf("%s version %d", w.key, w.version)
	return ledger.Event{
		Key: strings.Join([]string{o.Step, event, detail}, "/"), Migration: o.Migration, FirstRun: o.FirstRun,
		Plan: o.Plan, PlanHash: o.PlanHash, Step: o.Step, Event: event, Detail: detail,
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

// attests never holds for version 0, with which an instance says that it does not know the flag.
func (w attestWait) attests(a ledger.Attestation) bool {
	return a.Version >= max(w.version, 1) && (w.value == "" || a.Value == "" || a.Value == w.value)
}

// missing says in words what is waited for; "" for nothing.
func (w attestWait) missing(all []ledger.Attestation) string {
	var late, alive []ledger.Attestation
	for _, a := range all {
		if !w.attests(a) {
			late = append(late, a)
		}
		if !a.Silent {
			alive = append(alive, a)
		}
	}
	few := max(w.instances-len(alive), 0)
	switch {
	case len(late) == 0 && few == 0:
		return ""
	case w.version == 0:
		return fmt.Sprintf("flag %s has no version that instances could report: give it one, such as \"version\": 1, where applications read it", w.key)
	case len(late) == 0 && len(alive) == 0:
		return fmt.Sprintf("no instance has reported flag %s within %s: let the application attest it, as docs/guide.md says, or roll back and "+
			"remove attest from the plan", w.key, w.within)
	case len(late) == 0:
		return fmt.Sprintf("flag %s waits for %d more of %d instances: only %s report it", w.key, few, w.instances, someOf(alive, w.name))
	}
	text := fmt.Sprintf("flag %s waits for %d of %d instances: %s", w.key, len(late), len(all), someOf(late, w.tell))
	if few > 0 {
		text += fmt.Sprintf("; and for %d more to report it", few)
	}
	return text
}

func (w attestWait) name(a ledger.Attestation) string { return printable(a.Instance) }

// tell says how far an instance is that does not attest.
func (w attestWait) tell(a ledger.Attestation) string {
	age := a.Age.Round(time.Second)
	if a.Silent {
		return fmt.Sprintf("%s (silent for %s)", w.name(a), age)
	}
	state := fmt.Sprintf("version %d", a.Version)
	switch {
	case a.Version == 0:
		state = "does not know the flag"
	case a.Version >= w.version:
		state += fmt.Sprintf(", but %s", printable(a.Value))
	}
	return fmt.Sprintf("%s (%s, %s ago)", w.name(a), state, age)
}

// printable is an application's text without what would steer a terminal or turn the writing around.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, text)
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
