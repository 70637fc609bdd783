package workflows

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/signals"
)

// killSwitch is on whose behalf a press of it pauses.
const killSwitch = "kill switch"

// killing is what the kill switch has turned off for everybody and nobody has put back.
type killing struct {
	Flags []string  `json:"flags"`
	Since time.Time `json:"since"`
	// Resuming is what a person has said to let the migration go on: the flags come first.
	Resuming *signals.Request `json:"resuming,omitempty"`
	// Forced is with what people go on all the same: flags that somebody else has changed, and proofs that don't hold any more.
	Forced []string `json:"forced,omitempty"`
}

// killed takes in that somebody has pressed the kill switch. While the migration rolls back there is nothing to pause.
func (m *migration) killed(v activities.GuardVerdict) {
	m.Kills = max(m.Kills, v.Kill)
	if m.RollingBack {
		m.notice("%s", v.Reading)
		m.news("stuck", v.Reading+"; the migration is rolling back and goes on with that")
		return
	}
	m.Forced = false // whoever said so saw something else
	if len(v.KilledFlags) > 0 {
		if m.Off == nil {
			m.Off = &killing{Since: workflow.Now(m.ctx)}
			if !v.Since.IsZero() && v.Since.Before(m.Off.Since) { // nobody may have run to hear of it
				m.Off.Since = v.Since
			}
		}
		for _, key := range v.KilledFlags {
			if !slices.Contains(m.Off.Flags, key) {
				m.Off.Flags = append(m.Off.Flags, key)
			}
		}
	}
	m.Alone = m.Alone || v.Alone
	m.doubt()
	if m.Off != nil && m.Off.Resuming != nil {
		m.Pressed = "" // whoever resumed has seen it, and what is off still is told beside
	}
	if m.Pressed != "" {
		m.Pressed += "; "
	}
	m.Pressed += v.Reading
	m.unresume(signals.Request{By: killSwitch, Reason: v.Reading})
	if m.Pausing == nil {
		m.pause(signals.Request{By: killSwitch, Reason: v.Reading})
	} else { // a person's pause stays the person's
		m.notice("%s", v.Reading)
	}
	m.news("stuck", v.Reading+"; "+m.afterKill())
}

// unresume takes back a resume whose flags are still being put back: whoever said so did not know what has happened since.
func (m *migration) unresume(why signals.Request) {
	if m.Off == nil {
		return
	}
	if m.Off.Resuming != nil {
		m.record("resume taken back", "", why.By, why.Reason)
	}
	m.Off.Resuming, m.Off.Forced = nil, nil
}

// afterKill says what lets a migration go on behind a press of the kill switch.
func (m *migration) afterKill() string {
	text := "`resume` goes on"
	switch {
	case m.Off != nil && len(m.Off.Flags) > 0:
		text = fmt.Sprintf("`resume` first puts %s back to where the migration had come, then goes on", list(m.Off.Flags))
	case m.Off != nil:
		text = "the flags are back by now: `resume` asks again whether what was proved holds, then goes on"
	}
	if !m.PointOfNoReturn {
		text += ", `rollback` undoes"
	}
	return text
}

// pressEvidence is what people shall know of the switch before they decide.
func (m *migration) pressEvidence() (lines []activities.Evidence) {
	tell := func(value string) { lines = append(lines, activities.Evidence{Name: killSwitch, Value: value}) }
	switch {
	case m.Off != nil && len(m.Off.Flags) > 0:
		tell(list(m.Off.Flags) + " off for everybody")
	case m.Off != nil:
		tell("the flags are back; nothing goes on before what was proved holds")
	case m.Pressed != "":
		tell("pressed, and nobody has resumed since")
	}
	if m.Alone {
		tell("pressed for contexts by name, which stay in the old shape until they are let in again")
	}
	return lines
}

// How a proof is marked that rows may have broken which were written in the old shape since, and one that was made behind them.
const (
	beforePress = ", before the kill switch was pressed"
	askedAgain  = ", asked again behind the kill switch"
)

// doubt marks what was proved with the flags on, for those who look on and those who decide.
func (m *migration) doubt() {
	for _, proof := range m.proofs() {
		status := &m.Steps[m.Plan.StepIndex(proof.Step)]
		status.Detail = strings.TrimSuffix(status.Detail, beforePress) + beforePress
		for i, e := range m.Evidence {
			if e.Name == proof.Step {
				m.Evidence[i].Value = strings.TrimSuffix(e.Value, beforePress) + beforePress
			}
		}
	}
}

// unlessKilled does what the kill switch may forbid. A change that it has forbidden is no failure: it is made once the guard
// has told of the press and a person has resumed.
func (m *migration) unlessKilled(ctx workflow.Context, do func() error) error {
	for {
		known, detail := m.Kills, m.current().Detail
		err := do()
		if kind(err) != killedType || ctx.Err() != nil {
			return err
		}
		m.Forbidden = true
		m.current().Detail = reason(err)
		m.show()
		if err := workflow.Await(ctx, func() bool { return m.Kills > known }); err != nil {
			return err
		}
		m.current().Detail = detail // from here on the press is told as such
		if err := m.whilePaused(ctx); err != nil {
			return err
		}
	}
}

// list names things as people do: "a", "a and b", "a, b and c".
func list(all []string) string {
	if len(all) < 2 {
		return strings.Join(all, "")
	}
	last := len(all) - 1
	return strings.Join(all[:last], ", ") + " and " + all[last]
}
