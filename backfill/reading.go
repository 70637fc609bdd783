package backfill

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// readPeriod is often enough to be in time for people, and nothing beside the chunks.
	readPeriod = time.Second
	// readTimeout bounds one reading: what takes longer is a load itself, and no news of this moment any more.
	readTimeout = 2 * time.Second
	// readSlack is what a lane may be late beyond that, between two chunks or on a busy server.
	readSlack = 5 * time.Second
	// calmReadings in a row end a hold: a lull between two of the application's peaks is shorter than these seconds.
	calmReadings = 5
	// calmMargin below the maximum, as a share of it, is where a reading counts as calm: one that stays near the maximum
	// would be above it again as soon as the lanes go on.
	calmMargin = 0.2
)

// Reading is what a throttle, or the protected latency, was last found at.
type Reading struct {
	// Name of the throttle or of the latency.
	Name string
	// Reading in the signal's unit, a latency in seconds; nil where it could not be read.
	Reading *float64
	// Max at which the lanes still work.
	Max float64
	// Holding tells that the lanes hold because of it.
	Holding bool
	// Problem says why it could not be read, and what to do.
	Problem string
}

// Readings lists what was last read for a step, by name; none before its first chunk.
func (e *Engine) Readings(ctx context.Context, plan, step string) ([]Reading, error) {
	rows, err := e.pool.Query(ctx, `select name, reading, maximum, holding, problem from contraflow.backfill_reading
		where plan = $1 and step = $2 order by name`, plan, step)
	var all []Reading
	if err == nil {
		all, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Reading])
	}
	return all, e.failed(ctx, rowError(fmt.Sprintf("read the readings of backfill step %q of plan %q", step, plan), err))
}

// checkPace checks windows, throttles and the protected latency.
func (s Spec) checkPace() error {
	var errs []error
	names := map[string]bool{string(wraparound): true}
	name := func(name string) {
		if names[name] {
			errs = append(errs, fmt.Errorf("%w: two throttles, or a throttle and the protected latency, are called %q; give each a name of its own", ErrSpec, name))
		}
		names[name] = true
	}
	for _, w := range s.Windows {
		errs = append(errs, w.check())
	}
	for _, t := range s.Throttles {
		errs = append(errs, t.check())
		name(t.name())
	}
	if s.Protect != nil {
		errs = append(errs, s.Protect.check())
		name(s.Protect.Name)
	}
	return errors.Join(errs...)
}

// throttles are the spec's and the one that is always there.
func (s Spec) throttles() []Throttle {
	return append([]Throttle{{Signal: wraparound}}, s.Throttles...)
}

// reach is the longest that all readings of the spec can take.
func (s Spec) reach() time.Duration {
	return time.Duration(len(s.throttles())+1) * readTimeout
}

// ahead of the server's clock no lane's turn ends: a turn that seems to was begun before the clock was set back, for example on
// another server, before a failover.
func (s Spec) ahead() time.Duration { return s.reach() + readSlack }

// outOfDate is the age in seconds at which readings are not to be relied on: whoever took them is gone, and nobody has come to
// take them in his place. It is infinite where only the autovacuum is read, which goes on whether we hold or not.
func (s Spec) outOfDate() float64 {
	if len(s.Throttles) == 0 && s.Protect == nil {
		return math.Inf(1)
	}
	return (readPeriod + s.reach() + readSlack).Seconds()
}

// taken is a reading with what it takes to remember a hold.
type taken struct {
	Reading
	calm int
	unit string
	age  float64 // seconds since it was taken
}

// judge decides whether a new reading holds the lanes: above the maximum or unreadable at once, and from then on until it has
// been calm often enough in a row.
func (r taken) judge(former taken) taken {
	switch {
	case r.Problem != "" || *r.Reading.Reading > r.Max:
		r.Holding, r.calm = true, 0
	case !former.Holding:
	case *r.Reading.Reading > r.Max-calmMargin*math.Abs(r.Max):
		r.Holding, r.calm = true, 0
	default:
		r.calm = former.calm + 1
		r.Holding = r.calm < calmReadings
	}
	return r
}

// message is what people read.
func (r taken) message() string {
	switch {
	case r.Problem != "":
		return r.Name + " " + r.Problem
	case r.Holding && r.Name == string(wraparound):
		return r.Name + " goes first"
	case *r.Reading.Reading > r.Max:
		return fmt.Sprintf("%s %s%s, above %s%s", r.Name, number(*r.Reading.Reading), r.unit, number(r.Max), r.unit)
	case r.Holding:
		return fmt.Sprintf("%s %s%s, not calm for long enough yet (maximum %s%s)", r.Name, number(*r.Reading.Reading), r.unit, number(r.Max), r.unit)
	}
	return ""
}

