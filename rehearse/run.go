package rehearse

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/contraflow/contraflow/ddl"
	"github.com/contraflow/contraflow/plan"
)

// timeLimit ends a rehearsal that would never do so itself: there are no rows, so that statements take moments.
const timeLimit = time.Hour

var errTimeLimit = fmt.Errorf("gave up after %s: a statement of the files may wait for ever", timeLimit)

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

// unreadable is what pg_dump says of a table that the role may not lock.
var unreadable = regexp.MustCompile(`permission denied for [^\n]*`)

// run is one rehearsal.
type run struct {
	Options
	report  *Report
	base    *target
	scratch *scratch
	target  *pgx.Conn // reads only
	conn    *pgx.Conn // to the scratch database, as a role that may do everything there; no transaction is open between steps
	// at is the version that the scratch database stands at, 0 for none.
	at uint
	// step is the index of the plan's step that is being rehearsed.
	step int
	// recorded versions need not be recorded again.
	recorded map[uint]bool
	dump     string // of the target
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

// Run rehearses. A statement, expression or check that fails stands in the report; the error is for what kept it from
// rehearsing, and holds no connection string. Nothing is left on the scratch server, also when ctx ends.
func Run(ctx context.Context, o Options) (report *Report, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeLimit, errTimeLimit)
	defer cancel()
	defer func() {
		if err != nil && errors.Is(context.Cause(ctx), errTimeLimit) {
			err = errTimeLimit
		}
	}()
	r := &run{Options: o, recorded: map[uint]bool{}, report: &Report{Plan: o.Plan.Name, PlanHash: o.Hash, Database: o.Plan.Database, At: time.Now().UTC(),
		Statements: []Statement{}, Trials: []Trial{}}}
	r.say("Reading the target database")
	if r.base, err = openTarget(ctx, o.Target, o.Files); err != nil {
		return nil, err
	}
	defer r.base.close(ctx)
	if r.base.state.Dirty {
		return nil, fmt.Errorf("%w at %s: run contraflow repair PLAN before a rehearsal", ddl.ErrDirty, r.base.state)
	}
	r.target, r.report.Server, r.report.From = r.base.conn, r.base.version, r.base.state.Version
	r.report.Cluster, r.report.DatabaseOID = r.base.identity.Cluster, r.base.identity.OID
	if o.Scratch == "" {
		r.say("Starting a scratch server")
	}
	if r.scratch, err = newScratch(ctx, o.Scratch, r.base); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.scratch.close(ctx)) }()
	r.report.Scratch = r.scratch.version
	r.warn()
	if err := r.rehearse(ctx); err != nil {
		return nil, err
	}
	return r.report, nil
}

func (r *run) rehearse(ctx context.Context) (err error) {
	r.say("Copying the schema of the target, without rows")
	if r.dump, err = r.scratch.clients.dump(ctx, r.base.config, r.scratch.whole(), &guard{config: r.base.config, end: "pg_terminate_backend"}); err != nil {
		if denied := unreadable.FindString(err.Error()); denied != "" {
			return fmt.Errorf("dump the target's schema: %s: the role must be allowed to read every table, as members of pg_read_all_data are", denied)
		}
		return fmt.Errorf("dump the target's schema: %w", err)
	}
	if err := r.reset(ctx); err != nil {
		return err
	}
	reversible, err := r.reversible()
	if err != nil {
		return err
	}
	if len(reversible) > 0 {
		if ok, err := r.thereAndBack(ctx, reversible); err != nil || !ok {
			return err
		}
	}
	if r.conn, err = r.scratch.connect(ctx); err != nil {
		return err
	}
	defer closeConn(ctx, r.conn)
	return r.walk(ctx)
}

// reset begins with the target's schema.
func (r *run) reset(ctx context.Context) error {
	notes, err := r.scratch.reset(ctx, r.base, r.dump)
	for _, note := range notes {
		if !slices.Contains(r.report.Notes, note) {
			r.note("%s", note)
		}
	}
	r.at = r.base.state.Version
	return err
}

// due are the versions that a migrate step would apply if the schema stood at version at.
func (r *run) due(step plan.Step, at uint) ([]uint, error) {
	if r.Files == nil {
		return nil, fmt.Errorf("step %s migrates, and there are no SQL files", step.Name)
	}
	versions, err := r.Files.Between(ddl.State{Version: at, Exists: at > 0 || r.base.state.Exists}, step.Migrate.To)
	if err != nil {
		return nil, fmt.Errorf("step %s: %w", step.Name, err)
	}
	return versions, nil
}

// reversible lists what the plan would apply before its point of no return.
func (r *run) reversible() (versions []uint, err error) {
	at := r.at
	for i, step := range r.Plan.Steps {
		if step.Irreversible() {
			break
		}
		if step.Migrate == nil {
			continue
		}
		due, err := r.due(step, at)
		if err != nil {
			return nil, err
		}
		versions = append(versions, due...)
		at = max(at, step.Migrate.To)
		r.step = i
	}
	return versions, nil
}

