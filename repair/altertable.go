package repair

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"
	tree "github.com/pganalyze/pg_query_go/v6"
	pgquery "github.com/wasilibs/go-pgquery"
)

// alterTable reads each command; those that the catalog doesn't tell are passed over, since the statement is done as a whole
// or not at all.
func (r reader) alterTable(s *tree.AlterTableStmt) effect {
	if s.GetObjtype() == tree.ObjectType_OBJECT_TYPE {
		return untold("its kind is not looked up in the catalog")
	}
	table := r.named(s.GetRelation())
	var all effect
	for _, c := range s.GetCmds() {
		one := r.command(table, c.GetAlterTableCmd())
		if one.untold != "" {
			all.untold = one.untold
		}
		all.facts = append(all.facts, one.facts...)
	}
	if len(all.facts) > 0 {
		all.untold = ""
	}
	return all.eachFact(func(f *fact) { *f = f.ifTable(f.optional || s.GetMissingOk()) })
}

func (r reader) command(table name, c *tree.AlterTableCmd) effect {
	switch c.GetSubtype() {
	case tree.AlterTableType_AT_AddColumn:
		return r.addColumn(table, c)
	case tree.AlterTableType_AT_DropColumn:
		return told(r.column(table, c.GetName()).away(true).ifNot(c.GetMissingOk()))
	case tree.AlterTableType_AT_AlterColumnType:
		return r.columnType(table, c)
	case tree.AlterTableType_AT_ColumnDefault:
		return r.columnDefault(table, c)
	case tree.AlterTableType_AT_AddConstraint:
		return r.addConstraint(table, c.GetDef().GetConstraint())
	case tree.AlterTableType_AT_DropConstraint:
		return told(r.constraint(table, c.GetName()).away(true).ifNot(c.GetMissingOk()))
	case tree.AlterTableType_AT_ValidateConstraint:
		f := r.constraint(table, c.GetName())
		f.key, f.within = key("valid", f.key), append(f.within, f.key)
		f.property, f.lesser, f.repeats, f.want = true, true, true, "valid"
		f.look = ask("select (select convalidated from pg_constraint where conrelid = to_regclass($1) and conname = $2::text::name)", table.quoted(), c.GetName())
		return told(f)
	case tree.AlterTableType_AT_AttachPartition:
		part := c.GetDef().GetPartitionCmd()
		f := r.inherits("partition", table, r.named(part.GetName()))
		if f.same = never; part.GetBound() != nil {
			f.same = sameBound(r.named(part.GetName()), part.GetBound())
		}
		return told(f)
	case tree.AlterTableType_AT_DetachPartition, tree.AlterTableType_AT_DetachPartitionFinalize:
		return told(r.detached(table, r.named(c.GetDef().GetPartitionCmd().GetName())))
	case tree.AlterTableType_AT_AddInherit, tree.AlterTableType_AT_DropInherit:
		gone := c.GetSubtype() == tree.AlterTableType_AT_DropInherit
		return told(r.inherits("child", r.named(c.GetDef().GetRangeVar()), table).away(gone))
	case tree.AlterTableType_AT_ChangeOwner:
		role, sql := roleSQL(c.GetNewowner())
		return told(r.relationProperty("owner", "owned by "+role, "c.relowner = "+sql, table))
	}
	return r.property(table, c)
}

// holdsNoNull is of column a: from version 18 on, one may be marked not null before its rows are proved.
const holdsNoNull = `(a.attnotnull and not exists (select from pg_constraint n
	where n.conrelid = a.attrelid and n.contype = 'n' and n.conkey = array[a.attnum] and not n.convalidated))`

// property reads the commands that set something which had a value before.
func (r reader) property(table name, c *tree.AlterTableCmd) effect {
	type property struct{ name, want, sql string }
	column := map[tree.AlterTableType]property{
		tree.AlterTableType_AT_SetNotNull:     {"null", "not null", holdsNoNull},
		tree.AlterTableType_AT_DropNotNull:    {"null", "nullable", "not a.attnotnull"},
		tree.AlterTableType_AT_DropIdentity:   {"identity", "without an identity", "a.attidentity = ''"},
		tree.AlterTableType_AT_DropExpression: {"expression", "not generated", "a.attgenerated = ''"},
	}
	if p, ok := column[c.GetSubtype()]; ok {
		return told(r.columnProperty(p.name, p.want, p.sql, table, c.GetName()))
	}
	if c.GetSubtype() == tree.AlterTableType_AT_AddIdentity { // refused where there is one already
		identity := c.GetDef().GetConstraint()
		f := r.columnProperty("identity", "an identity", "a.attidentity <> ''", table, c.GetName())
		if f.same = never; len(identity.GetOptions()) == 0 {
			f.same = proves("it is generated otherwise", "select attidentity = $3::text::\"char\" from pg_attribute where attrelid = to_regclass($1) and attname = $2::text::name",
				table.quoted(), c.GetName(), identity.GetGeneratedWhen())
		}
		return told(f).strongly()
	}
	whole := map[tree.AlterTableType]property{
		tree.AlterTableType_AT_EnableRowSecurity:  {"rls", "under row-level security", "c.relrowsecurity"},
		tree.AlterTableType_AT_DisableRowSecurity: {"rls", "without row-level security", "not c.relrowsecurity"},
		tree.AlterTableType_AT_ForceRowSecurity:   {"force", "under forced row-level security", "c.relforcerowsecurity"},
		tree.AlterTableType_AT_NoForceRowSecurity: {"force", "without forced row-level security", "not c.relforcerowsecurity"},
		tree.AlterTableType_AT_SetLogged:          {"logged", "logged", "c.relpersistence = 'p'"},
		tree.AlterTableType_AT_SetUnLogged:        {"logged", "unlogged", "c.relpersistence = 'u'"},
	}
	if p, ok := whole[c.GetSubtype()]; ok {
		return told(r.relationProperty(p.name, p.want, p.sql, table))
	}
	return untold("its kind is not looked up in the catalog")
}

