package repair

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	tree "github.com/pganalyze/pg_query_go/v6"
)

// createFunction asks for the very arguments: functions of one name may stand side by side. Of OR REPLACE, another body shows that
// it is not applied.
func (r reader) createFunction(s *tree.CreateFunctionStmt) effect {
	n := listed(s.GetFuncname()).in(r.schema)
	var arguments []string
	for _, p := range s.GetParameters() {
		one := p.GetFunctionParameter()
		switch one.GetMode() {
		case tree.FunctionParameterMode_FUNC_PARAM_OUT, tree.FunctionParameterMode_FUNC_PARAM_TABLE:
			continue
		}
		text, err := typeText(one.GetArgType())
		if err != nil {
			return untold("its arguments can't be written down")
		}
		arguments = append(arguments, text)
	}
	identity := n.quoted() + "(" + strings.Join(arguments, ", ") + ")"
	f := r.routine(n)
	f.what = "routine " + n.String() + " of these arguments"
	// where there is none of the name, its arguments' types may be missing as well
	const of = "select case when exists (select from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname = $1 and p.proname = $2) then "
	f.look = ask(of+"to_regprocedure($3) is not null else false end", n.schema, n.local, identity)
	f.same = r.sameFunction(identity, s)
	if body, isText := functionBody(s); isText && s.GetReplace() {
		f.look = ask(of+"exists (select from pg_proc where oid = to_regprocedure($3) and prosrc = $4::text) else false end", n.schema, n.local, identity, body)
		f.what = "routine " + n.String() + " with this body"
	}
	return told(f.ifNot(s.GetReplace()))
}

// typeText is a type as SQL.
func typeText(t *tree.TypeName) (string, error) {
	text, err := deparse(&tree.Node{Node: &tree.Node_TypeCast{TypeCast: &tree.TypeCast{Arg: &tree.Node{Node: &tree.Node_AConst{AConst: &tree.A_Const{Isnull: true}}}, TypeName: t}}})
	return strings.TrimPrefix(text, "NULL::"), err
}

func quotedSchema(n name) *string {
	if n.schema == "" {
		return nil
	}
	return new(pgx.Identifier{n.schema}.Sanitize())
}

func functionBody(s *tree.CreateFunctionStmt) (string, bool) {
	for _, o := range s.GetOptions() {
		if o.GetDefElem().GetDefname() == "as" {
			if items := o.GetDefElem().GetArg().GetList().GetItems(); len(items) == 1 {
				return items[0].GetString_().GetSval(), true
			}
		}
	}
	return "", false
}

// routine of any arguments: overloads count as one.
func (r reader) routine(n name) fact {
	full := n.in(r.schema)
	return fact{
		key: key("routine", full.schema, full.local), within: []string{r.schemaKey(full.schema)}, what: "routine " + n.String(),
		look: ask("select exists (select from pg_proc where proname = $1::text::name and pronamespace = coalesce(to_regnamespace($2), pronamespace))", n.local, quotedSchema(n)),
	}
}

var relations = map[tree.ObjectType]struct{ word, kinds string }{
	tree.ObjectType_OBJECT_TABLE:         {"table", tables},
	tree.ObjectType_OBJECT_FOREIGN_TABLE: {"table", tables},
	tree.ObjectType_OBJECT_VIEW:          {"view", views},
	tree.ObjectType_OBJECT_MATVIEW:       {"materialized view", matviews},
	tree.ObjectType_OBJECT_INDEX:         {"index", indexes},
	tree.ObjectType_OBJECT_SEQUENCE:      {"sequence", sequences},
}

func (r reader) drop(s *tree.DropStmt) effect {
	var facts []fact
	for _, object := range s.GetObjects() {
		f, known := r.dropped(s.GetRemoveType(), object)
		if !known {
			return untold("its kind is not looked up in the catalog")
		}
		f.optional = s.GetMissingOk()
		facts = append(facts, f.ifNot(s.GetMissingOk()))
	}
	return told(facts...)
}

