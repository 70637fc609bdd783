package lint

import (
	"fmt"
	"slices"
	"strings"

	tree "github.com/pganalyze/pg_query_go/v6"
	pgquery "github.com/wasilibs/go-pgquery"
	"google.golang.org/protobuf/proto"
)

// make is named for a statement that changes the table: a stand-in is kept, to hold what is learned of it.
func (s *schema) make(name string) *table {
	t := s.named(name)
	s.tables[name] = t
	return t
}

// newTable is nil where the table is there already. Of one that is perhaps there, as IF NOT EXISTS allows, nothing is known.
func (s *schema) newTable(name string, known, perhaps bool) *table {
	perhaps = perhaps && !s.absent[name]
	if old, ok := s.tables[name]; ok && (old.known || perhaps) {
		return nil
	}
	t := &table{name: name, known: known && !perhaps, fresh: !perhaps, step: s.step}
	s.tables[name] = t
	if !t.known {
		s.create("table", name, perhaps)
	}
	delete(s.gone, "table "+name)
	delete(s.absent, name)
	return t
}

// createAs makes a table or a materialized view whose columns a query gives.
func (s *schema) createAs(n *tree.CreateTableAsStmt) {
	name := relationName(n.GetInto().GetRel())
	if n.GetObjtype() == tree.ObjectType_OBJECT_MATVIEW {
		s.create("materialized view", name, n.GetIfNotExists())
		return
	}
	s.newTable(name, false, n.GetIfNotExists())
}

// createTable knows all of a table whose columns stand in the statement, and what it copies from others only where they are
// known.
func (s *schema) createTable(n *tree.CreateStmt) {
	var others []*tree.RangeVar
	for _, r := range n.GetInhRelations() {
		others = append(others, r.GetRangeVar())
	}
	for _, e := range n.GetTableElts() {
		if like := e.GetTableLikeClause(); like != nil {
			others = append(others, like.GetRelation())
		}
	}
	t := s.newTable(relationName(n.GetRelation()), len(others) == 0 && n.GetOfTypename() == nil, n.GetIfNotExists())
	if t == nil {
		return
	}
	t.partitioned = n.GetPartspec() != nil
	if len(n.GetInhRelations()) > 0 {
		t.parent = relationName(n.GetInhRelations()[0].GetRangeVar())
	}
	for _, r := range others {
		for _, c := range s.table(r).columns {
			if t.column(c.name) == nil {
				t.columns = append(t.columns, &column{name: c.name, typ: c.typ, notNull: c.notNull, fresh: true, step: s.step})
			}
		}
	}
	for _, e := range n.GetTableElts() {
		if d := e.GetColumnDef(); d != nil {
			s.addColumn(t, d)
		}
	}
	for _, e := range slices.Concat(n.GetTableElts(), n.GetConstraints()) {
		if k := e.GetConstraint(); k != nil {
			s.addConstraint(t, k)
		}
	}
	if !t.fresh && s.step != history { // another one of the name may be there, that promises nothing of this
		t.constraints, t.indexes = nil, nil
		for _, c := range t.columns {
			c.notNull = false
		}
	}
}

// serials are not types but a default from a sequence.
var serials = map[string]string{
	"smallserial": "smallint", "serial2": "smallint", "serial": "integer", "serial4": "integer", "bigserial": "bigint", "serial8": "bigint",
}

func (s *schema) addColumn(t *table, d *tree.ColumnDef) {
	c := &column{name: d.GetColname(), typ: typeName(d.GetTypeName()), fresh: true, step: s.step, notNull: d.GetIsNotNull()}
	if typ, ok := serials[c.typ]; ok {
		sequence := fit(bare(t.name), c.name, "seq")
		c.typ, c.notNull, c.standard = typ, true, fmt.Sprintf("nextval('%s'::regclass)", sequence)
	}
	t.columns = append(t.columns, c)
	delete(s.gone, "column "+t.name+"."+c.name)
	var last *tree.Constraint // what DEFERRABLE belongs to
	var later []*tree.Constraint
	for _, node := range d.GetConstraints() {
		switch k := node.GetConstraint(); k.GetContype() {
		case tree.ConstrType_CONSTR_NOTNULL:
			c.notNull = true
		case tree.ConstrType_CONSTR_DEFAULT:
			c.standard = standard(k.GetRawExpr())
		case tree.ConstrType_CONSTR_IDENTITY:
			c.identity, c.notNull = true, true
		case tree.ConstrType_CONSTR_GENERATED:
			c.generated, c.standard = true, expression(k.GetRawExpr())
		case tree.ConstrType_CONSTR_ATTR_DEFERRABLE, tree.ConstrType_CONSTR_ATTR_DEFERRED:
			if last != nil { // what belongs to nothing is refused only after it was parsed
				last.Deferrable = true
				last.Initdeferred = last.Initdeferred || k.GetContype() == tree.ConstrType_CONSTR_ATTR_DEFERRED
			}
		case tree.ConstrType_CONSTR_CHECK, tree.ConstrType_CONSTR_FOREIGN, tree.ConstrType_CONSTR_PRIMARY, tree.ConstrType_CONSTR_UNIQUE:
			last = proto.CloneOf(k)
			own := []*tree.Node{{Node: &tree.Node_String_{String_: &tree.String{Sval: c.name}}}}
			switch k.GetContype() {
			case tree.ConstrType_CONSTR_FOREIGN:
				last.FkAttrs = own
			case tree.ConstrType_CONSTR_CHECK:
			default:
				last.Keys = own
			}
			later = append(later, last)
		}
	}
	for _, k := range later {
		s.addConstraint(t, k)
	}
}

