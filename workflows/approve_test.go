package workflows

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

const asking = `
name: p
database: d
steps:
  - {name: ask, approve: {by: [alice, bob, carol, dora], quorum: 2, within: 24h}}
  - {name: then, soak: 1h}
`

// answer is how an update ended.
type answered struct {
	accepted bool
	rejected error
	receipt  signals.Receipt
	err      error
}

func (a *answered) Accept()        { a.accepted = true }
func (a *answered) Reject(e error) { a.rejected = e }
func (a *answered) Complete(success any, err error) {
	a.err = err
	if receipt, ok := success.(signals.Receipt); ok {
		a.receipt = receipt
	}
}

// decide sends a decision as an update at this time.
func (b *bundle) decide(at time.Duration, d signals.Decision) *answered {
	a := &answered{}
	b.after(at, func() { b.UpdateWorkflow(signals.Decide, "", a, d) })
	return a
}

func TestDecisionByUpdateGetsAReceipt(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, asking))
	first := b.decide(time.Hour, signals.Decision{Step: "ask", By: "alice", Verdict: signals.Approved, PlanHash: hash[:12], Via: "cli"})
	b.after(90*time.Minute, func() {
		require.Equal(t, []signals.Decision{{
			Step: "ask", By: "alice", Verdict: signals.Approved, PlanHash: hash, Via: "cli", At: begin.Add(time.Hour),
		}}, b.status().Approval.Decisions)
	})
	second := b.decide(2*time.Hour, signals.Decision{Step: "ask", By: "bob", Verdict: signals.Approved, PlanHash: hash, Reason: "looks right"})
	result := b.completes()
	require.Equal(t, 3*time.Hour, result.Ended.Sub(result.Started), "went on with the second approval")
	require.Equal(t, &answered{accepted: true, receipt: signals.Receipt{Step: "ask", Approvals: 1, Quorum: 2}}, first)
	require.Equal(t, &answered{accepted: true, receipt: signals.Receipt{Step: "ask", Approvals: 2, Quorum: 2, Decided: true}}, second)
	require.Equal(t, "approved by alice, bob", b.step("ask").Detail)

	events := b.audit()
	require.Equal(t, []activities.AuditEvent{
		{Key: "said/1", Event: "approve", Step: "ask", Actor: "alice", At: begin.Add(time.Hour)},
		{Key: "said/2", Event: "approve", Step: "ask", Actor: "bob", Detail: "looks right", At: begin.Add(2 * time.Hour)},
	}, events)
}

func TestOneRejectionEndsIt(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, asking))
	b.after(time.Hour, func() { b.approve("ask", "alice") })
	a := b.decide(2*time.Hour, signals.Decision{Step: "ask", By: "bob", Verdict: signals.Rejected, Reason: "no"})
	require.Equal(t, "step ask: rejected by bob: no", b.rollsBack().Cause)
	require.Equal(t, signals.Receipt{Step: "ask", Approvals: 1, Quorum: 2, Decided: true}, a.receipt)
	require.Equal(t, []string{"approve", "reject"}, b.audited())
}

func TestInadmissibleDecisions(t *testing.T) {
	t.Parallel()
	yes := signals.Approved
	other := strings.Repeat("f", 64)
	for name, c := range map[string]struct {
		decision signals.Decision
		want     string
	}{
		"no step":     {signals.Decision{By: "bob", Verdict: yes}, `a decision needs "step" and "by"`},
		"nobody":      {signals.Decision{Step: "ask", Verdict: yes}, `a decision needs "step" and "by"`},
		"wrong step":  {signals.Decision{Step: "then", By: "bob", Verdict: yes}, `step "then" does not wait for approval; step "ask" does`},
		"not listed":  {signals.Decision{Step: "ask", By: "mallory", Verdict: yes}, `mallory may not decide on step "ask"; these may: alice, bob, carol, dora`},
		"the starter": {signals.Decision{Step: "ask", By: "carol", Verdict: yes}, "carol started the migration and may not decide on it"},
		"other hash": {signals.Decision{Step: "ask", By: "bob", Verdict: yes, PlanHash: other},
			"the decision is about plan hash ffffffffffff, and this migration runs 0123456789ab"},
		"too short a hash": {signals.Decision{Step: "ask", By: "bob", Verdict: yes, PlanHash: hash[:11]},
			"the decision is about plan hash 0123456789a, and this migration runs 0123456789ab"},
		"more than the hash": {signals.Decision{Step: "ask", By: "bob", Verdict: yes, PlanHash: hash + "0"},
			"the decision is about plan hash 0123456789ab, and this migration runs 0123456789ab"},
		"twice": {signals.Decision{Step: "ask", By: "alice", Verdict: signals.Rejected}, `alice has decided on step "ask" already`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, planOf(t, asking))
			b.chat = true
			b.after(time.Hour, func() { b.approve("ask", "alice") })
			a := b.decide(2*time.Hour, c.decision)
			b.after(3*time.Hour, func() {
				require.Empty(t, b.notices(), "a rejected update leaves no trace")
				require.Len(t, b.status().Approval.Decisions, 1)
			})
			signal := signals.Approve
			if c.decision.Verdict == signals.Rejected {
				signal = signals.Reject
			}
			b.after(4*time.Hour, func() { b.SignalWorkflow(signal, c.decision) })
			b.after(5*time.Hour, func() { require.Len(t, b.status().Approval.Decisions, 1) })
			b.after(6*time.Hour, func() { b.approve("ask", "dora") })
			b.completes()
			require.EqualError(t, a.rejected, c.want)
			require.False(t, a.accepted)
			require.Equal(t, []string{signal + " refused: " + c.want}, b.notices())
			whose := ""
			if c.decision.By != "" {
				whose = " by " + c.decision.By
			}
			require.Equal(t, signal+whose+" refused: "+c.want, b.made("PostNotice refused")[0].in.(activities.NoticeInput).Text)
			require.Equal(t, []string{"approve", "approve"}, b.audited())
		})
	}
}

