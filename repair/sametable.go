package repair

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	tree "github.com/pganalyze/pg_query_go/v6"
)

// sameTable compares columns and constraints one by one; a table that has more of them is another.
func (r reader) sameTable(table name, s *tree.CreateStmt) proof {
	var proofs []proof
	var columns, keyed []string
	var constraints []*tree.Constraint
	for _, e := range s.GetTableElts() {
		if c := e.GetConstraint(); c != nil {
			constraints = append(constraints, c)
			proofs = append(proofs, r.sameConstraint(table, c, ""))
			if c.GetContype() == tree.ConstrType_CONSTR_PRIMARY {
				keyed = append(keyed, words(c.GetKeys())...)
			}
		}
	}
	for _, e := range s.GetTableElts() {
		switch column := e.GetColumnDef(); {
		case column != nil:
			columns = append(columns, column.GetColname())
			constraints = append(constraints, inline(column)...)
			proofs = append(proofs, r.sameColumn(table, column, slices.Contains(keyed, column.GetColname())))
		case e.GetConstraint() == nil: // LIKE
			proofs = append(proofs, never)
		}
	}
	if s.GetOfTypename() != nil || len(s.GetOptions()) > 0 {
		proofs = append(proofs, never)
	}
	persistence := s.GetRelation().GetRelpersistence()
	proofs = append(proofs, r.noMore(table, columns, len(constraints)), r.sameParents(table, s), r.samePartitions(table, s.GetPartspec()),
		func(ctx context.Context, tx pgx.Tx, later touched) (string, error) {
			if later(key("logged", r.relationKey(table))) {
				return "", nil
			}
			return proves("it is logged otherwise", `select relpersistence = $2::text::"char" from pg_class where oid = to_regclass($1)`, table.quoted(), persistence)(ctx, tx, later)
		})
	return both(proofs...)
}

func words(parts []*tree.Node) (all []string) {
	for _, p := range parts {
		all = append(all, p.GetString_().GetSval())
	}
	return all
}

// noMore counts what neither the statement nor a later one gives the table.
func (r reader) noMore(table name, columns []string, constraints int) proof {
	return func(ctx context.Context, tx pgx.Tx, later touched) (string, error) {
		var there, named []string
		err := tx.QueryRow(ctx, `select
			coalesce((select array_agg(attname::text) from pg_attribute where attrelid = to_regclass($1) and attnum > 0 and not attisdropped and attislocal), '{}'),
			coalesce((select array_agg(conname::text) from pg_constraint where conrelid = to_regclass($1) and conislocal and contype in ('p', 'u', 'f', 'c', 'x') and not (contype = 'p' and $2)), '{}')`,
			table.quoted(), later(r.primaryKey(table).key)).Scan(&there, &named)
		if err != nil {
			return "", err
		}
		for _, column := range there {
			if !slices.Contains(columns, column) && !later(r.columnKey(table, column)) {
				return fmt.Sprintf("it has a column %s that the file doesn't give it", column), nil
			}
		}
		more := 0
		if later(r.unnamedKey(table)) {
			more--
		}
		for _, c := range named {
			if !later(r.constraint(table, c).key) {
				more++
			}
		}
		return unless(more <= constraints, "it has a constraint that the file doesn't give it"), nil
	}
}

// sameParents compares what the table inherits from, or is a partition of.
func (r reader) sameParents(table name, s *tree.CreateStmt) proof {
	var parents []string
	for _, p := range s.GetInhRelations() {
		parents = append(parents, r.named(p.GetRangeVar()).quoted())
	}
	attached := func(ctx context.Context, tx pgx.Tx, later touched) (string, error) {
		for _, p := range s.GetInhRelations() {
			if later(r.inherits("", r.named(p.GetRangeVar()), table).key) {
				return "", nil
			}
		}
		reason, err := proves("it inherits otherwise", `select coalesce((select array_agg(inhparent::oid order by inhseqno) from pg_inherits where inhrelid = to_regclass($1)), '{}')
			= coalesce((select array_agg(to_regclass(p)::oid order by nr) from unnest($2::text[]) with ordinality u (p, nr)), '{}')`, table.quoted(), parents)(ctx, tx, later)
		if err != nil || reason != "" || s.GetPartbound() == nil {
			return reason, err
		}
		return sameBound(table, s.GetPartbound())(ctx, tx, later)
	}
	if len(parents) == 0 { // a later line may attach it
		return func(context.Context, pgx.Tx, touched) (string, error) { return "", nil }
	}
	return attached
}

