package repair

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	tree "github.com/pganalyze/pg_query_go/v6"
)

// sameView lets Postgres write the file's query as it has written the view's.
func sameView(view name, query *tree.Node, aliases []*tree.Node) proof {
	return func(ctx context.Context, tx pgx.Tx, _ touched) (string, error) {
		text, err := write(query)
		if err != nil {
			return "", err
		}
		columns := ""
		if len(aliases) > 0 {
			quoted := words(aliases)
			for i, a := range quoted {
				quoted[i] = pgx.Identifier{a}.Sanitize()
			}
			columns = " (" + strings.Join(quoted, ", ") + ")"
		}
		wanted, err := probe(ctx, tx, text, columns)
		if err != nil {
			return "", err
		}
		return proves(differs, "select pg_get_viewdef(oid) = $2::text and reloptions is null from pg_class where oid = to_regclass($1)", view.quoted(), wanted)(ctx, tx, nil)
	}
}

// sameTrigger compares Postgres's text of the trigger, and which function it calls.
func (r reader) sameTrigger(s *tree.CreateTrigStmt) proof {
	table := r.named(s.GetRelation()).quoted()
	return func(ctx context.Context, tx pgx.Tx, _ touched) (string, error) {
		var definition string
		var calls bool
		err := tx.QueryRow(ctx, "select pg_get_triggerdef(oid), coalesce(tgfoid = to_regproc($3)::oid, false) and tgenabled = 'O' from pg_trigger where tgrelid = to_regclass($1) and tgname = $2::text::name",
			table, s.GetTrigname(), r.meant(listed(s.GetFuncname())).quoted()).Scan(&definition, &calls)
		if err != nil || !calls {
			return differs, err
		}
		parsed, err := parse(definition)
		if err != nil {
			return "", err
		}
		wanted, there := clone(s), parsed.GetCreateTrigStmt()
		if wanted.WhenClause, err = normal(ctx, tx, wanted.GetWhenClause(), table+" old, "+table+" new", "old", "new"); err != nil {
			return "", err
		}
		for _, one := range []*tree.CreateTrigStmt{wanted, there} {
			one.Replace, one.Relation, one.Funcname = false, &tree.RangeVar{Relname: "t", Inh: true, Relpersistence: "p"}, []*tree.Node{tree.MakeStrNode("f")}
		}
		same, err := equal(&tree.Node{Node: &tree.Node_CreateTrigStmt{CreateTrigStmt: wanted}}, parsed)
		return unless(same, differs), err
	}
}

func (r reader) samePolicy(s *tree.CreatePolicyStmt) proof {
	table := r.named(s.GetTable()).quoted()
	return func(ctx context.Context, tx pgx.Tx, _ touched) (string, error) {
		var command string
		var permissive bool
		var roles []string
		var using, check *string
		err := tx.QueryRow(ctx, `select polcmd::text, polpermissive, array(select case o when 0 then 'public' else (select rolname::text from pg_roles where oid = o) end from unnest(polroles) o order by 1),
			pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid) from pg_policy where polrelid = to_regclass($1) and polname = $2::text::name`,
			table, s.GetPolicyName()).Scan(&command, &permissive, &roles, &using, &check)
		if err != nil {
			return "", err
		}
		var wanted []string
		for _, one := range s.GetRoles() {
			switch role := one.GetRoleSpec(); role.GetRoletype() {
			case tree.RoleSpecType_ROLESPEC_PUBLIC:
				wanted = append(wanted, "public")
			case tree.RoleSpecType_ROLESPEC_CSTRING:
				wanted = append(wanted, role.GetRolename())
			default:
				return unproved, nil
			}
		}
		slices.Sort(wanted)
		commands := map[string]string{"all": "*", "select": "r", "insert": "a", "update": "w", "delete": "d"}
		if commands[s.GetCmdName()] != command || s.GetPermissive() != permissive || !slices.Equal(wanted, roles) {
			return differs, nil
		}
		same, err := sameExpression(ctx, tx, s.GetQual(), table, using)
		if err == nil && same {
			same, err = sameExpression(ctx, tx, s.GetWithCheck(), table, check)
		}
		return unless(same, differs), err
	}
}