// standard is a default as the schema has it: NULL is none.
func standard(n *tree.Node) string {
	if n == nil || null(n) {
		return ""
	}
	return expression(n)
}

// constraintKinds of the grammar, with what ends the name that Postgres gives.
var constraintKinds = map[tree.ConstrType]struct {
	kind  constraintKind
	label string
}{
	tree.ConstrType_CONSTR_CHECK:     {checkConstraint, "check"},
	tree.ConstrType_CONSTR_FOREIGN:   {foreignKey, "fkey"},
	tree.ConstrType_CONSTR_UNIQUE:    {uniqueConstraint, "key"},
	tree.ConstrType_CONSTR_PRIMARY:   {primaryKey, "pkey"},
	tree.ConstrType_CONSTR_EXCLUSION: {exclusionConstraint, "excl"},
}

func (s *schema) addConstraint(t *table, n *tree.Constraint) {
	is, ok := constraintKinds[n.GetContype()]
	if !ok {
		return
	}
	k := &constraint{name: n.GetConname(), kind: is.kind, validated: !n.GetSkipValidation(), fresh: true, definition: definition(n)}
	var own *index // that enforces it
	naming := ""   // the part of the name that tells its columns
	switch is.kind {
	case checkConstraint:
		k.check, k.notNull = expression(n.GetRawExpr()), notNulls(n.GetRawExpr())
		k.columns = columnsIn(n.GetRawExpr())
		if len(k.columns) == 1 {
			naming = k.columns[0]
		}
	case foreignKey:
		k.columns, k.references = texts(n.GetFkAttrs()), relationName(n.GetPktable())
		naming = strings.Join(k.columns, "_")
	case exclusionConstraint:
		own = &index{where: expression(n.GetWhereClause())}
		for _, e := range n.GetExclusions() {
			k.columns = append(k.columns, elementColumn(e.GetList().GetItems()[0].GetIndexElem()))
			naming += "_" + elementName(e.GetList().GetItems()[0].GetIndexElem())
		}
		own.columns, naming = k.columns, strings.TrimPrefix(naming, "_")
	default:
		k.columns = texts(n.GetKeys())
		own = &index{columns: k.columns, unique: true}
		if is.kind == uniqueConstraint {
			naming = strings.Join(slices.Concat(k.columns, texts(n.GetIncluding())), "_")
		}
	}
	if using := t.index(n.GetIndexname()); n.GetIndexname() != "" {
		if k.name == "" {
			k.name = n.GetIndexname()
		}
		own = nil
		if using != nil {
			using.name, k.columns = k.name, using.columns
		}
	}
	if k.name == "" {
		k.name = s.free(t, naming, is.label)
	}
	t.constraints = append(t.constraints, k)
	delete(s.gone, "constraint "+t.name+"."+k.name)
	if own != nil {
		own.name, own.fresh = k.name, true
		t.indexes = append(t.indexes, own)
	}
	if is.kind == primaryKey {
		for _, name := range k.columns {
			if c := t.column(name); c != nil {
				c.notNull = true
			}
		}
	}
}

// free is the name Postgres chooses: the first that nothing of the table has yet.
func (s *schema) free(t *table, columns, label string) string {
	for n := 0; ; n++ {
		end := label
		if n > 0 {
			end = fmt.Sprintf("%s%d", label, n)
		}
		name := fit(bare(t.name), columns, end)
		_, taken := s.index(qualified(schemaOf(t.name), name))
		if t.constraint(name) == nil && taken == nil {
			return name
		}
	}
}

// notNulls are the columns of which an expression says, perhaps among other things, that they are not null.
func notNulls(n *tree.Node) (columns []string) {
	if test := n.GetNullTest(); test.GetNulltesttype() == tree.NullTestType_IS_NOT_NULL && test.GetArg().GetColumnRef() != nil {
		return columnsIn(test.GetArg())
	}
	if both := n.GetBoolExpr(); both.GetBoolop() == tree.BoolExprType_AND_EXPR {
		for _, arg := range both.GetArgs() {
			columns = append(columns, notNulls(arg)...)
		}
	}
	return columns
}

// definition is what a constraint says, without its name and whether it is validated yet; empty where it can't be written
// down.
func definition(n *tree.Constraint) string {
	n = proto.CloneOf(n)
	n.Conname, n.SkipValidation, n.Indexname = "", false, ""
	alter := &tree.AlterTableStmt{
		Relation: &tree.RangeVar{Relname: "t", Inh: true, Relpersistence: "p"},
		Objtype:  tree.ObjectType_OBJECT_TABLE,
		Cmds: []*tree.Node{{Node: &tree.Node_AlterTableCmd{AlterTableCmd: &tree.AlterTableCmd{
			Subtype: tree.AlterTableType_AT_AddConstraint, Def: &tree.Node{Node: &tree.Node_Constraint{Constraint: n}},
			Behavior: tree.DropBehavior_DROP_RESTRICT,
		}}}},
	}
	text, err := pgquery.Deparse(&tree.ParseResult{Stmts: []*tree.RawStmt{{Stmt: &tree.Node{Node: &tree.Node_AlterTableStmt{AlterTableStmt: alter}}}}})
	if err != nil {
		return ""
	}
	return strings.TrimPrefix(text, "ALTER TABLE t ADD ")
}
