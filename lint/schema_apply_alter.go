package lint

import (
	"cmp"
	"slices"
	"strings"

	tree "github.com/pganalyze/pg_query_go/v6"
	pgquery "github.com/wasilibs/go-pgquery"
	"google.golang.org/protobuf/proto"
)

func (s *schema) alterTable(n *tree.AlterTableStmt) {
	if n.GetObjtype() != tree.ObjectType_OBJECT_TABLE && n.GetObjtype() != tree.ObjectType_OBJECT_FOREIGN_TABLE {
		return // a view, an index, a sequence, a type: of which only names are kept
	}
	t := s.make(relationName(n.GetRelation()))
	for _, c := range n.GetCmds() {
		s.alter(t, c.GetAlterTableCmd())
	}
}

func (s *schema) alter(t *table, cmd *tree.AlterTableCmd) {
	name := cmd.GetName()
	switch cmd.GetSubtype() {
	case tree.AlterTableType_AT_AddColumn:
		if d := cmd.GetDef().GetColumnDef(); t.column(d.GetColname()) == nil {
			s.addColumn(t, d)
		}
	case tree.AlterTableType_AT_DropColumn:
		s.dropColumn(t, name, cmd.GetMissingOk())
	case tree.AlterTableType_AT_AddConstraint:
		s.addConstraint(t, cmd.GetDef().GetConstraint())
	case tree.AlterTableType_AT_DropConstraint:
		s.dropConstraint(t, name, cmd.GetMissingOk())
	case tree.AlterTableType_AT_ValidateConstraint:
		if k := t.constraint(name); k != nil {
			k.validated = true
		}
	case tree.AlterTableType_AT_AttachPartition, tree.AlterTableType_AT_AddInherit:
		part := cmd.GetDef().GetPartitionCmd().GetName()
		if part == nil { // INHERIT names the parent
			t.parent = relationName(cmd.GetDef().GetRangeVar())
			return
		}
		s.make(relationName(part)).parent, t.partitioned = t.name, true
	case tree.AlterTableType_AT_DetachPartition, tree.AlterTableType_AT_DetachPartitionFinalize:
		s.make(relationName(cmd.GetDef().GetPartitionCmd().GetName())).parent = ""
	case tree.AlterTableType_AT_DropInherit:
		t.parent = ""
	default:
		if c := t.column(name); c != nil {
			alterColumn(c, cmd)
		}
	}
}

func alterColumn(c *column, cmd *tree.AlterTableCmd) {
	switch cmd.GetSubtype() {
	case tree.AlterTableType_AT_AlterColumnType:
		c.typ = typeName(cmd.GetDef().GetColumnDef().GetTypeName())
	case tree.AlterTableType_AT_ColumnDefault:
		c.standard = standard(cmd.GetDef())
	case tree.AlterTableType_AT_SetNotNull:
		c.notNull = true
	case tree.AlterTableType_AT_DropNotNull:
		c.notNull = false
	case tree.AlterTableType_AT_AddIdentity:
		c.identity = true
	case tree.AlterTableType_AT_DropIdentity:
		c.identity = false
	case tree.AlterTableType_AT_SetExpression:
		c.standard = expression(cmd.GetDef())
	case tree.AlterTableType_AT_DropExpression:
		c.generated, c.standard = false, ""
	}
}

// dropColumn takes the table's indexes and constraints that use it along.
func (s *schema) dropColumn(t *table, name string, missingOK bool) {
	if t.column(name) == nil && !t.known {
		s.remove("column", t.name+"."+name, missingOK)
	}
	t.columns = slices.DeleteFunc(t.columns, func(c *column) bool { return c.name == name })
	t.constraints = slices.DeleteFunc(t.constraints, func(k *constraint) bool { return slices.Contains(k.columns, name) })
	t.indexes = slices.DeleteFunc(t.indexes, func(i *index) bool {
		return mentions(i.where, name) || slices.ContainsFunc(i.columns, func(c string) bool { return mentions(c, name) })
	})
}

func (s *schema) dropConstraint(t *table, name string, missingOK bool) {
	if t.constraint(name) == nil && !t.known {
		s.remove("constraint", t.name+"."+name, missingOK)
	}
	t.constraints = slices.DeleteFunc(t.constraints, func(k *constraint) bool { return k.name == name })
	t.indexes = slices.DeleteFunc(t.indexes, func(i *index) bool { return i.name == name })
}

func (s *schema) createIndex(n *tree.IndexStmt) {
	t := s.make(relationName(n.GetRelation()))
	i := &index{name: n.GetIdxname(), unique: n.GetUnique(), where: expression(n.GetWhereClause()), fresh: true, definition: indexDefinition(n)}
	var naming []string
	for _, e := range n.GetIndexParams() {
		i.columns = append(i.columns, elementColumn(e.GetIndexElem()))
	}
	for _, e := range slices.Concat(n.GetIndexParams(), n.GetIndexIncludingParams()) {
		naming = append(naming, elementName(e.GetIndexElem()))
	}
	if i.name == "" {
		i.name = s.free(t, strings.Join(naming, "_"), "idx")
	}
	name := qualified(schemaOf(t.name), i.name)
	if _, exists := s.index(name); exists != nil {
		return
	}
	delete(s.gone, "index "+name)
	t.indexes = append(t.indexes, i)
}

// elementColumn is the column of an index's element, or its expression.
func elementColumn(e *tree.IndexElem) string {
	if e.GetName() != "" {
		return e.GetName()
	}
	return expression(e.GetExpr())
}

// elementName is how an index's name speaks of an element.
func elementName(e *tree.IndexElem) string {
	if e.GetName() != "" {
		return e.GetName()
	}
	return cmp.Or(speakingName(e.GetExpr()), "expr")
}

// speakingName of an expression; empty where Postgres finds none.
func speakingName(e *tree.Node) string {
	switch n := e.GetNode().(type) {
	case *tree.Node_FuncCall:
		return bare(strings.Join(texts(n.FuncCall.GetFuncname()), "."))
	case *tree.Node_ColumnRef:
		return strings.Join(columnsIn(e), "")
	case *tree.Node_TypeCast:
		return cmp.Or(speakingName(n.TypeCast.GetArg()), bare(strings.Join(texts(n.TypeCast.GetTypeName().GetNames()), ".")))
	case *tree.Node_CoalesceExpr:
		return "coalesce"
	}
	return ""
}

// indexDefinition is what an index says, without its name and how it is built.
func indexDefinition(n *tree.IndexStmt) string {
	n = proto.CloneOf(n)
	n.Idxname, n.Concurrent, n.IfNotExists = "", false, false
	n.Relation = &tree.RangeVar{Relname: "t", Inh: true, Relpersistence: "p"}
	text, err := pgquery.Deparse(&tree.ParseResult{Stmts: []*tree.RawStmt{{Stmt: &tree.Node{Node: &tree.Node_IndexStmt{IndexStmt: n}}}}})
	if err != nil {
		return ""
	}
	return text
}
