package workflows

import (
	"fmt"
	"slices"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/plan"
)

// verify proves by a query.
func (m *migration) verify(ctx workflow.Context, step plan.Step) error {
	if m.Forced {
		forced := "forced: " + m.current().Detail
		m.restate(step.Name, m.current().State, forced, forced)
		return nil
	}
	var proof activities.Verified
	in := activities.VerifyInput{Origin: m.at(step), Verify: *step.Verify}
	if err := workflow.ExecuteActivity(long(ctx, 0), acts.Verify, in).Get(ctx, &proof); err != nil {
		return err
	}
	m.restate(step.Name, m.current().State, returned(proof), proven(step, proof))
	return nil
}

func returned(proof activities.Verified) string {
	return fmt.Sprintf("the query returned %g", proof.Number)
}

// mayLack tells whether rows lack the new shape though all in front of this step is done as the plan wants it: flags that moved
// before it were off for a while.
func (m *migration) mayLack() bool {
	return m.Kills > 0 && slices.ContainsFunc(m.Plan.Steps[:m.Step], func(s plan.Step) bool { return s.Flag != nil })
}

// lacking is what people do about rows that were written meanwhile.
const lacking = "while flags were off rows were written in the old shape alone, and whoever is served the new one would meet what stood there before: " +
	"fill them, then `retry`; `force` goes on all the same"

func proven(step plan.Step, proof activities.Verified) string {
	return fmt.Sprintf("%g (%s)", proof.Number, limits(step.Verify.Min, step.Verify.Max))
}

func limits(minimum, maximum *float64) string {
	var parts []string
	if minimum != nil {
		parts = append(parts, fmt.Sprintf("at least %g", *minimum))
	}
	if maximum != nil {
		parts = append(parts, fmt.Sprintf("at most %g", *maximum))
	}
	return strings.Join(parts, ", ")
}
