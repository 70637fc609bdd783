package backfill_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"pgregory.net/rapid"
)

// write of the application, between two statements of the engine.
type write struct {
	kind string
	// pick chooses the row, number a new key, value what is written.
	pick, number, value int
}

func (w write) String() string { return fmt.Sprintf("%s %d/%d/%d", w.kind, w.pick, w.number, w.value) }

// Writes that a backfill without a condition covers, and those that only one with a condition covers: there a row may come
// back to be changed, be it because its value is taken away or because its key now lies elsewhere.
var (
	writes      = []string{"insert old", "insert new", "both", "source", "value", "delete", "hold both", "hold source", "hold delete"}
	whereWrites = append(slices.Clone(writes), "clear", "move")
)

func drawWrites(t *rapid.T, s shape) []write {
	kinds := writes
	if s.where {
		kinds = whereWrites
	}
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) write {
		return write{rapid.SampledFrom(kinds).Draw(t, "kind"), rapid.IntRange(0, 1000).Draw(t, "pick"),
			rapid.IntRange(-20, s.number(s.rows)+20).Draw(t, "number"), rapid.IntRange(1, 100_000).Draw(t, "value")}
	}), 1, 4).Draw(t, "writes")
}

// row as the application has left it.
type row struct {
	id, src  int64
	n        *int64
	times    int64
	original bool // there from the beginning, and never away
	finish   int  // the Finish that ran when the application last left the row to do
}

// application writes to the table and knows of each row what it wrote last, as Postgres returned it under the row's lock.
type application struct {
	shape   shape
	table   string
	pool    *pgxpool.Pool // with a short lock timeout: what is locked it leaves alone
	rows    []*row        // without the poisoned ones, which it leaves alone
	changed int64         // by the engine, of rows that are deleted
	finish  int
	held    chan error // the end of a transaction that is open for a while
	faults  []error
}

// holdTime is how long the application keeps a row locked at times: so long that the engine waits, and shorter than its lock timeout.
const holdTime = 15 * time.Millisecond

func newApplication(ctx context.Context, s shape, table string, pool *pgxpool.Pool) (*application, error) {
	a := &application{shape: s, table: table, pool: pool}
	found, err := pool.Query(ctx, "select id, src::bigint, n::bigint, times::bigint from "+table+" where src <> $1 order by id", poison)
	if err != nil {
		return nil, err
	}
	a.rows, err = pgx.CollectRows(found, func(r pgx.CollectableRow) (*row, error) {
		known := &row{original: true}
		return known, r.Scan(&known.id, &known.src, &known.n, &known.times)
	})
	return a, err
}

// do one write. What is locked, or collides with another key, is left alone.
func (a *application) do(ctx context.Context, w write) (what string) {
	a.settle()
	tx, err := a.pool.Begin(ctx)
	if err == nil {
		what, err = a.write(ctx, tx, w)
	}
	if failed, ok := errors.AsType[*pgconn.PgError](err); ok && (failed.Code == "55P03" || failed.Code == "23505" || failed.Code == "40P01") {
		_ = tx.Rollback(ctx)
		return "left alone: " + failed.Code
	}
	if err == nil && strings.HasPrefix(w.kind, "hold") {
		a.held = make(chan error, 1)
		time.AfterFunc(holdTime, func() { a.held <- tx.Commit(ctx) })
		return what
	}
	if err == nil {
		err = tx.Commit(ctx)
	}
	if err != nil {
		a.faults = append(a.faults, fmt.Errorf("the application's %s: %w", w, err))
	}
	return what
}

// settle waits for the transaction that is open.
func (a *application) settle() {
	if a.held == nil {
		return
	}
	if err := <-a.held; err != nil {
		a.faults = append(a.faults, fmt.Errorf("commit of the application: %w", err))
	}
	a.held = nil
}

