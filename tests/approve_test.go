package tests

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/chatserver"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

func TestDecisionsThatAreNotForThisStepOrNotTheirsAreRefused(t *testing.T) {
	t.Parallel()
	b := setup(t, options{edit: func(p *plan.Plan) {
		p.Steps[4].Approve.By, p.Steps[4].Approve.Quorum = []string{"alice", "bob", "carol"}, 2
	}})
	b.migrate() // by carol
	b.asks("cutover")
	other := strings.Repeat("0", 64)
	for _, c := range []struct {
		decision signals.Decision
		says     string
	}{
		{signals.Decision{Step: "contract", By: "alice"}, `step "contract" does not wait for approval; step "cutover" does`},
		{signals.Decision{Step: "nowhere", By: "alice"}, `step "nowhere" does not wait`},
		{signals.Decision{Step: "cutover", By: "mallory"}, "mallory may not decide"},
		{signals.Decision{Step: "cutover", By: "carol"}, "carol started the migration"},
		{signals.Decision{Step: "cutover", By: "alice", PlanHash: other}, "is about plan hash 000000000000"},
		{signals.Decision{Step: "cutover"}, `needs "step" and "by"`},
	} {
		b.requireRefused(c.decision, c.says)
	}
	receipt, err := b.decide(signals.Decision{Step: "cutover", By: "alice", Verdict: signals.Approved})
	require.NoError(t, err)
	require.Equal(t, signals.Receipt{Step: "cutover", Approvals: 1, Quorum: 2}, receipt)
	b.requireRefused(signals.Decision{Step: "cutover", By: "alice"}, "alice has decided on step \"cutover\" already")
	s := b.asks("cutover")
	require.Len(t, s.Approval.Decisions, 1)
	require.Equal(t, signals.Waiting, s.State)

	b.say(signals.Approve, signals.Decision{Step: "cutover", By: "bob", PlanHash: s.PlanHash[:12]})
	b.approve("contract")
	b.completes()
	require.Equal(t, int64(2), b.count(`select count(*) from contraflow.audit where event = 'approve' and step = 'cutover'`))
	require.Equal(t, int64(3), b.count(`select count(*) from contraflow.audit where event = 'approve'`))
}

// requireRefused: as an update it is an error, as a signal a notice in the status and in the chat, and nothing else happens.
func (b *bundle) requireRefused(d signals.Decision, says string) {
	b.t.Helper()
	d.Verdict = signals.Approved
	_, err := b.decide(d)
	require.ErrorContains(b.t, err, says)
	before := b.answers()
	b.say(signals.Approve, d)
	after := b.reaches("the refusal is told", func(s signals.Status) bool { return len(s.Notices) > len(before.Notices) })
	require.Contains(b.t, after.Notices[len(after.Notices)-1].Text, says)
	require.Equal(b.t, before.Approval, after.Approval)
	require.Equal(b.t, before.Steps, after.Steps)
	b.eventually("the chat is told", func() bool {
		return slices.ContainsFunc(b.chat.Messages(), func(m chatserver.Message) bool {
			return strings.Contains(m.Text, unquoted(says)) || strings.Contains(m.Text, says)
		})
	})
}

// unquoted is the text as Slack's escaping leaves it to be found.
func unquoted(text string) string { return strings.ReplaceAll(text, `"`, "&quot;") }

func TestPeopleDecideInTheChat(t *testing.T) {
	t.Parallel()
	b := setup(t, options{})
	b.migrate()
	b.press("cutover", "approve", bob)
	b.press("contract", "approve", alice)
	b.completes()
	require.Equal(t, int64(1), b.count(`select count(*) from contraflow.audit where event = 'approve' and step = 'cutover' and actor = 'bob'`))
	b.eventually("no card has buttons", func() bool {
		return !slices.ContainsFunc(b.chat.Messages(), func(m chatserver.Message) bool { return len(m.Buttons) > 0 })
	})
	b.eventually("the chat is told the end", func() bool {
		return slices.ContainsFunc(b.chat.Messages(), func(m chatserver.Message) bool { return strings.Contains(m.Text, "completed") })
	})
}

func TestARejectionInTheChatRollsBack(t *testing.T) {
	t.Parallel()
	b := setup(t, options{})
	b.migrate()
	b.press("cutover", "reject", alice)
	require.Contains(t, b.rollsBack().Cause, "rejected by alice")
	b.requireRolledBack()
}

// press waits for the card of a step and presses one of its buttons.
func (b *bundle) press(step, decision, person string) {
	b.t.Helper()
	var ts, action string
	b.eventually("the card of step "+step+" is there", func() bool {
		ts, action = b.button(step, decision)
		return ts != ""
	})
	require.NoError(b.t, b.chat.Press(b.t.Context(), ts, action, person))
}

// button of the card that waits for a decision on a step; "" when there is none.
func (b *bundle) button(step, decision string) (ts, action string) {
	for _, m := range b.chat.Messages() {
		for _, button := range m.Buttons {
			var value struct{ Step, Decision string }
			if json.Unmarshal([]byte(button.Value), &value) == nil && value.Step == step && value.Decision == decision {
				return m.TS, button.ActionID
			}
		}
	}
	return "", ""
}
