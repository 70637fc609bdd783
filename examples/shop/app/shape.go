package app

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// The rule this file stands for: deploy code that tolerates both shapes, before the first change and until after the last.
//
// The flags say which shape is wanted; the table says which is possible. The store remembers which columns exist and asks the
// catalog again, inside the request, whenever what it remembers may be out of date:
//
//	remembered   out of date when                        noticed by
//	old only     the new columns were added              a flag asks for the new shape
//	both         either shape was dropped                SQLSTATE 42703 or 0A000
//	new only     the column address came back (a down)   the statement finds no row, see noAddress
//
// So no request fails at the moment of a migration, up or down, and none is served from a column that is no longer kept.

// shape is which columns the table has.
type shape struct{ old, new bool }

func (s shape) String() string {
	switch {
	case s.old && s.new:
		return "both"
	case s.new:
		return "new"
	}
	return "old"
}

const shapeQuery = `
select coalesce(bool_or(attname = 'address'), false),
       count(*) filter (where attname in ('street_number', 'street')) = 2
from pg_attribute
where attrelid = to_regclass('customers') and attnum > 0 and not attisdropped`

// noAddress holds while the column address does not exist. A statement for the new shape alone carries it, and so takes effect
// only on a table without the old one: a write could otherwise leave address behind, and nothing would fail.
const noAddress = `not exists (select from pg_attribute
	where attrelid = to_regclass('customers') and attname = 'address' and not attisdropped)`

// maxAttempts at a request: one, and one more for each of two migrations that may pass while it runs.
const maxAttempts = 3

var (
	// ErrNoCustomer has this id.
	ErrNoCustomer = errors.New("no such customer")
	// ErrNoTable: the first migration is missing.
	ErrNoTable = errors.New("no table customers with an address in it: apply the migrations first")
	// ErrAddress cannot be told apart into number and street.
	ErrAddress = errors.New("an address is a number, a space and a street")
)

// learn reads the table's shape, unless another request has replaced stale since it was loaded.
func (s *Store) learn(ctx context.Context, stale *shape) (*shape, error) {
	s.learning.Lock()
	defer s.learning.Unlock()
	if known := s.known.Load(); known != stale {
		return known, nil
	}
	fresh := new(shape)
	if err := s.pool.QueryRow(ctx, shapeQuery).Scan(&fresh.old, &fresh.new); err != nil {
		return nil, err
	}
	if !fresh.old && !fresh.new {
		return nil, ErrNoTable
	}
	if stale != nil && *fresh != *stale {
		s.log.Info("the table's shape has changed", "was", stale.String(), "is", fresh.String())
	}
	s.known.Store(fresh)
	return fresh, nil
}

// adapt runs try on the table's shape, and again if the shape proves to be another one. try says whether it touched a row.
func (s *Store) adapt(ctx context.Context, wantNew bool, try func(shape) (touched bool, err error)) error {
	known := s.known.Load()
	var err error
	if wantNew && !known.new {
		if known, err = s.learn(ctx, known); err != nil {
			return err
		}
	}
	for attempt := 1; ; attempt++ {
		touched, err := try(*known)
		if touched && err == nil {
			return nil
		}
		doubt := err == nil && !known.old || shapeError(err)
		if !doubt || attempt == maxAttempts {
			return missing(err)
		}
		fresh, learnErr := s.learn(ctx, known)
		if learnErr != nil {
			return learnErr
		}
		if err == nil && *fresh == *known {
			return ErrNoCustomer
		}
		known = fresh
	}
}

// missing makes "no error, and no row" the error it is.
func missing(err error) error {
	if err == nil {
		return ErrNoCustomer
	}
	return err
}

// shapeError is Postgres saying that a statement no longer fits the table.
func shapeError(err error) bool {
	const undefinedColumn, cachedPlanOutdated = "42703", "0A000"
	server, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (server.Code == undefinedColumn || server.Code == cachedPlanOutdated)
}

// split an address at its first space, as the plan's backfill does.
func split(address string) (number, street string, err error) {
	number, street, found := strings.Cut(address, " ")
	if !found || strings.ContainsRune(address, 0) {
		return "", "", ErrAddress
	}
	return number, street, nil
}
