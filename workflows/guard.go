package workflows

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

// guard watches the plan's health checks beside the steps. One activity watches for as long as the list of checks stays the
// same, so history does not grow with time. A failed check rolls back; one that cannot be measured pauses and asks.
func (m *migration) guard(ctx workflow.Context) {
	if m.Plan.Guard == nil {
		return
	}
	for ctx.Err() == nil {
		checks := m.checks()
		if len(checks) == 0 {
			if workflow.Await(ctx, func() bool { return len(m.checks()) > 0 }) != nil {
				return
			}
			continue
		}
		verdict, err := m.watch(ctx, checks)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			verdict = activities.GuardVerdict{Outcome: activities.Inconclusive, Check: "guard", Reading: reason(err)}
		}
		m.judge(ctx, verdict)
		m.considerContinuing() // beside a step of days it is the guard that fills the history
	}
}

// checks lists those whose step has begun.
func (m *migration) checks() []plan.Check {
	var now []plan.Check
	for _, c := range m.Plan.Guard.Checks {
		if c.From == "" || m.Plan.StepIndex(c.From) <= m.Step {
			now = append(now, c)
		}
	}
	return now
}

// watch runs until a verdict, the end of the activity's slice, or a change of the list.
func (m *migration) watch(ctx workflow.Context, checks []plan.Check) (activities.GuardVerdict, error) {
	ctx, cancel := workflow.WithCancel(ctx)
	defer cancel()
	m.Guard = &signals.GuardStatus{Verdict: activities.Healthy}
	for _, c := range checks {
		m.Guard.Watching = append(m.Guard.Watching, c.Name)
	}
	interval := m.Plan.Guard.Interval
	if interval == 0 {
		interval = plan.Duration(plan.DefaultGuardInterval)
	}
	watching := workflow.ExecuteActivity(long(ctx, 0), acts.WatchHealth, activities.WatchInput{Origin: m.origin(), Interval: interval, Checks: checks})
	changed := func() bool { return len(m.checks()) != len(checks) }
	if err := workflow.Await(ctx, func() bool { return watching.IsReady() || changed() }); err != nil {
		return activities.GuardVerdict{}, err
	}
	verdict := activities.GuardVerdict{Outcome: activities.Healthy}
	if !watching.IsReady() { // the list has grown: watch the new one at once, the old one sees its cancellation
		return verdict, nil
	}
	err := watching.Get(ctx, &verdict)
	return verdict, err
}

func (m *migration) judge(ctx workflow.Context, v activities.GuardVerdict) {
	m.Guard.Verdict, m.Guard.Reading = v.Outcome, v.Reading
	switch v.Outcome {
	case activities.Unhealthy:
		cause := fmt.Sprintf("health check %q failed: %s", v.Check, v.Reading)
		if !m.PointOfNoReturn {
			m.interrupt(toRollBack, cause)
			return
		}
		m.hold(ctx, cause+"; the point of no return has passed: `resume` goes on and watches again")
	case activities.Inconclusive:
		m.hold(ctx, fmt.Sprintf("health check %q could not be measured: %s; `resume` goes on and watches again, `rollback` undoes", v.Check, v.Reading))
	}
}

// hold pauses on the guard's behalf and waits until a person resumes.
func (m *migration) hold(ctx workflow.Context, why string) {
	m.pause(signals.Request{By: "guard", Reason: why})
	m.news("stuck", why)
	if workflow.Await(ctx, func() bool { return m.Pausing == nil }) != nil {
		return // the steps have ended; so does the watch
	}
}