// sameBound compares the values of a partition.
func sameBound(partition name, bound *tree.PartitionBoundSpec) proof {
	return func(ctx context.Context, tx pgx.Tx, _ touched) (string, error) {
		var written *string
		if err := tx.QueryRow(ctx, "select pg_get_expr(relpartbound, oid) from pg_class where oid = to_regclass($1)", partition.quoted()).Scan(&written); err != nil || written == nil {
			return differs, err
		}
		there, err := parse("create table t partition of p " + *written)
		if err != nil {
			return "", err
		}
		same, err := equal(bounded(bound), bounded(there.GetCreateStmt().GetPartbound()))
		return unless(same, "Postgres writes its bounds otherwise than the file"), err
	}
}

func bounded(bound *tree.PartitionBoundSpec) *tree.Node {
	relation := func(n string) *tree.RangeVar { return &tree.RangeVar{Relname: n, Inh: true, Relpersistence: "p"} }
	return &tree.Node{Node: &tree.Node_CreateStmt{CreateStmt: &tree.CreateStmt{
		Relation: relation("t"), InhRelations: []*tree.Node{{Node: &tree.Node_RangeVar{RangeVar: relation("p")}}}, Partbound: bound, Oncommit: tree.OnCommitAction_ONCOMMIT_NOOP}}}
}

// samePartitions compares how the table is partitioned.
func (r reader) samePartitions(table name, spec *tree.PartitionSpec) proof {
	return func(ctx context.Context, tx pgx.Tx, _ touched) (string, error) {
		var written *string
		if err := tx.QueryRow(ctx, "select pg_get_partkeydef(to_regclass($1))", table.quoted()).Scan(&written); err != nil {
			return "", err
		}
		const otherwise = "it is partitioned otherwise"
		if spec == nil || written == nil {
			return unless((spec == nil) == (written == nil), otherwise), nil
		}
		parsed, err := parse("create table t () partition by " + *written)
		if err != nil {
			return "", err
		}
		there := parsed.GetCreateStmt()
		mine := clone(there)
		mine.Partspec = spec
		same, err := equal(&tree.Node{Node: &tree.Node_CreateStmt{CreateStmt: mine}}, parsed)
		return unless(same, otherwise), err
	}
}

// serials are the words for a number with a sequence of its own.
var serials = map[string]string{"serial2": "int2", "smallserial": "int2", "serial": "int4", "serial4": "int4", "bigserial": "int8", "serial8": "int8"}

