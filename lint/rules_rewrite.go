package lint

import (
	"fmt"
	"slices"
	"strings"

	tree "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
)

var rewriteRules = []statementRule{
	rule(Rule{
		ID: "changing-column-type", Severity: Error, Title: "Other type for a column",
		Why:     "Unless the old values are good for the new type as they are stored, the table and its indexes are rewritten under ACCESS EXCLUSIVE, which stops reads and writes; checks on the column are proven anew in any case.",
		Sources: []string{"squawk: changing-column-type", "strong_migrations: change_column", "strong_migrations: change_column_constraint"},
	}, changingColumnType),
	rule(Rule{
		ID: "prefer-repack", Severity: Error, Title: "Command that writes a whole table or index anew",
		Why:     "VACUUM FULL, CLUSTER, SET TABLESPACE, SET LOGGED and SET ACCESS METHOD copy every row under ACCESS EXCLUSIVE, which stops reads and writes. pg_repack does the same beside the traffic.",
		Sources: []string{"squawk: prefer-repack"},
	}, preferRepack),
}

func changingColumnType(g glance) {
	for t, cmd := range g.alters(tree.AlterTableType_AT_AlterColumnType) {
		column, to := cmd.GetName(), typeName(cmd.GetDef().GetColumnDef().GetTypeName())
		if why := g.disturbs(t, cmd); why != "" {
			safe := ""
			if constrained, _ := g.domain(cmd.GetDef().GetColumnDef().GetTypeName()); !constrained {
				safe = g.retyped(t, cmd)
			}
			g.hit(safe, "column %s of %s becomes %s: %s", column, t.name, to, why)
		}
	}
}

// disturbs says what a change of type makes Postgres do; "" if nothing.
func (g glance) disturbs(t *table, cmd *tree.AlterTableCmd) string {
	d := cmd.GetDef().GetColumnDef()
	to := typeName(d.GetTypeName())
	c := t.column(cmd.GetName())
	switch {
	case c == nil:
		return "no file tells its type now, so it counts as a rewrite of the table"
	case !keeps(c.typ, to) && strings.HasPrefix(c.typ, "timestamp") && strings.HasPrefix(to, "timestamp") && shapeOf(c.typ).base != shapeOf(to).base:
		return fmt.Sprintf("from %s that rewrites the table, unless the session's time zone is UTC", c.typ)
	case !keeps(c.typ, to):
		return fmt.Sprintf("from %s that rewrites the table", c.typ)
	case d.GetRawDefault() != nil && !sameValue(d.GetRawDefault(), c.name, to):
		return "its USING is computed for every row, so the table is rewritten"
	}
	if _, known := g.domain(d.GetTypeName()); !known {
		return fmt.Sprintf("no file tells what %s is, so it counts as a rewrite of the table", to)
	}
	if !t.known {
		return "no file tells which indexes and checks it has: they would be built and proven anew"
	}
	for _, i := range t.indexes {
		if i.needs(c.name) && (d.GetCollClause() != nil || i.where != "" || i.computes(t)) {
			return fmt.Sprintf("index %s is built anew", i.name)
		}
	}
	for _, k := range t.constraints {
		if k.kind == checkConstraint && mentions(k.check, c.name) {
			return fmt.Sprintf("every row is read to prove check %s anew", k.name)
		}
	}
	return ""
}

// sameValue tells that a USING expression is the column as it is.
func sameValue(n *tree.Node, column, to string) bool {
	if cast := n.GetTypeCast(); cast != nil && typeName(cast.GetTypeName()) == to {
		n = cast.GetArg()
	}
	fields := n.GetColumnRef().GetFields()
	return len(fields) == 1 && fields[0].GetString_().GetSval() == column
}

// needs tells whether an index would go with the column.
func (i *index) needs(column string) bool {
	return slices.Contains(i.columns, column) || mentions(i.where, column) ||
		slices.ContainsFunc(i.columns, func(part string) bool { return mentions(part, column) })
}

// computes tells whether it is over an expression.
func (i *index) computes(t *table) bool {
	return slices.ContainsFunc(i.columns, func(part string) bool { return t.column(part) == nil })
}

