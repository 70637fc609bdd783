package workflows

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/signals"
)

// silent is a chat that answers nothing: each attempt fails, and is tried again.
func silent(t *testing.T, b *bundle) *bundle {
	t.Helper()
	b.chat, b.silent = true, true
	for _, key := range []string{"PostCard", "UpdateCard", "PostNotice"} {
		b.when(key, fleeting)
	}
	return b
}

func TestSilentChatHoldsNothingUp(t *testing.T) {
	t.Parallel()
	b := silent(t, setup(t, example(t)))
	b.after(20*time.Second, func() { b.approve("cutover", "alice") }) // the card is still being tried
	b.after(40*time.Second, func() { b.approve("contract", "alice") })
	result := b.completes()
	require.Less(t, result.Ended.Sub(begin), 45*time.Second)
	require.Empty(t, b.made("UpdateCard"), "there is no card to update")
	require.Equal(t, lastNoticeTimeout, b.Now().Sub(result.Ended), "what the end waits for the chat at most")
}

func TestSilentChatHoldsNoRollbackUp(t *testing.T) {
	t.Parallel()
	b := silent(t, setup(t, example(t)))
	b.after(20*time.Second, b.say(signals.Rollback))
	b.rollsBack()
	require.Equal(t, 20*time.Second, b.made("ResetBackfill")[0].at)
	require.Equal(t, 22*time.Second, b.status().Ended.Sub(begin))
}

func TestRefusingChatIsKnown(t *testing.T) {
	t.Parallel()
	b := setup(t, example(t))
	b.chat = true
	b.when("PostCard", permanent)
	b.when("PostNotice", permanent)
	b.approveAll()
	b.after(time.Second, b.say(signals.Skip))
	b.completes()
	require.Equal(t, []string{
		"skip refused: nothing is stuck",
		"the chat was not told that skip by dave refused: nothing is stuck: it broke",
		"the approval could not be posted: it broke",
		"the approval could not be posted: it broke",
		"the chat was not told that split-customer-address completed: 1000 rows filled: it broke",
	}, b.notices())
}

func TestCardThatComesTooLateIsClosed(t *testing.T) {
	t.Parallel()
	b := setup(t, example(t))
	b.chat = true
	b.when("PostCard cutover", forever)
	b.winding["PostCard cutover waiting"] = 30 * time.Second // the post under way succeeds all the same
	b.despite["PostCard cutover waiting"] = activities.CardRef{Channel: "C1", TS: "late"}
	b.after(time.Minute, func() { b.approve("cutover", "alice") })
	b.after(time.Hour, func() {
		require.Len(t, b.made("PostCard contract"), 1, "the next approval has a card of its own")
		b.approve("contract", "bob")
	})
	b.completes()
	late := b.made("UpdateCard cutover approved")
	require.Len(t, late, 1)
	require.Equal(t, "late", late[0].in.(activities.Card).Ref.TS)
	require.Equal(t, "alice", late[0].in.(activities.Card).Approval.Decisions[0].By)
	require.Equal(t, "contract", b.made("UpdateCard contract approved")[0].in.(activities.Card).Ref.TS)
}

func TestEndWaitsForTheCardThatIsBeingClosed(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, asking))
	b.chat = true
	b.when("UpdateCard", play{after: 10 * time.Second})
	b.after(time.Hour, b.say(signals.Rollback))
	b.rollsBack()
	require.Equal(t, time.Hour+10*time.Second, b.Now().Sub(begin), "its buttons would stay alive for ever otherwise")
	require.Equal(t, "cancelled", b.made("UpdateCard")[0].in.(activities.Card).State)
}

func TestWithoutChatNothingIsPosted(t *testing.T) {
	t.Parallel()
	b := setup(t, example(t))
	b.when("Verify prove", permanent)
	b.after(time.Second, b.say(signals.Skip))
	b.rollsBack()
	for _, key := range []string{"PostCard", "UpdateCard", "PostNotice"} {
		require.Empty(t, b.made(key))
	}
}
