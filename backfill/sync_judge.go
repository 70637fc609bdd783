package backfill

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Postgres itself judges the expressions, as those of generated columns in a temporary copy of the table: what it admits there
// reads nothing but other columns of its row and is immutable, so it yields in the application's sessions what it yields in ours.

const (
	syncWayOut   = "write both shapes in the application instead"
	syncRepeated = "a trigger repeats the expression in the application's sessions, so it may read only other columns of the row, and must be immutable: " +
		"independent of the time, of chance and of a session's settings; make it so, or " + syncWayOut
)

// syncProbe prefixes the columns of the copy.
const syncProbe = "contraflow_sync_"

// syncSettings makes explicit what the backfill's own session has, here and for the function: where names are found (temporary things of
// the application last), how the constants of an expression are written out, and two settings on which functions depend that Postgres
// calls immutable all the same, the output of floats and of bytea.
const syncSettings = `select concat('set search_path = ', set_config('search_path', concat_ws(', ', string_agg(quote_ident(name), ', ' order by n), 'pg_temp'), true),
		' set standard_conforming_strings = ', current_setting('standard_conforming_strings'),
		' set extra_float_digits = ', current_setting('extra_float_digits'), ' set bytea_output = ', current_setting('bytea_output'))
	from unnest(current_schemas(false)) with ordinality path (name, n)`

// judge makes a syncTrigger inside a transaction.
type judge struct {
	conn  *pgxpool.Conn
	doing string
	table table
	copy  string // quoted
	tried int
}

// newSyncTrigger judges the spec within the transaction of conn and leaves nothing there but a share of the table, so that what it
// has found holds until the commit. Refusals wrap ErrSync.
func newSyncTrigger(ctx context.Context, conn *pgxpool.Conn, spec Spec, t table) (syncTrigger, error) {
	j := judge{conn: conn, table: t, copy: pgx.Identifier{"pg_temp", t.relation.Name}.Sanitize(),
		doing: spec.name() + ": install its sync trigger on " + t.relation.Identifier().Sanitize()}
	s := syncTrigger{plan: spec.Plan, step: spec.Step, relation: t.relation}
	if err := j.fit(ctx, spec); err != nil {
		return s, err
	}
	if err := conn.QueryRow(ctx, syncSettings).Scan(&s.settings); err != nil {
		return s, planError(j.doing, err)
	}
	if _, err := conn.Exec(ctx, "create temporary table "+j.copy+" (like "+t.relation.Identifier().Sanitize()+")"); err != nil {
		return s, planError(j.doing+": copy the table's shape (needs the right TEMPORARY on the database)", err)
	}
	for _, a := range t.set {
		c, reads, err := j.column(ctx, a)
		if err != nil {
			return s, err
		}
		s.set = append(s.set, c)
		for _, r := range reads {
			if !slices.Contains(s.reads, r) {
				s.reads = append(s.reads, r)
			}
		}
	}
	if err := j.rest(ctx, &s); err != nil {
		return s, planError(j.doing, err)
	}
	_, err := conn.Exec(ctx, "drop table "+j.copy)
	return s, planError(j.doing, err)
}

func (j *judge) refuse(format string, args ...any) error {
	return fmt.Errorf("%s: %w: %s", j.doing, ErrSync, fmt.Sprintf(format, args...))
}

// fit checks the table: whether a trigger there meets every row, and whether we can take it away again.
func (j *judge) fit(ctx context.Context, spec Spec) error {
	var owner string
	var owned bool
	err := j.conn.QueryRow(ctx, `select pg_get_userbyid(relowner), pg_has_role(relowner, 'usage') from pg_class where oid = $1`,
		j.table.relation.OID).Scan(&owner, &owned)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return fmt.Errorf("%w: %s was dropped", ErrNoTable, j.table.relation.Identifier().Sanitize())
	case err != nil:
		return planError(j.doing, err)
	case !owned:
		return j.refuse("the table belongs to %q, and only its owner can remove a trigger again; make contraflow's role a member of that role", owner)
	}
	return nil
}

// column judges one assignment, and finds the columns that it reads.
func (j *judge) column(ctx context.Context, a Assignment) (syncColumn, []syncRead, error) {
	c := syncColumn{name: pgx.Identifier{a.Column}.Sanitize()}
	var typ string
	var notNull, numbered bool
	var unset *string
	err := j.conn.QueryRow(ctx, `select format_type(a.atttypid, a.atttypmod), a.attnotnull or t.typnotnull, a.attidentity <> '',
			coalesce(pg_get_expr(d.adbin, d.adrelid), t.typdefault)
		from pg_attribute a join pg_type t on t.oid = a.atttypid left join pg_attrdef d on (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
		where a.attrelid = $1 and a.attname = $2`, j.table.relation.OID, a.Column).Scan(&typ, &notNull, &numbered, &unset)
	if err != nil {
		return c, nil, planError(j.doing, err)
	}
	c.notNull, c.absent, c.fallback = notNull, "null::"+typ, "null"
	if unset != nil {
		if _, _, err := j.generated(ctx, typ, *unset); err != nil {
			return c, nil, j.judged(err, "the default of column %s is not a constant, so an insert that gives the column looks like one that leaves it out "+
				"(Postgres: %s); drop the default, or %s", c.name, syncWayOut)
		}
		c.absent = "(" + *unset + ")::" + typ
	}
	if numbered {
		return c, nil, j.refuse("column %s numbers itself, so an insert that gives it looks like one that leaves it out; %s", c.name, syncWayOut)
	}
	if notNull {
		if unset == nil {
			return c, nil, j.refuse("column %s is not null and has no default, so a row whose value cannot be computed would be refused to the application; "+
				"let it be null until the contract step", c.name)
		}
		c.fallback = c.absent
	}
	n, expr, err := j.generated(ctx, typ, a.Expr)
	if err != nil {
		return c, nil, j.judged(err, "the expression of column %s cannot be repeated (Postgres: %s); %s", c.name, syncRepeated)
	}
	c.expr = expr
	reads, err := j.reads(ctx, c, n)
	return c, reads, err
}

