package workflows

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

// minHash is how many digits of the plan hash bind a decision: what plan.ShortHash shows.
const minHash = 12

// approve waits for people: enough approvals, one rejection, or the end of the time.
func (m *migration) approve(ctx workflow.Context, step plan.Step) error {
	if m.Approval == nil {
		m.openApproval(ctx, step)
	}
	status := m.current()
	status.State = signals.StepWaiting
	m.show()
	cards, stopCards := workflow.WithCancel(ctx)
	defer stopCards()
	if m.Chat && m.Card.TS == "" {
		workflow.Go(cards, m.postCard)
	}
	expired := false
	waiting := m.Approval
	workflow.Go(cards, func(ctx workflow.Context) { // cancellable, so that no timer outlives the decision
		expired = m.reach(ctx, func() time.Time { return waiting.Deadline }) == nil
	})
	if err := workflow.Await(ctx, func() bool { return m.decided() != "" || expired }); err != nil {
		return err
	}
	if err := m.writeAudit(ctx); err != nil {
		return err
	}
	if ctx.Err() != nil { // halted for a new run, which finds the decision in the state
		return ctx.Err()
	}
	switch m.decided() { // asked again: a decision that was accepted while the audit was written counts
	case signals.Approved:
		status.Detail = "approved by " + m.deciders()
		m.addEvidence(step.Name, "%s", status.Detail)
		m.closeApproval("approved")
		return nil
	case signals.Rejected:
		last := m.Approval.Decisions[len(m.Approval.Decisions)-1]
		m.closeApproval("rejected")
		return fmt.Errorf("rejected%s", by(signals.Request{By: last.By, Reason: last.Reason}))
	}
	m.closeApproval("expired")
	return fmt.Errorf("nobody decided within the time given")
}

func (m *migration) openApproval(ctx workflow.Context, step plan.Step) {
	quorum, within := max(step.Approve.Quorum, plan.DefaultQuorum), step.Approve.Within.Std()
	if within == 0 {
		within = plan.DefaultWithin
	}
	m.Approval = &signals.ApprovalStatus{Step: step.Name, By: step.Approve.By, Quorum: quorum, Deadline: workflow.Now(ctx).Add(within)}
	if m.FirstAsked == "" {
		m.FirstAsked = step.Name
	}
}

// decided is the verdict so far; "" when it is open.
func (m *migration) decided() signals.Verdict {
	for _, d := range m.Approval.Decisions {
		if d.Verdict == signals.Rejected {
			return signals.Rejected
		}
	}
	if len(m.Approval.Decisions) >= m.Approval.Quorum {
		return signals.Approved
	}
	return ""
}

func (m *migration) deciders() string {
	var names []string
	for _, d := range m.Approval.Decisions {
		names = append(names, d.By)
	}
	return strings.Join(names, ", ")
}

// admissible says why a decision can't be taken; nil when it can.
func (m *migration) admissible(d signals.Decision) error {
	a := m.Approval
	switch {
	case d.Verdict != signals.Approved && d.Verdict != signals.Rejected:
		return fmt.Errorf("a verdict is %q or %q", signals.Approved, signals.Rejected)
	case d.Step == "" || d.By == "":
		return fmt.Errorf(`a decision needs "step" and "by"`)
	case a == nil || m.RollingBack || m.interrupted == toRollBack || m.ctx.Err() != nil:
		return fmt.Errorf("step %q does not wait for approval; no step does now", d.Step)
	case d.Step != a.Step:
		return fmt.Errorf("step %q does not wait for approval; step %q does", d.Step, a.Step)
	case !slices.Contains(a.By, d.By):
		return fmt.Errorf("%s may not decide on step %q; these may: %s", d.By, a.Step, strings.Join(a.By, ", "))
	case d.By == m.Input.StartedBy:
		return fmt.Errorf("%s started the migration and may not decide on it", d.By)
	case d.PlanHash != "" && (len(d.PlanHash) < minHash || !strings.HasPrefix(m.PlanHash, d.PlanHash)):
		return fmt.Errorf("the decision is about plan hash %s, and this migration runs %s", plan.ShortHash(d.PlanHash), plan.ShortHash(m.PlanHash))
	case slices.ContainsFunc(a.Decisions, func(o signals.Decision) bool { return o.By == d.By }):
		return fmt.Errorf("%s has decided on step %q already", d.By, a.Step)
	case m.decided() != "":
		return fmt.Errorf("step %q is decided already", a.Step)
	}
	return nil
}

func (m *migration) decide(d signals.Decision) (signals.Receipt, error) {
	if err := m.admissible(d); err != nil {
		return signals.Receipt{}, err
	}
	d.At, d.PlanHash = workflow.Now(m.ctx), m.PlanHash
	m.Approval.Decisions = append(m.Approval.Decisions, d)
	m.record(string(d.Verdict), d.Step, d.By, d.Reason)
	approvals := 0
	for _, o := range m.Approval.Decisions {
		if o.Verdict == signals.Approved {
			approvals++
		}
	}
	m.show()
	return signals.Receipt{Step: d.Step, Approvals: approvals, Quorum: m.Approval.Quorum, Decided: m.decided() != ""}, nil
}

func (m *migration) decideBySignal(d signals.Decision, v signals.Verdict) error {
	d.Verdict = v
	if d.Via == "" {
		d.Via = "signal"
	}
	_, err := m.decide(d)
	return err
}

// closeApproval takes the buttons off the card and forgets the approval. A chat that does not answer holds nothing up.
func (m *migration) closeApproval(state string) {
	if m.Approval == nil {
		return
	}
	card := m.card(state)
	m.closed[m.Approval.Step] = state
	m.Approval, m.Card, m.Shown = nil, activities.CardRef{}, nil
	if card.Ref.TS != "" {
		m.updateCard(card)
	}
}
