package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/contraflow/contraflow/backfill"
)

// What every contestant does to the rows.
const (
	setStreet = "substr(address, strpos(address, ' ') + 1)"
	setNumber = "split_part(address, ' ', 1)"
	where     = "street is null"
	assign    = "street = " + setStreet + ", street_number = " + setNumber

	update = "update customers set " + assign + " where " + where
)

// handBatch is how many rows people change at a time who write batches by hand; serverBatch, who write a procedure.
const handBatch, serverBatch = 1000, 10_000

// singleUpdate is one statement.
func singleUpdate(ctx context.Context, t *target) error {
	return alone(ctx, t, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, update)
		return err
	})
}

// naiveBatches are what people write by hand: they look for the next thousand, change them and come back, each time in a
// transaction of its own that commits synchronously. With the last key as cursor, without which they'd be quadratic.
func naiveBatches(ctx context.Context, t *target) error {
	query := fmt.Sprintf(`with batch as (select id from customers where id > $1 and %s order by id limit %d),
		changed as (update customers c set %s from batch b where c.id = b.id returning c.id)
		select coalesce(max(id), 0), count(*) from changed`, where, handBatch, assign)
	return alone(ctx, t, func(conn *pgx.Conn) error {
		for last, n := int64(0), int64(handBatch); n == handBatch; {
			if err := conn.QueryRow(ctx, query, last).Scan(&last, &n); err != nil {
				return err
			}
		}
		return nil
	})
}

// walk is a procedure that walks the key without leaving the server, and commits after every range.
const walk = `create procedure walk(batch bigint) language plpgsql as $$
declare
	lower bigint := 0;
	upper bigint;
begin
	loop
		select id into upper from customers where id > lower order by id offset batch - 1 limit 1;
		update customers set ` + assign + ` where id > lower and (upper is null or id <= upper) and ` + where + `;
		commit;
		exit when upper is null;
		lower := upper;
	end loop;
end $$`

func serverProcedure(ctx context.Context, t *target) error {
	return alone(ctx, t, func(conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, walk); err != nil {
			return err
		}
		_, err := conn.Exec(ctx, fmt.Sprintf("call walk(%d)", serverBatch), pgx.QueryExecModeSimpleProtocol)
		return err
	})
}

// rewrite makes the table as small as it can be.
func rewrite(ctx context.Context, t *target) error {
	return alone(ctx, t, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "vacuum full customers")
		return err
	})
}

// alone gives a connection without any timeouts, as psql has.
func alone(ctx context.Context, t *target, work func(*pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, t.dsn)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	return work(conn)
}

// ours is the engine's spec of the same change.
func ours(lanes int) backfill.Spec {
	return backfill.Spec{Plan: "bench", Step: "fill", Table: "customers", Where: where, Lanes: lanes,
		Set: []backfill.Assignment{{Column: "street", Expr: setStreet}, {Column: "street_number", Expr: setNumber}}}
}

// engine runs a spec as a worker does: all lanes at once, then the proof.
func engine(spec backfill.Spec) func(context.Context, *target) error {
	return func(ctx context.Context, t *target) error {
		e := backfill.New(t.pool)
		if err := lanes(ctx, e, spec, backfill.LaneOptions{Help: true}); err != nil {
			return err
		}
		_, err := e.Finish(ctx, spec, backfill.LaneOptions{})
		return err
	}
}

// lanes prepares a spec and walks its lanes side by side; the first failure stops the others.
func lanes(ctx context.Context, e *backfill.Engine, spec backfill.Spec, o backfill.LaneOptions) error {
	run, err := e.Prepare(ctx, spec)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	failed := make([]error, len(run.Lanes))
	var walking sync.WaitGroup
	for i, lane := range run.Lanes {
		walking.Go(func() {
			if _, err := e.RunLane(ctx, spec, lane.Lane, o); err != nil {
				failed[i] = err
				cancel(err)
			}
		})
	}
	walking.Wait()
	return errors.Join(failed...)
}

// contestant is one way to change the table, and how long it took.
type contestant struct {
	name, title string
	run         func(context.Context, *target) (time.Duration, error)
}

// clocked takes the time of work from its call to its return.
func clocked(work func(context.Context, *target) error) func(context.Context, *target) (time.Duration, error) {
	return func(ctx context.Context, t *target) (time.Duration, error) {
		began := time.Now()
		err := work(ctx, t)
		return time.Since(began), err
	}
}

// race lets a contestant run on a fresh table and proves that it has changed every row. The table is the caller's to close.
func (b *bench) race(ctx context.Context, s shape, c contestant) (*target, time.Duration, error) {
	t, err := b.fresh(ctx, s, b.options.rows)
	if err != nil {
		return nil, 0, err
	}
	took, err := c.run(ctx, t)
	if err == nil {
		err = t.changed(ctx, b.options.rows)
	}
	if err != nil {
		t.close()
		return nil, 0, fmt.Errorf("%s: %w", c.title, err)
	}
	b.say("%-38s %8.2f s  %10s rows/s", c.title, took.Seconds(), thousands(float64(b.options.rows)/took.Seconds()))
	return t, took, nil
}

// changed is an error unless every row has its new values.
func (t *target) changed(ctx context.Context, rows int64) error {
	const query = "select count(*) from customers where street = " + setStreet + " and street_number = " + setNumber
	return alone(ctx, t, func(conn *pgx.Conn) error {
		var n int64
		if err := conn.QueryRow(ctx, query).Scan(&n); err != nil {
			return err
		}
		if n != rows {
			return fmt.Errorf("%d of %d rows are changed", n, rows)
		}
		return nil
	})
}
