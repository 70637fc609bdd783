package kill

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/contraflow/contraflow/internal/ledger"
	"github.com/contraflow/contraflow/internal/pg"
	"github.com/contraflow/contraflow/plan"
)

// found is the migration with the flags to turn off, in that order.
type found struct {
	ledger.Switch
	flags    []ledger.Used
	database string
	ledger   *ledger.Ledger // nil: no database has answered, and the flags are the plan's
	silent   error          // why
	close    func()
}

// answer of one database.
type answer struct {
	Database
	pool *pgxpool.Pool
	ledger.Switch
	err error
}

// find asks all databases at once; a migration that has no flag to turn off is found, and an ErrNothingMoved. Where none knows the
// migration and one is silent, the plan's file says which flags it is about.
func find(ctx context.Context, o Order) (*found, error) {
	answers := make(chan answer, len(o.Databases))
	asking, stop := o.within(ctx, findTimeout)
	defer stop()
	for _, db := range o.Databases {
		go func() { answers <- ask(asking, db, o) }()
	}
	var known []answer
	var unknown []string
	var silent []error
	var enough <-chan time.Time
	for left := len(o.Databases); left > 0; {
		var a answer
		select {
		case a = <-answers:
			left--
		case <-enough:
			o.Tell("not waited for %d of the databases, which may know a migration of this id, too", left)
			go closeRest(answers, left)
			left = 0
			continue
		}
		switch {
		case a.err == nil:
			known = append(known, a)
			if a.Running && enough == nil {
				enough = time.After(othersTimeout + o.Patience)
			}
			continue
		case errors.Is(a.err, ledger.ErrUnknown):
			unknown = append(unknown, a.Name)
		default:
			o.Tell("database %s: %s", a.Name, said(a.err))
			silent = append(silent, fmt.Errorf("database %s: %s", a.Name, said(a.err)))
		}
		a.close()
	}
	if err := ctx.Err(); err != nil {
		closeAll(known)
		return nil, err
	}
	if len(known) > 0 {
		a, err := theOne(known, silent, o)
		if err != nil {
			return nil, err
		}
		return inDatabase(a, o)
	}
	if len(silent) == 0 {
		slices.Sort(unknown)
		return nil, fmt.Errorf("%w: %s is not in %s", ledger.ErrUnknown, o.Migration, strings.Join(unknown, ", "))
	}
	err := fmt.Errorf("%w: %w", ErrSilent, errors.Join(silent...))
	if o.Plan == nil {
		return nil, err
	}
	o.Tell("no database answers: the flags are those of plan %s, whatever migration %s runs", o.Plan.Name, o.Migration)
	return inPlan(o.Plan, err)
}

// theOne is the database with the migration that runs. Of several that have run it, or run it, a person must say which is meant; so
// where it is over as far as is known, and may run in one that is silent.
func theOne(known []answer, silent []error, o Order) (answer, error) {
	over := func(a answer) bool { return !a.Running }
	running := slices.DeleteFunc(slices.Clone(known), over)
	switch {
	case len(running) == 0 && len(silent) > 0:
		closeAll(known)
		return answer{}, fmt.Errorf("%w: %s is over in %s, and may run where nobody answers: say with --database which one is meant; %w",
			ErrSilent, o.Migration, names(known), errors.Join(silent...))
	case len(known) == 1:
		return known[0], nil
	case len(running) == 1:
		for _, a := range slices.DeleteFunc(slices.Clone(known), func(a answer) bool { return a.Running }) {
			o.Tell("database %s: an earlier migration of this id is over there, and left alone", a.Name)
			a.close()
		}
		return running[0], nil
	}
	defer closeAll(known)
	state := "is over"
	if len(running) > 0 {
		state = "runs"
	}
	return answer{}, fmt.Errorf("%w: %s %s in %s: say with --database which one is meant", ErrSeveral, o.Migration, state, names(known))
}

func names(of []answer) string {
	var all []string
	for _, a := range of {
		all = append(all, a.Name)
	}
	slices.Sort(all)
	return strings.Join(all, " and in ")
}

func closeAll(known []answer) {
	for _, a := range known {
		a.close()
	}
}

func ask(ctx context.Context, db Database, o Order) answer {
	a := answer{Database: db, err: db.Err}
	if a.err == nil {
		a.pool, a.err = pg.Open(ctx, db.DSN, pg.Settings{ApplicationName: "contraflow kill", LockTimeout: lockTimeout, StatementTimeout: findTimeout + o.Patience})
	}
	if a.err == nil {
		a.Switch, a.err = ledger.New(a.pool).FindSwitch(ctx, o.Migration)
	}
	return a
}

func (a answer) close() {
	if a.pool != nil {
		a.pool.Close()
	}
}

func closeRest(answers <-chan answer, n int) {
	for range n {
		(<-answers).close()
	}
}

func inDatabase(a answer, o Order) (*found, error) {
	f := &found{Switch: a.Switch, database: a.Name, ledger: ledger.New(a.pool), close: a.close}
	f.flags = slices.DeleteFunc(slices.Clone(a.Used), func(u ledger.Used) bool { return u.Retired })
	slices.Reverse(f.flags)
	var keys []string
	for _, used := range f.flags {
		keys = append(keys, used.Key)
	}
	o.Tell("found in database %s: plan %s, flags to turn off: %s", a.Name, a.Plan, cmp.Or(strings.Join(keys, ", "), "none"))
	switch {
	case len(f.flags) > 0:
		return f, nil
	case f.Undoing:
		return f, fmt.Errorf("%w: migration %s rolls back, and has put back what it had moved", ErrNothingMoved, o.Migration)
	case len(a.Used) > 0:
		return f, fmt.Errorf("%w: migration %s has retired all its flags; applications are served the fallback in their own code", ErrNothingMoved, o.Migration)
	}
	return f, fmt.Errorf("%w: migration %s has not moved any flag yet", ErrNothingMoved, o.Migration)
}

// inPlan takes the flags of the plan's steps.
func inPlan(p *plan.Plan, silent error) (*found, error) {
	f := &found{silent: silent, close: func() {}}
	f.Plan = p.Name
	for _, step := range p.Steps {
		if step.Flag == nil {
			continue
		}
		for _, key := range step.Flag.All() {
			if !slices.ContainsFunc(f.flags, func(u ledger.Used) bool { return u.Key == key }) {
				f.flags = append(f.flags, ledger.Used{Key: key, Scope: ledger.Scope{Project: p.Flags.Project, Environment: p.Flags.Environment}})
			}
		}
	}
	if len(f.flags) == 0 {
		return nil, fmt.Errorf("%w: plan %s has no flags", ErrNothingMoved, p.Name)
	}
	slices.Reverse(f.flags)
	return f, nil
}

// said is an error of Postgres without where it came from: what the driver adds may hold more than a person needs to know.
func said(err error) string {
	if server, ok := errors.AsType[*pgconn.PgError](err); ok {
		return server.Message + " (SQLSTATE " + server.Code + ")"
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok || errors.Is(err, context.DeadlineExceeded) {
		return "it does not answer"
	}
	return err.Error()
}