// sameSequence knows the defaults of an ascending bigint.
func sameSequence(n name, s *tree.CreateSeqStmt) proof {
	wanted := map[string]int64{"start": 1, "increment": 1, "cache": 1}
	for _, o := range s.GetOptions() {
		d := o.GetDefElem()
		value := d.GetArg().GetInteger()
		if _, known := wanted[d.GetDefname()]; !known || value == nil || value.GetIval() < 1 {
			return never
		}
		wanted[d.GetDefname()] = int64(value.GetIval())
	}
	return proves(differs, `select s.seqtypid = 'int8'::regtype and s.seqstart = $2 and s.seqincrement = $3 and s.seqcache = $4 and s.seqmin = 1
		and s.seqmax = 9223372036854775807 and not s.seqcycle and c.relpersistence = $5::text::"char" and not exists (select from pg_depend d
		where d.classid = 'pg_class'::regclass and d.objid = s.seqrelid and d.refobjsubid > 0) from pg_sequence s join pg_class c on c.oid = s.seqrelid
		where s.seqrelid = to_regclass($1)`, n.quoted(), wanted["start"], wanted["increment"], wanted["cache"], s.GetSequence().GetRelpersistence())
}

// sameEnum compares the labels in their order, but for those that a later line adds or renames.
func (r reader) sameEnum(n name, s *tree.CreateEnumStmt) proof {
	return func(ctx context.Context, tx pgx.Tx, later touched) (string, error) {
		there, err := r.labels(ctx, tx, n, later)
		wanted := slices.DeleteFunc(words(s.GetVals()), func(label string) bool { return later(r.valueKey(n, label)) })
		return unless(slices.Equal(wanted, there), "its values are not those that the file gives it"), err
	}
}

// samePlace finds a value of an enum where the file puts it: beside its neighbour, or last.
func (r reader) samePlace(n name, s *tree.AlterEnumStmt) proof {
	return func(ctx context.Context, tx pgx.Tx, later touched) (string, error) {
		const otherwise = "it stands in another place"
		there, err := r.labels(ctx, tx, n, later)
		at := slices.Index(there, s.GetNewVal())
		beside := at + 1
		switch {
		case s.GetNewValNeighbor() == "":
			return unless(beside == len(there), otherwise), err
		case s.GetNewValIsAfter():
			beside = at - 1
		}
		return unless(at >= 0 && beside >= 0 && beside < len(there) && there[beside] == s.GetNewValNeighbor(), otherwise), err
	}
}

// labels of an enum in their order, without those that a later line adds or renames.
func (r reader) labels(ctx context.Context, tx pgx.Tx, n name, later touched) (all []string, err error) {
	err = tx.QueryRow(ctx, "select coalesce(array_agg(enumlabel::text order by enumsortorder), '{}') from pg_enum where enumtypid = to_regtype($1)", n.quoted()).Scan(&all)
	return slices.DeleteFunc(all, func(label string) bool { return later(r.valueKey(n, label)) }), err
}

func (r reader) valueKey(n name, label string) string { return key("value", r.typ(n).key, label) }

// sameDomain compares all but CHECK, whose text Postgres changes.
func sameDomain(n name, s *tree.CreateDomainStmt) proof {
	notNull := false
	for _, c := range s.GetConstraints() {
		switch c.GetConstraint().GetContype() {
		case tree.ConstrType_CONSTR_NOTNULL:
			notNull = true
		case tree.ConstrType_CONSTR_NULL:
		default:
			return never
		}
	}
	if s.GetCollClause() != nil {
		return never
	}
	return func(ctx context.Context, tx pgx.Tx, later touched) (string, error) {
		oid, modifier, err := typeNamed(ctx, tx, s.GetTypeName())
		if err != nil {
			return "", err
		}
		return proves(differs, `select t.typtype = 'd' and t.typbasetype = $2 and t.typtypmod = $3 and t.typnotnull = $4 and t.typdefault is null
			and t.typcollation = (select b.typcollation from pg_type b where b.oid = t.typbasetype)
			and not exists (select from pg_constraint where contypid = t.oid and contype = 'c') from pg_type t where t.oid = to_regtype($1)`,
			n.quoted(), oid, modifier, notNull)(ctx, tx, later)
	}
}

