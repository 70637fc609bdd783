package lint

import (
	"fmt"
	"slices"
	"strings"

	tree "github.com/pganalyze/pg_query_go/v6"
)

var newColumnRules = []planRule{
	{Rule{
		ID: "not-null-with-its-column", Severity: Error, Title: "A new column may not be null before anything fills it",
		Why:     "The version of the application that runs now doesn't know the column: its inserts are refused. Rows that are there already are null, on which the statement itself fails.",
		Sources: []string{"contraflow"},
	}, (*check).notNullWithItsColumn},
	{Rule{
		ID: "type-change-with-its-column", Severity: Warning, Title: "A new column changes its type in the same step",
		Why:     "Adding a column without a default takes no time. Changing its type right after it rewrites every row, with everybody waiting.",
		Sources: []string{"contraflow"},
	}, (*check).typeChangeWithItsColumn},
	{Rule{
		ID: "unindexed-foreign-key", Severity: Warning, Title: "No index leads with a new foreign key's columns",
		Why:     "Each delete of a referenced row, and each change of its key, reads the whole referencing table, and holds its locks meanwhile.",
		Sources: []string{"contraflow"},
	}, (*check).unindexedForeignKey},
}

// young is a command that alters a column which the plan has added to a table that was there, with the column as it is then.
type young struct {
	table  string
	column column
	cmd    *tree.AlterTableCmd
}

// young lists such commands of a statement.
func (c *check) young(step int, node *tree.Node) (all []young) {
	n := node.GetAlterTableStmt()
	before := c.now.table(n.GetRelation())
	demands := slices.ContainsFunc(n.GetCmds(), func(node *tree.Node) bool {
		cmd := node.GetAlterTableCmd()
		return len(constrained(cmd)) > 0 || len(inlineNotNulls(cmd.GetDef().GetColumnDef())) > 0
	})
	if n.GetObjtype() != tree.ObjectType_OBJECT_TABLE || before.step == step || !demands { // of a new table nobody knows yet
		return nil
	}
	now := newSchema()
	now.step = step
	t := before.clone()
	now.tables[t.name] = t
	for _, node := range n.GetCmds() {
		cmd := node.GetAlterTableCmd()
		for _, column := range constrained(cmd) {
			if column := t.column(column); column != nil && column.step != history {
				all = append(all, young{t.name, *column, cmd})
			}
		}
		now.alter(t, cmd)
		if d := cmd.GetDef().GetColumnDef(); cmd.GetSubtype() == tree.AlterTableType_AT_AddColumn && len(inlineNotNulls(d)) > 0 {
			all = append(all, young{t.name, *t.column(d.GetColname()), cmd})
		}
	}
	return all
}

// eachYoung goes through all of them.
func (c *check) eachYoung(look func(met, young)) {
	for _, m := range c.met {
		for _, y := range m.young {
			look(m, y)
		}
	}
}

// constrained are the columns of which a command says what they have to be.
func constrained(cmd *tree.AlterTableCmd) []string {
	switch cmd.GetSubtype() {
	case tree.AlterTableType_AT_SetNotNull, tree.AlterTableType_AT_AlterColumnType:
		return []string{cmd.GetName()}
	case tree.AlterTableType_AT_AddConstraint:
		return notNulls(cmd.GetDef().GetConstraint().GetRawExpr())
	}
	return nil
}

// inlineNotNulls are checks in a column's definition that say that it is not null. NOT NULL itself isn't meant: without a
// default the table's rows forbid it, which is another rule's.
func inlineNotNulls(d *tree.ColumnDef) (columns []string) {
	for _, k := range d.GetConstraints() {
		columns = append(columns, notNulls(k.GetConstraint().GetRawExpr())...)
	}
	return columns
}

