package backfill

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// holdPoll is how often a lane that holds looks whether it may go on: soon enough for a person, nothing for Postgres.
const holdPoll = 250 * time.Millisecond

// LaneOptions are what the caller of a lane may want besides its result.
type LaneOptions struct {
	// Report hears of every chunk and, every quarter of a second, of whatever holds the lane. It is called by the lane's own
	// goroutine and should return at once. Defaults to nobody.
	Report func(Progress)
	// Stop, once closed, ends the lane between two chunks with ErrStopped. Defaults to never.
	Stop <-chan struct{}
}

// attempt is one try at walking one lane.
type attempt struct {
	engine     *Engine
	spec       Spec
	statements statements
	conn       *pgxpool.Conn
	options    LaneOptions

	lane     int
	fence    int64
	left     keyRange // what is still to walk; its lower end is the cursor
	control  control
	pace     pace
	rate     rate
	began    time.Time // of the last chunk
	changed  int64     // rows by the last chunk
	lost     int       // chunks in a row that did not get through
	progress Progress
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
	a := &attempt{engine: e, spec: spec.withDefaults(), statements: newStatements(t, spec.Where), conn: conn, options: o, lane: lane}
	a.progress.Lane = lane
	done, err := a.take(ctx)
	for !done && err == nil {
		done, err = a.step(ctx)
	}
	p := a.progress
	return Lane{Lane: lane, Rows: p.Rows, Scanned: p.Scanned, Total: p.Total, Done: done}, e.failed(ctx, err)
}

// take makes a new token, so that every older attempt at this lane is fenced from its next commit on.
func (a *attempt) take(ctx context.Context) (done bool, err error) {
	var found keyRange
	var cursor []string
	var b pgx.Batch
	b.Queue(commitSettings, true)
	b.Queue(`update contraflow.backfill_lane set fence = nextval('contraflow.backfill_fence')
		where plan = $1 and step = $2 and lane = $3 and hash = $4
		returning fence, lower_key, upper_key, cursor, rows, scanned, total, chunk_rows, done_at is not null`,
		a.spec.Plan, a.spec.Step, a.lane, a.spec.Hash()).QueryRow(func(row pgx.Row) error {
		return row.Scan(&a.fence, &found.lower, &found.upper, &cursor,
			&a.progress.Rows, &a.progress.Scanned, &a.progress.Total, &a.pace.rows, &done)
	})
	a.queueControl(&b)
	err = a.conn.SendBatch(ctx, &b).Close()
	if errors.Is(err, pgx.ErrNoRows) {
		return false, fmt.Errorf("%s: lane %d: %w", a.spec.name(), a.lane, ErrNotPrepared)
	}
	if err != nil {
		return false, rowError(a.doing("take it over"), err)
	}
	a.left = found
	if cursor != nil {
		a.left.lower = cursor
	}
	a.pace.target = a.spec.ChunkTime
	if a.pace.rows == 0 {
		a.pace.rows = a.spec.ChunkRows
	}
	a.rate.since = time.Now()
	return done, nil
}

// step walks one chunk, or holds for a while.
func (a *attempt) step(ctx context.Context) (done bool, err error) {
	if err := a.wait(ctx, 0); err != nil {
		return false, err
	}
	limit := a.limit()
	end, err := a.probe(ctx, limit)
	if err == nil {
		switch reason := a.holding(); {
		case reason != "":
			return false, a.hold(ctx, reason, jitter(holdPoll))
		case limit > a.limit():
			return false, nil // a lower cap has just come in: look for a nearer end
		}
		done, err = a.chunk(ctx, end, limit)
	}
	if why, ok := contention(err); ok && ctx.Err() == nil {
		return false, a.giveWay(ctx, why, err)
	}
	return done, err
}

// probe finds the last key of the next chunk, nil where the lane ends before that, and reads the control row on the way.
func (a *attempt) probe(ctx context.Context, limit int64) (end []string, err error) {
	var b pgx.Batch
	a.queueControl(&b)
	b.Queue(probeSettings)
	b.Queue(a.statements.probe(a.left), a.left.lower, a.left.upper, limit-1).QueryRow(func(row pgx.Row) error {
		if err := row.Scan(&end); !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		return nil
	})
	if err := a.conn.SendBatch(ctx, &b).Close(); err != nil {
		return nil, rowError(a.doing("find the end of the next chunk"), err)
	}
	if a.control.fence != a.fence {
		return nil, fmt.Errorf("%s: %w", a.doing("look at its checkpoint"), ErrFenced)
	}
	return end, nil
}

// chunk changes the rows up to end, or up to the end of the lane, and moves the cursor there: both or neither.
func (a *attempt) chunk(ctx context.Context, end []string, limit int64) (done bool, err error) {
	chunk, scanned := a.left, limit
	done = end == nil
	if done {
		if err := a.conn.QueryRow(ctx, a.statements.count(a.left), a.left.lower, a.left.upper, limit).Scan(&scanned); err != nil {
			return false, rowError(a.doing("count its last rows"), err)
		}
		end = a.left.lower
	} else {
		chunk.upper = end
	}
	a.began = time.Now()
	var b pgx.Batch
	b.Queue(chunkSettings, done)
	b.Queue(a.statements.chunk(chunk), chunk.lower, chunk.upper, a.spec.Plan, a.spec.Step, a.lane, a.fence, end, done, scanned,
		a.pace.rows, float32(a.rate.perSecond)).QueryRow(func(row pgx.Row) error {
		return row.Scan(&a.changed, &a.progress.Rows, &a.progress.Scanned)
	})
	if err := a.conn.SendBatch(ctx, &b).Close(); err != nil {
		return false, rowError(a.doing("change a chunk"), err)
	}
	now := time.Now()
	a.left.lower, a.lost = end, 0
	a.pace.took(scanned, now.Sub(a.began))
	a.rate.add(a.changed, now)
	if done {
		a.progress.Total = a.progress.Scanned
	}
	a.progress.ChunkRows, a.progress.ChunkTime = scanned, now.Sub(a.began)
	a.report("")
	return done, nil
}

// giveWay halves the chunk after it lost against the application, and comes back later.
func (a *attempt) giveWay(ctx context.Context, why string, err error) error {
	a.pace.lost()
	a.lost++
	if a.lost > maxContended {
		return fmt.Errorf("%w: %d tries in a row, the last one: %w", ErrContended, a.lost, err)
	}
	return a.hold(ctx, "retry after "+why, backoff(a.lost))
}

func (a *attempt) hold(ctx context.Context, reason string, d time.Duration) error {
	a.rate.add(0, time.Now())
	a.report(reason)
	return a.wait(ctx, d)
}

// wait for d, or less when the caller wants the lane to end.
func (a *attempt) wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-a.options.Stop:
		return ErrStopped
	default:
	}
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
	a.progress.Holding = holding
	a.progress.RowsPerSecond = a.rate.perSecond
	if a.options.Report != nil {
		a.options.Report(a.progress)
	}
}

func (a *attempt) doing(what string) string {
	return fmt.Sprintf("%s on %s, lane %d: %s", a.spec.name(), a.statements.table, a.lane, what)
}
