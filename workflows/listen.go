package workflows

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"go.temporal.io/sdk/workflow"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/signals"
)

// heard is one signal's name and what it does with its payload; an error is told to people as a notice.
type heard struct {
	name string
	take func(json.RawMessage) error
}

// vocabulary is in the order in which names are heard that have arrived while no worker answered: in which order they were said
// can't be told then. The safer one has the last word, and of answers to one question the milder one the first and only.
func (m *migration) vocabulary() []heard {
	return []heard{
		{signals.Approve, taking(func(d signals.Decision) error { return m.decideBySignal(d, signals.Approved) })},
		{signals.Reject, taking(func(d signals.Decision) error { return m.decideBySignal(d, signals.Rejected) })},
		{signals.Resume, taking(m.resume)},
		{signals.Pause, taking(m.pauseBySignal)},
		{signals.Rollback, taking(m.rollbackBySignal)},
		{signals.Retry, taking(func(r signals.Request) error { return m.give(retryIt, r) })},
		{signals.Force, taking(func(r signals.Request) error { return m.give(forceIt, r) })},
		{signals.Skip, taking(func(r signals.Request) error { return m.give(skipIt, r) })},
		{signals.Throttle, taking(m.throttle)},
	}
}

// taking decodes a payload; none at all is an empty one, as `temporal workflow signal` sends it without --input.
func taking[T any](take func(T) error) func(json.RawMessage) error {
	return func(raw json.RawMessage) error {
		var payload T
		if len(raw) > 0 {
			if err := json.Unmarshal(raw, &payload); err != nil {
				return fmt.Errorf("its input is not understood: %s", misread(err))
			}
		}
		return take(payload)
	}
}

// misread says in plain words what is wrong with a payload.
func misread(err error) string {
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) && kind.Field != "" {
		return fmt.Sprintf("%s can't be of type %s", kind.Field, kind.Value)
	}
	if kind != nil {
		return fmt.Sprintf("it must be an object with keys, not of type %s", kind.Value)
	}
	return "it is no JSON object"
}

// listen takes signals in for as long as the run lasts.
func (m *migration) listen() {
	ctx := m.disconnected()
	for _, h := range m.vocabulary() {
		channel := workflow.GetSignalChannel(ctx, h.name)
		workflow.Go(ctx, func(ctx workflow.Context) {
			for {
				var raw json.RawMessage
				if !channel.Receive(ctx, &raw) {
					return
				}
				m.hear(h, raw)
				m.considerContinuing()
			}
		})
	}
}

// catchUp returns once all that has arrived is heard. Coroutines run in the order of their start, so one that starts now runs
// behind those that listen. Emptying the channels instead would miss a signal that was handed to a listener already.
func (m *migration) catchUp() {
	ctx := m.disconnected()
	heard := false
	workflow.Go(ctx, func(workflow.Context) { heard = true })
	_ = workflow.Await(ctx, func() bool { return heard }) // nothing cancels this context
}

func (m *migration) hear(h heard, raw json.RawMessage) {
	err := fmt.Errorf("the migration is over")
	if !m.closing {
		err = h.take(raw)
	}
	if err != nil {
		m.notice("%s refused: %v", h.name, err)
		m.news("refused", fmt.Sprintf("%s%s refused: %v", h.name, sender(raw), err))
	}
	m.show()
}

// sender is " by NAME", as far as a signal's payload can be read: in a chat people want to know whose it was.
func sender(raw json.RawMessage) string {
	var from struct{ By string }
	if json.Unmarshal(raw, &from) != nil || from.By == "" {
		return ""
	}
	return " by " + from.By
}

func (m *migration) pauseBySignal(r signals.Request) error {
	switch {
	case m.RollingBack:
		return fmt.Errorf("the migration is rolling back, and that is not paused")
	case m.Off != nil && m.Off.Resuming != nil:
		m.unresume(r) // it stays paused, with what is put back by now
		m.Pausing.By, m.Pausing.Reason = r.By, r.Reason
		m.record("paused", "", r.By, r.Reason)
		return nil
	case m.Pausing != nil:
		return fmt.Errorf("it is paused already")
	}
	m.pause(r)
	return nil
}

func (m *migration) pause(r signals.Request) {
	m.Pausing = &pausing{By: r.By, Reason: r.Reason, Since: workflow.Now(m.ctx)}
	m.steer()
	m.record("paused", "", r.By, r.Reason)
	m.show()
}

// resume lets everything go on, behind a kill once the flags are put back: that it was said is written down before.
func (m *migration) resume(r signals.Request) error {
	switch {
	case m.Off == nil || m.RollingBack:
		m.goOn(r)
	case m.Off.Resuming != nil:
		return fmt.Errorf("the killed flags are being put back already, and then it goes on")
	default:
		m.Off.Resuming = &r
		m.record("resume", "", r.By, r.Reason)
	}
	return nil
}

// goOn ends a pause: clocks that ran into a rollback stood still meanwhile, and every check is watched again.
func (m *migration) goOn(r signals.Request) {
	m.steer() // also when the control row was set by hand
	m.Aside, m.Blind, m.Pressed = nil, false, ""
	if m.Pausing == nil {
		return
	}
	held := workflow.Now(m.ctx).Sub(m.Pausing.Since)
	if m.Approval != nil {
		m.Approval.Deadline = m.Approval.Deadline.Add(held)
	}
	if !m.Deadline.IsZero() {
		m.Deadline = m.Deadline.Add(held)
	}
	m.Pausing = nil
	m.record("resumed", "", r.By, r.Reason)
}

func (m *migration) rollbackBySignal(r signals.Request) error {
	switch {
	case m.RollingBack || m.interrupted == toRollBack:
		return fmt.Errorf("it is rolling back already")
	case m.PointOfNoReturn:
		return fmt.Errorf("the point of no return has passed")
	}
	m.record("rollback requested", "", r.By, r.Reason)
	m.interrupt(toRollBack, "rollback requested"+by(r))
	return nil
}

func (m *migration) throttle(r signals.ThrottleRequest) error {
	if r.RowsPerSecond < 0 || r.RowsPerSecond > math.MaxInt32 {
		return fmt.Errorf("rowsPerSecond must be from 0 (no cap) to %d", math.MaxInt32)
	}
	m.RowsPerSecond = r.RowsPerSecond
	if r.RowsPerSecond == 0 {
		m.RowsPerSecond = activities.NoCap
	}
	m.steer()
	m.record("throttled", "", r.By, fmt.Sprintf("%d rows/s", r.RowsPerSecond))
	return nil
}

// steer has the running backfill told.
func (m *migration) steer() {
	m.Steered = true
	m.controls++
}

// whilePaused waits until nobody holds the migration.
func (m *migration) whilePaused(ctx workflow.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if m.Pausing == nil {
		return nil
	}
	m.show()
	return workflow.Await(ctx, func() bool { return m.Pausing == nil })
}

func by(r signals.Request) string {
	text := ""
	if r.By != "" {
		text += " by " + r.By
	}
	if r.Reason != "" {
		text += ": " + r.Reason
	}
	return text
}
