package rehearse

import (
	"slices"

	tree "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/contraflow/contraflow/internal/sqltree"
)

// touched is what a query's text says of how many rows it finds, which no plan over empty tables does.
type touched struct {
	// table that rows are written into as the file has them, one by one.
	into name
	// equal are the columns that rows must have a constant in, all of them.
	equal []string
}

// finds tells whether a scan of a unique index finds a row or two: it must be asked for all of its columns, or prove a foreign key of
// rows that stand in the file.
func (t touched) finds(base catalog, index relation) bool {
	if !index.unique || len(index.key) == 0 {
		return false
	}
	if t.into.relation != "" {
		return !triggered(base, t.into)
	}
	return !slices.ContainsFunc(index.key, func(column string) bool { return !slices.Contains(t.equal, column) })
}

// few says that the query changes a number of rows that doesn't grow with a table.
func (t touched) few(base catalog) bool {
	if t.into.relation != "" {
		return !triggered(base, t.into)
	}
	for _, rel := range base {
		if rel.isIndex() && t.finds(base, rel) {
			return true
		}
	}
	return false
}

// triggered tells whether somebody's trigger follows on what is written into a table.
func triggered(base catalog, into name) bool {
	for _, rel := range base {
		if rel.name.relation == into.relation && (into.schema == "" || rel.name.schema == into.schema) && rel.triggers {
			return true
		}
	}
	return false
}

// harmless functions read no table. Any other may do what it likes.
var harmless = []string{"now", "clock_timestamp", "statement_timestamp", "gen_random_uuid", "nextval", "random", "lower", "upper", "count", "coalesce", "length"}

// touches reads a statement's text. It is empty for what isn't plain enough to tell.
func touches(text string) (t touched) {
	parsed, err := sqltree.Parse(text)
	if err != nil || len(parsed) != 1 || !plain(parsed[0].Node.ProtoReflect(), 0) {
		return t
	}
	switch n := parsed[0].Node.GetNode().(type) {
	case *tree.Node_InsertStmt:
		if s := n.InsertStmt; len(s.GetSelectStmt().GetSelectStmt().GetValuesLists()) > 0 {
			t.into = name{s.GetRelation().GetSchemaname(), s.GetRelation().GetRelname()}
		}
	case *tree.Node_UpdateStmt:
		if len(n.UpdateStmt.GetFromClause()) == 0 {
			t.equal = equalities(n.UpdateStmt.GetWhereClause())
		}
	case *tree.Node_DeleteStmt:
		if len(n.DeleteStmt.GetUsingClause()) == 0 {
			t.equal = equalities(n.DeleteStmt.GetWhereClause())
		}
	case *tree.Node_SelectStmt:
		if from := n.SelectStmt.GetFromClause(); len(from) == 1 && from[0].GetRangeVar() != nil {
			t.equal = equalities(n.SelectStmt.GetWhereClause())
		}
	}
	return t
}

// plain tells that a statement holds no query within itself, and calls no function that may do what it likes.
func plain(m protoreflect.Message, selects int) (is bool) {
	switch n := m.Interface().(type) {
	case *tree.FuncCall:
		if !slices.Contains(harmless, n.GetFuncname()[len(n.GetFuncname())-1].GetString_().GetSval()) {
			return false
		}
	case *tree.SelectStmt:
		if selects++; selects > 1 {
			return false
		}
	case *tree.SubLink, *tree.WithClause:
		return false
	}
	is = true
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.Message() == nil:
		case field.IsList():
			for i := range value.List().Len() {
				is = is && plain(value.List().Get(i).Message(), selects)
			}
		default:
			is = plain(value.Message(), selects)
		}
		return is
	})
	return is
}

// equalities lists the columns that a condition compares to a constant, by =, and that nothing else makes optional.
func equalities(where *tree.Node) (columns []string) {
	switch n := where.GetNode().(type) {
	case *tree.Node_BoolExpr:
		if n.BoolExpr.GetBoolop() == tree.BoolExprType_AND_EXPR {
			for _, arg := range n.BoolExpr.GetArgs() {
				columns = append(columns, equalities(arg)...)
			}
		}
	case *tree.Node_AExpr:
		e := n.AExpr
		if e.GetKind() != tree.A_Expr_Kind_AEXPR_OP || len(e.GetName()) != 1 || e.GetName()[0].GetString_().GetSval() != "=" {
			return nil
		}
		for _, sides := range [][2]*tree.Node{{e.GetLexpr(), e.GetRexpr()}, {e.GetRexpr(), e.GetLexpr()}} {
			fields := sides[0].GetColumnRef().GetFields()
			if len(fields) > 0 && isConstant(sides[1]) {
				columns = append(columns, fields[len(fields)-1].GetString_().GetSval())
			}
		}
	}
	return columns
}

func isConstant(n *tree.Node) bool {
	if cast := n.GetTypeCast(); cast != nil {
		n = cast.GetArg()
	}
	return n.GetAConst() != nil
}
