// Package kill presses the kill switch: it turns the flags of a migration off, at once and by itself. It needs the target database
// and the flag service, and nothing of Temporal; the worker finds in the database what was pressed, and pauses the migration.
package kill

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/ledger"
	"github.com/contraflow/contraflow/plan"
)

const (
	// findTimeout is for a database to be connected to and to find the migration. It is long enough for one on another
	// continent, and short for people who watch orders fail: behind it the plan's file must do.
	findTimeout = 5 * time.Second
	// othersTimeout is how long the other databases may take to say that they know the migration, too, behind the first in which
	// it runs. They are asked at once and most answer within milliseconds of each other; one that is down is not waited for.
	othersTimeout = time.Second
	// recordTimeout is for one row or two in a database that has just answered, for the flags wait behind it.
	recordTimeout = 3 * time.Second
	// lockTimeout is for the plan's row while somebody else writes how far the migration is, which takes milliseconds. It is shorter than
	// recordTimeout, so that a database which answers says so itself, and is not taken for a silent one.
	lockTimeout = time.Second
	// auditTimeout is for what is written behind the flags, which nothing waits for any more but the command's own end.
	auditTimeout = 10 * time.Second
	// flagTimeout is for one flag, from the first look to the proof that applications see it off. A service that needs longer
	// is not waited for: the other flags are due.
	flagTimeout = 10 * time.Second
	// lookTimeout is for a look at a flag whose change was not proven in time.
	lookTimeout = 3 * time.Second
)

// Database that may know the migration.
type Database struct {
	Name string
	DSN  string
	// Err is why it can't be asked; nil where it can.
	Err error
}

// Order is what shall be turned off, and on whose word.
type Order struct {
	Migration string // workflow id
	// Databases are asked at once; the one in which the migration runs has the word.
	Databases []Database
	// Provider finds the flag service of a scope.
	Provider func(plan.FlagScope) (flags.Provider, error)
	// Context to turn the flags off for; nil for everybody.
	Context *flags.Context
	// Plan names the flags where its database does not answer; nil for giving up then.
	Plan *plan.Plan
	// Force presses also behind the point of no return.
	Force      bool
	By, Reason string
	// Patience is beside how long databases and flag service may take: for a machine that does much else. None for people.
	Patience time.Duration
	// Tell hears what goes on: texts for people, without a context's key. It is called by one goroutine at a time.
	Tell func(format string, args ...any)
}

// within bounds one part of the work.
func (o Order) within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, d+o.Patience)
}

// Report is what became of it. It never holds a context's key.
type Report struct {
	Migration string `json:"migration"`
	Plan      string `json:"plan,omitempty"`
	// Database that knew the migration; "" if none did.
	Database string `json:"database,omitempty"`
	// ContextKind says that the flags were turned off for one context of that kind; "" for everybody.
	ContextKind string `json:"contextKind,omitempty"`
	By          string `json:"by"`
	Reason      string `json:"reason,omitempty"`
	// Running says that a run holds the plan, which pauses once it hears of the press.
	Running bool `json:"running"`
	// Undoing says that it rolls back, and so does not pause.
	Undoing bool `json:"undoing,omitempty"`
	// Earlier says that runs before that one have moved all the flags: if its plan has none, it does not pause.
	Earlier bool `json:"earlier,omitempty"`
	// Recorded says that the press is in the database: without it no migration pauses by itself.
	Recorded bool `json:"recorded"`
	// Flags in the order in which they were turned off.
	Flags []Flag `json:"flags"`
	// Milliseconds from the call to the end.
	Milliseconds int64 `json:"milliseconds"`
}

// Flag is what became of one flag.
type Flag struct {
	Key     string  `json:"key"`
	Outcome Outcome `json:"outcome"`
	// Was and Now are the flag's states for people.
	Was string `json:"was,omitempty"`
	Now string `json:"now,omitempty"`
	// Why it is not off, or what is uncertain.
	Why string `json:"why,omitempty"`
	// Milliseconds until applications were seen to be served it.
	Milliseconds int64 `json:"milliseconds,omitempty"`
}

// Outcome for one flag.
type Outcome string

// Outcomes.
const (
	Off     Outcome = "off"         // turned off
	Already Outcome = "already_off" // it was
	Unseen  Outcome = "off_unseen"  // off in the service; that applications see it was not proven in time
	Gone    Outcome = "gone"        // not there, or archived: applications are served the fallback in their own code
	Failed  Outcome = "failed"      // it is as it was
	Left    Outcome = "left"        // not touched, since one that must be off before it is not
)

// done tells whether applications are, or will be, served off. Whether the fallback of a flag that is gone is off only their code knows.
func (o Outcome) done() bool { return o == Off || o == Already || o == Unseen }

