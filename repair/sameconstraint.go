package repair

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	tree "github.com/pganalyze/pg_query_go/v6"
)

// contypes are the letters of pg_constraint. Others stand there too, which aren't written as constraints of a table: triggers and,
// from version 18 on, each NOT NULL.
var contypes = map[tree.ConstrType]string{
	tree.ConstrType_CONSTR_PRIMARY: "p", tree.ConstrType_CONSTR_UNIQUE: "u", tree.ConstrType_CONSTR_FOREIGN: "f",
	tree.ConstrType_CONSTR_CHECK: "c", tree.ConstrType_CONSTR_EXCLUSION: "x",
}

// sameConstraint compares what Postgres writes of the table's constraints to the file's; without a name, any that is the same will
// do. Column is the one that the constraint is written behind, if any.
func (r reader) sameConstraint(table name, c *tree.Constraint, column string) proof {
	return func(ctx context.Context, tx pgx.Tx, later touched) (string, error) {
		if c.GetConname() != "" && later(r.constraint(table, c.GetConname()).key) {
			return "", nil
		}
		validated := later(key("valid", r.constraint(table, c.GetConname()).key))
		wanted, err := r.wantedConstraint(ctx, tx, table, clone(c), column, validated)
		if err != nil {
			return "", err
		}
		rows, err := tx.Query(ctx, `select pg_get_constraintdef(oid), confrelid::int8 from pg_constraint
			where conrelid = to_regclass($1) and ($2 = '' or conname = $2::text::name) and contype = $3::text::"char"`, table.quoted(), c.GetConname(), contypes[c.GetContype()])
		if err != nil {
			return "", err
		}
		type written struct {
			Text       string
			References int64
		}
		all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[written])
		if err != nil {
			return "", err
		}
		for _, w := range all {
			parsed, err := parse("alter table t add " + w.Text)
			if err != nil {
				continue // a newer Postgres's words, which the file's grammar has not: another constraint than the file's
			}
			there := parsed.GetAlterTableStmt().GetCmds()[0].GetAlterTableCmd().GetDef().GetConstraint()
			if there.GetPktable() != nil {
				there.Pktable = byOID(w.References)
			}
			if text, err := plainConstraint(there, validated); err != nil || text == wanted {
				return "", err
			}
		}
		if c.GetConname() == "" {
			return "it has no such constraint as the file gives it", nil
		}
		return differs, nil
	}
}

// wantedConstraint fills in what the file leaves to Postgres.
func (r reader) wantedConstraint(ctx context.Context, tx pgx.Tx, table name, c *tree.Constraint, column string, validated bool) (_ string, err error) {
	if column != "" {
		behind := []*tree.Node{tree.MakeStrNode(column)}
		switch c.GetContype() {
		case tree.ConstrType_CONSTR_PRIMARY, tree.ConstrType_CONSTR_UNIQUE:
			c.Keys = behind
		case tree.ConstrType_CONSTR_FOREIGN:
			c.FkAttrs = behind
		}
	}
	if c.GetContype() == tree.ConstrType_CONSTR_CHECK {
		if c.RawExpr, err = normal(ctx, tx, c.GetRawExpr(), table.quoted()); err != nil {
			return "", err
		}
	}
	if c.GetPktable() != nil {
		var referenced int64
		var keys []string
		err := tx.QueryRow(ctx, `select coalesce(to_regclass($1)::oid::int8, 0), coalesce((select array_agg(a.attname::text order by k.nr)
			from pg_index i cross join unnest(i.indkey::int2[]) with ordinality k (attnum, nr) join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
			where i.indrelid = to_regclass($1) and i.indisprimary), '{}')`, r.named(c.GetPktable()).quoted()).Scan(&referenced, &keys)
		if err != nil {
			return "", err
		}
		c.Pktable = byOID(referenced)
		if len(c.GetPkAttrs()) == 0 {
			for _, k := range keys {
				c.PkAttrs = append(c.PkAttrs, tree.MakeStrNode(k))
			}
		}
	}
	return plainConstraint(c, validated)
}

func byOID(oid int64) *tree.RangeVar {
	return &tree.RangeVar{Relname: fmt.Sprint(oid), Inh: true, Relpersistence: "p"}
}

// plainConstraint leaves out the name, and whether it is validated where a later line sees to that.
func plainConstraint(c *tree.Constraint, validated bool) (string, error) {
	c.Conname, c.Indexspace = "", ""
	if validated {
		c.SkipValidation = false
	}
	c.InitiallyValid = !c.GetSkipValidation()
	return write(&tree.Node{Node: &tree.Node_AlterTableStmt{AlterTableStmt: &tree.AlterTableStmt{
		Relation: &tree.RangeVar{Relname: "t", Inh: true, Relpersistence: "p"}, Objtype: tree.ObjectType_OBJECT_TABLE,
		Cmds: []*tree.Node{{Node: &tree.Node_AlterTableCmd{AlterTableCmd: &tree.AlterTableCmd{
			Subtype: tree.AlterTableType_AT_AddConstraint, Behavior: tree.DropBehavior_DROP_RESTRICT,
			Def: &tree.Node{Node: &tree.Node_Constraint{Constraint: c}}}}}}}}})
}

// sameUsing is of ADD CONSTRAINT … USING INDEX: the constraint has the columns of its index.
func (r reader) sameUsing(table name, c *tree.Constraint) proof {
	kind := proves(differs, `select contype = $3::text::"char" and condeferrable = $4 and condeferred = $5 from pg_constraint
		where conrelid = to_regclass($1) and conname = $2::text::name`, table.quoted(), constraintName(c), contypes[c.GetContype()], c.GetDeferrable(), c.GetInitdeferred())
	if constraintName(c) == c.GetIndexname() { // Postgres would have refused another constraint of the name
		return kind
	}
	if built := r.built[r.relationKey(name{table.schema, c.GetIndexname(), table.implied})]; built != nil {
		return both(kind, r.sameIndex(built, table, constraintName(c)))
	}
	return both(kind, never)
}

func constraintName(c *tree.Constraint) string {
	if c.GetConname() != "" {
		return c.GetConname()
	}
	return c.GetIndexname()
}
