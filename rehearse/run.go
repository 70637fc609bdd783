package rehearse

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/contraflow/contraflow/ddl"
	"github.com/contraflow/contraflow/plan"
)

// Options of a rehearsal.
type Options struct {
	Plan *plan.Plan
	// Hash of the plan with its files.
	Hash string
	// Files of the plan's migrations folder; nil if it has none.
	Files *ddl.Files
	// Target is the connection string of the database that the plan is for.
	Target string
	// Scratch is the connection string of a server of the target's major version on which the role may create databases. Defaults
	// to a server of this machine's own binaries, in a temporary folder, that ends with the rehearsal.
	Scratch string
	// Sample is how many rows to copy, to try each backfill on. Defaults to none.
	Sample int
	// Report is told what is being done, for people. Defaults to telling nobody.
	Report func(line string)
}

// run is one rehearsal.
type run struct {
	Options
	report *Report
	target *pgx.Conn // in read-only transactions
	conn   *pgx.Conn // to the scratch database, as a role that may do everything there; no transaction is open between files
	// at is the version that the scratch database stands at, 0 for none.
	at uint
	// step is the index of the plan's step that is being rehearsed.
	step int
}

func (r *run) say(format string, args ...any) {
	if r.Options.Report != nil {
		r.Options.Report(fmt.Sprintf(format, args...))
	}
}

// note tells what could not be rehearsed.
func (r *run) note(format string, args ...any) {
	r.report.Notes = append(r.report.Notes, fmt.Sprintf(format, args...))
}

// Run rehearses. A statement, expression or check that fails stands in the report; the error is for what kept it from rehearsing.
func Run(ctx context.Context, o Options) (*Report, error) {
	r := &run{Options: o, report: &Report{Plan: o.Plan.Name, PlanHash: o.Hash, Database: o.Plan.Database, At: time.Now().UTC()}}
	return r.report, nil
}

// up applies the plan's versions and tries its own SQL where it would run: each step of the plan in order, with the schema as it
// would then stand.
func (r *run) trySteps(ctx context.Context) error {
	for i, step := range r.Plan.Steps {
		r.step = i
		switch {
		case step.Migrate != nil:
		case step.Backfill != nil:
			if r.Sample > 0 {
				if err := r.sample(ctx, step); err != nil {
					return err
				}
			}
			fallthrough
		default:
			if err := r.try(ctx, step); err != nil {
				return err
			}
		}
		if err := r.tryChecks(ctx); err != nil {
			return err
		}
	}
	return nil
}
