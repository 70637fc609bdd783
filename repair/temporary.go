package repair

import (
	"strings"

	tree "github.com/pganalyze/pg_query_go/v6"
)

// touchesTemporary tells of statements about temporary relations, which went with the session that made them.
func (r reader) touchesTemporary(n *tree.Node) bool {
	switch s := n.GetNode().(type) {
	case *tree.Node_CreateStmt:
		return r.makesTemporary(s.CreateStmt.GetRelation())
	case *tree.Node_CreateTableAsStmt:
		return r.makesTemporary(s.CreateTableAsStmt.GetInto().GetRel())
	case *tree.Node_SelectStmt:
		return s.SelectStmt.GetIntoClause() != nil && r.makesTemporary(s.SelectStmt.GetIntoClause().GetRel())
	case *tree.Node_ViewStmt:
		return r.makesTemporary(s.ViewStmt.GetView())
	case *tree.Node_CreateSeqStmt:
		return r.makesTemporary(s.CreateSeqStmt.GetSequence())
	case *tree.Node_DropStmt:
		return r.dropsTemporary(s.DropStmt)
	case *tree.Node_TruncateStmt:
		for _, relation := range s.TruncateStmt.GetRelations() {
			if !r.isTemporary(relation.GetRangeVar()) {
				return false
			}
		}
		return true
	case *tree.Node_RenameStmt:
		is := r.isTemporary(s.RenameStmt.GetRelation())
		if _, whole := relations[s.RenameStmt.GetRenameType()]; is && whole {
			r.temporary[s.RenameStmt.GetNewname()] = true
		}
		return is
	case *tree.Node_IndexStmt:
		return r.isTemporary(s.IndexStmt.GetRelation())
	case *tree.Node_AlterTableStmt:
		return r.isTemporary(s.AlterTableStmt.GetRelation())
	case *tree.Node_InsertStmt: // WITH may change the rows of other tables
		return s.InsertStmt.GetWithClause() == nil && r.isTemporary(s.InsertStmt.GetRelation())
	case *tree.Node_UpdateStmt:
		return s.UpdateStmt.GetWithClause() == nil && r.isTemporary(s.UpdateStmt.GetRelation())
	case *tree.Node_DeleteStmt:
		return s.DeleteStmt.GetWithClause() == nil && r.isTemporary(s.DeleteStmt.GetRelation())
	}
	return false
}

func (r reader) makesTemporary(v *tree.RangeVar) bool {
	if v.GetRelpersistence() != "t" && v.GetSchemaname() != "pg_temp" {
		return false
	}
	r.temporary[v.GetRelname()] = true
	return true
}

func (r reader) isTemporary(v *tree.RangeVar) bool {
	return v != nil && (v.GetSchemaname() == "pg_temp" || v.GetSchemaname() == "" && r.temporary[v.GetRelname()])
}

func (r reader) dropsTemporary(s *tree.DropStmt) bool {
	if _, ok := relations[s.GetRemoveType()]; !ok {
		return false
	}
	for _, object := range s.GetObjects() {
		if n := listedNode(object); !strings.EqualFold(n.schema, "pg_temp") && (n.schema != "" || !r.temporary[n.local]) {
			return false
		}
	}
	for _, object := range s.GetObjects() {
		delete(r.temporary, listedNode(object).local)
	}
	return true
}