func number(f float64) string { return strconv.FormatFloat(math.Round(f*1000)/1000, 'f', -1, 64) }

// observe takes all readings when they are due, if no other lane does. Whatever cannot be read holds the lanes; an error means
// that the connection is of no more use.
func (a *attempt) observe(ctx context.Context) error {
	age := a.control.age + time.Since(a.control.asOf).Seconds()
	if age < readPeriod.Seconds() && age > -a.spec.ahead().Seconds() {
		return nil
	}
	turn, speed, base, former, err := a.claim(ctx)
	if err != nil || turn.IsZero() {
		return a.unobserved(ctx, err)
	}
	var all []taken
	for _, t := range a.spec.throttles() {
		r := a.read(ctx, t)
		all = append(all, r.judge(former[r.Name]))
	}
	if p := a.spec.Protect; p != nil {
		r := p.read(ctx)
		r, speed, base = a.steer(r, former[r.Name], speed, base)
		all = append(all, r)
	}
	a.control.asOf = time.Time{} // what was read before does not hold any more
	return a.unobserved(ctx, a.write(ctx, turn, speed, base, all))
}

// unobserved leaves the readings to a later turn where only somebody's lock is in the way; they go out of date meanwhile.
func (a *attempt) unobserved(ctx context.Context, err error) error {
	err = rowError(a.doing("take the readings"), err)
	if _, contended := contention(err); contended && ctx.Err() == nil {
		return nil
	}
	return err
}

// claim begins the turn, zero where another lane has it: as long as the readings can take, no other begins.
func (a *attempt) claim(ctx context.Context) (turn time.Time, speed, base float64, former map[string]taken, err error) {
	var b pgx.Batch
	if math.IsInf(a.control.age, 1) {
		// Perhaps a person has removed the control row. A lane that was reset must not bring it back.
		b.Queue(`insert into contraflow.backfill_control (plan, step) select plan, step from contraflow.backfill_lane
			where plan = $1 and step = $2 and lane = $3 and fence = $4 on conflict do nothing`, a.spec.Plan, a.spec.Step, a.lane, a.fence)
	}
	b.Queue(asyncCommit)
	b.Queue(`update contraflow.backfill_control set read_at = clock_timestamp() + $3::float8 * interval '1 s'
		where (plan, step) in (select plan, step from contraflow.backfill_control
			where plan = $1 and step = $2 and (read_at < clock_timestamp() - $4::float8 * interval '1 s'
				or read_at > clock_timestamp() + $5::float8 * interval '1 s') for update skip locked)
		returning read_at, speed, base`, a.spec.Plan, a.spec.Step, a.spec.reach().Seconds(), readPeriod.Seconds(), a.spec.ahead().Seconds()).QueryRow(func(row pgx.Row) error {
		if err := row.Scan(&turn, &speed, &base); !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		return nil
	})
	former = map[string]taken{}
	b.Queue(`select name, holding, calm, extract(epoch from clock_timestamp() - read_at)::float8 from contraflow.backfill_reading
		where plan = $1 and step = $2`, a.spec.Plan, a.spec.Step).Query(func(rows pgx.Rows) error {
		var r taken
		_, err := pgx.ForEachRow(rows, []any{&r.Name, &r.Holding, &r.calm, &r.age}, func() error {
			former[r.Name] = r
			return nil
		})
		return err
	})
	err = a.conn.SendBatch(ctx, &b).Close()
	return turn, speed, base, former, err
}

// asyncCommit: readings that a crash forgets are taken again.
const asyncCommit = `select set_config('synchronous_commit', 'off', true)`