func (r reader) dropped(kind tree.ObjectType, object *tree.Node) (fact, bool) {
	if relation, ok := relations[kind]; ok {
		n, of := r.meant(listedNode(object)), func(n name) fact { return r.relation(relation.word, relation.kinds, n) }
		return r.goes(of(n), n, of), true
	}
	switch kind {
	case tree.ObjectType_OBJECT_SCHEMA:
		return r.schemaFact(listedNode(object).local).away(true), true
	case tree.ObjectType_OBJECT_EXTENSION:
		return r.extension(listedNode(object).local).away(true), true
	case tree.ObjectType_OBJECT_TYPE, tree.ObjectType_OBJECT_DOMAIN:
		n := r.meant(listedNode(object))
		return r.goes(r.typ(n), n, r.typ), true
	case tree.ObjectType_OBJECT_FUNCTION, tree.ObjectType_OBJECT_PROCEDURE, tree.ObjectType_OBJECT_ROUTINE, tree.ObjectType_OBJECT_AGGREGATE:
		return r.droppedRoutine(object.GetObjectWithArgs()).away(true), true
	case tree.ObjectType_OBJECT_TRIGGER, tree.ObjectType_OBJECT_POLICY, tree.ObjectType_OBJECT_RULE:
		items := object.GetList().GetItems()
		if len(items) < 2 {
			return fact{}, false
		}
		table, part := r.meant(listed(items[:len(items)-1])), items[len(items)-1].GetString_().GetSval()
		return map[tree.ObjectType]func(name, string) fact{
			tree.ObjectType_OBJECT_TRIGGER: r.trigger, tree.ObjectType_OBJECT_POLICY: r.policy, tree.ObjectType_OBJECT_RULE: r.rule,
		}[kind](table, part).away(true), true
	}
	return fact{}, false
}

// droppedRoutine has no answer where there are others of its name: which of them it was, the arguments would have to say.
func (r reader) droppedRoutine(o *tree.ObjectWithArgs) fact {
	n := listed(o.GetObjname())
	f := r.routine(n)
	f.look = func(ctx context.Context, tx pgx.Tx) (*bool, string, error) {
		var here, elsewhere int
		err := tx.QueryRow(ctx, `select count(*) filter (where n.nspname = $2)::int, count(*) filter (where n.nspname <> $2 and $3 and pg_function_is_visible(p.oid))::int
			from pg_proc p join pg_namespace n on n.oid = p.pronamespace where p.proname = $1::text::name`, n.local, n.in(r.schema).schema, n.schema == "").Scan(&here, &elsewhere)
		switch {
		case err != nil:
			return nil, "", err
		case here+elsewhere > 1:
			return nil, fmt.Sprintf("there are several routines %s: it may be another", n), nil
		case elsewhere > 0:
			return nil, fmt.Sprintf("%s is there, in another schema than %s: it may be another", f.what, r.schema), nil
		}
		return new(here == 1), "", nil
	}
	return f
}

// rename is told by the new name; that the old one is gone proves nothing alone.
func (r reader) rename(s *tree.RenameStmt) effect {
	from, to := s.GetSubname(), s.GetNewname()
	table := r.named(s.GetRelation())
	pair := func(of func(string) fact) effect {
		old := of(from).away(true)
		old.lesser = true
		return told(of(to), old).eachFact(func(f *fact) { f.optional = s.GetMissingOk() })
	}
	on := func(part func(name, string) fact) effect {
		return pair(func(one string) fact { return part(table, one) })
	}
	if relation, ok := relations[s.GetRenameType()]; ok {
		kinds := relation.kinds
		if s.GetRenameType() == tree.ObjectType_OBJECT_TABLE { // ALTER TABLE renames indexes and views as well
			kinds = anyKind
		}
		from = table.local
		if r.made[from] && table.implied {
			r.made[to] = true
		}
		return pair(func(one string) fact {
			if one == from { // a view may have taken its place
				return r.relation(relation.word, relation.kinds, name{table.schema, one, table.implied})
			}
			return r.relation(relation.word, kinds, name{table.schema, one, table.implied})
		})
	}
	switch s.GetRenameType() {
	case tree.ObjectType_OBJECT_COLUMN:
		return on(r.column)
	case tree.ObjectType_OBJECT_TABCONSTRAINT:
		return on(r.constraint)
	case tree.ObjectType_OBJECT_TRIGGER:
		return on(r.trigger)
	case tree.ObjectType_OBJECT_POLICY:
		return on(r.policy)
	case tree.ObjectType_OBJECT_RULE:
		return on(r.rule)
	case tree.ObjectType_OBJECT_SCHEMA:
		return pair(r.schemaFact)
	case tree.ObjectType_OBJECT_TYPE, tree.ObjectType_OBJECT_DOMAIN:
		n := r.meant(listedNode(s.GetObject()))
		from = n.local
		return pair(func(one string) fact { return r.typ(name{n.schema, one, n.implied}) })
	}
	return untold("its kind is not looked up in the catalog")
}

