package workflows

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

// maxNotices bounds what the status carries; older ones are in the audit or the log.
const maxNotices = 20

// serve registers the queries and the update.
func (m *migration) serve() error {
	if err := workflow.SetQueryHandlerWithOptions(m.ctx, signals.StatusQuery, func() (signals.Status, error) { return m.status(), nil },
		workflow.QueryHandlerOptions{Description: "what the migration does and what it waits for"}); err != nil {
		return err
	}
	if err := workflow.SetQueryHandlerWithOptions(m.ctx, signals.PlanQuery, m.runningPlan,
		workflow.QueryHandlerOptions{Description: "the plan as it was resolved and hashed"}); err != nil {
		return err
	}
	return workflow.SetUpdateHandlerWithOptions(m.ctx, signals.Decide,
		func(_ workflow.Context, d signals.Decision) (signals.Receipt, error) { return m.decide(d) },
		workflow.UpdateHandlerOptions{
			Description: "approve or reject the step that waits for it",
			Validator:   func(_ workflow.Context, d signals.Decision) error { return m.admissible(d) },
		})
}

// status is everything the migration tells about itself.
func (m *migration) status() signals.Status {
	s := signals.Status{
		Plan: m.Input.Name, PlanHash: m.PlanHash, State: m.derived(), Needs: m.needs(), Cause: m.Cause,
		StartedBy: m.Input.StartedBy, Started: m.Started, Ended: m.Ended,
		Steps: m.withPresses(m.Steps), Guard: m.Guard, Approval: m.Approval, Rehearsal: m.Rehearsal, Notices: m.Notices,
	}
	if m.Plan != nil {
		s.Database = m.Plan.Database
	}
	s.Killed = m.killedFlags()
	if q := m.question(); q != nil && q.given == noAnswer {
		s.Question, s.Answers = q.number, words(q.offers)
	}
	return s
}

// killedFlags are off for everybody by the kill switch, and neither put back nor undone.
func (m *migration) killedFlags() (off []string) {
	for _, key := range m.off() {
		undone := m.RollingBack && !slices.ContainsFunc(m.Compensations, func(index int) bool {
			flag := m.Plan.Steps[index].Flag
			return flag != nil && slices.Contains(flag.All(), key)
		})
		if !undone {
			off = append(off, key)
		}
	}
	return off
}

// off are the flags that the switch has turned off and no resume has put back.
func (m *migration) off() []string {
	if m.Off == nil {
		return nil
	}
	return m.Off.Flags
}

// withPresses are the steps as they stand while flags of theirs serve less than the steps had brought them to.
func (m *migration) withPresses(steps []signals.StepStatus) []signals.StepStatus {
	killed := m.killedFlags()
	if len(killed) == 0 && !m.Alone || m.Plan == nil {
		return steps
	}
	steps = slices.Clone(steps)
	for i := range steps {
		status, flag := &steps[i], m.Plan.Steps[i].Flag
		if flag == nil || status.State == signals.StepPending || m.RollingBack && !slices.Contains(m.Compensations, i) {
			continue
		}
		reached := status.Percent > 0 || status.Stage != ""
		if m.Alone && reached {
			status.Without = true
			if status.State != signals.StepFailed { // what an error says is of something else
				status.Detail += ", without those for whom the kill switch was pressed"
			}
		}
		for _, key := range flag.All() {
			if slices.Contains(killed, key) {
				status.Killed = append(status.Killed, key)
			}
		}
		if len(status.Killed) > 0 {
			off := list(status.Killed) + " off by the kill switch"
			switch {
			case reached && status.State != signals.StepFailed:
				off += "; had come to: "
			case status.Detail != "":
				off += "; "
			}
			status.Percent, status.Stage, status.Detail = 0, "", off+status.Detail
		}
	}
	return steps
}

func (m *migration) runningPlan() (signals.RunningPlan, error) {
	if m.Plan == nil {
		return signals.RunningPlan{}, errors.New("the plan has not been resolved")
	}
	o := m.origin()
	return signals.RunningPlan{Migration: o.Migration, FirstRun: o.FirstRun, Plan: m.Plan, PlanHash: m.PlanHash}, nil
}

func (m *migration) derived() signals.State {
	switch {
	case m.State != "":
		return m.State
	case m.asked != nil:
		return signals.Stuck
	case m.RollingBack:
		return signals.RollingBack
	case m.Pausing != nil:
		return signals.Paused
	case m.Approval != nil || m.atPeople() || m.Waiting != 0:
		return signals.Waiting
	}
	return signals.Running
}

// atPeople tells whether people are doing the rows of the current step.
func (m *migration) atPeople() bool {
	if m.Plan == nil || m.Step >= len(m.Steps) || m.current().State != signals.StepWaiting {
		return false
	}
	b := m.Plan.Steps[m.Step].Backfill
	return b != nil && b.Manual
}

// needs says in words what people have to do.
func (m *migration) needs() string {
	switch {
	case m.State.Final():
		return ""
	case m.asked != nil && m.Pausing != nil: // either is needed, and the question says nothing of the other
		return m.heldBy() + "; and " + m.asked.text
	case m.asked != nil:
		return m.asked.text
	case m.Pausing != nil:
		return m.heldBy()
	case m.Approval != nil:
		return fmt.Sprintf("approval of step %s by %d of %s", m.Approval.Step, m.Approval.Quorum, strings.Join(m.Approval.By, ", "))
	case m.atPeople():
		return fmt.Sprintf("people to do the rows of step %s, until none matches where", m.current().Name)
	case m.Waiting != 0:
		return m.endless()
	}
	return ""
}