// retyped is the form that takes two versions of the application from a column to one of another type.
func (g glance) retyped(t *table, cmd *tree.AlterTableCmd) string {
	column, to := cmd.GetName(), cmd.GetDef().GetColumnDef()
	expr := fmt.Sprintf("%s::%s", name(column), typeText(to.GetTypeName()))
	if to.GetRawDefault() != nil {
		expr = expression(to.GetRawDefault())
	}
	replacement := column + "_new"
	for t.column(replacement) != nil {
		replacement += "er"
	}
	add := proto.CloneOf(to)
	add.Colname, add.RawDefault = replacement, nil
	return g.replace(t, column, replacement, g.instead(cmd, addingColumn(add)), expr)
}

// replace is the form that takes two versions of the application from one column to another, which a statement adds.
func (g glance) replace(t *table, column, replacement, add, expr string) string {
	return g.files(
		file{title("add", replacement), false, fmt.Sprintf("%s\n-- In the plan: a flag from which on the application writes both, then\n%s\n-- then a flag from which on it reads the new one, a verify and an approve, and a step with irreversible: true for the next file.",
			add, step(t.name, replacement, expr))},
		file{title("drop", column), false, fmt.Sprintf("ALTER TABLE %s DROP COLUMN %s;", tableName(t.name), name(column))},
	)
}

// copied are the settings of ALTER TABLE that copy a table or an index.
var copied = map[tree.AlterTableType]string{
	tree.AlterTableType_AT_SetTableSpace: "SET TABLESPACE", tree.AlterTableType_AT_SetLogged: "SET LOGGED",
	tree.AlterTableType_AT_SetUnLogged: "SET UNLOGGED", tree.AlterTableType_AT_SetAccessMethod: "SET ACCESS METHOD",
}

func preferRepack(g glance) {
	switch n := g.st.Node.GetNode().(type) {
	case *tree.Node_VacuumStmt:
		if !n.VacuumStmt.GetIsVacuumcmd() || !option(n.VacuumStmt.GetOptions(), "full") {
			return
		}
		for _, v := range n.VacuumStmt.GetRels() {
			r := v.GetVacuumRelation().GetRelation()
			g.hit(g.files(file{title("vacuum", r.GetRelname()), true, fmt.Sprintf("VACUUM %s;\n-- or, from a shell: pg_repack --table=%s", relation(r), relationName(r))}),
				"%s is written anew by VACUUM FULL", relationName(r))
		}
		if len(n.VacuumStmt.GetRels()) == 0 {
			g.hit("", "every table of the database is written anew by VACUUM FULL")
		}
	case *tree.Node_ClusterStmt:
		if r := n.ClusterStmt.GetRelation(); r == nil {
			g.hit("", "every clustered table of the database is written anew by CLUSTER")
		} else if !g.now.table(r).fresh {
			g.hit(fmt.Sprintf("-- from a shell: pg_repack --table=%s", relationName(r)), "%s is written anew by CLUSTER", relationName(r))
		}
	case *tree.Node_AlterTableMoveAllStmt:
		g.hit("", "everything in tablespace %s is copied to another one", n.AlterTableMoveAllStmt.GetOrigTablespacename())
	case *tree.Node_AlterTableStmt:
		if t := g.target(); !t.fresh {
			for _, c := range n.AlterTableStmt.GetCmds() {
				if setting, ok := copied[c.GetAlterTableCmd().GetSubtype()]; ok {
					safe := ""
					if n.AlterTableStmt.GetObjtype() == tree.ObjectType_OBJECT_TABLE && c.GetAlterTableCmd().GetSubtype() == tree.AlterTableType_AT_SetTableSpace {
						safe = fmt.Sprintf("-- from a shell: pg_repack --table=%s --tablespace=%s", tableName(t.name), name(c.GetAlterTableCmd().GetName()))
					}
					g.hit(safe, "%s is copied by %s", t.name, setting)
				}
			}
		}
	}
}

// option tells whether a list of options has one that is on.
func option(all []*tree.Node, called string) bool {
	return slices.ContainsFunc(all, func(n *tree.Node) bool {
		d := n.GetDefElem()
		off := slices.Contains([]string{"false", "off", "0"}, strings.ToLower(d.GetArg().GetString_().GetSval())) ||
			d.GetArg().GetInteger() != nil && d.GetArg().GetInteger().GetIval() == 0 || d.GetArg().GetBoolean() != nil && !d.GetArg().GetBoolean().GetBoolval()
		return d.GetDefname() == called && !off
	})
}