func (c *check) notNullWithItsColumn(r Rule) {
	c.eachYoung(func(m met, y young) {
		column := y.column
		if y.cmd.GetSubtype() == tree.AlterTableType_AT_AlterColumnType || column.standard != "" || column.identity {
			return
		}
		for _, step := range c.in.Plan.Steps[column.step:m.step] {
			if mayFill(step.Backfill, y.table, column.name) {
				return
			}
		}
		name := quoted(column.name)
		c.here(r, m, fmt.Sprintf("column %s of %s is new in step %s, and nothing has filled it yet", column.name, y.table, c.stepName(column.step)), fmt.Sprintf(`-- file of a later migrate step, behind the write flag and the backfill of %[2]s:
alter table %[1]s add constraint %[3]s check (%[2]s is not null) not valid;
-- next file, first line "-- contraflow: no-transaction":
alter table %[1]s validate constraint %[3]s;
-- next file:
alter table %[1]s alter column %[2]s set not null, drop constraint %[3]s;`, quotedName(y.table), name, quoted(fit(bare(y.table), column.name, "not_null"))))
	})
}

func (c *check) typeChangeWithItsColumn(r Rule) {
	c.eachYoung(func(m met, y young) {
		column := y.column
		if y.cmd.GetSubtype() != tree.AlterTableType_AT_AlterColumnType || column.step != m.step {
			return
		}
		typ := typeName(y.cmd.GetDef().GetColumnDef().GetTypeName())
		c.here(r, m, fmt.Sprintf("column %s of %s is new in the same step: give it the type %s there", column.name, y.table, typ),
			fmt.Sprintf("alter table %s add column %s %s;", quotedName(y.table), quoted(column.name), typeSQL(typ)))
	})
}

func (c *check) unindexedForeignKey(r Rule) {
	end := c.at[len(c.at)-1] // an index may well come later
	for _, m := range c.met {
		relation, keys := foreignKeys(m.st.Node)
		t := end.named(relation)
		for _, columns := range keys {
			ours := !slices.ContainsFunc(columns, func(name string) bool { // an index on older ones may be there, unseen
				column := t.column(name)
				return column == nil || !t.known && column.step == history
			})
			if !ours || t.ledBy(columns...) {
				continue
			}
			list := make([]string, len(columns))
			for i, name := range columns {
				list[i] = quoted(name)
			}
			safe := ""
			if !t.partitioned { // where Postgres builds none concurrently
				safe = fmt.Sprintf("-- contraflow: no-transaction\ncreate index concurrently %s on %s (%s);",
					quoted(end.free(t, strings.Join(columns, "_"), "idx")), quotedName(t.name), strings.Join(list, ", "))
			}
			c.here(r, m, fmt.Sprintf("no index of %s begins with %s", t.name, strings.Join(columns, ", ")), safe)
		}
	}
}

// foreignKeys are the columns of each foreign key that a statement adds to a table.
func foreignKeys(n *tree.Node) (relation string, keys [][]string) {
	var parts []*tree.Node
	switch n := n.GetNode().(type) {
	case *tree.Node_CreateStmt:
		relation, parts = relationName(n.CreateStmt.GetRelation()), n.CreateStmt.GetTableElts()
	case *tree.Node_AlterTableStmt:
		relation = relationName(n.AlterTableStmt.GetRelation())
		for _, cmd := range n.AlterTableStmt.GetCmds() {
			if cmd.GetAlterTableCmd().GetDef() != nil {
				parts = append(parts, cmd.GetAlterTableCmd().GetDef())
			}
		}
	}
	for _, part := range parts {
		if k := part.GetConstraint(); k.GetContype() == tree.ConstrType_CONSTR_FOREIGN {
			keys = append(keys, texts(k.GetFkAttrs()))
		}
		for _, k := range part.GetColumnDef().GetConstraints() {
			if k.GetConstraint().GetContype() == tree.ConstrType_CONSTR_FOREIGN {
				keys = append(keys, []string{part.GetColumnDef().GetColname()})
			}
		}
	}
	return relation, keys
}
