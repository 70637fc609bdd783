package backfill

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/contraflow/contraflow/internal/pg"
)

// lookupSettings let the planner find a batch's rows by their key, one after the other, whatever it believes of their number.
const lookupSettings = `select set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)`

const (
	// transformIdle bounds how long a transform may work on a batch, whatever the server grants: far above what a chunk takes,
	// and short enough for rows that a process which stands still keeps locked.
	transformIdle = time.Minute
	idleSettings  = `select set_config('idle_in_transaction_session_timeout', $1, true)`
)

// transformed is a transform on its table.
type transformed struct {
	Transform
	name  string
	types *pgtype.Map // for one goroutine

	key, read, write []typed
}

// typed is a column. New values travel as text, the one form that is exact for every type and for arrays of it.
type typed struct {
	name string // quoted
	oid  uint32 // of a domain its base type: pgx knows no domains
	// cast is the type without its length: a cast to varchar(3) would cut a value off that an assignment refuses.
	cast string
	// value is the expression to read the column by.
	value string
}

// transformed resolves a transform on its table, and the columns that it writes as assignments.
func (e *Engine) transformed(ctx context.Context, name string, f Transform, r pg.Relation, key []pg.Column) (*transformed, []Assignment, error) {
	read, err := columns(r, f.Read)
	if err != nil {
		return nil, nil, fmt.Errorf("transform %q reads: %w", name, err)
	}
	set := make([]Assignment, len(f.Write))
	for i, column := range f.Write {
		set[i].Column = column
	}
	if set, err = assignments(r, key, set); err != nil {
		return nil, nil, fmt.Errorf("transform %q writes: %w", name, err)
	}
	on := &transformed{Transform: f, name: name, types: pgtype.NewMap()}
	types, err := on.baseTypes(ctx, e.pool, r)
	if err != nil {
		return nil, nil, e.failed(ctx, planError("look up the types of "+r.Identifier().Sanitize(), err))
	}
	for _, c := range key {
		on.key = append(on.key, types[c.Name])
	}
	for _, c := range read {
		on.read = append(on.read, types[c.Name])
	}
	for _, a := range set {
		on.write = append(on.write, types[a.Column])
	}
	return on, set, nil
}

// baseTypes of all columns, by exact name.
func (f *transformed) baseTypes(ctx context.Context, q pg.Querier, r pg.Relation) (map[string]typed, error) {
	rows, err := q.Query(ctx, `
		with recursive base as (
			select attname, atttypid as oid from pg_attribute where attrelid = $1 and attnum > 0 and not attisdropped
			union all
			select attname, typbasetype from base join pg_type t on t.oid = base.oid where t.typtype = 'd')
		select attname, base.oid, format_type(base.oid, -1) from base join pg_type t on t.oid = base.oid where t.typtype <> 'd'`, r.OID)
	if err != nil {
		return nil, err
	}
	types := map[string]typed{}
	var name string
	var c typed
	_, err = pgx.ForEachRow(rows, []any{&name, &c.oid, &c.cast}, func() error {
		c.name = pgx.Identifier{name}.Sanitize()
		c.value = c.name
		if asText(f.types, c.oid) {
			c.value += "::text"
		}
		types[name] = c
		return nil
	})
	return types, err
}

// asText tells the types whose values pgx does not know, or does not write as it reads them: it rounds the numbers of JSON, for one.
func asText(types *pgtype.Map, oid uint32) bool {
	t, known := types.TypeForOID(oid)
	if !known {
		return true
	}
	switch codec := t.Codec.(type) {
	case *pgtype.JSONCodec, *pgtype.JSONBCodec, *pgtype.XMLCodec, *pgtype.RangeCodec, *pgtype.MultirangeCodec:
		return true
	case *pgtype.ArrayCodec:
		return asText(types, codec.ElementType.OID)
	}
	return false
}

// batch selects the rows of a range that a transform is to change: their keys, then what it reads. They are locked as the
// update will lock them, which foreign keys that refer to them do not feel.
func (s statements) batch(r keyRange, f *transformed) string {
	where := ""
	if s.where != "" {
		where = " and (\n" + s.where + "\n)"
	}
	var values []string
	for i, c := range slices.Concat(f.key, f.read) {
		// Names of their own, so that the order is by the key and not by its text.
		values = append(values, fmt.Sprintf("%s as contraflow_%d", c.value, i))
	}
	return fmt.Sprintf("select %s from %s where %s and (%s or true)%s order by %s for no key update",
		strings.Join(values, ", "), s.table, s.within(r), unused, where, s.columns())
}

