package workflows

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdk "go.temporal.io/api/sdk/v1"
	"go.temporal.io/sdk/temporal"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

func TestExampleCompletesWithTwoApprovals(t *testing.T) {
	t.Parallel()
	b := setup(t, example(t))
	b.chat = true
	b.approveAll()
	result := b.completes()

	require.Equal(t, []string{
		"Begin",
		"Migrate expand",
		"ApplyFlag write-new 10", "ApplyFlag write-new 50", "ApplyFlag write-new 100",
		"PrepareBackfill fill", "BackfillLane fill 0", "BackfillLane fill 1", "ProveBackfill fill",
		"Verify prove",
		"PostCard cutover waiting", "Audit", "ApplyFlag read-new 1", "UpdateCard cutover approved",
		"ApplyFlag read-new 25", "ApplyFlag read-new 100",
		"PostCard contract waiting", "Audit", "Migrate drop-old", "UpdateCard contract approved",
		"MayRetire retire", "RetireFlag retire customers-write-new", "RetireFlag retire customers-read-new",
		"Finish completed", "PostNotice completed",
	}, b.keys("WatchHealth"), "cards are updated beside the next step")

	require.Equal(t, b.plan.Name, result.Plan)
	require.Equal(t, hash, result.PlanHash)
	require.Equal(t, signals.Completed, result.Outcome)
	require.EqualValues(t, 1000, result.Rows)
	require.Equal(t, begin, result.Started)
	require.Greater(t, result.Ended.Sub(result.Started), 12*time.Second, "six soaks of two seconds")

	s := b.status()
	require.Equal(t, "shop", s.Database)
	require.Equal(t, "carol", s.StartedBy)
	require.Empty(t, s.Needs)
	require.Empty(t, s.Notices)
	for _, step := range s.Steps {
		require.Equal(t, signals.StepDone, step.State, step.Name)
		require.False(t, step.Started.IsZero() || step.Ended.Before(step.Started), step.Name)
	}
	require.Equal(t, 100, b.step("read-new").Percent)
	require.EqualValues(t, 1000, b.step("fill").Rows)
}

func TestStatusTellsWhatHappensAndWhatIsNeeded(t *testing.T) {
	t.Parallel()
	b := setup(t, example(t))
	b.when("Migrate expand", play{after: time.Second})
	looked := 0
	look := func(at time.Duration, check func(signals.Status)) {
		b.after(at, func() { looked++; check(b.status()) })
	}
	look(500*time.Millisecond, func(s signals.Status) {
		require.Equal(t, signals.Running, s.State)
		require.Equal(t, signals.StepRunning, s.Steps[0].State)
		require.Equal(t, signals.StepPending, s.Steps[1].State)
		require.Equal(t, &signals.GuardStatus{Watching: []string{"shop answers"}, Verdict: activities.Healthy}, s.Guard)
	})
	look(4*time.Second, func(s signals.Status) { // one second of DDL, two of soak, one more
		require.Equal(t, 50, s.Steps[1].Percent)
		require.Equal(t, "customers-write-new at 50 %", s.Steps[1].Detail)
		require.Equal(t, "schema at version 2, applied 2", s.Steps[0].Detail)
	})
	look(time.Hour, func(s signals.Status) {
		require.Equal(t, signals.Waiting, s.State)
		require.Equal(t, "approval of step cutover by 1 of alice, bob", s.Needs)
		require.Equal(t, signals.StepWaiting, s.Steps[4].State)
		require.Equal(t, 1, s.Approval.Quorum)
		require.Equal(t, begin.Add(7*time.Second+24*time.Hour), s.Approval.Deadline)
		require.Contains(t, b.details(), "**split-customer-address** — waiting")
		require.Contains(t, b.details(), "Needs: approval of step cutover by 1 of alice, bob")
		require.Contains(t, b.details(), "| fill | backfill | done | 1000 rows, none left |")
	})
	b.after(2*time.Hour, func() { b.approve("cutover", "alice") })
	b.after(3*time.Hour, func() { b.approve("contract", "bob") })
	b.completes()
	require.Equal(t, 3, looked)
	require.Contains(t, b.details(), "**split-customer-address** — completed")
}

// details is what the Temporal UI shows.
func (b *bundle) details() string {
	var metadata sdk.WorkflowMetadata
	value, err := b.QueryWorkflow("__temporal_workflow_metadata")
	require.NoError(b.t, err)
	require.NoError(b.t, value.Get(&metadata))
	return metadata.CurrentDetails
}

