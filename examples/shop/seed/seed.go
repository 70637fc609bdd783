// Package seed fills the shop with customers whose data follow a formula, so that a reader can tell a right answer from a wrong one.
package seed

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// ErrNotEmpty: ids of seeded customers start at 1, so there must be none yet.
var ErrNotEmpty = errors.New("there are customers already: seed an empty table only")

// Address of the seeded customer id.
func Address(id int64) string { return fmt.Sprintf("%d Some Street Number %d", id%999, id%1000) }

// Name of the seeded customer id.
func Name(id int64) string { return fmt.Sprintf("Customer %d", id) }

// Email of the seeded customer id.
func Email(id int64) string { return fmt.Sprintf("customer%d@example.com", id) }

const insert = `
insert into customers (id, name, email, address, created_at, changed_at)
select i, 'Customer ' || i, 'customer' || i || '@example.com', (i % 999) || ' Some Street Number ' || (i % 1000),
       now() - interval '30 days', now() - interval '30 days'
from generate_series(1, $1::bigint) i`

// Rows inserts the customers 1 to n in one transaction, in the old shape and 30 days in the past. The column address must exist.
func Rows(ctx context.Context, pool *pgxpool.Pool, n int64) error {
	if n < 1 {
		return fmt.Errorf("cannot seed %d customers: ask for 1 or more", n)
	}
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		var some bool
		if err := tx.QueryRow(ctx, "select exists (select from customers)").Scan(&some); err != nil {
			return err
		}
		if some {
			return ErrNotEmpty
		}
		if _, err := tx.Exec(ctx, insert, n); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "select setval(pg_get_serial_sequence('customers', 'id'), $1)", n)
		return err
	})
	server, ok := errors.AsType[*pgconn.PgError](err)
	switch {
	case ok:
		return fmt.Errorf("seed customers: SQLSTATE %s: are the migrations applied, and address not dropped yet?", server.Code)
	case err == nil, errors.Is(err, ErrNotEmpty):
		return err
	}
	return errors.New("seed customers: the database cannot be reached") // the driver's text quotes the connection string
}
