package health

import (
	"context"
	"errors"
	"fmt"
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
		if shape || answered && (strings.HasPrefix(server.Code, "42") || strings.HasPrefix(server.Code, "22") || server.Code == "25006") {
			return Measurement{}, fmt.Errorf("%w: %w", ErrQuery, p.redact(err))
		}
		return Measurement{}, p.redact(err)
	}
	pass := (p.Max == nil || value <= *p.Max) && (p.Min == nil || value >= *p.Min)
	return Measurement{Number: value, Pass: pass, Text: p.describe(value)}, nil
}
