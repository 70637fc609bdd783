package ddl

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// alterTable takes ALTER TABLE [IF EXISTS] [ONLY] name.
func (w *words) alterTable() (name string, ok bool) {
	if !w.take("alter", "table") {
		return "", false
	}
	name, ok = w.skip("if", "exists").skip("only").name()
	w.take("*")
	return name, ok
}

// validate is ALTER TABLE table VALIDATE CONSTRAINT name, once or more. There is nothing to take back: a constraint holds the same
// rows to the same, validated or not.
type validate struct {
	inOneStep
	table       string
	constraints []string
}

func parseValidate(w *words) (operation, bool) {
	v := &validate{}
	var ok bool
	if v.table, ok = w.alterTable(); !ok {
		return nil, false
	}
	for w.take("validate", "constraint") {
		name, ok := w.identifier()
		if !ok {
			return nil, false
		}
		v.constraints = append(v.constraints, name)
		w.take(",")
	}
	return v, len(v.constraints) > 0 && w.ended()
}

func (v *validate) resume(d *driver, same bool) (left, error) {
	var valid int
	err := d.session.conn.QueryRow(d.ctx, `select count(*) from unnest($2::text[]) wanted
		join pg_constraint on conrelid = to_regclass($1) and conname = wanted::name and convalidated`, v.table, v.constraints).Scan(&valid)
	switch {
	case err != nil:
		return ask, fmt.Errorf("look up the constraints of %s: %w", v.table, err)
	case valid == len(v.constraints):
		return mustBe(same, none), nil
	}
	return mustBe(same, due), nil
}

func (v *validate) withdraw(*driver) (left, error) { return none, nil }

// addValue is ALTER TYPE name ADD VALUE 'value'. Postgres can't take a value away again.
type addValue struct {
	inOneStep
	name, value string
}

func parseAddValue(w *words) (operation, bool) {
	if !w.take("alter", "type") {
		return nil, false
	}
	name, ok := w.name()
	if !ok || !w.take("add", "value") {
		return nil, false
	}
	value, ok := w.skip("if", "not", "exists").constant()
	return &addValue{name: name, value: value}, ok
}

func (a *addValue) exists(d *driver) (exists bool, err error) {
	err = d.session.conn.QueryRow(d.ctx, "select exists (select from pg_enum where enumtypid = to_regtype($1) and enumlabel = $2)", a.name, a.value).Scan(&exists)
	if err != nil {
		return false, fmt.Errorf("look up the values of type %s: %w", a.name, err)
	}
	return exists, nil
}

func (a *addValue) resume(d *driver, same bool) (left, error) {
	exists, err := a.exists(d)
	if err != nil || !exists {
		return mustBe(same, due), err
	}
	return mustBe(same, none), nil
}

func (a *addValue) withdraw(d *driver) (left, error) {
	exists, err := a.exists(d)
	if err != nil || exists {
		return ask, err
	}
	return none, nil
}

// detach is ALTER TABLE table DETACH PARTITION partition CONCURRENTLY, or its FINALIZE.
type detach struct {
	table, partition string
	finalize         bool
}

func parseDetach(w *words) (operation, bool) {
	table, ok := w.alterTable()
	if !ok || !w.take("detach", "partition") {
		return nil, false
	}
	partition, ok := w.name()
	d := &detach{table: table, partition: partition, finalize: w.take("finalize")}
	return d, ok && (d.finalize || w.take("concurrently"))
}

func (p *detach) waitsFor() (older, bool) {
	return older{tables: []string{p.table, p.partition}, readers: true, snapshots: p.finalize}, true
}

// patient it isn't, although it commits on its way: its second half locks the partition even against reading, and holds that lock
// while it waits for snapshots. One that ends in between is finalized by the next attempt.
func (p *detach) patient() bool { return false }

// state of the partition: attached or not, or in between.
func (p *detach) state(d *driver) (attached, pending bool, err error) {
	err = d.session.conn.QueryRow(d.ctx, "select inhdetachpending from pg_inherits where inhparent = to_regclass($1) and inhrelid = to_regclass($2)",
		p.table, p.partition).Scan(&pending)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return false, false, nil
	case err != nil:
		return false, false, fmt.Errorf("look up the partitions of %s: %w", p.table, err)
	}
	return true, pending, nil
}

func (p *detach) resume(d *driver, same bool) (left, error) {
	attached, pending, err := p.state(d)
	switch {
	case err != nil || !same:
		return ask, err
	case !attached:
		return none, nil
	case pending:
		return none, d.also("alter table " + p.table + " detach partition " + p.partition + " finalize")
	}
	return due, nil
}

func (p *detach) withdraw(d *driver) (left, error) {
	attached, pending, err := p.state(d)
	if err != nil || !attached || pending {
		return ask, err
	}
	return none, nil
}
