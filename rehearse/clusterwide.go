package rehearse

import (
	tree "github.com/pganalyze/pg_query_go/v6"

	"github.com/contraflow/contraflow/ddl"
	"github.com/contraflow/contraflow/internal/sqltree"
)

// clusterWide finds the first statement that changes more than its database, or reaches out of it: roles, databases, tablespaces, the
// server's settings, subscriptions. On somebody's server that would last, or do harm.
func clusterWide(script ddl.Script) (st ddl.Statement, found bool) {
	for _, st := range script.Statements {
		parsed, err := sqltree.Parse(st.Text)
		if err != nil {
			continue // Postgres tells
		}
		for _, p := range parsed {
			if beyondDatabase(p.Node) {
				return st, true
			}
		}
	}
	return ddl.Statement{}, false
}

func beyondDatabase(node *tree.Node) bool {
	switch n := node.GetNode().(type) {
	case *tree.Node_CreateRoleStmt, *tree.Node_AlterRoleStmt, *tree.Node_AlterRoleSetStmt, *tree.Node_DropRoleStmt, *tree.Node_GrantRoleStmt,
		*tree.Node_DropOwnedStmt, *tree.Node_ReassignOwnedStmt,
		*tree.Node_CreatedbStmt, *tree.Node_AlterDatabaseStmt, *tree.Node_AlterDatabaseSetStmt, *tree.Node_AlterDatabaseRefreshCollStmt, *tree.Node_DropdbStmt,
		*tree.Node_CreateTableSpaceStmt, *tree.Node_AlterTableSpaceOptionsStmt, *tree.Node_DropTableSpaceStmt, *tree.Node_AlterTableMoveAllStmt,
		*tree.Node_AlterSystemStmt, *tree.Node_CreateSubscriptionStmt, *tree.Node_AlterSubscriptionStmt, *tree.Node_DropSubscriptionStmt:
		return true
	case *tree.Node_GrantStmt:
		return ofCluster(n.GrantStmt.GetObjtype())
	case *tree.Node_RenameStmt:
		return ofCluster(n.RenameStmt.GetRenameType())
	case *tree.Node_AlterOwnerStmt:
		return ofCluster(n.AlterOwnerStmt.GetObjectType())
	case *tree.Node_CommentStmt:
		return ofCluster(n.CommentStmt.GetObjtype())
	case *tree.Node_SecLabelStmt:
		return ofCluster(n.SecLabelStmt.GetObjtype())
	}
	return false
}

func ofCluster(t tree.ObjectType) bool {
	switch t {
	case tree.ObjectType_OBJECT_DATABASE, tree.ObjectType_OBJECT_ROLE, tree.ObjectType_OBJECT_TABLESPACE, tree.ObjectType_OBJECT_PARAMETER_ACL:
		return true
	}
	return false
}
