package backfill

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// controlPeriod is how old the control row may be that a lane goes by: nothing for a person, and many of the smallest chunks.
const controlPeriod = 20 * time.Millisecond

// holdPoll is how often a lane that holds looks whether it may go on: soon enough for a person, nothing for Postgres.
const holdPoll = 250 * time.Millisecond

// LaneOptions are what the caller of a lane may want besides its result.
type LaneOptions struct {
	// Report hears of every chunk and, every quarter of a second, of whatever holds the lane. It is called by the lane's own
	// goroutine and should return at once. Defaults to nobody.
	Report func(Progress)
	// Stop, once closed, ends the lane between two chunks with ErrStopped. Defaults to never.
	Stop <-chan struct{}
	// Help makes a lane that is done go on with what others have left: lanes that nobody walks, or the half of what a long one
	// still has to walk. Defaults to false.
	Help bool
}

// attempt is one try at walking one lane, and whatever others have left after it.
type attempt struct {
	engine     *Engine
	spec       Spec
	table      table
	stamp      string
	statements statements
	conn       *pgxpool.Conn
	options    LaneOptions

	size     int64 // rows of the table, estimated
	lane     int
	fence    int64
	cut      int
	left     keyRange // what is still to walk; its lower end is the cursor
	control  control
	pace     pace
	rate     rate      // rows changed
	scanRate rate      // rows walked over
	began    time.Time // of the last chunk
	changed  int64     // rows by the last chunk
	lost     int       // chunks in a row that did not get through
	suspects int64     // rows ahead among which at least one is refused
	progress Progress
	helping  bool     // the present lane is somebody else's
	found    Progress // what others have done in the present lane, where it is not this attempt's own
	helped   Progress // what this attempt has done in lanes before the present one
}

// RunLane takes the lane over from whoever had it before, and walks it to its end. It returns the lane as it stands, also
// together with an error. When ctx ends, the chunk under way is rolled back, or was committed together with the cursor, and
// the error is ctx's cause. After any other error that is not Permanent, call it again: it goes on from the cursor.
func (e *Engine) RunLane(ctx context.Context, spec Spec, lane int, o LaneOptions) (Lane, error) {
	t, err := e.resolve(ctx, spec)
	if err != nil {
		return Lane{Lane: lane}, err
	}
	conn, err := e.pool.Acquire(ctx)
	if err != nil {
		return Lane{Lane: lane}, e.failed(ctx, rowError(spec.name()+": connect", err))
	}
	defer conn.Release()
	a := &attempt{engine: e, spec: spec.withDefaults(), table: t, statements: newStatements(t, spec.Where), conn: conn, options: o}
	a.progress.Lane = lane
	if a.stamp, err = t.stamp(ctx, conn); err != nil {
		return Lane{Lane: lane}, e.failed(ctx, rowError(spec.name()+": look up its columns", err))
	}
	done, err := a.walk(ctx, lane)
	p := a.progress
	walked := Lane{Lane: lane, Rows: p.Rows, Scanned: p.Scanned, Total: p.Total, Done: done}
	if err == nil && o.Help {
		err = a.help(ctx)
	}
	if err != nil && a.lost > 0 && ctx.Err() == nil {
		a.remember(ctx)
	}
	return walked, e.failed(ctx, err)
}

// walk walks a lane to its end. While it does, the session holds a shared advisory lock, by which helpers tell lanes that are
// walked from lanes that are not.
func (a *attempt) walk(ctx context.Context, lane int) (done bool, err error) {
	a.lane, a.lost, a.suspects = lane, 0, 0
	defer a.leave(ctx)
	for done, err = a.take(ctx); !done && err == nil; {
		done, err = a.step(ctx)
	}
	return done, err
}

// take makes a new token, so that every older attempt at this lane is fenced from its next commit on.
func (a *attempt) take(ctx context.Context) (done bool, err error) {
	var b pgx.Batch
	b.Queue("select pg_advisory_lock_shared("+laneLock+")", a.spec.Plan, a.spec.Step, a.lane)
	b.Queue(commitSettings, true)
	b.Queue(`update contraflow.backfill_lane set fence = nextval('contraflow.backfill_fence')
		where plan = $1 and step = $2 and lane = $3 and hash = $4 and target = $5 returning fence, chunk_rows`,
		a.spec.Plan, a.spec.Step, a.lane, a.spec.Hash(), a.stamp).QueryRow(func(row pgx.Row) error {
		return row.Scan(&a.fence, &a.pace.rows)
	})
	a.queueRange(&b, &done)
	b.Queue("select sum(total)::bigint from contraflow.backfill_lane where plan = $1 and step = $2", a.spec.Plan, a.spec.Step).
		QueryRow(func(row pgx.Row) error { return row.Scan(&a.size) })
	a.queueControl(&b)
	err = a.conn.SendBatch(ctx, &b).Close()
	if errors.Is(err, pgx.ErrNoRows) {
		return false, fmt.Errorf("%s: lane %d: %w", a.spec.name(), a.lane, ErrNotPrepared)
	}
	if err != nil {
		return false, rowError(a.doing("take it over"), err)
	}
	if a.helping {
		a.found = Progress{Rows: a.progress.Rows, Scanned: a.progress.Scanned, Total: a.progress.Scanned}
	}
	if a.pace.rows == 0 {
		a.pace.rows = a.spec.ChunkRows
	}
	a.rate.since, a.scanRate.since = time.Now(), time.Now()
	return done, nil
}

