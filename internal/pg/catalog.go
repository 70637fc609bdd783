package pg

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// Querier reads: a pool, a connection or a transaction.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// ErrNoRelation says that a name stands for nothing in this database.
var ErrNoRelation = errors.New("no such table")

// Relation is what the catalog says of a table, view or the like.
type Relation struct {
	OID          uint32
	Schema, Name string
	// Kind as in pg_class.relkind: "r" an ordinary table, "p" a partitioned one, "v" a view, …
	Kind string
	// Inherited tells that other tables inherit from this one, other than as its partitions.
	Inherited bool
	// Bytes of its main fork, with all partitions.
	Bytes int64
	// Columns in the order of the table.
	Columns []Column
}

// Column of a relation.
type Column struct {
	Name string
	// Type as SQL writes it, for example "character varying(20)"; for a domain the type that it restricts, whose operators and
	// text it shares, while old values need not even satisfy it.
	Type string
	// NotNull is false as well where old rows have not been checked.
	NotNull bool
	// Generated always by Postgres, from other columns or as identity: nobody can set it.
	Generated bool
}

// Identifier of the relation, with its schema.
func (r Relation) Identifier() pgx.Identifier { return pgx.Identifier{r.Schema, r.Name} }

// Column by its exact name.
func (r Relation) Column(name string) (Column, bool) {
	i := slices.IndexFunc(r.Columns, func(c Column) bool { return c.Name == name })
	if i < 0 {
		return Column{}, false
	}
	return r.Columns[i], true
}

// ReadRelation looks a name up, along the search path where it names no schema. The error wraps ErrNoRelation.
func ReadRelation(ctx context.Context, q Querier, name pgx.Identifier) (Relation, error) {
	var r Relation
	err := q.QueryRow(ctx, `
		select c.oid, n.nspname, c.relname, c.relkind::text,
		       c.relkind <> 'p' and exists (select from pg_inherits h where h.inhparent = c.oid),
		       case c.relkind when 'p' then (select coalesce(sum(pg_relation_size(p.relid)), 0)::bigint from pg_partition_tree(c.oid) p)
		                      else coalesce(pg_relation_size(c.oid), 0) end
		  from pg_class c join pg_namespace n on n.oid = c.relnamespace
		 where c.oid = to_regclass($1)`, name.Sanitize()).Scan(&r.OID, &r.Schema, &r.Name, &r.Kind, &r.Inherited, &r.Bytes)
	if errors.Is(err, pgx.ErrNoRows) {
		return Relation{}, fmt.Errorf("%w: %s", ErrNoRelation, name.Sanitize())
	}
	if err != nil {
		return Relation{}, err
	}
	// Constraints of type n stand in the catalog since Postgres 18, which knows not null constraints that old rows may violate.
	rows, err := q.Query(ctx, `
		select a.attname, (
		           with recursive underneath as (
		               select a.atttypid as id, a.atttypmod as modifier
		               union all
		               select t.typbasetype, t.typtypmod from underneath u join pg_type t on t.oid = u.id where t.typtype = 'd')
		           select format_type(u.id, u.modifier) from underneath u join pg_type t on t.oid = u.id where t.typtype <> 'd'),
		       a.attnotnull and not exists (select from pg_constraint c
		           where c.conrelid = a.attrelid and c.contype = 'n' and c.conkey = array[a.attnum] and not c.convalidated),
		       a.attgenerated <> '' or a.attidentity = 'a'
		  from pg_attribute a where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped order by a.attnum`, r.OID)
	if err != nil {
		return Relation{}, err
	}
	r.Columns, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Column])
	return r, err
}

// Sources are the columns of a relation from which its generated columns of these names are computed.
func Sources(ctx context.Context, q Querier, oid uint32, generated []string) ([]string, error) {
	// Up to Postgres 14 the column depends on its sources, since then its expression does.
	rows, err := q.Query(ctx, `
		select distinct s.attname::text
		  from pg_attribute g
		  join pg_attrdef x on x.adrelid = g.attrelid and x.adnum = g.attnum
		  join pg_depend d on (d.classid, d.objid, d.objsubid) = ('pg_attrdef'::regclass, x.oid, 0)
		                   or (d.classid, d.objid, d.objsubid) = ('pg_class'::regclass, g.attrelid, g.attnum)
		  join pg_attribute s on s.attrelid = g.attrelid and s.attnum = d.refobjsubid and s.attnum <> g.attnum
		 where g.attrelid = $1 and g.attname = any($2) and g.attgenerated <> ''
		   and d.refclassid = 'pg_class'::regclass and d.refobjid = g.attrelid
		 order by 1`, oid, generated)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// UniqueIndex of a relation.
type UniqueIndex struct {
	Name    string
	Primary bool
	// Columns of the key in the index's order, without INCLUDE columns; an expression is an empty name.
	Columns []string
	// Unfit says why the index cannot order the relation's rows and tell them apart, as the end of a sentence that begins with its
	// name; empty if it can, once its columns are not null.
	Unfit string
}

// UniqueIndexes of a relation, the primary key first. A deferrable one is as good as any: what others can see has been checked.
func UniqueIndexes(ctx context.Context, q Querier, oid uint32) ([]UniqueIndex, error) {
	// indoption 0 is ascending, 3 descending with nulls first: read backwards it is the order of 0. The planner keeps to where an
	// index has its nulls even if there are none.
	rows, err := q.Query(ctx, `
		select c.relname, i.indisprimary, array_agg(coalesce(a.attname::text, '') order by k.n),
		       case when m.amname <> 'btree' then 'is no btree index'
		            when not i.indisvalid and c.relkind = 'I' then 'is missing on some partitions'
		            when not i.indisvalid then 'is not valid (drop it and build it again, unless it is being built)'
		            when bool_or(i.indexprs is not null) then 'is over an expression'
		            when bool_or(i.indpred is not null) then 'covers only the rows of its condition'
		            when not bool_and(o.opcdefault and i.indcollation[k.n - 1] = a.attcollation)
		                 then 'sorts by another collation or operator class than its columns'
		            when not (bool_and(i.indoption[k.n - 1] = 0) or bool_and(i.indoption[k.n - 1] = 3))
		                 then 'sorts in mixed directions, or with nulls at the unusual end'
		            else '' end
		  from pg_index i
		  join pg_class c on c.oid = i.indexrelid
		  join pg_am m on m.oid = c.relam
		 cross join generate_series(1, i.indnkeyatts) k(n)
		  left join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[k.n - 1]
		  left join pg_opclass o on o.oid = i.indclass[k.n - 1]
		 where i.indrelid = $1 and i.indisunique
		 group by i.indexrelid, i.indisprimary, i.indisvalid, c.relname, c.relkind, m.amname
		 order by i.indisprimary desc, c.relname`, oid)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[UniqueIndex])
}