// sameColumn compares type, default, constraints; inKey says that the table's primary key has it.
func (r reader) sameColumn(table name, c *tree.ColumnDef, inKey bool) proof {
	column := c.GetColname()
	property := func(name string) string { return r.columnProperty(name, "", "", table, column).key }
	wantedType, t := c.GetTypeName(), c.GetTypeName()
	base, serial := "", false
	if n := t.GetNames(); len(n) == 1 && len(t.GetArrayBounds()) == 0 {
		base, serial = serials[n[0].GetString_().GetSval()]
	}
	if serial {
		wantedType = &tree.TypeName{Names: []*tree.Node{tree.MakeStrNode("pg_catalog"), tree.MakeStrNode(base)}, Typemod: -1}
	}
	var written *tree.Node
	var generated, identity string
	notNull := inKey || serial
	proofs := []proof{}
	for _, n := range c.GetConstraints() {
		switch constraint := n.GetConstraint(); constraint.GetContype() {
		case tree.ConstrType_CONSTR_NULL:
		case tree.ConstrType_CONSTR_NOTNULL:
			notNull = true
		case tree.ConstrType_CONSTR_DEFAULT:
			written = constraint.GetRawExpr()
		case tree.ConstrType_CONSTR_GENERATED:
			written, generated = constraint.GetRawExpr(), "s"
		case tree.ConstrType_CONSTR_IDENTITY:
			identity, notNull = constraint.GetGeneratedWhen(), true
			if len(constraint.GetOptions()) > 0 {
				proofs = append(proofs, never)
			}
		case tree.ConstrType_CONSTR_PRIMARY:
			notNull = true
			proofs = append(proofs, r.sameConstraint(table, constraint, column))
		case tree.ConstrType_CONSTR_UNIQUE, tree.ConstrType_CONSTR_CHECK, tree.ConstrType_CONSTR_FOREIGN:
			proofs = append(proofs, r.sameConstraint(table, constraint, column))
		default: // what belongs to the constraint before it
			proofs = append(proofs, never)
		}
	}
	if c.GetCollClause() != nil {
		proofs = append(proofs, never)
	}
	own := func(ctx context.Context, tx pgx.Tx, later touched) (string, error) {
		if later(r.columnKey(table, column)) {
			return "", nil
		}
		if !later(property("type")) {
			same, _, err := r.typed(table, column, wantedType)(ctx, tx)
			switch {
			case err != nil:
				return "", err
			case same == nil:
				return "it has no column " + column, nil
			case !*same:
				return columnOf(column) + " is of another type", nil
			}
		}
		var isNotNull, inPrimary, hasSequence bool
		var isGenerated, isIdentity string
		var isDefault *string
		err := tx.QueryRow(ctx, `select `+holdsNoNull+`, a.attgenerated::text, a.attidentity::text, pg_get_expr(d.adbin, d.adrelid),
			exists (select from pg_index i where i.indrelid = a.attrelid and i.indisprimary and a.attnum = any(i.indkey::int2[])),
			exists (select from pg_depend p where p.classid = 'pg_class'::regclass and p.deptype = 'a' and p.refobjid = a.attrelid and p.refobjsubid = a.attnum and p.refclassid = 'pg_class'::regclass)
			from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
			where a.attrelid = to_regclass($1) and a.attname = $2::text::name and not a.attisdropped`, table.quoted(), column).
			Scan(&isNotNull, &isGenerated, &isIdentity, &isDefault, &inPrimary, &hasSequence)
		switch {
		case err != nil:
			return "", err
		case isNotNull != notNull && !inPrimary && !later(property("null")):
			return columnOf(column) + " may be null, or may not, against the file", nil
		case isGenerated != generated && !later(property("expression")), isIdentity != identity && !later(property("identity")):
			return columnOf(column) + " is generated otherwise", nil
		case later(property("default")), later(property("expression")):
			return "", nil
		case serial:
			return unless(hasSequence && isDefault != nil && strings.HasPrefix(*isDefault, "nextval("), columnOf(column)+" has no sequence of its own"), nil
		case generated != "":
			same, err := sameExpression(ctx, tx, written, table.quoted(), isDefault)
			return unless(same, columnOf(column)+" is generated otherwise"), err
		}
		same, err := sameDefault(written, isDefault)
		return unless(same, columnOf(column)+" has another default"), err
	}
	return both(append([]proof{own}, proofs...)...)
}

func columnOf(column string) string { return "its column " + column }

// inline are the constraints behind a column that stand in pg_constraint.
func inline(c *tree.ColumnDef) (all []*tree.Constraint) {
	for _, n := range c.GetConstraints() {
		switch n.GetConstraint().GetContype() {
		case tree.ConstrType_CONSTR_PRIMARY, tree.ConstrType_CONSTR_UNIQUE, tree.ConstrType_CONSTR_CHECK, tree.ConstrType_CONSTR_FOREIGN:
			all = append(all, n.GetConstraint())
		}
	}
	return all
}

// sameDefault compares the file's expression to Postgres's text, which may put a cast around it. A default of null is none.
func sameDefault(e *tree.Node, written *string) (bool, error) {
	there := &tree.Node{Node: &tree.Node_AConst{AConst: &tree.A_Const{Isnull: true}}}
	if e == nil {
		e = there
	}
	if written != nil {
		var err error
		if there, err = target("select " + *written); err != nil {
			return false, err
		}
	}
	return sameUpToCast(e, there)
}

func sameUpToCast(e, there *tree.Node) (bool, error) {
	same, err := equalExpressions(e, there)
	for err == nil && !same && there.GetTypeCast() != nil && e.GetTypeCast() == nil {
		there = there.GetTypeCast().GetArg()
		if same, err = equalExpressions(e, there); err == nil && !same && e.GetAConst() != nil { // -1 is written as '-1'::integer
			var text string
			text, err = deparse(e)
			same = there.GetAConst().GetSval() != nil && text == there.GetAConst().GetSval().GetSval()
		}
	}
	return same, err
}
