package lint

import (
	"fmt"

	tree "github.com/pganalyze/pg_query_go/v6"

	"github.com/contraflow/contraflow/internal/sqltree"
)

// apply changes the schema as the statement would. What it doesn't know, such as the body of a function, changes nothing.
func (s *schema) apply(st sqltree.Statement) {
	switch n := st.Node.GetNode().(type) {
	case *tree.Node_CreateStmt:
		s.createTable(n.CreateStmt)
	case *tree.Node_AlterTableStmt:
		s.alterTable(n.AlterTableStmt)
	}
}

func (s *schema) createTable(n *tree.CreateStmt) {
	name := relationName(n.GetRelation())
	if _, exists := s.tables[name]; exists {
		return
	}
	t := &table{name: name, known: true, fresh: true, step: s.step, partitioned: n.GetPartspec() != nil}
	s.tables[name] = t
	for _, e := range n.GetTableElts() {
		if d := e.GetColumnDef(); d != nil {
			s.addColumn(t, d)
		}
	}
}

func (s *schema) addColumn(t *table, d *tree.ColumnDef) {
	t.columns = append(t.columns, &column{name: d.GetColname(), typ: typeName(d.GetTypeName()), fresh: true, step: s.step})
}

func (s *schema) alterTable(n *tree.AlterTableStmt) {
	name := relationName(n.GetRelation())
	t, ok := s.tables[name]
	if !ok {
		t = &table{name: name, step: history}
		s.tables[name] = t
	}
	for _, c := range n.GetCmds() {
		if cmd := c.GetAlterTableCmd(); cmd.GetSubtype() == tree.AlterTableType_AT_AddColumn {
			s.addColumn(t, cmd.GetDef().GetColumnDef())
		}
	}
}

// saysNotNull tells that a check can't hold where the column is null: it is "column is not null", perhaps among others.
func (k *constraint) saysNotNull(column string) bool {
	return k.check == fmt.Sprintf("%s IS NOT NULL", column)
}
