package workflows

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

// answer of a person to what the migration asks.
type answer string

const (
	noAnswer answer = ""
	retryIt  answer = signals.Retry
	forceIt  answer = signals.Force
	skipIt   answer = signals.Skip
)

// anyAnswer is for what a person may want done all the same.
var anyAnswer = []answer{retryIt, forceIt, skipIt}

// Types of the activities' errors on which a person decides.
const (
	strangerType = "Stranger" // of a flag: somebody else has changed it
	inUseType    = "InUse"    // a flag can't be retired yet, or the old shape not go
	killedType   = "Killed"   // the kill switch was pressed, and the guard has not told yet
)

// kind is the type of an activity's error; "" for any other.
func kind(err error) string {
	if application, ok := errors.AsType[*temporal.ApplicationError](err); ok {
		return application.Type()
	}
	return ""
}

// choices are the answers that people may give to the failure of the current step, and what they mean; none if it is undone
// without a question.
func (m *migration) choices(step plan.Step, failure error) (meaning string, offers []answer) {
	switch why := kind(failure); {
	case step.Flag != nil && why == strangerType:
		meaning = "`retry` looks at the flag again, `force` goes on from what stands there now (a rollback later still puts back what was there " +
			"before this migration), `skip` leaves it as it is and goes on without this step: only your checks and proofs tell whether what follows can live with that"
		offers = anyAnswer
	case step.Retire != nil && why == inUseType:
		meaning, offers = "`retry` looks again, `force` archives all the same, `skip` goes on and leaves the flags there", anyAnswer
	case step.Migrate != nil && why == inUseType:
		meaning, offers = "`retry` looks again, `force` goes on all the same, and leaves them without a shape", []answer{retryIt, forceIt}
	case m.PointOfNoReturn:
		return "the point of no return has passed, so nothing is undone: `retry` tries the step again, `skip` goes on without it", []answer{retryIt, skipIt}
	default:
		return "", nil
	}
	if !m.PointOfNoReturn {
		meaning += "; `rollback` undoes"
	}
	return meaning, offers
}

// ask waits for one of the answers offered, in the state stuck. One question is asked at a time.
func (m *migration) ask(ctx workflow.Context, question string, offers ...answer) (answer, error) {
	if err := workflow.Await(ctx, func() bool { return m.asking == "" }); err != nil {
		return noAnswer, err
	}
	m.asking, m.offers, m.answer = question, offers, noAnswer
	m.show()
	m.news("stuck", question)
	asked := workflow.Now(ctx)
	err := workflow.Await(ctx, func() bool { return m.answer != noAnswer })
	given := m.answer
	m.asking, m.offers, m.answer = "", nil, noAnswer
	if err != nil {
		return noAnswer, err
	}
	m.notice("%s after %s: %s", given, workflow.Now(ctx).Sub(asked).Round(time.Second), question)
	m.show()
	return given, nil
}

// answers that a person may give now: to a question, or to end what the step waits for.
func (m *migration) answers() []answer {
	if m.asking == "" {
		return m.ends
	}
	return m.offers
}

// give takes a person's answer, if it is one of those offered.
func (m *migration) give(a answer, r signals.Request) error {
	switch {
	case m.asking == "" && m.Given == noAnswer && slices.Contains(m.ends, a):
		m.record(string(a), m.current().Name, r.By, r.Reason)
		m.notice("%s%s: step %s", a, by(r), m.current().Name)
		m.Given = a
		return nil
	case m.asking == "":
		return fmt.Errorf("nothing is stuck")
	case m.answer != noAnswer:
		return fmt.Errorf("it is answered already: %s", m.answer)
	case !slices.Contains(m.offers, a):
		return fmt.Errorf("it is no answer to what the migration asks now: say %s", strings.Join(words(m.offers), " or "))
	}
	m.record(string(a), "", r.By, r.Reason)
	m.answer = a
	return nil
}

func words(answers []answer) []string {
	var all []string
	for _, a := range answers {
		all = append(all, string(a))
	}
	return all
}
