package workflows

import (
	"fmt"
	"slices"

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
			m.hold(fmt.Sprintf("the guard can't watch: %s; `resume` tries again, `rollback` undoes", reason(err)), names(checks)...)
			continue
		}
		m.judge(verdict)
		m.considerContinuing() // beside a step of days it is the guard that fills the history
	}
}

// checks lists those whose step has begun, without those that are set aside until a person resumes.
func (m *migration) checks() []plan.Check {
	var now []plan.Check
	for _, c := range m.Plan.Guard.Checks {
		begun := c.From == "" || m.Plan.StepIndex(c.From) <= m.Step
		if begun && !slices.Contains(m.Aside, c.Name) {
			now = append(now, c)
		}
	}
	return now
}

func names(checks []plan.Check) []string {
	var all []string
	for _, c := range checks {
		all = append(all, c.Name)
	}
	return all
}

// watch runs until a verdict, the end of the activity's slice, or a change of the list.
func (m *migration) watch(ctx workflow.Context, checks []plan.Check) (activities.GuardVerdict, error) {
	ctx, cancel := workflow.WithCancel(ctx)
	defer cancel()
	m.Guard = &signals.GuardStatus{Verdict: activities.Healthy, Watching: names(checks)}
	interval := m.Plan.Guard.Interval
	if interval == 0 {
		interval = plan.Duration(plan.DefaultGuardInterval)
	}
	watching := workflow.ExecuteActivity(long(ctx, 0), acts.WatchHealth, activities.WatchInput{Origin: m.origin(), Interval: interval, Checks: checks})
	changed := func() bool { return !slices.Equal(names(m.checks()), names(checks)) }
	if err := workflow.Await(ctx, func() bool { return watching.IsReady() || changed() }); err != nil {
		return activities.GuardVerdict{}, err
	}
	verdict := activities.GuardVerdict{Outcome: activities.Healthy}
	if !watching.IsReady() { // the list is another: watch the new one at once, the old one sees its cancellation
		return verdict, nil
	}
	err := watching.Get(ctx, &verdict)
	return verdict, err
}

func (m *migration) judge(v activities.GuardVerdict) {
	m.Guard.Verdict, m.Guard.Reading = v.Outcome, v.Reading
	switch v.Outcome {
	case activities.Unhealthy:
		cause := fmt.Sprintf("health check %q failed: %s", v.Check, v.Reading)
		if !m.PointOfNoReturn {
			m.interrupt(toRollBack, cause)
			return
		}
		m.hold(cause+"; the point of no return has passed: `resume` goes on and watches it again", v.Check)
	case activities.Inconclusive:
		m.hold(fmt.Sprintf("health check %q could not be measured: %s; `resume` goes on and watches it again, `rollback` undoes", v.Check, v.Reading), v.Check)
	}
}

// hold pauses on the guard's behalf until a person resumes. The checks it is about are set aside so long; the others are
// watched on.
func (m *migration) hold(why string, checks ...string) {
	m.Aside = append(m.Aside, checks...)
	if m.Pausing == nil {
		m.pause(signals.Request{By: "guard", Reason: why})
	} else { // a person's pause stays the person's
		m.notice("%s", why)
	}
	m.news("stuck", why)
}
