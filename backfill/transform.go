package backfill

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// Transform computes new values of rows in Go, for what an SQL expression cannot say. It is registered under a name with
// WithTransforms, and a Spec asks for it by that name. A batch is changed as a chunk of SQL is: its rows, the lane's cursor and
// the counters in one transaction, so that what is committed is committed once.
type Transform struct {
	// Read are the columns whose values Rows receives, Write those whose values it returns; names as written in SQL. The key
	// may be read; it cannot be written.
	Read, Write []string
	// Rows receives a batch of at most some 100,000 rows in the order of the key, rows[i][j] the value of Read[j] in row i, and
	// returns as many, each with the values of Write. The rows are locked meanwhile: it should be quick.
	//
	// Values arrive as pgx decodes them: nil for null, int64, string, pgtype.Numeric, time.Time, []any for an array
	// (pgtype.Array[any] where it has several dimensions) and so on. What would lose by that is a string in Postgres's text
	// form: json, jsonb, xml, ranges, and the types that pgx does not know, such as enums, composites and those of extensions.
	// Values are returned in the same forms, or in any other that pgx takes for the column's type; nil for null.
	//
	// Rows must be pure: after a rollback the same rows come again, and several lanes call it at once. ctx ends with the lane.
	// It may keep or change what it is given.
	//
	// A row whose new values cannot be computed is refused with a *RowError: it is searched for and set aside, within
	// Spec.MaxRejects. Any other error ends the lane, which goes on from its cursor when it is run again; such an error's text
	// may hold values, so it is withheld: a transform that has more to say has to log it. The same goes for a panic, which is
	// told with the line that it came from.
	Rows func(ctx context.Context, rows [][]any) ([][]any, error)
}

// RowError is how a Transform refuses one row of its batch.
type RowError struct {
	// Row is its index in the batch.
	Row int
	// Err is why. Its text is recorded for people (table contraflow.backfill_reject): it must not hold values of the row.
	// Quotations and numbers in it are replaced by "…" all the same.
	Err error
}

func (e *RowError) Error() string {
	if e.Err == nil {
		return "refused by the transform"
	}
	return "refused by the transform: " + e.Err.Error()
}

// Unwrap is why the row is refused.
func (e *RowError) Unwrap() error { return e.Err }

// Option of an Engine.
type Option func(*Engine)

// WithTransforms registers transforms under the names that Specs ask for.
func WithTransforms(transforms map[string]Transform) Option {
	return func(e *Engine) { e.transforms = maps.Clone(transforms) }
}

// transform that a spec names, if it names one.
func (e *Engine) transform(spec Spec) (Transform, error) {
	f, ok := e.transforms[spec.Transform]
	switch {
	case spec.Transform == "":
		return Transform{}, nil
	case !ok && len(e.transforms) == 0:
		return Transform{}, fmt.Errorf("%w: transform %q is not known: this program was built without transforms", ErrNoTransform, spec.Transform)
	case !ok:
		return Transform{}, fmt.Errorf("%w: transform %q is not known; there are: %s", ErrNoTransform, spec.Transform,
			strings.Join(slices.Sorted(maps.Keys(e.transforms)), ", "))
	case len(f.Write) == 0 || f.Rows == nil:
		return Transform{}, fmt.Errorf("%w: transform %q must have columns to write and a function", ErrSpec, spec.Transform)
	}
	return f, nil
}

// call runs the function on a batch. Whatever it does, no word of its own leaves here but for a RowError's.
func (f *transformed) call(ctx context.Context, rows [][]any) (answer [][]any, err error) {
	defer func() {
		if recover() != nil {
			err = fmt.Errorf("transform %q panicked%s; its words are withheld, for they may hold row values", f.name, panickedAt())
		}
	}()
	given := len(rows)
	answer, err = f.Rows(ctx, rows)
	if row, ok := errors.AsType[*RowError](err); ok {
		return nil, row.withoutValues()
	}
	if err != nil {
		return nil, fmt.Errorf("transform %q failed with a %T; its words are withheld, for they may hold row values", f.name, err)
	}
	if len(answer) != given {
		return nil, fmt.Errorf("%w: transform %q returned %d rows for %d; it must return as many", ErrSpec, f.name, len(answer), given)
	}
	for _, row := range answer {
		if len(row) != len(f.write) {
			return nil, fmt.Errorf("%w: transform %q returned a row of %d values for the %d columns that it writes", ErrSpec, f.name, len(row), len(f.write))
		}
	}
	return answer, nil
}

func (e *RowError) withoutValues() *RowError {
	if e.Err == nil {
		return e
	}
	text := quotation.ReplaceAllString(e.Err.Error(), "“…”")
	return &RowError{Row: e.Row, Err: errors.New(digits.ReplaceAllString(text, "…"))}
}

// panickedAt is the line in which the panic began that is being recovered from.
func panickedAt() string {
	callers := make([]uintptr, 64)
	frames := runtime.CallersFrames(callers[:runtime.Callers(1, callers)])
	for panicking := false; ; {
		frame, more := frames.Next()
		if panicking && !strings.HasPrefix(frame.Function, "runtime.") {
			return fmt.Sprintf(" at %s:%d", filepath.Base(frame.File), frame.Line)
		}
		panicking = panicking || frame.Function == "runtime.gopanic"
		if !more {
			return ""
		}
	}
}