func (r reader) addConstraint(table name, c *tree.Constraint) effect {
	var f fact
	switch {
	case constraintName(c) != "": // without a name of its own, the constraint takes the index's
		f = r.constraint(table, constraintName(c))
	case c.GetContype() == tree.ConstrType_CONSTR_PRIMARY: // a table has one at most
		f = r.primaryKey(table)
	default:
		return told(r.unnamedConstraint(table, c))
	}
	if c.GetIndexname() == "" {
		f.same = r.sameConstraint(table, c, "")
		return told(f)
	}
	f.same = r.sameUsing(table, c)
	if constraintName(c) == c.GetIndexname() {
		return told(f)
	}
	index := r.relation("index", indexes, name{table.schema, c.GetIndexname(), table.implied}).away(true) // it gets the constraint's name
	index.key, index.lesser = key("taken", index.key), true
	return told(f, index)
}

func (r reader) primaryKey(table name) fact {
	f := r.part("primary key", "pg_constraint", "contype = 'p' and conrelid", "''", table, "")
	f.what = "primary key of " + table.String()
	return f
}

// unnamedConstraint is there if one like it is; if not, Postgres may only write it otherwise.
func (r reader) unnamedConstraint(table name, c *tree.Constraint) fact {
	f := fact{key: r.unnamedKey(table), within: r.withinRelation(table), what: "such a constraint of " + table.String()}
	f.look = func(ctx context.Context, tx pgx.Tx) (*bool, string, error) {
		is, _, err := ask("select to_regclass($1) is not null", table.quoted())(ctx, tx)
		if err != nil || !*is {
			return nil, "", err
		}
		reason, err := doubt(ctx, tx, f.by(r.sameConstraint(table, c, "")), func(string) bool { return false })
		if err != nil || reason != "" {
			return nil, unnamed, err
		}
		return is, "", nil
	}
	return f
}

func (r reader) unnamedKey(table name) string { return key("unnamed constraint", r.relationKey(table)) }

func (r reader) inherits(word string, parent, child name) fact {
	return fact{
		key: key("inherits", r.relationKey(parent), r.relationKey(child)), within: append(r.withinRelation(parent), r.withinRelation(child)...),
		what: word + " " + child.String() + " of " + parent.String(),
		look: ask(`select case when to_regclass($1) is not null and to_regclass($2) is not null
			then exists (select from pg_inherits where inhparent = to_regclass($1) and inhrelid = to_regclass($2)) end`,
			parent.quoted(), child.quoted()),
	}
}

// detached knows that DETACH … CONCURRENTLY, when it is interrupted, leaves a partition neither attached nor detached.
func (r reader) detached(parent, child name) fact {
	f := r.inherits("partition", parent, child).away(true)
	attached := f.look
	f.look = func(ctx context.Context, tx pgx.Tx) (is *bool, note string, err error) {
		if is, note, err = attached(ctx, tx); err == nil && is != nil && *is {
			var pending bool
			err = tx.QueryRow(ctx, "select inhdetachpending from pg_inherits where inhparent = to_regclass($1) and inhrelid = to_regclass($2)",
				parent.quoted(), child.quoted()).Scan(&pending)
			if pending {
				note = f.what + " is detached half way: ALTER TABLE … DETACH PARTITION … FINALIZE ends it"
			}
		}
		return is, note, err
	}
	return f
}

func (r reader) addColumn(table name, c *tree.AlterTableCmd) effect {
	column := c.GetDef().GetColumnDef()
	f := r.column(table, column.GetColname())
	f.same = r.sameColumn(table, column, false)
	return told(f.ifNot(c.GetMissingOk()))
}

func (r reader) columnType(table name, c *tree.AlterTableCmd) effect {
	f := r.columnProperty("type", "of the type that the file gives it", "", table, c.GetName())
	f.look = r.typed(table, c.GetName(), c.GetDef().GetColumnDef().GetTypeName())
	if c.GetDef().GetColumnDef().GetRawDefault() != nil { // USING would be applied to its own result
		f.repeats = false
	}
	return told(f)
}