// generated asks Postgres to take expr for a generated column; n is the column's number, written the expression as Postgres writes it.
func (j *judge) generated(ctx context.Context, typ, expr string) (n int16, written string, err error) {
	j.tried++
	name := fmt.Sprintf("%s%d", syncProbe, j.tried)
	// The extended protocol admits one statement only. In lines of its own a comment ends with the expression.
	sql := fmt.Sprintf("alter table %s add column %s %s generated always as (\n%s\n) stored", j.copy, name, typ, expr)
	if result := j.conn.Conn().PgConn().ExecParams(ctx, sql, nil, nil, nil, nil).Read(); result.Err != nil {
		return 0, "", result.Err
	}
	err = j.conn.QueryRow(ctx, `select a.attnum, pg_get_expr(d.adbin, d.adrelid)
		from pg_attribute a join pg_attrdef d on (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
		where a.attrelid = $1::text::regclass and a.attname = $2`, j.copy, name).Scan(&n, &written)
	return n, written, err
}

// judged turns what Postgres said against an expression into a refusal, whose format has room for name, that, and way out.
func (j *judge) judged(err error, format, name, wayOut string) error {
	statement, ok := errors.AsType[*StatementError](planError(j.doing, err))
	if !ok || !statement.Permanent() {
		return planError(j.doing, err)
	}
	server, _ := errors.AsType[*pgconn.PgError](err)
	return j.refuse(format, name, planMessage(server), wayOut)
}

// reads finds the columns that the generated column n depends on: up to Postgres 14 it depends itself, later its expression does.
func (j *judge) reads(ctx context.Context, c syncColumn, n int16) ([]syncRead, error) {
	rows, err := j.conn.Query(ctx, `
		select a.attname, a.attnum, coalesce(o.attgenerated <> '', false),
		       format_type(a.atttypid, a.atttypmod) || case when a.attcollation in (0, t.typcollation) then '' else ' collate ' || a.attcollation::regcollation end
		  from pg_attribute a join pg_type t on t.oid = a.atttypid
		  left join pg_attribute o on o.attrelid = $3 and o.attname = a.attname
		 where a.attrelid = $1::text::regclass and a.attnum <> $2 and a.attnum in (
			select refobjsubid from pg_depend p where p.refclassid = 'pg_class'::regclass and p.refobjid = a.attrelid and (
				(p.classid, p.objid, p.objsubid) = ('pg_class'::regclass, a.attrelid, $2) or
				(p.classid, p.objid) = ('pg_attrdef'::regclass, (select d.oid from pg_attrdef d where d.adrelid = a.attrelid and d.adnum = $2))))
		 order by a.attnum`, j.copy, n, j.table.relation.OID)
	if err != nil {
		return nil, planError(j.doing, err)
	}
	var name, typ string
	var number int16
	var computed bool
	var refusal error
	var found []syncRead
	_, err = pgx.ForEachRow(rows, []any{&name, &number, &computed, &typ}, func() error {
		quoted := pgx.Identifier{name}.Sanitize()
		switch {
		case slices.ContainsFunc(j.table.set, func(a Assignment) bool { return a.Column == name }):
			refusal = j.refuse("the expression of column %s reads %s, which the step sets itself: a write that comes twice would change it twice; %s",
				c.name, quoted, syncWayOut)
		case number < 0:
			refusal = j.refuse("the expression of column %s reads the system column %s, which a row gets only after its triggers; %s",
				c.name, quoted, syncWayOut)
		case computed:
			refusal = j.refuse("the expression of column %s reads %s, a generated column, which Postgres computes only after the triggers; "+
				"write out its expression, or %s", c.name, quoted, syncWayOut)
		case name == "new":
			refusal = j.refuse("the expression of column %s reads a column called %s, which in a trigger is the row; %s",
				c.name, quoted, syncWayOut)
		}
		found = append(found, syncRead{quoted, typ})
		return nil
	})
	if err != nil {
		return nil, planError(j.doing, err)
	}
	return found, refusal
}

// rest reads what else the trigger has to heed.
func (j *judge) rest(ctx context.Context, s *syncTrigger) error {
	names := make([]string, len(j.table.set))
	for i, a := range j.table.set {
		names[i] = a.Column
	}
	// tgtype 19: before, for each row, update.
	return j.conn.QueryRow(ctx, `select
		coalesce((select array_agg(pg_get_expr(k.conbin, k.conrelid) order by k.conname) from pg_constraint k where k.conrelid = $1 and k.contype = 'c'
			and exists (select from pg_attribute a where a.attrelid = $1 and a.attname = any($2) and a.attnum = any(k.conkey))), '{}'),
		exists (select from pg_trigger t where t.tgrelid in (select $1::oid union select relid from pg_partition_tree($1::oid))
			and t.tgtype & 19 = 19 and t.tgenabled <> 'D' and t.tgfoid not in (select f.oid from `+strings.ReplaceAll(syncFunction, "$1", "$3")+`))`,
		j.table.relation.OID, names, syncName(s.plan, s.step)).Scan(&s.checks, &s.others)
}
