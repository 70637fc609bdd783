package workflows

import (
	"slices"
	"time"

	"github.com/stretchr/testify/assert"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// recorder notes the calls in the order in which the workflow makes them: the activities themselves run side by side. It
// also gives activities the time to wind down after a cancellation, or to succeed despite it, which the test environment does
// not.
type recorder struct {
	interceptor.WorkerInterceptorBase
	b *bundle
}

func (r *recorder) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	in := &inbound{b: r.b}
	in.Next = next
	return in
}

type inbound struct {
	interceptor.WorkflowInboundInterceptorBase
	b *bundle
}

func (i *inbound) Init(out interceptor.WorkflowOutboundInterceptor) error {
	o := &outbound{b: i.b}
	o.Next = out
	return i.Next.Init(o)
}

type outbound struct {
	interceptor.WorkflowOutboundInterceptorBase
	b *bundle
}

func (o *outbound) ExecuteActivity(ctx workflow.Context, name string, args ...any) workflow.Future {
	if ctx.Err() != nil { // scheduled and cancelled in one task: it never leaves the worker
		return o.Next.ExecuteActivity(ctx, name, args...)
	}
	key := keyOf(name, args[0])
	o.b.note(call{key: key, in: args[0], at: workflow.Now(ctx).Sub(begin)})
	if options := workflow.GetActivityOptions(ctx); options.WaitForCancellation {
		assert.Positive(o.b.t, options.HeartbeatTimeout, "%s: a worker killed in it goes unnoticed until it times out", key)
	}
	winding, ok := o.b.winding[key]
	if !ok || !workflow.GetActivityOptions(ctx).WaitForCancellation {
		return o.Next.ExecuteActivity(ctx, name, args...)
	}
	acting := o.Next.ExecuteActivity(ctx, name, args...)
	future, settable := workflow.NewFuture(ctx)
	apart, _ := workflow.NewDisconnectedContext(ctx)
	workflow.Go(apart, func(ctx workflow.Context) {
		if err := acting.Get(ctx, nil); temporal.IsCanceledError(err) {
			_ = workflow.Sleep(ctx, winding)
			o.b.note(call{key: "ended " + key, at: workflow.Now(ctx).Sub(begin)})
			if out, ok := o.b.despite[key]; ok {
				settable.SetValue(out)
				return
			}
		}
		settable.Chain(acting)
	})
	return future
}

// ExecuteLocalActivity fails at once unless what is scripted succeeds at once: the test environment can't delay a local
// activity, and the workflow goes on with an ordinary one.
func (o *outbound) ExecuteLocalActivity(ctx workflow.Context, name string, args ...any) workflow.Future {
	key := keyOf(name, args[0])
	if p := o.b.peek(key); p.never || p.after > 0 || p.err != nil {
		future, settable := workflow.NewFuture(ctx)
		settable.SetError(temporal.NewApplicationError("not at once", "Retryable"))
		return future
	}
	if ctx.Err() == nil {
		o.b.note(call{key: key, in: args[0], at: workflow.Now(ctx).Sub(begin)})
	}
	return o.Next.ExecuteLocalActivity(ctx, name, args...)
}

func (b *bundle) note(c call) {
	b.calls = append(b.calls, c)
	for _, h := range b.hooks {
		if matches(c.key, h.key) {
			h.run()
		}
	}
}

// made are the calls whose key is this or begins with it.
func (b *bundle) made(key string) []call {
	var found []call
	for _, c := range b.calls {
		if matches(c.key, key) {
			found = append(found, c)
		}
	}
	return found
}

// keys are the calls in their order, without those that people and the guard cause.
func (b *bundle) keys(except ...string) []string {
	var keys []string
	for _, c := range b.calls {
		if !slices.ContainsFunc(except, func(e string) bool { return matches(c.key, e) }) {
			keys = append(keys, c.key)
		}
	}
	return keys
}

// compensations are the keys of the compensating calls in their order.
func (b *bundle) compensations() []string { return compensating(b.keys()) }

func compensating(all []string) []string {
	var keys []string
	for _, key := range all {
		if matches(key, "MigrateDown") || matches(key, "RestoreFlag") || matches(key, "ResetBackfill") {
			keys = append(keys, key)
		}
	}
	return keys
}

// whenAsked runs f once, within a minute after the step began to wait.
func (b *bundle) whenAsked(step string, f func()) {
	var look func()
	look = func() {
		if b.IsWorkflowCompleted() {
			return
		}
		if a := b.status().Approval; a != nil && a.Step == step {
			f()
			return
		}
		b.RegisterDelayedCallback(look, time.Minute)
	}
	b.RegisterDelayedCallback(look, time.Minute)
}

// quiet is a log that nobody reads.
type quiet struct{}

func (quiet) Debug(string, ...any) {}
func (quiet) Info(string, ...any)  {}
func (quiet) Warn(string, ...any)  {}
func (quiet) Error(string, ...any) {}