// typed compares a column's type to what Postgres makes of the type in the file.
func (r reader) typed(table name, column string, t *tree.TypeName) look {
	return func(ctx context.Context, tx pgx.Tx) (*bool, string, error) {
		oid, modifier, err := typeNamed(ctx, tx, t)
		if err != nil {
			return nil, "", err
		}
		return ask("select (select atttypid = $3::oid and atttypmod = $4::int from pg_attribute where attrelid = to_regclass($1) and attname = $2::text::name and not attisdropped)",
			table.quoted(), column, oid, modifier)(ctx, tx)
	}
}

// typeNamed asks Postgres for a type and its modifier. Of a domain the protocol tells the type beneath, so that the type is read
// from the array of it; a column of a domain has no modifier.
func typeNamed(ctx context.Context, tx pgx.Tx, t *tree.TypeName) (oid uint32, modifier int32, err error) {
	cast := func(value *tree.A_Const, t *tree.TypeName) string {
		text, failed := deparse(&tree.Node{Node: &tree.Node_TypeCast{TypeCast: &tree.TypeCast{Arg: &tree.Node{Node: &tree.Node_AConst{AConst: value}}, TypeName: t}}})
		err = errors.Join(err, failed)
		return text
	}
	null := cast(&tree.A_Const{Isnull: true}, t)
	several := clone(t)
	several.ArrayBounds = []*tree.Node{tree.MakeIntNode(-1)}
	none := cast(&tree.A_Const{Val: &tree.A_Const_Sval{Sval: &tree.String{Sval: "{}"}}}, several)
	if err != nil {
		return 0, 0, err
	}
	rows, err := tx.Query(ctx, "select "+null+" where false")
	if err != nil {
		return 0, 0, err
	}
	rows.Next() // the fields are known from here on
	if fields := rows.FieldDescriptions(); len(fields) == 1 {
		oid, modifier = fields[0].DataTypeOID, fields[0].TypeModifier
	}
	rows.Close()
	if err := rows.Err(); err != nil || len(t.GetArrayBounds()) > 0 {
		return oid, modifier, err
	}
	beneath := oid
	if err := tx.QueryRow(ctx, "select typelem from pg_type where oid = pg_typeof("+none+")").Scan(&oid); err != nil {
		return 0, 0, err
	}
	if oid != beneath {
		modifier = -1
	}
	return oid, modifier, nil
}

// columnDefault compares the default with Postgres's own text, which may have a cast around it.
func (r reader) columnDefault(table name, c *tree.AlterTableCmd) effect {
	if c.GetDef() == nil {
		return told(r.columnProperty("default", "without a default", "case when a.attrelid is not null then not a.atthasdef end", table, c.GetName()))
	}
	f := r.columnProperty("default", "given this default", "a.attrelid is not null", table, c.GetName())
	exists := f.look
	f.look = func(ctx context.Context, tx pgx.Tx) (*bool, string, error) {
		is, _, err := exists(ctx, tx)
		if err != nil || !*is {
			return nil, "", err
		}
		var written *string
		var ofType string
		err = tx.QueryRow(ctx, `select pg_get_expr(d.adbin, d.adrelid), format_type(a.atttypid, a.atttypmod) from pg_attribute a left join pg_attrdef d on a.attrelid = d.adrelid and a.attnum = d.adnum
			where a.attrelid = to_regclass($1) and a.attname = $2::text::name and not a.attisdropped`, table.quoted(), c.GetName()).Scan(&written, &ofType)
		if err != nil {
			return nil, "", err
		}
		same, err := sameDefault(c.GetDef(), written)
		if err == nil && (same || written == nil) {
			return &same, "", nil
		}
		if c.GetDef().GetAConst() != nil && isConstant(*written) { // a date, for example, is written out
			if text, err := deparse(c.GetDef()); err == nil && tx.QueryRow(ctx, "select ("+text+")::"+ofType+"::text is not distinct from ("+*written+")::"+ofType+"::text").Scan(&same) == nil {
				return &same, "", nil
			}
		}
		return nil, "Postgres writes its default in another way, which proves nothing", nil
	}
	return told(f)
}

// isConstant looks through the casts around an expression.
func isConstant(expression string) bool {
	e, err := target("select " + expression)
	for err == nil && e.GetTypeCast() != nil {
		e = e.GetTypeCast().GetArg()
	}
	return err == nil && e.GetAConst() != nil
}

// deparse writes an expression as SQL.
func deparse(expression *tree.Node) (string, error) {
	text, err := pgquery.Deparse(&tree.ParseResult{Stmts: []*tree.RawStmt{{Stmt: &tree.Node{Node: &tree.Node_SelectStmt{SelectStmt: &tree.SelectStmt{
		TargetList: []*tree.Node{{Node: &tree.Node_ResTarget{ResTarget: &tree.ResTarget{Val: expression}}}}}}}}}})
	return strings.TrimPrefix(text, "SELECT "), err
}
