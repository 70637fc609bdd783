package tests

import (
	"net/http"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	workflowpb "go.temporal.io/api/workflow/v1"

	"github.com/contraflow/contraflow/signals"
)

func TestFlagServiceDownAtTheStartAndInTheMiddle(t *testing.T) {
	t.Parallel()
	b := setup(t, options{})
	var changes atomic.Int32
	leave := func(w http.ResponseWriter, r *http.Request, flags http.Handler) {
		if _, ok := changed(r); ok && changes.Add(1) == 2 { // the second stage's, which is cut
			b.flagsAt.down()
			return
		}
		flags.ServeHTTP(w, r)
	}
	b.flagsAt.meddle.Store(&leave)
	b.flagsAt.down()
	b.migrate()
	said := b.statusSays("the status tells what it waits for", "waits", "flag", "connection refused")
	require.NotContains(t, said, b.secrets.flagToken)
	b.requireUntouched()
	b.flagsAt.up()

	b.waits("write-new", "ApplyFlag", "connection refused")
	require.Equal(t, 10, b.percent("customers-write-new"))
	b.flagsAt.up()
	b.approve("cutover")
	b.approve("contract")
	b.completes()
}

func TestChatDownAtTheStart(t *testing.T) {
	t.Parallel()
	b := setup(t, options{})
	b.chatAt.down()
	b.migrate()
	b.asks("cutover")
	b.waits("cutover", "PostCard")
	b.say(signals.Approve, signals.Decision{Step: "cutover", By: "alice"}) // nobody needs the chat to decide
	b.asks("contract")
	require.Empty(t, b.chat.Messages())

	b.chatAt.up()
	b.press("contract", "approve", bob) // the card that still matters comes by itself
	b.completes()
	ts, _ := b.button("cutover", "approve")
	require.Empty(t, ts, "nothing is asked that was decided long ago")
}

// pending tells whether an activity still runs or is tried again.
func (b *bundle) pending(activity string) bool {
	described, err := b.temporal.DescribeWorkflowExecution(b.t.Context(), b.plan.Name, "")
	return err != nil || slices.ContainsFunc(described.GetPendingActivities(), func(p *workflowpb.PendingActivityInfo) bool {
		return p.GetActivityType().GetName() == activity
	})
}

func TestChatDownInTheMiddle(t *testing.T) {
	t.Parallel()
	b := setup(t, options{})
	b.migrate()
	b.eventually("the card is there, and the migration knows it", func() bool {
		ts, _ := b.button("cutover", "approve")
		return ts != "" && !b.pending("PostCard")
	})
	b.chatAt.down()
	b.say(signals.Approve, signals.Decision{Step: "cutover", By: "alice"})
	b.asks("contract")
	b.chatAt.up()
	b.eventually("the decided card has lost its buttons", func() bool { ts, _ := b.button("cutover", "approve"); return ts == "" })
	b.press("contract", "approve", bob)
	b.completes()
}