// leave gives the lane's advisory lock back; a connection that cannot is of no more use.
func (a *attempt) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	if a.conn.Conn().IsClosed() {
		return
	}
	if _, err := a.conn.Exec(ctx, "select pg_advisory_unlock_shared("+laneLock+")", a.spec.Plan, a.spec.Step, a.lane); err != nil {
		_ = a.conn.Conn().Close(ctx) // the pool makes a new one
	}
}

// queueRange reads what is left to walk, and how far the lane is.
func (a *attempt) queueRange(b *pgx.Batch, done *bool) {
	b.Queue(`select coalesce(cursor, lower_key), upper_key, cut, rows, scanned, total, done_at is not null
		from contraflow.backfill_lane where plan = $1 and step = $2 and lane = $3`,
		a.spec.Plan, a.spec.Step, a.lane).QueryRow(func(row pgx.Row) error {
		return row.Scan(&a.left.lower, &a.left.upper, &a.cut, &a.progress.Rows, &a.progress.Scanned, &a.progress.Total, done)
	})
}

// shorten learns where the lane ends now, after a helper has taken the rest over. Whether the lane is still this attempt's the
// next probe tells.
func (a *attempt) shorten(ctx context.Context) error {
	var b pgx.Batch
	var done bool
	a.queueRange(&b, &done)
	err := a.conn.SendBatch(ctx, &b).Close()
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("%s: %w", a.doing("look at its checkpoint"), ErrFenced)
	}
	return rowError(a.doing("look at its checkpoint"), err)
}

// step walks one chunk, or holds for a while.
func (a *attempt) step(ctx context.Context) (done bool, err error) {
	if err := a.wait(ctx, a.rest()); err != nil {
		return false, err
	}
	if err := a.observe(ctx); err != nil {
		return false, err
	}
	a.pace.target = a.chunkTime()
	limit := a.bisected(a.limit())
	end, scanned, err := a.probe(ctx, limit)
	if err != nil {
		return false, a.passing(ctx, err)
	}
	switch reason := a.holding(); {
	case reason != "":
		return false, a.hold(ctx, reason, a.holdTime(reason))
	case a.control.cut != a.cut:
		return false, a.shorten(ctx)
	case limit > a.bisected(a.limit()):
		return false, nil // a lower cap has just come in: look for a nearer end
	}
	done, err = a.chunk(ctx, end, scanned)
	switch {
	case err == nil:
		return done, a.vacuum(ctx)
	case errors.Is(err, errShortened):
		return false, a.shorten(ctx)
	case a.refusable(err, limit, end):
		return false, a.refuse(ctx, err, end, limit)
	}
	return false, a.passing(ctx, err)
}

// probe finds the last key of the next chunk, nil where the lane ends before that, and how many rows the chunk walks over. Now
// and then it reads the control row on the way.
func (a *attempt) probe(ctx context.Context, limit int64) (end []string, scanned int64, err error) {
	doing := a.doing("find the end of the next chunk")
	var b pgx.Batch
	if time.Since(a.control.asOf) >= controlPeriod {
		a.queueControl(&b)
	}
	b.Queue(probeSettings, milliseconds(probeTimeout(a.lost)))
	b.Queue(a.statements.probe(a.left), a.left.lower, a.left.upper, limit-1).QueryRow(func(row pgx.Row) error {
		if err := row.Scan(&end); !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		return nil
	})
	if err := a.conn.SendBatch(ctx, &b).Close(); err != nil {
		return nil, 0, rowError(doing, err)
	}
	if a.control.fence != a.fence {
		return nil, 0, fmt.Errorf("%s: %w", a.doing("look at its checkpoint"), ErrFenced)
	}
	if err := a.spec.tolerates(a.control.rejects); err != nil || end != nil {
		return end, limit, err
	}
	var last pgx.Batch
	last.Queue(probeSettings, milliseconds(probeTimeout(a.lost)))
	last.Queue(a.statements.count(a.left), a.left.lower, a.left.upper, limit).QueryRow(func(row pgx.Row) error { return row.Scan(&scanned) })
	return nil, scanned, rowError(doing, a.conn.SendBatch(ctx, &last).Close())
}

