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
	strangerType  = "Stranger"  // of a flag: somebody else has changed it
	refusedType   = "Refused"   // of a flag: it has to be mended first, and no force helps
	inUseType     = "InUse"     // a flag can't be retired yet, or the old shape not go
	notProvenType = "NotProven" // of a verification: the number is out of bounds
	killedType    = "Killed"    // the kill switch was pressed, and the guard has not told yet
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
	case step.Flag != nil && why == refusedType:
		meaning = "`retry` looks at the flag again, `skip` leaves it as it is and goes on without this step: only your checks and proofs tell whether what " +
			"follows can live with that"
		offers = []answer{retryIt, skipIt}
	case step.Retire != nil && why == inUseType:
		meaning, offers = "`retry` looks again, `force` archives all the same, `skip` goes on and leaves the flags there", anyAnswer
	case step.Retire != nil && why != "" && !m.PointOfNoReturn: // nothing is archived, and all else is done: no reason to undo it
		meaning, offers = "`retry` tries it again, `skip` goes on and leaves the flags there", []answer{retryIt, skipIt}
	case step.Migrate != nil && why == inUseType:
		meaning, offers = "`retry` looks again, `force` goes on all the same: what lives in the old shape alone is lost", []answer{retryIt, forceIt}
	case m.PointOfNoReturn:
		return "the point of no return has passed, so nothing is undone: `retry` tries the step again, `skip` goes on without it", []answer{retryIt, skipIt}
	case step.Verify != nil && why == notProvenType && m.mayLack():
		meaning, offers = lacking, []answer{retryIt, forceIt}
	default:
		return "", nil
	}
	if !m.PointOfNoReturn {
		meaning += "; `rollback` undoes"
	}
	return meaning, offers
}

// question is what people are asked.
type question struct {
	number int
	step   string // "" behind the last one
	text   string
	offers []answer
	// wanted tells whether the answer would still count; nil: until it is given.
	wanted func() bool
	given  answer
}

func (q *question) over() bool { return q.wanted != nil && !q.wanted() }

// ask waits for one of the answers offered, in the state stuck; noAnswer where it isn't wanted any more. One question is asked
// at a time.
func (m *migration) ask(ctx workflow.Context, q question) (answer, error) {
	if err := workflow.Await(ctx, func() bool { return m.asked == nil || q.over() }); err != nil || q.over() {
		return noAnswer, err
	}
	q.number = m.nextQuestion()
	m.asked = &q
	m.show()
	m.news("stuck", q.text)
	since := workflow.Now(ctx)
	err := workflow.Await(ctx, func() bool { return q.given != noAnswer || q.over() })
	m.asked = nil
	if err != nil {
		return noAnswer, err
	}
	if q.given != noAnswer {
		m.notice("%s after %s: %s", q.given, workflow.Now(ctx).Sub(since).Round(time.Second), q.text)
	}
	m.show()
	return q.given, nil
}

// nextQuestion numbers all questions of the migration, so that an answer is of the one that was seen.
func (m *migration) nextQuestion() int {
	m.Questions++
	return m.Questions
}

// question that people may answer now: what is asked, or how to end what the step waits for; nil for none.
func (m *migration) question() *question {
	switch {
	case m.asked != nil && !m.asked.over():
		return m.asked
	case m.asked == nil && m.Waiting != 0:
		return &question{number: m.Waiting, step: m.current().Name, text: m.endless(), offers: anyAnswer, given: m.Given}
	}
	return nil
}

// give takes a person's answer, if it is one of those offered.
func (m *migration) give(a answer, r signals.Request) error {
	q := m.question()
	switch {
	case q == nil:
		return fmt.Errorf("nothing is stuck")
	case r.Question != 0 && r.Question != q.number:
		return fmt.Errorf("it answers question %d, and question %d is asked now: look at what the migration needs", r.Question, q.number)
	case q.given != noAnswer:
		return fmt.Errorf("it is answered already: %s", q.given)
	case !slices.Contains(q.offers, a):
		return fmt.Errorf("it is no answer to what the migration asks now: say %s", strings.Join(words(q.offers), " or "))
	}
	m.record(string(a), q.step, r.By, r.Reason)
	if q == m.asked {
		q.given = a
		return nil
	}
	m.notice("%s%s: step %s", a, by(r), q.step)
	m.Given = a
	return nil
}

func words(answers []answer) []string {
	var all []string
	for _, a := range answers {
		all = append(all, string(a))
	}
	return all
}