func TestUpdateNeedsAVerdict(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, asking))
	a := b.decide(time.Hour, signals.Decision{Step: "ask", By: "bob"})
	b.rollsBack()
	require.EqualError(t, a.rejected, `a verdict is "approve" or "reject"`)
}

func TestDecisionWhileNoStepWaits(t *testing.T) {
	t.Parallel()
	b := setup(t, example(t))
	b.when("Begin", play{after: time.Second})
	b.approveAll()
	early := b.decide(time.Millisecond, signals.Decision{Step: "cutover", By: "alice", Verdict: signals.Approved})
	b.after(2*time.Second, func() { b.approve("cutover", "alice") })
	b.completes()
	const want = `step "cutover" does not wait for approval; no step does now`
	require.EqualError(t, early.rejected, want)
	require.Equal(t, []string{"approve refused: " + want}, b.notices())
}

func TestDecisionBesideARollback(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]func(*bundle){
		"rollback":     func(b *bundle) { b.SignalWorkflow(signals.Rollback, signals.Request{}) },
		"cancellation": func(b *bundle) { b.CancelWorkflow() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, planOf(t, asking))
			b.after(time.Hour, func() { b.approve("ask", "alice") })
			b.after(2*time.Hour, func() { stop(b) })
			late := b.decide(2*time.Hour, signals.Decision{Step: "ask", By: "bob", Verdict: signals.Approved})
			b.rollsBack()
			require.EqualError(t, late.rejected, `step "ask" does not wait for approval; no step does now`)
			require.Contains(t, b.audited(), "approve", "what was decided before is written")
		})
	}
}

func TestDecisionBeforeTheRollbackIsTakenIn(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, asking))
	b.after(time.Hour, func() {
		b.approve("ask", "alice")
		b.approve("ask", "bob")
		b.SignalWorkflow(signals.Rollback, signals.Request{By: "dave"})
	})
	require.Equal(t, "rollback requested by dave", b.rollsBack().Cause)
	require.Subset(t, b.audited(), []string{"approve", "rollback requested"})
}

func TestApprovalExpiresAtItsDeadline(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		within plan.Duration
		want   time.Duration
	}{
		"as the plan says": {plan.Duration(24 * time.Hour), 24 * time.Hour},
		"by default":       {0, plan.DefaultWithin},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, planOf(t, asking))
			b.chat = true
			b.plan.Steps[0].Approve.Within = c.within
			b.after(time.Hour, func() { b.approve("ask", "alice") })
			require.Equal(t, "step ask: nobody decided within the time given", b.rollsBack().Cause)
			require.Equal(t, c.want, b.status().Ended.Sub(begin))
			require.Len(t, b.made("UpdateCard ask expired"), 1)
			require.Equal(t, []string{"approve"}, b.audited())
		})
	}
}

// A receipt must not lie: what was accepted while the expiry was written into the audit counts.
func TestDecisionAcceptedInTheLastMomentCounts(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, asking))
	b.after(time.Hour, func() { b.approve("ask", "alice") })
	b.after(23*time.Hour, func() { b.when("Audit", play{after: time.Minute}, play{}) })
	b.after(24*time.Hour-time.Second, b.say(signals.Throttle))
	late := b.decide(24*time.Hour+30*time.Second, signals.Decision{Step: "ask", By: "bob", Verdict: signals.Approved})
	b.completes()
	require.True(t, late.receipt.Decided)
	require.Equal(t, []string{"approve", "throttled", "approve"}, b.audited())
}

func TestNoTimerOutlivesItsStep(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, asking))
	b.plan.Steps[0].Timeout = plan.Duration(48 * time.Hour)
	b.after(time.Hour, func() { require.Len(t, b.timers, 2, "the approval's deadline and the step's timeout") })
	b.after(2*time.Hour, func() { b.approve("ask", "alice"); b.approve("ask", "bob") })
	b.after(150*time.Minute, func() { require.Len(t, b.timers, 1, "the soak") })
	b.completes()
}

func TestDecisionsAreWrittenBeforeTheNextStep(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, asking))
	b.when("Audit", fleeting, fleeting, play{})
	b.after(time.Hour, func() { b.approve("ask", "alice"); b.approve("ask", "bob") })
	b.completes()
	require.Equal(t, begin.Add(time.Hour+3*time.Second), b.step("then").Started, "one and two seconds later, when the database answers")
}

// An expiry that can't be written yet is still an open approval, until something else ends it.
func TestDecisionWhileARollbackWindsDown(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]func(*bundle){
		"rollback":     func(b *bundle) { b.SignalWorkflow(signals.Rollback, signals.Request{}) },
		"cancellation": func(b *bundle) { b.CancelWorkflow() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, planOf(t, asking))
			b.after(time.Hour, func() { b.approve("ask", "alice") })
			b.when("Audit", play{after: 48 * time.Hour}, play{})
			b.after(24*time.Hour+10*time.Second, func() { stop(b) })
			late := b.decide(24*time.Hour+30*time.Second, signals.Decision{Step: "ask", By: "bob", Verdict: signals.Approved})
			b.rollsBack()
			require.EqualError(t, late.rejected, `step "ask" does not wait for approval; no step does now`)
			require.Contains(t, b.audited(), "approve")
		})
	}
}
