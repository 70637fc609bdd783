package workflows

import (
	"fmt"
	"slices"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/signals"
)

// postCard shows the approval in the chat; while the chat does not answer, people can decide all the same.
func (m *migration) postCard(ctx workflow.Context) {
	if ctx.Err() != nil {
		return // decided at once: it was open in the run before
	}
	m.posting++
	defer func() { m.posting-- }()
	approval, card := m.Approval, m.card("waiting")
	err := workflow.ExecuteActivity(quick(ctx, 0), acts.PostCard, card).Get(ctx, &card.Ref)
	switch {
	case err == nil && m.Approval == approval:
		m.Card, m.Thread, m.Shown = card.Ref, card.Ref, card.Evidence
	case err == nil: // it was closed while the card was on its way
		card.Approval, card.State = *approval, m.closed[approval.Step]
		m.updateCard(card)
	case ctx.Err() == nil:
		m.notice("the approval could not be posted: %s", reason(err))
	}
}

// keepCard shows the card of the open approval anew whenever what people decide by has changed, also while nothing goes on.
func (m *migration) keepCard(ctx workflow.Context) {
	outdated := func() bool { return m.Shown != nil && !slices.Equal(m.Shown, m.evidence()) }
	for workflow.Await(ctx, func() bool { return ctx.Err() != nil || outdated() }) == nil && ctx.Err() == nil {
		m.refreshCard(ctx)
	}
}

// refreshCard gives up, and has ended, before the card is closed: nothing may give a decided card its buttons back.
func (m *migration) refreshCard(ctx workflow.Context) {
	approval, card := m.Approval, m.card("waiting")
	m.posting++
	m.refreshing[card.Ref] = true
	defer func() {
		m.posting--
		delete(m.refreshing, card.Ref)
	}()
	refreshing, stop := workflow.WithCancel(ctx)
	updated := workflow.ExecuteActivity(quick(refreshing, 0), acts.UpdateCard, card)
	_ = workflow.Await(ctx, func() bool { return updated.IsReady() || m.Approval != approval })
	stop()
	err := updated.Get(ctx, nil)
	if ctx.Err() != nil || m.Approval != approval {
		return // a new run shows it again
	}
	m.Shown = card.Evidence
	if err != nil {
		m.notUpdated(card, err)
	}
}

// updateCard shows how an approval has ended.
func (m *migration) updateCard(card activities.Card) {
	m.posting++
	workflow.Go(m.disconnected(), func(ctx workflow.Context) {
		defer func() { m.posting-- }()
		_ = workflow.Await(ctx, func() bool { return !m.refreshing[card.Ref] }) // nothing cancels this context
		if err := workflow.ExecuteActivity(bounded(ctx, noticeTimeout), acts.UpdateCard, card).Get(ctx, nil); err != nil {
			m.notUpdated(card, err)
		}
	})
}

func (m *migration) notUpdated(card activities.Card, err error) {
	m.notice("the card of step %s could not be updated: %s", card.Approval.Step, reason(err))
}

func (m *migration) card(state string) activities.Card {
	o := m.origin()
	o.Step = m.Approval.Step
	return activities.Card{Origin: o, Description: m.Plan.Description, Evidence: m.evidence(), Approval: *m.Approval, State: state, Ref: m.Card}
}

// evidence is what people decide the open approval by.
func (m *migration) evidence() []activities.Evidence {
	evidence := slices.Concat(m.Evidence, m.pressEvidence())
	if m.Approval.Step == m.FirstAsked {
		evidence = append(m.rehearsed(), evidence...)
	}
	return evidence
}

// Lines of a card for one rehearsal: as many as a person reads before deciding.
const (
	maxRehearsed = 5
	maxProblems  = 5
)

// rehearsedAt is the time as everybody reads it who may approve, wherever they are.
func rehearsedAt(r *signals.Rehearsal) string { return r.At.UTC().Format("2006-01-02 15:04 UTC") }

// rehearsed is what the rehearsal has found, or that there was none: people shall know both before they decide the first time.
func (m *migration) rehearsed() []activities.Evidence {
	r := m.Rehearsal
	if r == nil {
		return []activities.Evidence{{Name: "rehearsal", Value: "not rehearsed"}}
	}
	back := "the way down was not proved to lead back"
	if r.Reversible {
		back = "the way down leads back to the same catalog"
	}
	lines := []activities.Evidence{{Name: "rehearsal", Value: fmt.Sprintf("%s %s; %s", rehearsedAt(r), r.Summary(), back)}}
	for i, problem := range r.Problems {
		if i == maxProblems {
			lines = append(lines, activities.Evidence{Name: "problem", Value: fmt.Sprintf("and %d more", len(r.Problems)-i)})
			break
		}
		lines = append(lines, activities.Evidence{Name: "problem", Value: problem})
	}
	shown := 0
	for _, s := range r.Statements {
		if s.Verdict == signals.RehearsedInstant {
			continue
		}
		if shown++; shown <= maxRehearsed {
			lines = append(lines, activities.Evidence{Name: s.Where, Value: strings.TrimSuffix(s.Verdict+": "+s.Detail, ": ")})
		}
	}
	if more := shown - maxRehearsed; more > 0 {
		lines = append(lines, activities.Evidence{Name: "…", Value: fmt.Sprintf("and %d more statements that are not instant", more)})
	}
	return lines
}