// What Press fails with, beside the errors of package flags and ledger.ErrUnknown, ledger.ErrPastReturn and ledger.ErrPassing.
var (
	// ErrNothingMoved says that the migration has not moved any flag yet, or that all are retired.
	ErrNothingMoved = errors.New("no flag to turn off")
	// ErrSilent says that a database which may know the migration did not answer.
	ErrSilent = errors.New("no answer")
	// ErrSeveral says that several databases know a migration of this id.
	ErrSeveral = errors.New("not one migration")
	// ErrUnrecorded says that what was done stands nowhere: no migration pauses by itself.
	ErrUnrecorded = errors.New("it is not recorded")
	// ErrNotOff says that at least one flag is not off.
	ErrNotOff = errors.New("not all flags are off")
)

// Press turns the flags of a migration off, the one that was moved last first: readers leave the new shape before anybody stops
// writing it. One that can't be turned off leaves those before it as they are. It may be pressed again at any time, also by
// somebody else at once.
func Press(ctx context.Context, o Order) (Report, error) {
	began := time.Now()
	report := Report{Migration: o.Migration, By: o.By, Reason: o.Reason}
	if o.Context != nil {
		report.ContextKind = o.Context.Kind
	}
	found, err := find(ctx, o)
	if found != nil {
		defer found.close()
		report.Plan, report.Database, report.Running, report.Undoing = found.Plan, found.database, found.Running, found.Undoing
	}
	if err != nil {
		return report, err
	}
	report.Earlier = found.Running && !slices.ContainsFunc(found.flags, func(u ledger.Used) bool { return !u.Earlier })
	p := &press{order: o, found: found, report: &report}
	if err := p.record(ctx); err != nil {
		return report, err
	}
	err = p.turnOff(ctx)
	p.recording.Wait()
	if failed := p.audit(ctx, time.Since(began)); failed != nil {
		p.order.Tell("%s", failed)
		err = cmp.Or(err, failed)
	}
	report.Milliseconds = time.Since(began).Milliseconds()
	return report, err
}

// press is one in its course.
type press struct {
	order  Order
	found  *found
	report *Report
	ids    []int64 // of the records, in the order of the flags; nil without

	recording sync.WaitGroup
	mu        sync.Mutex
	unwritten error // the first record that could not be written
}

// record writes what is about to be done, so that the migration pauses and puts no flag back on meanwhile. A database that fails
// now is no reason to leave the flags on, unless it has said before that the old shape may be gone.
func (p *press) record(ctx context.Context) error {
	if p.found.ledger == nil {
		return nil
	}
	var kills []ledger.Kill
	for _, f := range p.found.flags {
		k := ledger.Kill{Plan: p.found.Plan, Migration: p.order.Migration, FirstRun: p.found.FirstRun, Key: f.Key, Actor: p.order.By, Reason: p.order.Reason}
		if c := p.order.Context; c != nil {
			k.ContextKind, k.ContextKey = c.Kind, c.Key
		}
		kills = append(kills, k)
	}
	bounded, cancel := p.order.within(ctx, recordTimeout)
	defer cancel()
	var err error
	p.ids, err = p.found.ledger.Press(bounded, kills, p.order.Force)
	switch {
	case err == nil:
		p.report.Recorded = true
		p.order.Tell("recorded in database %s", p.found.database)
	case errors.Is(err, ledger.ErrPastReturn), errors.Is(err, ledger.ErrPassing), ctx.Err() != nil:
		return err
	case p.found.PastReturn && !p.order.Force:
		return fmt.Errorf("%w; database %s: %s", ledger.ErrPastReturn, p.found.database, said(err))
	default:
		p.ids, p.unwritten = nil, err
		p.order.Tell("NOT RECORDED: database %s: %s", p.found.database, said(err))
	}
	return nil
}

// audit writes who turned what off, why and how long it took, and says what is not recorded.
func (p *press) audit(ctx context.Context, took time.Duration) error {
	if p.found.ledger == nil {
		return fmt.Errorf("%w: %w", ErrUnrecorded, p.found.silent)
	}
	var told []string
	for _, f := range p.report.Flags {
		told = append(told, f.String())
	}
	whom := "everybody"
	if p.order.Context != nil {
		whom = "one " + p.order.Context.Kind
	}
	detail := fmt.Sprintf("for %s in %d ms: %s", whom, took.Milliseconds(), strings.Join(told, ", "))
	if p.order.Reason != "" {
		detail += "; " + p.order.Reason
	}
	bounded, cancel := p.order.within(ctx, auditTimeout)
	defer cancel()
	err := p.found.ledger.Audit(bounded, ledger.Event{Key: fmt.Sprintf("kill/%d/%v", time.Now().UnixNano(), p.ids), Migration: p.order.Migration,
		FirstRun: p.found.FirstRun, Plan: p.found.Plan, PlanHash: p.found.PlanHash, Event: "kill switch", Actor: p.order.By, Detail: detail})
	if err = errors.Join(p.unwritten, err); err != nil {
		return fmt.Errorf("%w: %s", ErrUnrecorded, said(err))
	}
	return nil
}

// String is how the audit tells it.
func (f Flag) String() string {
	text := f.Key + " " + strings.ReplaceAll(string(f.Outcome), "_", " ")
	if f.Outcome.done() {
		text += fmt.Sprintf(" in %d ms", f.Milliseconds)
	}
	return text
}
