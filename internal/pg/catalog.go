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
	// Bytes of its main fork, with all partitions.
	Bytes int64
	// Columns in the order of the table.
	Columns []Column
}

// Column of a relation.
type Column struct {
	Name string
	// Type as SQL writes it, for example "character varying(20)".
	Type    string
	NotNull bool
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
		       case c.relkind when 'p' then (select coalesce(sum(pg_relation_size(p.relid)), 0)::bigint from pg_partition_tree(c.oid) p)
		                      else coalesce(pg_relation_size(c.oid), 0) end
		  from pg_class c join pg_namespace n on n.oid = c.relnamespace
		 where c.oid = to_regclass($1)`, name.Sanitize()).Scan(&r.OID, &r.Schema, &r.Name, &r.Kind, &r.Bytes)
	if errors.Is(err, pgx.ErrNoRows) {
		return Relation{}, fmt.Errorf("%w: %s", ErrNoRelation, name.Sanitize())
	}
	if err != nil {
		return Relation{}, err
	}
	rows, err := q.Query(ctx, `
		select attname, format_type(atttypid, atttypmod), attnotnull
		  from pg_attribute where attrelid = $1 and attnum > 0 and not attisdropped order by attnum`, r.OID)
	if err != nil {
		return Relation{}, err
	}
	r.Columns, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Column])
	return r, err
}

// UniqueIndex can order a table's rows and tell them apart: valid, over plain columns, without a condition, in one direction.
type UniqueIndex struct {
	Name    string
	Primary bool
	// Columns of the key in the index's order, without INCLUDE columns.
	Columns []string
}

// UniqueIndexes of a relation, the primary key first. Columns may still be nullable.
func UniqueIndexes(ctx context.Context, q Querier, oid uint32) ([]UniqueIndex, error) {
	// indoption 0 is ascending, 3 descending with nulls first: read backwards it is the order of 0.
	rows, err := q.Query(ctx, `
		select c.relname, i.indisprimary, array_agg(a.attname::text order by k.n)
		  from pg_index i
		  join pg_class c on c.oid = i.indexrelid
		  join pg_am m on m.oid = c.relam and m.amname = 'btree'
		 cross join generate_series(1, i.indnkeyatts) k(n)
		  join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[k.n - 1]
		  join pg_opclass o on o.oid = i.indclass[k.n - 1]
		 where i.indrelid = $1 and i.indisunique and i.indisvalid and i.indpred is null and i.indexprs is null
		 group by c.relname, i.indisprimary
		having bool_and(o.opcdefault and i.indcollation[k.n - 1] = a.attcollation)
		   and (bool_and(i.indoption[k.n - 1] = 0) or bool_and(i.indoption[k.n - 1] = 3))
		 order by i.indisprimary desc, c.relname`, oid)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[UniqueIndex])
}
