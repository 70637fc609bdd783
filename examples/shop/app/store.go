// Package app is the shop: customers over Postgres, served in the shape that the flags want and the table has.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Customer of the shop.
type Customer struct {
	ID      int64  `json:"id"`
	Name    string `json:"name"`
	Email   string `json:"email"`
	Address string `json:"address"`
}

// Store keeps customers in a table that is being migrated.
type Store struct {
	pool  *pgxpool.Pool
	flags Flags
	log   *slog.Logger

	known    atomic.Pointer[shape]
	learning sync.Mutex // one reading of the catalog at a time
	counts   counts
}

// counts of statements that took effect, by the shape they were in.
type counts struct {
	readsOld, readsNew               atomic.Int64
	writesOld, writesBoth, writesNew atomic.Int64
}

// OpenStore learns the table's shape. The pool stays the caller's.
func OpenStore(ctx context.Context, pool *pgxpool.Pool, flags Flags, log *slog.Logger) (*Store, error) {
	s := &Store{pool: pool, flags: flags, log: log}
	if _, err := s.learn(ctx, nil); err != nil {
		return nil, fmt.Errorf("read the shape of the table customers: %w", redact(err))
	}
	return s, nil
}

// Every statement names its columns: a cached plan of select * breaks when a column comes or goes.
const (
	insertOld  = `insert into customers (id, name, email, address) values ($1, $2, $3, $4)`
	insertBoth = `insert into customers (id, name, email, address, street_number, street) values ($1, $2, $3, $4, $5, $6)`
	insertNew  = `insert into customers (id, name, email, street_number, street)
		select $1, $2, $3, $4, $5 where ` + noAddress

	updateOld  = `update customers set address = $2, changed_at = now() where id = $1`
	updateBoth = `update customers set address = $2, street_number = $3, street = $4, changed_at = now() where id = $1`
	updateNew  = `update customers set street_number = $2, street = $3, changed_at = now() where id = $1 and ` + noAddress

	selectOld     = `select name, email, address from customers where id = $1`
	selectNew     = `select name, email, street_number || ' ' || street from customers where id = $1`
	selectNewOnly = selectNew + ` and ` + noAddress
)

// Create a customer and give it an id. The id comes first, because the flags are asked about this customer.
func (s *Store) Create(ctx context.Context, c Customer) (int64, error) {
	number, street, err := split(c.Address)
	if err != nil {
		return 0, err
	}
	const next = "select nextval(pg_get_serial_sequence('customers', 'id'))"
	if err := s.pool.QueryRow(ctx, next).Scan(&c.ID); err != nil {
		return 0, err
	}
	wantNew := writeNew(s.flags, c.ID)
	err = s.adapt(ctx, wantNew, func(has shape) (bool, error) {
		switch {
		case !has.old:
			return s.write(ctx, &s.counts.writesNew, insertNew, c.ID, c.Name, c.Email, number, street)
		case wantNew && has.new:
			return s.write(ctx, &s.counts.writesBoth, insertBoth, c.ID, c.Name, c.Email, c.Address, number, street)
		}
		return s.write(ctx, &s.counts.writesOld, insertOld, c.ID, c.Name, c.Email, c.Address)
	})
	return c.ID, err
}

// Move a customer to another address.
func (s *Store) Move(ctx context.Context, id int64, address string) error {
	number, street, err := split(address)
	if err != nil {
		return err
	}
	wantNew := writeNew(s.flags, id)
	return s.adapt(ctx, wantNew, func(has shape) (bool, error) {
		switch {
		case !has.old:
			return s.write(ctx, &s.counts.writesNew, updateNew, id, number, street)
		case wantNew && has.new:
			return s.write(ctx, &s.counts.writesBoth, updateBoth, id, address, number, street)
		}
		return s.write(ctx, &s.counts.writesOld, updateOld, id, address)
	})
}

func (s *Store) write(ctx context.Context, count *atomic.Int64, sql string, args ...any) (touched bool, err error) {
	tag, err := s.pool.Exec(ctx, sql, args...)
	if err != nil || tag.RowsAffected() == 0 {
		return false, err
	}
	count.Add(1)
	return true, nil
}

// Get a customer. In the new shape a value that was never filled in reads as an empty address: nothing is papered over.
func (s *Store) Get(ctx context.Context, id int64) (Customer, error) {
	c := Customer{ID: id}
	wantNew := readNew(s.flags, id)
	err := s.adapt(ctx, wantNew, func(has shape) (bool, error) {
		switch {
		case !has.old:
			return s.read(ctx, &s.counts.readsNew, selectNewOnly, &c)
		case wantNew && has.new:
			return s.read(ctx, &s.counts.readsNew, selectNew, &c)
		}
		return s.read(ctx, &s.counts.readsOld, selectOld, &c)
	})
	return c, err
}

func (s *Store) read(ctx context.Context, count *atomic.Int64, sql string, c *Customer) (touched bool, err error) {
	var address *string
	err = s.pool.QueryRow(ctx, sql, c.ID).Scan(&c.Name, &c.Email, &address)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if address != nil {
		c.Address = *address
	}
	count.Add(1)
	return true, nil
}