// sameComposite compares a composite type's columns.
func (r reader) sameComposite(n name, s *tree.CompositeTypeStmt) proof {
	var columns []string
	var proofs []proof
	for _, c := range s.GetColdeflist() {
		columns = append(columns, c.GetColumnDef().GetColname())
		proofs = append(proofs, r.sameColumn(n, c.GetColumnDef(), false))
	}
	return both(append(proofs, r.noMore(n, columns, 0))...)
}

func sameRange(n name, s *tree.CreateRangeStmt) proof {
	if len(s.GetParams()) != 1 || s.GetParams()[0].GetDefElem().GetDefname() != "subtype" {
		return never
	}
	return func(ctx context.Context, tx pgx.Tx, later touched) (string, error) {
		oid, _, err := typeNamed(ctx, tx, s.GetParams()[0].GetDefElem().GetArg().GetTypeName())
		if err != nil {
			return "", err
		}
		return proves(differs, `select r.rngsubtype = $2 and r.rngcanonical = 0 and r.rngsubdiff = 0 and o.opcdefault
			and r.rngcollation = (select typcollation from pg_type where oid = r.rngsubtype)
			from pg_range r join pg_opclass o on o.oid = r.rngsubopc where r.rngtypid = to_regtype($1)`, n.quoted(), oid)(ctx, tx, later)
	}
}

// sameFunction compares Postgres's own text of the function to the statement.
func (r reader) sameFunction(identity string, s *tree.CreateFunctionStmt) proof {
	return func(ctx context.Context, tx pgx.Tx, _ touched) (string, error) {
		var definition string
		if err := tx.QueryRow(ctx, "select pg_get_functiondef(to_regprocedure($1))", identity).Scan(&definition); err != nil {
			return "", err
		}
		parsed, err := parse(definition)
		if err != nil {
			return "", err
		}
		wanted, there := clone(s), parsed.GetCreateFunctionStmt()
		if len(wanted.GetParameters()) == len(there.GetParameters()) {
			for i, p := range wanted.GetParameters() {
				mine, theirs := p.GetFunctionParameter(), there.GetParameters()[i].GetFunctionParameter()
				if mine.GetDefexpr() == nil || theirs.GetDefexpr() == nil {
					continue
				}
				if same, err := sameUpToCast(mine.GetDefexpr(), theirs.GetDefexpr()); err != nil || !same {
					return differs, err
				}
				theirs.Defexpr = mine.GetDefexpr()
			}
		}
		same, err := equal(plainFunction(wanted), plainFunction(there))
		return unless(same, differs), err
	}
}

// plainFunction leaves out the name and what is so by default, and puts the options in one order.
func plainFunction(s *tree.CreateFunctionStmt) *tree.Node {
	s.Replace, s.Funcname = true, []*tree.Node{tree.MakeStrNode("f")}
	for _, p := range s.GetParameters() {
		if one := p.GetFunctionParameter(); one.Mode == tree.FunctionParameterMode_FUNC_PARAM_DEFAULT {
			one.Mode = tree.FunctionParameterMode_FUNC_PARAM_IN
		}
	}
	byDefault := map[string]string{"volatility": "volatile", "parallel": "unsafe", "strict": "false", "security": "false", "leakproof": "false", "window": "false"}
	s.Options = slices.DeleteFunc(s.GetOptions(), func(o *tree.Node) bool {
		d := o.GetDefElem()
		is := d.GetArg().GetString_().GetSval()
		if b := d.GetArg().GetBoolean(); b != nil {
			is = fmt.Sprint(b.GetBoolval())
		}
		standard, ok := byDefault[d.GetDefname()]
		return ok && is == standard
	})
	slices.SortStableFunc(s.GetOptions(), func(a, b *tree.Node) int {
		return strings.Compare(a.GetDefElem().GetDefname(), b.GetDefElem().GetDefname())
	})
	return &tree.Node{Node: &tree.Node_CreateFunctionStmt{CreateFunctionStmt: s}}
}