func (r reader) setSchema(s *tree.AlterObjectSchemaStmt) effect {
	var of func(name) fact
	var n name
	if relation, ok := relations[s.GetObjectType()]; ok {
		n = r.named(s.GetRelation())
		of = func(n name) fact { return r.relation(relation.word, anyKind, n) }
	} else if s.GetObjectType() == tree.ObjectType_OBJECT_TYPE || s.GetObjectType() == tree.ObjectType_OBJECT_DOMAIN {
		n, of = listedNode(s.GetObject()), r.typ
	} else {
		return untold("its kind is not looked up in the catalog")
	}
	gone := of(n.in(r.schema)).away(true)
	gone.lesser = true
	return told(of(name{schema: s.GetNewschema(), local: n.local}), gone).eachFact(func(f *fact) { f.optional = s.GetMissingOk() })
}

func (r reader) owner(s *tree.AlterOwnerStmt) effect {
	role, sql := roleSQL(s.GetNewowner())
	ownedBy := func(f fact, catalog, owner, id string, regs string) effect {
		f.key, f.within = key("owner", f.key), append(f.within, f.key)
		f.property, f.lesser, f.repeats, f.want = true, true, true, "owned by "+role
		f.look = ask("select o."+owner+" = "+sql+" from (values (1)) one left join "+catalog+" o on o.oid = "+regs+"($1)", id)
		return told(f)
	}
	switch s.GetObjectType() {
	case tree.ObjectType_OBJECT_SCHEMA:
		n := listedNode(s.GetObject())
		return ownedBy(r.schemaFact(n.local), "pg_namespace", "nspowner", n.quoted(), "to_regnamespace")
	case tree.ObjectType_OBJECT_TYPE, tree.ObjectType_OBJECT_DOMAIN:
		n := r.meant(listedNode(s.GetObject()))
		return ownedBy(r.typ(n), "pg_type", "typowner", n.quoted(), "to_regtype")
	}
	return untold("its kind is not looked up in the catalog")
}

// roleSQL is an expression for the role's oid.
func roleSQL(role *tree.RoleSpec) (forPeople, sql string) {
	switch role.GetRoletype() {
	case tree.RoleSpecType_ROLESPEC_CURRENT_USER, tree.RoleSpecType_ROLESPEC_CURRENT_ROLE:
		return "the current role", "current_user::regrole"
	case tree.RoleSpecType_ROLESPEC_SESSION_USER:
		return "the session's role", "session_user::regrole"
	}
	quoted := strings.ReplaceAll(pgx.Identifier{role.GetRolename()}.Sanitize(), "'", "''")
	return role.GetRolename(), "to_regrole('" + quoted + "')"
}

// comment compares the text without telling it.
func (r reader) comment(s *tree.CommentStmt) effect {
	var want *string
	if text := s.GetComment(); text != "" {
		want = &text
	}
	const text = " is not distinct from $%d::text"
	n := r.meant(listedNode(s.GetObject()))
	switch s.GetObjtype() {
	case tree.ObjectType_OBJECT_COLUMN:
		parts := s.GetObject().GetList().GetItems()
		if len(parts) < 2 {
			break
		}
		table, column := r.meant(listed(parts[:len(parts)-1])), parts[len(parts)-1].GetString_().GetSval()
		return told(r.columnProperty("comment", "commented so",
			"case when a.attrelid is not null then col_description(a.attrelid, a.attnum)"+fmt.Sprintf(text, 3)+" end", table, column, want))
	case tree.ObjectType_OBJECT_SCHEMA:
		f := r.schemaFact(n.local)
		f.key, f.within = key("comment", f.key), append(f.within, f.key)
		f.property, f.lesser, f.repeats, f.want = true, true, true, "commented so"
		f.look = ask("select case when to_regnamespace($1) is not null then obj_description(to_regnamespace($1), 'pg_namespace')"+fmt.Sprintf(text, 2)+" end", n.quoted(), want)
		return told(f)
	}
	if _, ok := relations[s.GetObjtype()]; ok {
		return told(r.relationProperty("comment", "commented so",
			"case when c.oid is not null then obj_description(c.oid, 'pg_class')"+fmt.Sprintf(text, 2)+" end", n, want))
	}
	return untold("its kind is not looked up in the catalog")
}