// writeBack changes the rows of a batch and moves the lane on, in one statement: the first parameters are the columns of the
// key and those to write as text[], the others advance's.
func (s statements) writeBack(f *transformed) string {
	var arrays, names, found, set []string
	column := func(c typed) string {
		n := len(arrays) + 1
		arrays, names = append(arrays, fmt.Sprintf("$%d::text[]", n)), append(names, fmt.Sprintf("c%d", n))
		return fmt.Sprintf("contraflow_new.c%d::%s", n, c.cast)
	}
	for _, c := range f.key {
		found = append(found, "contraflow_row."+c.name+" = "+column(c))
	}
	for _, c := range f.write {
		set = append(set, c.name+" = "+column(c))
	}
	var p []any
	for i := range 11 {
		p = append(p, fmt.Sprintf("$%d", len(arrays)+1+i))
	}
	return fmt.Sprintf(`with contraflow_chunk as (update %s as contraflow_row set %s from unnest(%s) as contraflow_new(%s) where %s returning 1)
select n, a.rows, a.scanned from (select count(*) as n from contraflow_chunk) c, contraflow.backfill_advance(`, s.table,
		strings.Join(set, ", "), strings.Join(arrays, ", "), strings.Join(names, ", "), strings.Join(found, " and ")) +
		fmt.Sprintf("%s, %s, %s, %s, %s, %s, %s, n, %s, %s, %s, %s) a", p...)
}

// checkTransform lets the planner check names, types and rights of what will run, and runs nothing.
func (e *Engine) checkTransform(ctx context.Context, s statements, f *transformed) error {
	empty := make([]any, len(f.key)+len(f.write)+11)
	for _, q := range []struct {
		sql  string
		args []any
	}{{s.batch(keyRange{lower: []string{}, upper: []string{}}, f), []any{nil, nil}}, {s.writeBack(f), empty}} {
		rows, err := e.pool.Query(ctx, "explain "+q.sql, q.args...)
		if err != nil {
			return err
		}
		rows.Close()
		if rows.Err() != nil {
			return rows.Err()
		}
	}
	return nil
}

// transformChunk reads and locks the rows of a chunk, has them transformed, writes them back and moves the cursor to end: all
// or nothing.
func (a *attempt) transformChunk(ctx context.Context, chunk keyRange, end []string, done bool, scanned int64) error {
	doing := a.doing("transform a chunk")
	tx, err := a.conn.Begin(ctx)
	if err != nil {
		return rowError(doing, err)
	}
	defer func() { _ = tx.Rollback(ctx) }() // nothing after a commit; a connection that cannot is closed by it
	f := a.table.transform
	keys, rows, err := a.batch(ctx, tx, f, chunk, done)
	if err != nil {
		return rowError(doing, err)
	}
	var answer [][]any
	if len(rows) > 0 {
		if answer, err = f.call(ctx, rows); err != nil {
			return fmt.Errorf("%s: %w", doing, err)
		}
	}
	args, err := f.columns(keys, answer)
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	var changed, allRows, allScanned int64
	var b pgx.Batch
	b.Queue(lookupSettings)
	b.Queue(a.statements.writeBack(f), append(args, a.advanceArgs(end, done, scanned)...)...).QueryRow(func(row pgx.Row) error {
		return row.Scan(&changed, &allRows, &allScanned)
	})
	if err = tx.SendBatch(ctx, &b).Close(); err == nil {
		err = tx.Commit(ctx)
	}
	if err != nil {
		return rowError(doing, err)
	}
	a.changed, a.progress.Rows, a.progress.Scanned = changed, allRows, allScanned
	return nil
}

// batch reads the rows to transform and their keys.
func (a *attempt) batch(ctx context.Context, tx pgx.Tx, f *transformed, chunk keyRange, done bool) (keys, rows [][]any, err error) {
	var b pgx.Batch
	b.Queue(chunkSettings, done)
	b.Queue(idleSettings, milliseconds(transformIdle))
	b.Queue(a.statements.batch(chunk, f), chunk.lower, chunk.upper).Query(func(found pgx.Rows) error {
		for found.Next() {
			values, err := f.decode(found)
			if err != nil {
				return err
			}
			n := len(f.key)
			keys, rows = append(keys, values[:n:n]), append(rows, values[n:])
		}
		return found.Err()
	})
	return keys, rows, tx.SendBatch(ctx, &b).Close()
}

// decode is pgx's own decoding, but for arrays that are no lists: it would lose their dimensions.
func (f *transformed) decode(rows pgx.Rows) ([]any, error) {
	values, err := rows.Values()
	if err != nil {
		return nil, err
	}
	for i, field := range rows.FieldDescriptions() {
		if _, is := values[i].([]any); !is {
			continue
		}
		var array pgtype.Array[any]
		if err := f.types.Scan(field.DataTypeOID, field.Format, rows.RawValues()[i], &array); err != nil {
			return nil, err
		}
		if d := array.Dims; len(d) > 1 || len(d) == 1 && d[0].LowerBound != 1 {
			values[i] = array
		}
	}
	return values, nil
}

// columns turns keys and new values into parameters: one text[] for each column.
func (f *transformed) columns(keys, values [][]any) ([]any, error) {
	var parameters []any
	add := func(rows [][]any, columns []typed) error {
		for j, c := range columns {
			texts := make([]*string, len(rows))
			for i, row := range rows {
				text, err := f.types.Encode(c.oid, pgtype.TextFormatCode, row[j], nil)
				if err != nil { // its text holds the value
					return &RowError{Row: i, Err: fmt.Errorf("a Go %T cannot be written to column %s of type %s", row[j], c.name, c.cast)}
				}
				if text != nil {
					s := string(text)
					texts[i] = &s
				}
			}
			parameters = append(parameters, texts)
		}
		return nil
	}
	if err := add(keys, f.key); err != nil {
		return nil, err
	}
	return parameters, add(values, f.write)
}
