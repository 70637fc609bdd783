package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

const (
	// quickTimeout bounds one attempt of an activity that asks or changes one thing.
	quickTimeout = time.Minute
	// localTimeout is below the ten seconds of a workflow task.
	localTimeout = 3 * time.Second
	// longTimeout bounds one attempt of a loop that heartbeats; the heartbeat is what finds a dead worker.
	longTimeout = 30 * 24 * time.Hour
	// heartbeatTimeout is how long a killed worker goes unnoticed. Workers beat once a second.
	heartbeatTimeout = 5 * time.Second
	// retryCeiling keeps a wait for a server that is down short enough to go on soon after it is back.
	retryCeiling = 10 * time.Second
	// compensationAttempts is about a minute of trying; after that a person is asked.
	compensationAttempts = 10
	// noticeTimeout bounds the attempts to post to a chat that does not answer: notices are news, not state.
	noticeTimeout = 2 * time.Minute
	// lastNoticeTimeout is how long the end of a migration waits for the chat.
	lastNoticeTimeout = 15 * time.Second
)

// long retries soon however often workers have died: most of these attempts end because a worker does, and another goes on.
const longBackoff = 1.2

func retries(attempts int32) *temporal.RetryPolicy {
	return &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: retryCeiling, MaximumAttempts: attempts}
}

// quick is for one question or one change; attempts 0 tries until it is cancelled: the status says what it waits for.
func quick(ctx workflow.Context, attempts int32) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: quickTimeout, HeartbeatTimeout: heartbeatTimeout, RetryPolicy: retries(attempts), WaitForCancellation: true,
	})
}

// long is for a loop that heartbeats. It is waited for when cancelled, so that nothing acts beside its compensation.
func long(ctx workflow.Context, attempts int32) workflow.Context {
	policy := retries(attempts)
	policy.BackoffCoefficient = longBackoff
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: longTimeout, HeartbeatTimeout: heartbeatTimeout, RetryPolicy: policy, WaitForCancellation: true,
	})
}

// bounded is for posting to the chat.
func bounded(ctx workflow.Context, within time.Duration) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: quickTimeout, ScheduleToCloseTimeout: within, RetryPolicy: retries(0),
	})
}

// local is for a single attempt within the workflow task.
func local(ctx workflow.Context) workflow.Context {
	return workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		StartToCloseTimeout: localTimeout, RetryPolicy: &temporal.RetryPolicy{MaximumAttempts: 1},
	})
}

// reach returns nil at that time, which a pause may have moved; while paused it is never reached.
func (m *migration) reach(ctx workflow.Context, at func() time.Time) error {
	for {
		if err := m.whilePaused(ctx); err != nil {
			return err
		}
		if !workflow.Now(ctx).Before(at()) {
			return nil
		}
		if err := sleepUntil(ctx, at()); err != nil {
			return err
		}
	}
}

// soaked returns nil at the end of the soak. Time in which flags were off by the kill switch does not count.
func (m *migration) soaked(ctx workflow.Context) error {
	for {
		if err := sleepUntil(ctx, m.Until); err != nil {
			return err
		}
		if m.Off == nil && !workflow.Now(ctx).Before(m.Until) {
			m.Soaked = m.Until
			return nil
		}
		if err := workflow.Await(ctx, func() bool { return m.Off == nil }); err != nil {
			return err
		}
	}
}

// sleepWhile sleeps for so long, or until that is not wanted any more.
func sleepWhile(ctx workflow.Context, d time.Duration, wanted func() bool) error {
	_, err := workflow.AwaitWithTimeout(ctx, d, func() bool { return !wanted() })
	return err
}

// sleepUntil returns nil at that time, or the context's error.
func sleepUntil(ctx workflow.Context, at time.Time) error {
	left := at.Sub(workflow.Now(ctx))
	if left <= 0 {
		return ctx.Err()
	}
	return workflow.Sleep(ctx, left)
}
