package tests

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/signals"
)

// undone is the order in which the example's steps are compensated once all have begun.
var undone = []string{"read-new", "fill", "write-new", "expand"}

func requireUndone(t *testing.T, steps []string, r signals.RollbackReport) {
	t.Helper()
	var names []string
	for _, c := range r.Compensations {
		require.Equal(t, signals.StepCompensated, c.Outcome, c)
		names = append(names, c.Step)
	}
	require.Equal(t, steps, names)
}

// At the last approval everything that can be undone has been done.
func TestARollbackLeavesTheWorldAsItWas(t *testing.T) {
	t.Parallel()
	for name, trigger := range map[string]func(b *bundle) string{
		"signal": func(b *bundle) string {
			b.say(signals.Rollback, signals.Request{By: "dave", Reason: "second thoughts"})
			return "rollback requested by dave: second thoughts"
		},
		"rejection": func(b *bundle) string {
			b.say(signals.Reject, signals.Decision{Step: "contract", By: "alice", Reason: "not today"})
			return "step contract: rejected by alice: not today"
		},
		"cancellation": func(b *bundle) string {
			b.temporalCLI("workflow", "cancel", "--workflow-id", b.plan.Name)
			return "cancelled"
		},
		"verdict": func(b *bundle) string {
			b.healthy.Store(false)
			return `health check "shop answers" failed`
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, options{})
			run := b.migrate()
			b.approve("cutover")
			b.asks("contract")
			for _, key := range flagKeys {
				require.Equal(t, 100, b.percent(key))
			}
			cause := trigger(b)
			report := b.rollsBack()
			require.Contains(t, report.Cause, cause)
			requireUndone(t, undone, report)
			b.requireRolledBack()
			b.keep("rollback-"+name, run.GetRunID())
		})
	}
}

// The shop fails once it reads the new shape: seen by the guard, undone, and customers are served all the while.
func TestAFaultOfTheShopRollsBack(t *testing.T) {
	t.Parallel()
	b := setup(t, options{shop: true})
	b.ask(http.MethodPost, "/debug/fault", `{"fault":"healthz-fails-when-read-new"}`)
	b.migrate()
	b.approve("cutover")
	b.asks("contract")
	b.eventually("the shop reads the new shape and says that it is unwell", func() bool {
		b.ask(http.MethodGet, "/customers/7", "")
		return strings.Contains(b.ask(http.MethodGet, "/stats", ""), `"reads_new":`) &&
			!strings.Contains(b.ask(http.MethodGet, "/stats", ""), `"reads_new":0`)
	})
	report := b.rollsBack()
	require.Contains(t, report.Cause, `health check "shop answers" failed`)
	requireUndone(t, undone, report)
	b.requireRolledBack()
	require.Contains(t, b.ask(http.MethodGet, "/customers/7", ""), "7 Some Street Number 7")
	require.Contains(t, b.ask(http.MethodGet, "/stats", ""), `"failed":0`)
}

// ask the shop.
func (b *bundle) ask(method, path, body string) string {
	b.t.Helper()
	request, err := http.NewRequestWithContext(b.t.Context(), method, b.shop.URL+path, strings.NewReader(body))
	require.NoError(b.t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(b.t, err)
	defer func() { _ = response.Body.Close() }()
	require.Equal(b.t, 2, response.StatusCode/100, fmt.Sprint(method, path, response.Status))
	text, err := io.ReadAll(response.Body)
	require.NoError(b.t, err)
	return string(text)
}

func TestARollbackInTheMiddleOfTheBackfill(t *testing.T) {
	t.Parallel()
	b := setup(t, options{slow: true})
	b.stopAt(0.3)
	b.migrate()
	b.stopped()
	b.say(signals.Rollback, signals.Request{By: "dave"})
	requireUndone(t, undone[1:], b.rollsBack())
	b.requireRolledBack()
}
