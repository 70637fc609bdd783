package workflows

import (
	"fmt"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/plan"
)

// verify proves by a query.
func (m *migration) verify(ctx workflow.Context, step plan.Step) error {
	var proof activities.Verified
	in := activities.VerifyInput{Origin: m.at(step), Verify: *step.Verify}
	if err := workflow.ExecuteActivity(long(ctx, 0), acts.Verify, in).Get(ctx, &proof); err != nil {
		return err
	}
	m.current().Detail = fmt.Sprintf("the query returned %g", proof.Number)
	m.addEvidence(step.Name, "%s", proven(step, proof))
	return nil
}

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
