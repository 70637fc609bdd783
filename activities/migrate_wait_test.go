package activities

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/ddl"
	"github.com/contraflow/contraflow/internal/devstack/chatserver"
	"github.com/contraflow/contraflow/plan"
)

func TestTheChatHearsOfAWaitThatLasts(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	by := func(pids ...int) ddl.Waiting {
		w := ddl.Waiting{Lock: "AccessExclusiveLock on customers"}
		for _, pid := range pids {
			w.Blockers = append(w.Blockers, ddl.Blocker{PID: pid})
		}
		return w
	}
	pausing := ddl.Waiting{RetryIn: time.Second}
	var story waitStory
	for _, step := range []struct {
		after time.Duration
		now   ddl.Waiting
		want  string
	}{
		{0, ddl.Waiting{}, ""},
		{0, by(1), ""},
		{longWait - 1, by(1), ""},
		{longWait, by(1), "has waited 15s for AccessExclusiveLock on customers, blocked by pid 1"},
		{longWait + 1, by(1), ""},
		{longWait + 2, by(2), ""},
		{longWait + noticeEvery, pausing, ""},
		{longWait + noticeEvery, by(2, 3), "has waited 1m15s for AccessExclusiveLock on customers, blocked by pid 2; pid 3"},
		{longWait + 2*noticeEvery, by(2, 3), ""},
		{3 * time.Minute, ddl.Waiting{}, "the wait is over after 3m0s"},
		{4 * time.Minute, ddl.Waiting{Progress: "building index: scanning table"}, ""},
		{5 * time.Minute, by(1), ""},
		{5*time.Minute + longWait - 1, ddl.Waiting{}, ""},
	} {
		require.Equal(t, step.want, story.news(began.Add(step.after), step.now), "after %s", step.after)
	}
}

func TestALongWaitIsToldInTheChatAndAChatThatIsIllHoldsNothingUp(t *testing.T) {
	t.Parallel()
	for title, ill := range map[string]bool{"well": false, "ill": true} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			b, begun := begunShop(t)
			speaking, chat := chatting(t)
			b.acts.Chat = speaking.acts.Chat
			_, err := b.migrate(t, begun, "expand", 1)
			require.NoError(t, err)
			if ill {
				chat.Inject(chatserver.Fault{Method: "chat.postMessage", Status: http.StatusServiceUnavailable, Times: 100, After: true})
			}
			b.exec(t, "begin; select 'S3CRET-VALUE' from customers")
			done := make(chan error, 1)
			go func() {
				_, err := b.migrate(t, begun, "expand", 2)
				done <- err
			}()
			require.Eventually(t, func() bool { return len(chat.Messages()) == 1 }, 2*patience, 10*time.Millisecond)
			require.Contains(t, chat.Messages()[0].Text, "for AccessExclusiveLock on customers, blocked by pid")
			require.NotContains(t, chat.Messages()[0].Text, "S3CRET")
			b.exec(t, "rollback")
			require.NoError(t, <-done)
			all := chat.Messages()
			require.Contains(t, all[len(all)-1].Text, "the wait is over after")
		})
	}
}

func TestWhoWasEndedStandsInTheAudit(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	_, err := b.migrate(t, begun, "expand", 1)
	require.NoError(t, err)
	idler := b.db.Connect(t)
	for _, sql := range []string{"set application_name = 'forgetful'", "begin", "select 'S3CRET-VALUE' from customers"} {
		_, err := idler.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	in := MigrateInput{Origin: begun.origin("expand"), Schema: begun.Schema, To: 2,
		LockTimeout: plan.Duration(time.Second), KillIdleAfter: plan.Duration(time.Second)}
	done, err := run[Migrated](t, b, b.acts.Migrate, in, call{})
	require.NoError(t, err)
	require.Equal(t, []uint{2}, done.Versions)
	require.Error(t, idler.Ping(t.Context()))
	detail := one[string](t, b, "select detail from contraflow.audit where step = 'expand' and event = 'session'")
	require.Regexp(t, `^ends pid \d+ \(forgetful\), idle in transaction for [0-9ms]+, because it stands in the way$`, detail)

	// The way down has the same manners.
	idler = b.db.Connect(t)
	_, err = idler.Exec(t.Context(), "begin; select from customers")
	require.NoError(t, err)
	undone, err := run[Migrated](t, b, b.acts.MigrateDown, in, call{})
	require.NoError(t, err)
	require.Equal(t, []uint{2, 1}, undone.Versions)
	// One that is slow to go is ended again.
	require.Equal(t, 2, one[int](t, b, "select count(distinct substring(detail from 'pid [0-9]+'))::int from contraflow.audit where event = 'session'"))
}