func (a *application) write(ctx context.Context, tx pgx.Tx, w write) (what string, err error) {
	if strings.HasPrefix(w.kind, "insert") {
		return a.insert(ctx, tx, w)
	}
	if len(a.rows) == 0 {
		return "no row", nil
	}
	i := w.pick % len(a.rows)
	known := a.rows[i]
	kind := strings.TrimPrefix(w.kind, "hold ")
	if kind == "delete" {
		var times int64
		if err := tx.QueryRow(ctx, "delete from "+a.table+" where id = $1 returning times", known.id).Scan(&times); err != nil {
			return "", err
		}
		a.changed += times
		a.rows = slices.Delete(a.rows, i, i+1)
		return fmt.Sprintf("delete id %d changed %d times", known.id, times), nil
	}
	set, args := "", []any{known.id, w.value}
	switch kind {
	case "both":
		set = "src = $2, n = 2 * $2 + 1"
	case "source":
		set = "src = $2"
	case "value":
		set = "n = $2"
	case "clear":
		set = "n = null, src = $2"
	case "move":
		args[1] = w.number
		set = fmt.Sprintf("x = $2, (%s) = row(%s)", strings.Join(a.shape.keyColumns(), ", "), strings.Join(a.shape.key("$2::bigint"), ", "))
	}
	was := *known
	err = tx.QueryRow(ctx, "update "+a.table+" set "+set+" where id = $1 returning src, n, times", args...).Scan(&known.src, &known.n, &known.times)
	if err != nil {
		*known = was
		return "", err
	}
	if kind == "clear" || kind == "move" {
		known.finish = a.finish
	}
	return fmt.Sprintf("%s id %d: %s", w.kind, known.id, known), nil
}

func (a *application) insert(ctx context.Context, tx pgx.Tx, w write) (what string, err error) {
	known := &row{finish: a.finish}
	n := "default"
	if w.kind == "insert new" {
		n = fmt.Sprint(7 * w.value)
	}
	err = tx.QueryRow(ctx, fmt.Sprintf("insert into %s (x, src, n, %s) values ($1, $2, %s, %s) on conflict do nothing returning id, src, n, times",
		a.table, strings.Join(a.shape.keyColumns(), ", "), n, strings.Join(a.shape.key("$1::bigint"), ", ")), w.number, w.value).
		Scan(&known.id, &known.src, &known.n, &known.times)
	if errors.Is(err, pgx.ErrNoRows) {
		return "the key is taken", nil
	}
	if err != nil {
		return "", err
	}
	a.rows = append(a.rows, known)
	return fmt.Sprintf("%s id %d: %s", w.kind, known.id, known), nil
}

func (r row) String() string {
	n := "null"
	if r.n != nil {
		n = fmt.Sprint(*r.n)
	}
	return fmt.Sprintf("src %d, n %s, changed %d times", r.src, n, r.times)
}

// expect compares a row as it is now with what it has to be.
func (a *application) expect(known, now *row) error {
	since := now.times - known.times
	wrong := func(why string) error {
		return fmt.Errorf("row id %d (original %t): %s; the application left it at %s, and now it is %s", known.id, known.original, why, known, now)
	}
	switch {
	case now.src != known.src:
		return wrong("the source was changed")
	case since < 0 || since > 1:
		return wrong("changed more than once")
	case since == 1 && (now.n == nil || *now.n != a.expression(known)):
		return wrong("not the value of the expression")
	case since == 0 && (now.n == nil) != (known.n == nil), since == 0 && now.n != nil && *now.n != *known.n:
		return wrong("not the value that the application wrote")
	case a.shape.where && known.n != nil && since != 0:
		return wrong("the application's value was changed")
	case a.shape.where && known.n == nil && since == 0 && known.finish < a.finish:
		return wrong("not filled, and yet proved")
	case !a.shape.where && known.original && now.times != 1:
		return wrong("not changed exactly once")
	case now.times > 1 && !a.shape.where:
		return wrong("changed more than once in all")
	}
	return nil
}

func (a *application) expression(known *row) int64 {
	if a.shape.where {
		return 2*known.src + 1
	}
	return *known.n + 1
}
