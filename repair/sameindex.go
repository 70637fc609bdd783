package repair

import (
	"context"

	"github.com/jackc/pgx/v5"
	tree "github.com/pganalyze/pg_query_go/v6"
)

// sameIndex compares what Postgres writes of the index, by the first of the names that is there, to the statement.
func (r reader) sameIndex(s *tree.IndexStmt, table name, names ...string) proof {
	return func(ctx context.Context, tx pgx.Tx, _ touched) (string, error) {
		var definition string
		err := tx.QueryRow(ctx, `select pg_get_indexdef(i.indexrelid) from pg_index i join pg_class c on c.oid = i.indexrelid
			where c.relname::text = any($1::text[]) and i.indrelid = to_regclass($2) order by array_position($1::text[], c.relname::text) limit 1`, names, table.quoted()).Scan(&definition)
		if err != nil {
			return "", err
		}
		there, err := parse(definition)
		if err != nil {
			return "", err
		}
		wanted := clone(s)
		if err := overColumns(ctx, tx, wanted, table.quoted()); err != nil {
			return "", err
		}
		same, err := equal(plainIndex(wanted), plainIndex(there.GetIndexStmt()))
		return unless(same, differs), err
	}
}

// overColumns brings the index's expressions into Postgres's own form.
func overColumns(ctx context.Context, tx pgx.Tx, s *tree.IndexStmt, table string) (err error) {
	for _, p := range s.GetIndexParams() {
		if e := p.GetIndexElem(); e.GetExpr() != nil {
			if e.Expr, err = normal(ctx, tx, e.GetExpr(), table); err != nil {
				return err
			}
		}
	}
	s.WhereClause, err = normal(ctx, tx, s.GetWhereClause(), table)
	return err
}

// plainIndex leaves out names and how it is built, and what is so by default.
func plainIndex(s *tree.IndexStmt) *tree.Node {
	s.Idxname, s.Relation, s.TableSpace = "i", &tree.RangeVar{Relname: "t", Inh: true, Relpersistence: "p"}, ""
	s.Concurrent, s.IfNotExists = false, false
	for _, p := range s.GetIndexParams() {
		e := p.GetIndexElem()
		if e.Ordering == tree.SortByDir_SORTBY_ASC {
			e.Ordering = tree.SortByDir_SORTBY_DEFAULT
		}
		byDefault := tree.SortByNulls_SORTBY_NULLS_LAST
		if e.Ordering == tree.SortByDir_SORTBY_DESC {
			byDefault = tree.SortByNulls_SORTBY_NULLS_FIRST
		}
		if e.NullsOrdering == byDefault {
			e.NullsOrdering = tree.SortByNulls_SORTBY_NULLS_DEFAULT
		}
	}
	return &tree.Node{Node: &tree.Node_IndexStmt{IndexStmt: s}}
}