func TestCardsCarryTheEvidenceSoFar(t *testing.T) {
	t.Parallel()
	b := setup(t, example(t))
	b.chat = true
	b.approveAll()
	b.completes()
	first := b.made("PostCard cutover")[0].in.(activities.Card)
	require.Equal(t, []activities.Evidence{
		{Name: "rehearsal", Value: "not rehearsed"},
		{Name: "write-new", Value: "customers-write-new at 100 %"},
		{Name: "fill", Value: "1000 rows filled, none left"},
		{Name: "prove", Value: "0 (at most 0)"},
	}, first.Evidence)
	require.Equal(t, b.plan.Description, first.Description)
	require.Equal(t, "cutover", first.Origin.Step)
	require.Equal(t, hash, first.Origin.PlanHash)
	second := b.made("PostCard contract")[0].in.(activities.Card)
	require.Equal(t, []activities.Evidence{
		{Name: "cutover", Value: "approved by alice"},
		{Name: "read-new", Value: "customers-read-new at 100 %"},
	}, second.Evidence[3:])
	closed := b.made("UpdateCard contract approved")[0].in.(activities.Card)
	require.Equal(t, activities.CardRef{Channel: "C1", TS: "contract"}, closed.Ref)
	require.Equal(t, "alice", closed.Approval.Decisions[0].By)
	last := b.made("PostNotice completed")[0].in.(activities.NoticeInput)
	require.Equal(t, "contract", last.Ref.TS, "below the latest card")
}

func TestEveryActivityKnowsOnWhoseBehalfItActs(t *testing.T) {
	t.Parallel()
	b := setup(t, example(t))
	b.approveAll()
	b.completes()
	first := b.made("Migrate expand")[0].in.(activities.MigrateInput)
	require.Equal(t, activities.Origin{
		Migration: "default-test-workflow-id", FirstRun: "default-test-run-id", Plan: "split-customer-address",
		PlanHash: hash, Database: "shop", Step: "expand",
	}, first.Origin)
	require.Zero(t, first.Floor)
	last := b.made("Migrate drop-old")[0].in.(activities.MigrateInput)
	require.EqualValues(t, 2, last.Floor)
	require.EqualValues(t, 3, last.To)
	require.Equal(t, b.begun.Schema, last.Schema)
}

func TestInputIsUnderstoodInThreeForms(t *testing.T) {
	t.Parallel()
	p := planOf(t, "{name: p, database: d, steps: [{name: wait, soak: 1s}]}")
	document, err := json.Marshal(p)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		raw  string
		want signals.Input
	}{
		"by name":         {`{"plan": "p"}`, signals.Input{Name: "p"}},
		"whole":           {`{"plan": ` + string(document) + `, "startedBy": "carol"}`, signals.Input{Document: document, StartedBy: "carol"}},
		"the plan itself": {string(document), signals.Input{Document: document}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, p)
			b.input = json.RawMessage(c.raw)
			b.completes()
			in := b.made("Begin")[0].in.(activities.BeginInput)
			require.Equal(t, c.want.Name, in.Input.Name)
			require.Equal(t, c.want.StartedBy, in.Input.StartedBy)
			if c.want.Document == nil {
				require.Empty(t, in.Input.Document)
			} else {
				require.JSONEq(t, string(c.want.Document), string(in.Input.Document))
			}
			require.Equal(t, "p", b.status().Plan)
		})
	}
}

func TestGarbageIsRefusedBeforeAnyActivity(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{`null`, `"p"`, `17`, `[]`, `{}`, `{"plan": 3}`, `{"plan": ""}`, `{"plan": "p", "dry": true}`, `{"state": {}}`} {
		t.Run(raw, func(t *testing.T) {
			t.Parallel()
			b := setup(t, example(t))
			b.input = json.RawMessage(raw)
			b.start()
			require.ErrorContains(t, b.fails("BadInput"), `the input of a migration is {"plan": "name"}`)
			require.Empty(t, b.calls)
		})
	}
}

func TestNothingElseIsCalledWhenThePlanIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t, example(t))
	b.when("Begin", play{err: temporal.NewNonRetryableApplicationError("no plan is called so", "Plan", nil)})
	b.start()
	require.ErrorContains(t, b.GetWorkflowError(), "no plan is called so")
	require.Equal(t, []string{"Begin"}, b.keys())
	s := b.status()
	require.Equal(t, signals.Failed, s.State)
	require.Equal(t, "no plan is called so", s.Cause)
	require.False(t, s.Ended.IsZero())
	require.Contains(t, b.details(), "failed")
}

func TestBeginIsTriedAgainUntilTheDatabaseAnswers(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, "{name: p, database: d, steps: [{name: wait, soak: 1s}]}"))
	b.when("Begin", fleeting, fleeting, play{})
	b.completes()
	require.Len(t, b.made("Begin"), 1, "one activity, three attempts")
}

func TestSoakIsShownAndKept(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, "{name: p, database: d, steps: [{name: wait, soak: 90m}]}"))
	b.after(time.Hour, func() {
		require.Equal(t, signals.StepWaiting, b.step("wait").State)
		require.Contains(t, b.details(), "| wait | soak | waiting | soaking for 1h30m0s |")
	})
	result := b.completes()
	require.Equal(t, 90*time.Minute, result.Ended.Sub(result.Started))
	require.Equal(t, plan.VerbSoak, plan.Verb(b.status().Steps[0].Verb))
}

// Only a run that continues another may bring its state along: anybody else would skip the checks and the approvals.
func TestStateInAStartInputIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t, example(t))
	b.input = json.RawMessage(`{"state": {"firstRun": "x", "step": 7, "plan": {"name": "p", "database": "d", "steps": []}}}`)
	b.start()
	b.fails("BadInput")
	require.Empty(t, b.calls)
}
