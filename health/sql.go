package health

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/contraflow/contraflow/internal/pg"
)

const (
	// defaultSQLTimeout: a count over an index is milliseconds; a query that needs longer than this is a load on the
	// database it is meant to protect.
	defaultSQLTimeout = 10 * time.Second
	// sqlTimeoutGrace lets the server's own time-out come first, so that no statement is left running.
	sqlTimeoutGrace = time.Second
)

// SQLProbe asks the database for one number. It passes if Min ≤ number ≤ Max. Whatever keeps it from that number is an
// error and no failure: no connection, a time-out, an error of Postgres, another shape of the answer, NULL, NaN.
type SQLProbe struct {
	// Query returns exactly one row with one numeric column. It runs in a read-only transaction.
	Query string
	// Max and Min bound the number, both inclusive; at least one is set.
	Max, Min *float64
	// Timeout of the statement. Defaults to 10 s.
	Timeout time.Duration
}

type sqlProber struct {
	SQLProbe
	pool *pgxpool.Pool
}

func newSQLProber(p SQLProbe, pool *pgxpool.Pool) (*sqlProber, error) {
	switch {
	case p.Query == "":
		return nil, errors.New("sql: the query is missing")
	case p.Max == nil && p.Min == nil:
		return nil, errors.New("sql: set max, min or both; without a bound every number passes")
	case p.Max != nil && math.IsNaN(*p.Max) || p.Min != nil && math.IsNaN(*p.Min):
		return nil, errors.New("sql: max and min must be numbers")
	case p.Max != nil && p.Min != nil && *p.Min > *p.Max:
		return nil, errors.New("sql: min is above max, so that no number passes")
	case p.Timeout < 0:
		return nil, errors.New("sql: timeout must not be negative")
	case pool == nil:
		return nil, errors.New("sql: no database to ask")
	}
	if p.Timeout == 0 {
		p.Timeout = defaultSQLTimeout
	}
	return &sqlProber{p, pool}, nil
}

func (p *sqlProber) Probe(ctx context.Context) (Reading, error) {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout+sqlTimeoutGrace)
	defer cancel()
	value, err := p.ask(ctx)
	if err != nil {
		return Reading{}, p.redact(err)
	}
	pass := (p.Max == nil || value <= *p.Max) && (p.Min == nil || value >= *p.Min)
	return Reading{Text: p.describe(value), Pass: pass}, nil
}

// errShape is an answer that is not one number.
type errShape string

func (e errShape) Error() string { return string(e) }

func (p *sqlProber) ask(ctx context.Context) (float64, error) {
	begin := fmt.Sprintf("begin read only; set local statement_timeout = %d", max(1, p.Timeout.Milliseconds()))
	tx, err := p.pool.BeginTx(ctx, pgx.TxOptions{BeginQuery: begin})
	if err != nil {
		return 0, err
	}
	defer func() { _ = tx.Rollback(ctx) }()
	// The extended protocol refuses a second statement, so the query cannot end its read-only transaction and go on.
	// Nothing is cached, because the table's columns come and go.
	rows, err := tx.Query(ctx, p.Query, pgx.QueryExecModeDescribeExec)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	columns := rows.FieldDescriptions()
	var value *float64
	count := 0
	for rows.Next() {
		if count++; count > 1 {
			return 0, errShape("the query returned more than one row: it must return one number")
		}
		if len(columns) != 1 {
			return 0, errShape(fmt.Sprintf("the query returned %d columns: it must return one number", len(columns)))
		}
		if !numeric(columns[0].DataTypeOID) {
			return 0, errShape("the query's column is not numeric: it must return one number")
		}
		if err := rows.Scan(&value); err != nil {
			return 0, errShape("the query's number does not fit a float64")
		}
	}
	switch err := rows.Err(); {
	case err != nil:
		return 0, err
	case count == 0:
		return 0, errShape("the query returned no row: it must return one number")
	case value == nil:
		return 0, errShape("the query returned NULL: wrap it in coalesce(…, a number)")
	case math.IsNaN(*value):
		return 0, errShape("the query returned NaN: it must return a number")
	}
	return *value, nil
}

func numeric(oid uint32) bool {
	return slices.Contains([]uint32{pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID,
		pgtype.Float4OID, pgtype.Float8OID, pgtype.NumericOID}, oid)
}

func (p *sqlProber) describe(value float64) string {
	text := number(value)
	switch {
	case p.Min == nil:
		return text + ", may be at most " + number(*p.Max)
	case p.Max == nil:
		return text + ", must be at least " + number(*p.Min)
	}
	return text + ", must be from " + number(*p.Min) + " to " + number(*p.Max)
}

func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

const sqlStateQueryCanceled = "57014"

// redact keeps what helps and holds no data: messages of Postgres may quote row values, those of the driver the
// connection string.
func (p *sqlProber) redact(err error) error {
	if shape, ok := errors.AsType[errShape](err); ok {
		return shape
	}
	if server, ok := errors.AsType[*pgconn.PgError](err); ok {
		if server.Code == sqlStateQueryCanceled {
			return fmt.Errorf("the query gave no answer within %s: make it cheaper", p.Timeout)
		}
		if pg.HidesRows(server) {
			return fmt.Errorf("the query failed with SQLSTATE %s: %s", server.Code, pg.RowsHidden)
		}
		if strings.HasPrefix(server.Code, "42") && server.Position > 0 { // of the query's own text, before it met any row
			return fmt.Errorf("the query failed with SQLSTATE %s at character %d: %s", server.Code, server.Position, server.Message)
		}
		return fmt.Errorf("the query failed with SQLSTATE %s: run it by hand to see why", server.Code)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("the database gave no answer within %s", p.Timeout+sqlTimeoutGrace)
	}
	return errors.New("the database could not be reached")
}