// thereAndBack records the versions, takes them down and compares. It is not ok if a statement failed: then nothing more is tried.
func (r *run) thereAndBack(ctx context.Context, versions []uint) (ok bool, err error) {
	before, err := r.scratch.dump(ctx)
	if err != nil {
		return false, err
	}
	for _, version := range versions {
		if ok, err := r.record(ctx, version); err != nil || !ok {
			return false, err
		}
	}
	if r.report.Down, err = r.down(ctx, versions, linesOf(before)); err != nil {
		return false, err
	}
	if r.report.Down.Problem != "" { // a second time up from here would prove nothing
		return true, r.reset(ctx)
	}
	return true, nil
}

// record applies a version and tells of its statements.
func (r *run) record(ctx context.Context, version uint) (ok bool, err error) {
	if err := r.Files.Check(version, ddl.Up); err != nil {
		return false, err
	}
	script, _ := r.Files.Script(version, ddl.Up)
	for _, direction := range []ddl.Direction{ddl.Up, ddl.Down} {
		if r.stays(version, direction) {
			return false, nil
		}
	}
	r.say("Applying %s", script.Name)
	statements, err := r.scratch.record(ctx, script)
	if err != nil {
		return false, err
	}
	for i := range statements {
		statements[i].Step = r.stepOf(version)
	}
	r.report.Statements = append(r.report.Statements, statements...)
	r.recorded[version] = true
	return len(statements) == 0 || statements[len(statements)-1].Problem == "", nil
}

// stays tells that a file would leave something on somebody's server, or do harm there, so that the rehearsal ends before it.
func (r *run) stays(version uint, direction ddl.Direction) bool {
	if r.scratch.server != nil {
		return false
	}
	script, _ := r.Files.Script(version, direction)
	st, found := clusterWide(script)
	if found {
		r.note("%s:%d changes more than its database, which would last on the scratch server: neither it nor what follows was tried, nor the way back; rehearse without --scratch", script.Name, st.Line)
	}
	return found
}

// warn of what is otherwise here than on the target.
func (r *run) warn() {
	t := r.base
	if len(t.servers) > 0 {
		r.note("nothing here reaches the foreign servers that the target has (%s): statements on their tables fail here", strings.Join(t.servers, ", "))
	}
	if r.scratch.server != nil {
		if t.rights.mighty {
			r.note("role %s may do on the target what nobody may here, such as run programs: what only superusers may do fails here", t.rights.user)
		}
		return
	}
	r.note("owners and rights were neither copied nor compared: on the scratch server all runs as role %s; rehearse without --scratch to try them", r.scratch.admin.User)
	if !r.scratch.super && len(t.publications) > 0 {
		r.note("publications were not copied (%s): that needs a superuser on the scratch server", strings.Join(t.publications, ", "))
	}
	if len(r.scratch.leftovers) > 0 {
		r.note("the scratch server has databases of rehearsals that have ended long ago; drop them: %s", strings.Join(r.scratch.leftovers, ", "))
	}
}

// stepOf names the step that applies a version.
func (r *run) stepOf(version uint) string {
	for _, step := range r.Plan.Steps {
		if step.Migrate != nil && step.Migrate.To >= version {
			return step.Name
		}
	}
	return ""
}

// walk goes through the plan in order, with the schema as each step would find it: it applies the versions, those behind the
// point of no return for the first time, and tries the plan's own SQL where it would run.
func (r *run) walk(ctx context.Context) error {
	r.say("Trying the plan's own SQL at each step")
	for i, step := range r.Plan.Steps {
		r.step = i
		if step.Migrate != nil {
			if ok, err := r.migrate(ctx, step); err != nil || !ok {
				return err
			}
		}
		if step.Backfill != nil && r.Sample > 0 {
			if err := r.sample(ctx, step); err != nil {
				return err
			}
		}
		if err := r.try(ctx, step); err != nil {
			return err
		}
		if err := r.tryChecks(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) migrate(ctx context.Context, step plan.Step) (ok bool, err error) {
	versions, err := r.due(step, r.at)
	if err != nil {
		return false, err
	}
	for _, version := range versions {
		if !r.recorded[version] {
			ok, err = r.record(ctx, version)
		} else {
			ok, err = r.again(ctx, version)
		}
		if err != nil || !ok {
			return false, err
		}
		r.at = version
	}
	return true, nil
}

// again applies a version after it was taken down. If it fails now, the way back has left something.
func (r *run) again(ctx context.Context, version uint) (ok bool, err error) {
	problem, err := r.repeat(ctx, version, ddl.Up)
	if err != nil || problem == "" {
		return err == nil, err
	}
	r.report.Down.Problem = "the second time up, after the way down: " + problem
	r.note("the plan's own SQL and samples were not tried from version %d on, which could not be applied a second time: mend the way down first", version)
	return false, nil
}