// heldBy says who has paused, and what stands in the way of going on.
func (m *migration) heldBy() string {
	text := "paused" + by(signals.Request{By: m.Pausing.By, Reason: m.Pausing.Reason})
	switch {
	case m.Pausing.By == killSwitch:
		text = "paused: " + cmp.Or(m.Pressed, m.Pausing.Reason)
	case m.Pressed != "":
		text += "; " + m.Pressed
	}
	switch {
	case m.Off != nil && m.Off.Resuming != nil && len(m.Off.Flags) == 0:
		return fmt.Sprintf("%s; resumed%s: the flags are back, and it goes on once requests that saw them off are done and what was proved holds", text, by(*m.Off.Resuming))
	case m.Off != nil && m.Off.Resuming != nil:
		return fmt.Sprintf("%s; resumed%s: %s must be put back first", text, by(*m.Off.Resuming), list(m.Off.Flags))
	case m.Pressed != "" || m.Pausing.By == killSwitch:
		return text + "; " + m.afterKill()
	}
	return text
}

// cell keeps a text inside one cell of a Markdown table.
var cell = strings.NewReplacer("|", "\\|", "\n", "; ")

// show writes the current details that the Temporal UI shows.
func (m *migration) show() {
	var b strings.Builder
	s := m.status()
	fmt.Fprintf(&b, "**%s** — %s\n\n", s.Plan, strings.ReplaceAll(string(s.State), "_", " "))
	if s.Needs != "" {
		fmt.Fprintf(&b, "Needs: %s\n\n", s.Needs)
	}
	if s.Cause != "" {
		fmt.Fprintf(&b, "Cause: %s\n\n", s.Cause)
	}
	if s.Rehearsal != nil {
		fmt.Fprintf(&b, "Rehearsed %s %s\n\n", rehearsedAt(s.Rehearsal), s.Rehearsal.Summary())
	}
	b.WriteString("| step | verb | state | |\n|---|---|---|---|\n")
	for _, step := range s.Steps {
		detail := cell.Replace(step.Detail)
		if step.Rows > 0 {
			detail = fmt.Sprintf("%d rows, %s", step.Rows, detail)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", step.Name, step.Verb, step.State, detail)
	}
	if s.PlanHash != "" {
		fmt.Fprintf(&b, "\nPlan hash %s\n", plan.ShortHash(s.PlanHash))
	}
	workflow.SetCurrentDetails(m.ctx, b.String())
}

// notice tells people through the status.
func (m *migration) notice(format string, args ...any) {
	m.Notices = append(m.Notices, signals.Notice{At: workflow.Now(m.ctx), Text: fmt.Sprintf(format, args...)})
	if extra := len(m.Notices) - maxNotices; extra > 0 {
		m.Notices = append([]signals.Notice(nil), m.Notices[extra:]...)
	}
}

// news tells people through the chat, below the latest card, and waits for nothing.
func (m *migration) news(kind, text string) {
	if !m.Chat {
		return
	}
	in := activities.NoticeInput{Origin: m.origin(), Kind: kind, Text: text, Ref: m.Thread}
	m.posting++
	workflow.Go(m.disconnected(), func(ctx workflow.Context) {
		defer func() { m.posting-- }()
		if err := workflow.ExecuteActivity(bounded(ctx, noticeTimeout), acts.PostNotice, in).Get(ctx, nil); err != nil {
			m.notice("the chat was not told that %s: %s", text, reason(err))
		}
	})
}

// lastNotice is news that is waited for, with all that is still on its way to the chat, because the run ends behind it.
func (m *migration) lastNotice(kind, text string) {
	m.news(kind, text)
	if m.posting == 0 {
		return
	}
	ctx, cancel := workflow.WithCancel(m.disconnected())
	defer cancel()
	late := false
	workflow.Go(ctx, func(ctx workflow.Context) { late = workflow.Sleep(ctx, lastNoticeTimeout) == nil })
	_ = workflow.Await(ctx, func() bool { return m.posting == 0 || late }) // nobody else cancels this context
}

// record keeps an event for the audit in the target database until it is written.
func (m *migration) record(event, step, actor, detail string) {
	at := workflow.Now(m.ctx)
	m.Audited++
	key := fmt.Sprintf("said/%d", m.Audited)
	m.Audit = append(m.Audit, activities.AuditEvent{Key: key, Event: event, Step: step, Actor: actor, Detail: detail, At: at})
}

// auditing writes down what people say while the migration waits for something else: a run that is lost takes no decision along.
func (m *migration) auditing(ctx workflow.Context) {
	for workflow.Await(ctx, func() bool { return len(m.Audit) > 0 }) == nil {
		known := m.Audited
		if m.writeAudit(ctx) == nil {
			continue
		}
		// It is refused: the next thing that is said tries again, and whoever waits for it.
		if workflow.Await(ctx, func() bool { return m.Audited > known }) != nil {
			return
		}
	}
}

// writeAudit puts what people said into the target database: by a local activity, which leaves one event in the history; while
// the database does not answer by an ordinary one, which the status shows as waiting. One at a time writes.
func (m *migration) writeAudit(ctx workflow.Context) error {
	if err := workflow.Await(ctx, func() bool { return !m.writing }); err != nil {
		return err
	}
	events := m.Audit
	if len(events) == 0 {
		return nil
	}
	m.writing = true
	defer func() { m.writing = false }()
	in := activities.AuditInput{Origin: m.origin(), Events: events}
	err := workflow.ExecuteLocalActivity(local(ctx), acts.Audit, in).Get(ctx, nil)
	if err != nil && ctx.Err() == nil {
		err = workflow.ExecuteActivity(quick(ctx, 0), acts.Audit, in).Get(ctx, nil)
	}
	if err == nil { // until then they are handed to a new run, and a second write of an event does nothing
		m.Audit = m.Audit[len(events):]
	}
	return err
}
