package health

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// ErrQuery says that a query is wrong as it stands: another attempt would fail in the same way.
var ErrQuery = errors.New("the query does not work")

// Measurement is one number and whether it is within its bounds.
type Measurement struct {
	Number float64
	Pass   bool
	// Text says the number and its bounds.
	Text string
}

// Measure takes one measurement outside any watch, for example as a proof. Errors that no retry mends wrap ErrQuery; none
// holds row values.
func Measure(ctx context.Context, pool *pgxpool.Pool, probe SQLProbe) (Measurement, error) {
	p, err := newSQLProber(probe, pool)
	if err != nil {
		return Measurement{}, fmt.Errorf("%w: %w", ErrQuery, err)
	}
	value, err := p.ask(ctx)
	if err != nil {
		_, shape := errors.AsType[errShape](err)
		server, answered := errors.AsType[*pgconn.PgError](err)
		if shape || answered && !passing(server.Code) {
			return Measurement{}, fmt.Errorf("%w: %w", ErrQuery, p.redact(err))
		}
		return Measurement{}, p.redact(err)
	}
	pass := (p.Max == nil || value <= *p.Max) && (p.Min == nil || value >= *p.Min)
	return Measurement{Number: value, Pass: pass, Text: p.describe(value)}, nil
}

// passing tells of SQLSTATE classes that another attempt may not meet: connection (08), authentication (28), missing database
// (3D), transaction rollback (40), resources (53), object state (55), operator intervention and time-outs (57), system (58).
func passing(code string) bool {
	return slices.ContainsFunc([]string{"08", "28", "3D", "40", "53", "55", "57", "58"}, func(class string) bool { return strings.HasPrefix(code, class) })
}