// write ends the turn, unless it took so long that another lane has begun one, or the step was reset.
func (a *attempt) write(ctx context.Context, turn time.Time, speed, base float64, all []taken) error {
	var names, problems, messages []string
	var readings []*float64
	var maxima []float64
	var holding []bool
	var calm []int
	for _, r := range all {
		names, problems, messages = append(names, r.Name), append(problems, r.Problem), append(messages, r.message())
		readings, maxima = append(readings, r.Reading.Reading), append(maxima, r.Max)
		holding, calm = append(holding, r.Holding), append(calm, r.calm)
	}
	var b pgx.Batch
	b.Queue(asyncCommit)
	b.Queue(`with turn as (update contraflow.backfill_control set read_at = clock_timestamp(), speed = $4, base = $12
			where plan = $1 and step = $2 and read_at = $3 returning plan, step),
		gone as (delete from contraflow.backfill_reading r using turn t where r.plan = t.plan and r.step = t.step and r.name <> all($5::text[]))
		insert into contraflow.backfill_reading (plan, step, name, reading, maximum, holding, calm, problem, message)
		select t.plan, t.step, r.* from turn t,
			unnest($5::text[], $6::float8[], $7::float8[], $8::boolean[], $9::integer[], $10::text[], $11::text[]) r
		on conflict (plan, step, name) do update set reading = excluded.reading, maximum = excluded.maximum, holding = excluded.holding,
			calm = excluded.calm, problem = excluded.problem, message = excluded.message, read_at = excluded.read_at`,
		a.spec.Plan, a.spec.Step, turn, speed, names, readings, maxima, holding, calm, problems, messages, base)
	return a.conn.SendBatch(ctx, &b).Close()
}

// readSettings keep a reading from writing and from taking long.
const readSettings = `select set_config('transaction_read_only', 'on', true), set_config('statement_timeout', $1, true)`

// read takes one throttle's reading.
func (a *attempt) read(ctx context.Context, t Throttle) taken {
	r := taken{Reading: Reading{Name: t.name(), Max: t.Max}}
	if t.Signal == ReplicaLag {
		r.unit = " s"
	}
	var hidden bool
	var b pgx.Batch
	b.Queue(readSettings, milliseconds(readTimeout))
	b.Queue(t.statement(), a.statements.table).QueryRow(func(row pgx.Row) error { return row.Scan(&r.Reading.Reading, &hidden) })
	err := a.conn.SendBatch(ctx, &b).Close()
	switch refused, _ := errors.AsType[*pgconn.PgError](err); {
	case err == nil && hidden, refused != nil && refused.Code == insufficientPrivilege && t.Signal != Query:
		role := pgx.Identifier{a.conn.Conn().Config().User}.Sanitize()
		r.unreadable("the role may not see it: GRANT pg_monitor TO " + role)
	case err != nil:
		r.unreadable(strings.TrimPrefix(wrap("", err, queryMessage).Error(), ": "))
	case r.Reading.Reading == nil || math.IsNaN(*r.Reading.Reading):
		r.unreadable("it returned no number")
	}
	return r
}

// unreadable is a reading that fails closed.
func (r *taken) unreadable(why string) {
	r.Reading.Reading, r.Problem = nil, "cannot be read: "+why
}

const insufficientPrivilege = "42501"

// queryMessage keeps what Postgres says against a place in the text of a query, or of the rights it needs. Without a place it may
// be about a row: a name that was looked up in the data.
func queryMessage(e *pgconn.PgError) string {
	if strings.HasPrefix(e.Code, "42") && e.Where == "" && (e.Position > 0 || e.Code == insufficientPrivilege) {
		return planMessage(e)
	}
	return rowMessage(e)
}

// read takes the protected latency.
func (p *Protect) read(ctx context.Context) taken {
	r := taken{Reading: Reading{Name: p.Name, Max: p.Max.Seconds()}}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	latency, err := p.Read(ctx)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		r.unreadable(fmt.Sprintf("no answer within %s", readTimeout))
	case err != nil:
		r.unreadable(err.Error())
	default:
		seconds := latency.Seconds()
		r.Reading.Reading = &seconds
	}
	return r
}

// steer chooses the speed by the protected latency. That is high only because the speed is: it holds the lanes where it cannot
// be read, and as long after that as a throttle.
func (a *attempt) steer(r, former taken, speed, base float64) (taken, float64, float64) {
	bound := r.Max
	r.Max = math.Inf(1)
	r = r.judge(former)
	r.Max = bound
	if r.Reading.Reading == nil {
		return r, speed, base
	}
	if former.Name == "" || former.age > a.spec.outOfDate() {
		speed, base = 0, 0 // what was right then may be too much now
	}
	base = nextBase(base, *r.Reading.Reading)
	next := nextSpeed(speed, base, *r.Reading.Reading, bound, a.control.lanes)
	if reason := a.holding(); speed > 0 && reason != "" && !strings.HasPrefix(reason, HoldingProtect) {
		next = min(next, speed) // a good latency is no proof of a speed that nobody drove
	}
	return r, next, base
}
