package tests

import (
	"bytes"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/flagserver"
	"github.com/contraflow/contraflow/signals"
)

// patchFlag changes a flag as a person in LaunchDarkly's UI would.
func (b *bundle) patchFlag(key string, instructions ...map[string]any) {
	b.t.Helper()
	body, err := json.Marshal(map[string]any{"environmentKey": "production", "instructions": instructions})
	require.NoError(b.t, err)
	request, err := http.NewRequestWithContext(b.t.Context(), http.MethodPatch, b.flagsAt.url()+"/api/v2/flags/shop/"+key, bytes.NewReader(body))
	require.NoError(b.t, err)
	request.Header.Set("Authorization", b.secrets.flagToken)
	request.Header.Set("Content-Type", "application/json; domain-model=launchdarkly.semanticpatch")
	request.Header.Set("LD-API-Version", "20240415")
	response, err := http.DefaultClient.Do(request)
	require.NoError(b.t, err)
	defer func() { _ = response.Body.Close() }()
	require.Equal(b.t, http.StatusOK, response.StatusCode)
}

func TestAStrangersFlagIsNotOverwrittenByARollback(t *testing.T) {
	t.Parallel()
	b := setup(t, options{})
	run := b.migrate()
	b.asks("cutover")
	b.setPercent("customers-write-new", 33)
	strangers := b.flagNow("customers-write-new")
	require.Equal(t, 33, b.percent("customers-write-new"))

	b.say(signals.Rollback, signals.Request{By: "dave"})
	b.requireAsksAbout("customers-write-new", strangers)
	b.contraflow(0, "retry", b.plan.Name)
	b.reaches("it has tried again", func(s signals.Status) bool { return len(s.Notices) > 0 && s.State == signals.Stuck })
	b.requireAsksAbout("customers-write-new", strangers)
	b.contraflow(0, "skip", b.plan.Name)

	report := b.rollsBack()
	require.Equal(t, signals.StepSkipped, report.Compensations[1].Outcome)
	require.Equal(t, "write-new", report.Compensations[1].Step)
	b.before.flags["customers-write-new"] = strangers
	b.requireRolledBack()
	b.keep("stuck", run.GetRunID())
}

func TestAStrangersFlagIsNotOverwrittenByTheNextStage(t *testing.T) {
	t.Parallel()
	b, strangers := changedByAStranger(t)
	b.say(signals.Rollback, signals.Request{By: "dave"})
	b.reaches("it undoes, and asks again", func(s signals.Status) bool {
		return s.State == signals.Stuck && step(s, "write-new").State == signals.StepCompensating
	})
	b.requireAsksAbout("customers-write-new", strangers)
	b.contraflow(0, "skip", b.plan.Name)
	b.rollsBack()
	b.before.flags["customers-write-new"] = strangers
	b.requireRolledBack()
}

func TestAStrangersFlagIsPutBackByForce(t *testing.T) {
	t.Parallel()
	b, _ := changedByAStranger(t)
	b.say(signals.Rollback, signals.Request{By: "dave"})
	b.reaches("it undoes, and asks again", func(s signals.Status) bool {
		return s.State == signals.Stuck && step(s, "write-new").State == signals.StepCompensating
	})
	b.contraflow(0, "force", b.plan.Name)
	b.rollsBack()
	b.requireRolledBack()
}

// requireAsksAbout: the migration is stuck at a flag, says so, and the flag is what the stranger made of it.
func (b *bundle) requireAsksAbout(key string, strangers flagserver.Flag) signals.Status {
	b.t.Helper()
	s := b.reaches("it is stuck", func(s signals.Status) bool { return s.State == signals.Stuck })
	require.Contains(b.t, s.Needs, key)
	require.Contains(b.t, s.Needs, "skip")
	require.Equal(b.t, strangers, b.flagNow(key))
	return s
}
