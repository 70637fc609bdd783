package ddl

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// build is CREATE [UNIQUE] INDEX CONCURRENTLY name ON table.
type build struct{ name, table string }

func parseBuild(w *words) (operation, bool) {
	if !w.take("create", "index", "concurrently") && !w.take("create", "unique", "index", "concurrently") {
		return nil, false
	}
	name, ok := w.skip("if", "not", "exists").identifier()
	if !ok || !w.take("on") {
		return nil, false
	}
	table, ok := w.skip("only").name()
	return &build{name, table}, ok
}

func (b *build) waitsFor() (older, bool) {
	return older{tables: []string{b.table}, snapshots: true}, true
}
func (b *build) patient() bool { return true }

func (b *build) resume(d *driver, same bool) (left, error) {
	index, err := b.find(d)
	switch {
	case err != nil:
		return ask, err
	case index == nil:
		return due, nil
	case index.valid && !same:
		return ask, fmt.Errorf("%w: index %s was built from an earlier text of this file: drop it, or take its definition back into the file", ErrInspect, b.name)
	case index.valid:
		return none, nil
	}
	return due, d.drop(index.name)
}

func (b *build) withdraw(d *driver) (left, error) {
	index, err := b.find(d)
	if err != nil || index == nil {
		return none, err
	}
	return none, d.drop(index.name)
}

// stands tells whether the index is there, valid or not.
func (b *build) stands(d *driver) (bool, error) {
	index, err := b.find(d)
	return index != nil, err
}

// check doesn't let IF NOT EXISTS pass over an invalid index that somebody else left.
func (b *build) check(d *driver) error {
	index, err := b.find(d)
	if err == nil && (index == nil || !index.valid) {
		err = fmt.Errorf("%w: index %s on %s is missing or invalid: drop it, then try again", ErrInspect, b.name, b.table)
	}
	return err
}

type index struct {
	name  pgx.Identifier
	valid bool
}

// find returns nil if the table has no such index. Postgres cuts long names off, and so does its type name.
func (b *build) find(d *driver) (*index, error) {
	var (
		schema, name string
		found        index
	)
	err := d.session.conn.QueryRow(d.ctx, `select n.nspname, c.relname, i.indisvalid
		from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
		where c.relname = $1::text::name and i.indrelid = to_regclass($2)`, b.name, b.table).Scan(&schema, &name, &found.valid)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look up index %s: %w", b.name, err)
	}
	found.name = pgx.Identifier{schema, name}
	return &found, nil
}

// drop tries it the short way first: DROP INDEX CONCURRENTLY waits for all who use the table before an invalid unique index
// stops to refuse writes. It is itself done when an attempt is repeated.
func (d *driver) drop(index pgx.Identifier) error {
	_, err := d.session.conn.Exec(d.ctx, "drop index "+index.Sanitize())
	if gaveWay(err) {
		return d.also("drop index concurrently " + index.Sanitize())
	}
	if err != nil {
		return statementError("drop index "+index.Sanitize(), script{}, 0, err)
	}
	return nil
}

// also runs a statement of ours that can't run in a transaction, on behalf of the file's.
func (d *driver) also(sql string) error {
	s, err := parseScript(noTransactionHeader + "\n" + sql)
	if err != nil {
		return err
	}
	op := s.operation()
	if err := d.awaitOlder(op); err != nil {
		return err
	}
	return d.send(s, op.patient())
}

// dropIndex is DROP INDEX CONCURRENTLY name.
type dropIndex struct{ name string }

func parseDropIndex(w *words) (operation, bool) {
	if !w.take("drop", "index", "concurrently") {
		return nil, false
	}
	name, ok := w.skip("if", "exists").name()
	return &dropIndex{name}, ok
}

func (i *dropIndex) waitsFor() (older, bool) {
	return older{tables: []string{i.name}, readers: true}, true
}
func (i *dropIndex) patient() bool { return true }

func (i *dropIndex) resume(d *driver, same bool) (left, error) {
	var exists bool
	if err := d.session.conn.QueryRow(d.ctx, "select to_regclass($1) is not null", i.name).Scan(&exists); err != nil {
		return ask, fmt.Errorf("look up index %s: %w", i.name, err)
	}
	if exists {
		return mustBe(same, due), nil
	}
	return mustBe(same, none), nil
}

func (i *dropIndex) withdraw(d *driver) (left, error) {
	var whole bool
	err := d.session.conn.QueryRow(d.ctx, "select coalesce((select indisvalid from pg_index where indexrelid = to_regclass($1)), false)", i.name).Scan(&whole)
	if err != nil {
		return ask, fmt.Errorf("look up index %s: %w", i.name, err)
	}
	if whole {
		return none, nil // not dropped yet
	}
	return ask, nil
}

// reindex is REINDEX of an index or a table, CONCURRENTLY.
type reindex struct{ name string }

func parseReindex(w *words) (operation, bool) {
	if !w.take("reindex") {
		return nil, false
	}
	concurrently := w.option("concurrently")
	many := w.take("schema") || w.take("database") || w.take("system")
	if !many && !w.take("index") && !w.take("table") {
		return nil, false
	}
	concurrently = w.take("concurrently") || concurrently
	name, ok := w.name()
	if many {
		return repeatable{}, !concurrently
	}
	if ok && !concurrently {
		return repeatable{}, true
	}
	return &reindex{name}, ok
}

func (r *reindex) waitsFor() (older, bool) {
	return older{tables: []string{r.name}, readers: true, snapshots: true}, true
}
func (r *reindex) patient() bool { return true }

// resume can't tell a rebuilt index from another, so it rebuilds again.
func (r *reindex) resume(d *driver, same bool) (left, error) {
	if !same {
		return ask, nil
	}
	return due, r.clear(d)
}

func (r *reindex) withdraw(d *driver) (left, error) { return none, r.clear(d) }

// leftovers of REINDEX CONCURRENTLY are named after their index, which long names are cut for:
// https://www.postgresql.org/docs/current/sql-reindex.html#SQL-REINDEX-CONCURRENTLY
// Those of a TOAST table can be dropped by superusers alone, and harm nobody: Postgres passes over them.
const leftovers = `
with tree as (
  select to_regclass($1)::oid as oid union select relid from pg_partition_tree(to_regclass($1))
)
select distinct n.nspname, c.relname
from pg_index i join pg_index l on l.indrelid = i.indrelid and not l.indisvalid
  join pg_class o on o.oid = i.indexrelid join pg_class c on c.oid = l.indexrelid join pg_namespace n on n.oid = c.relnamespace
  cross join lateral regexp_replace(c.relname, '_cc(new|old)[0-9]*$', '') base
where (i.indexrelid in (select oid from tree) or i.indrelid in (select oid from tree))
  and base <> c.relname and (base = o.relname or starts_with(o.relname, base) and octet_length(c.relname) = 63)`

func (r *reindex) clear(d *driver) error {
	rows, err := d.session.conn.Query(d.ctx, leftovers, r.name)
	var found []pgx.Identifier
	if err == nil {
		found, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (pgx.Identifier, error) {
			var schema, name string
			err := row.Scan(&schema, &name)
			return pgx.Identifier{schema, name}, err
		})
	}
	if err != nil {
		return fmt.Errorf("look up what an interrupted rebuild of %s has left: %w", r.name, err)
	}
	for _, index := range found {
		if err := d.drop(index); err != nil {
			return err
		}
	}
	return nil
}