// chunk changes the rows up to end, or up to the end of the lane, and moves the cursor there: both or neither.
func (a *attempt) chunk(ctx context.Context, end []string, scanned int64) (done bool, err error) {
	chunk := a.left
	done = end == nil
	if done {
		end = a.left.lower
	} else {
		chunk.upper = end
	}
	a.began = time.Now()
	if a.spec.Transform != "" {
		err = a.transformChunk(ctx, chunk, end, done, scanned)
	} else {
		err = a.sqlChunk(ctx, chunk, end, done, scanned)
	}
	if err != nil {
		return false, err
	}
	now := time.Now()
	a.left.lower, a.lost = end, 0
	a.suspects = max(0, a.suspects-scanned)
	a.pace.took(scanned, now.Sub(a.began))
	a.rate.add(a.changed, now)
	a.scanRate.add(scanned, now)
	if done {
		a.progress.Total = a.progress.Scanned
	}
	a.progress.ChunkRows, a.progress.ChunkTime = scanned, now.Sub(a.began)
	a.report("")
	return done, nil
}

func (a *attempt) sqlChunk(ctx context.Context, chunk keyRange, end []string, done bool, scanned int64) error {
	var changed, allRows, allScanned int64
	var b pgx.Batch
	b.Queue(chunkSettings, done)
	b.Queue(a.statements.chunk(chunk), append([]any{chunk.lower, chunk.upper}, a.advanceArgs(end, done, scanned)...)...).
		QueryRow(func(row pgx.Row) error { return row.Scan(&changed, &allRows, &allScanned) })
	if err := a.conn.SendBatch(ctx, &b).Close(); err != nil {
		return rowError(a.doing("change a chunk"), err)
	}
	a.changed, a.progress.Rows, a.progress.Scanned = changed, allRows, allScanned
	return nil
}

// advanceArgs are the parameters of contraflow.backfill_advance but for the rows changed.
func (a *attempt) advanceArgs(cursor []string, done bool, scanned int64) []any {
	return []any{a.spec.Plan, a.spec.Step, a.lane, a.fence, a.cut, cursor, done, scanned,
		a.pace.rows, float32(a.rate.perSecond), float32(a.scanRate.perSecond)}
}

// passing gives way where the application, or a time-out, is in the way; any other error it returns.
func (a *attempt) passing(ctx context.Context, err error) error {
	why, contended := contention(err)
	if !contended || ctx.Err() != nil {
		return err
	}
	return a.giveWay(ctx, why, err)
}

// giveWay halves the chunk after it lost, and comes back later.
func (a *attempt) giveWay(ctx context.Context, why string, err error) error {
	a.pace.lost()
	a.lost++
	if a.lost > maxContended {
		return fmt.Errorf("%w: %d tries in a row, the last one: %w", ErrContended, a.lost, err)
	}
	return a.hold(ctx, "retry after "+why, backoff(a.lost))
}

// remember the pace, so that the next attempt does not begin with a chunk that is known not to get through. That it may fail
// costs some tries.
func (a *attempt) remember(ctx context.Context) {
	_, _ = a.engine.pool.Exec(ctx, "update contraflow.backfill_lane set chunk_rows = $5 where plan = $1 and step = $2 and lane = $3 and fence = $4",
		a.spec.Plan, a.spec.Step, a.lane, a.fence, a.pace.rows)
}

// holdTime is how long to hold before looking again.
func (a *attempt) holdTime(reason string) time.Duration {
	poll := jitter(holdPoll)
	if reason == HoldingCap {
		return max(0, min(poll, owed(a.changed, a.share())-time.Since(a.began)))
	}
	return poll
}

func (a *attempt) hold(ctx context.Context, reason string, d time.Duration) error {
	a.rate.add(0, time.Now())
	a.scanRate.add(0, time.Now())
	a.report(reason)
	return a.wait(ctx, d)
}

// wait for d, or less when the caller wants the lane to end.
func (a *attempt) wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-a.options.Stop:
		return ErrStopped
	default:
	}
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-a.options.Stop:
		return ErrStopped
	case <-timer.C:
		return nil
	}
}

func (a *attempt) report(holding string) {
	if a.options.Report == nil {
		return
	}
	p := a.progress
	p.Holding, p.RowsPerSecond, p.ScannedPerSecond = holding, a.rate.perSecond, a.scanRate.perSecond
	p.count(a.helped, 1)
	p.count(a.found, -1)
	a.options.Report(p)
}

func (a *attempt) doing(what string) string {
	return fmt.Sprintf("%s on %s, lane %d: %s", a.spec.name(), a.statements.table, a.lane, what)
}
