package workflows

import (
	"cmp"
	"fmt"
	"slices"

	"go.temporal.io/sdk/workflow"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

// guard watches the plan's health checks and the kill switch of its flags beside the steps. One activity watches for as long as
// the list stays the same, so history does not grow with time. A failed check rolls back; one that cannot be measured, and a
// press of the kill switch, pause and ask. Beside a rollback only the kill switch is watched, to tell of it.
func (m *migration) guard(ctx workflow.Context) {
	for ctx.Err() == nil {
		list := m.watchlist()
		if list.empty() {
			if workflow.Await(ctx, func() bool { return !m.watchlist().empty() }) != nil {
				return
			}
			continue
		}
		verdict, err := m.watch(ctx, list)
		if ctx.Err() != nil {
			return
		}
		if err != nil && m.RollingBack {
			m.notice("the kill switch is not watched: %s", reason(err))
			return
		}
		if err != nil {
			m.Blind = m.Blind || list.kills
			m.hold(fmt.Sprintf("the guard can't watch: %s; `resume` tries again, `rollback` undoes", reason(err)), names(list.checks)...)
			continue
		}
		m.judge(verdict)
		m.considerContinuing() // beside a step of days it is the guard that fills the history
	}
}

// watchlist is what one activity watches.
type watchlist struct {
	checks []plan.Check
	kills  bool // the kill switch as well, which is pressed for a plan without flags only if an earlier version of it had some
}

func (l watchlist) empty() bool { return len(l.checks) == 0 && !l.kills }

func (l watchlist) same(other watchlist) bool {
	return l.kills == other.kills && slices.Equal(names(l.checks), names(other.checks))
}

func (m *migration) watchlist() watchlist {
	if m.RollingBack {
		return watchlist{kills: m.flagsToUndo()}
	}
	return watchlist{checks: m.checks(), kills: (m.Plan.Flags != nil || m.Forbidden) && !m.Blind}
}

// checks lists those whose step has begun, without those that are set aside until a person resumes. While flags are off by the
// kill switch, those that presume them are set aside as well: what is watched is what was watched before they moved.
func (m *migration) checks() []plan.Check {
	if m.Plan.Guard == nil {
		return nil
	}
	var now []plan.Check
	for _, c := range m.Plan.Guard.Checks {
		begun := c.From == "" || m.Plan.StepIndex(c.From) <= m.Step && !m.presumesFlags(m.Plan.StepIndex(c.From))
		if begun && !slices.Contains(m.Aside, c.Name) {
			now = append(now, c)
		}
	}
	return now
}

// presumesFlags tells whether a step is, or comes behind, one that moves flags, which somebody has turned off: for everybody, or
// for one context until a person has seen it.
func (m *migration) presumesFlags(index int) bool {
	off := m.Off != nil || m.Pressed != ""
	return off && slices.ContainsFunc(m.Plan.Steps[:index+1], func(s plan.Step) bool { return s.Flag != nil })
}

func names(checks []plan.Check) []string {
	var all []string
	for _, c := range checks {
		all = append(all, c.Name)
	}
	return all
}

// watch runs until a verdict, the end of the activity's slice, or a change of the list.
func (m *migration) watch(ctx workflow.Context, list watchlist) (activities.GuardVerdict, error) {
	ctx, cancel := workflow.WithCancel(ctx)
	defer cancel()
	in := activities.WatchInput{Origin: m.origin(), Interval: plan.Duration(plan.DefaultGuardInterval), Checks: list.checks, Kills: m.Kills}
	if len(list.checks) > 0 {
		m.Guard = &signals.GuardStatus{Verdict: activities.Healthy, Watching: names(list.checks)}
		in.Interval = cmp.Or(m.Plan.Guard.Interval, in.Interval)
	}
	watching := workflow.ExecuteActivity(long(ctx, 0), acts.WatchHealth, in)
	changed := func() bool { return !m.watchlist().same(list) }
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
	if v.Outcome == activities.Killed {
		m.killed(v)
		return
	}
	if m.Guard != nil && v.Check != "" {
		m.Guard.Verdict, m.Guard.Reading = v.Outcome, v.Reading
	}
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
	m.unresume(signals.Request{By: "guard", Reason: why})
	if m.Pausing == nil {
		m.pause(signals.Request{By: "guard", Reason: why})
	} else { // a person's pause stays the person's
		m.notice("%s", why)
	}
	m.news("stuck", why)
}
