package lint

import (
	"fmt"
	"slices"
	"strings"

	tree "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
)

// rewriting tells that Postgres writes the table anew for a new column: the rule about that speaks of the column alone, and
// its form brings the column's constraints too.
func rewriting(d *tree.ColumnDef) bool {
	k := inline(d, tree.ConstrType_CONSTR_DEFAULT)
	computed := false
	if k != nil {
		culprit, _ := volatile(k.GetRawExpr())
		computed = culprit != ""
	}
	return computed || numbers(d) || inline(d, tree.ConstrType_CONSTR_GENERATED) != nil
}

// column is the safe form of a new column: it comes with what costs nothing, its constraints follow in files of their own, and
// the other commands of the statement stay beside it. "" where the column can't come step by step.
func (g glance) column(d *tree.ColumnDef) string {
	t, called := g.target(), d.GetColname()
	own := constraintsOf(d)
	g.named(own...)
	if inline(d, tree.ConstrType_CONSTR_IDENTITY) != nil || inline(d, tree.ConstrType_CONSTR_GENERATED) != nil || t.partitioned && len(own) > 0 {
		return "" // an identity needs its numbers, a generated column a trigger until then
	}
	lone, standard := proto.CloneOf(d), inline(d, tree.ConstrType_CONSTR_DEFAULT)
	typ, serial := serials[typeName(d.GetTypeName())]
	required := serial || inline(d, tree.ConstrType_CONSTR_NOTNULL) != nil || inline(d, tree.ConstrType_CONSTR_PRIMARY) != nil
	free := standard != nil && !null(standard.GetRawExpr()) && !rewriting(d) // a value that every row has at once
	kept := []tree.ConstrType{tree.ConstrType_CONSTR_NULL}
	if free {
		kept = append(kept, tree.ConstrType_CONSTR_DEFAULT, tree.ConstrType_CONSTR_NOTNULL)
	}
	lone.Constraints = slices.DeleteFunc(lone.Constraints, func(n *tree.Node) bool { return !slices.Contains(kept, n.GetConstraint().GetContype()) })
	if serial {
		lone.TypeName = command("ADD x %s", typ).GetDef().GetColumnDef().GetTypeName()
	}
	commands := []*tree.AlterTableCmd{addingColumn(lone)}
	filled := serial || !free && (required || standard != nil && !null(standard.GetRawExpr())) // by a backfill
	var later []file
	for _, k := range own {
		switch k.GetContype() {
		case tree.ConstrType_CONSTR_CHECK:
			if filled { // until then it would refuse every change of a row that is there
				later = append(later, file{title("add", k.GetConname()), false, g.alter(adding(unproven(k)))}, g.validated(k))
				continue
			}
		case tree.ConstrType_CONSTR_FOREIGN:
		default:
			continue
		}
		commands = append(commands, adding(unproven(k)))
		later = append(later, g.validated(k))
	}
	first := file{title("add", called), false, g.instead(d, commands...)}
	at := fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s", tableName(t.name), name(called))
	switch {
	case serial:
		sequence := name(schemaOf(t.name), g.now.free(t, called, "seq"))
		next := fmt.Sprintf("nextval('%s')", strings.ReplaceAll(sequence, "'", "''"))
		first.sql += fmt.Sprintf("\nCREATE SEQUENCE %s AS %s OWNED BY %s.%s;\n%s SET DEFAULT %s;\n%s", sequence, typ, tableName(t.name), name(called), at, next, fill(t.name, called, next))
	case standard != nil && !free && !null(standard.GetRawExpr()):
		expr := expression(standard.GetRawExpr())
		first.sql += fmt.Sprintf("\n%s SET DEFAULT %s;\n%s", at, expr, fill(t.name, called, expr))
	}
	if required && !serial && (standard == nil || null(standard.GetRawExpr())) {
		first.sql += "\n-- Fill it with a backfill step."
	}
	if required && !free {
		later = append(later, g.prove(t, called)...)
	}
	for _, k := range own {
		if k.GetContype() == tree.ConstrType_CONSTR_UNIQUE || k.GetContype() == tree.ConstrType_CONSTR_PRIMARY {
			build, add := g.indexed(k)
			later = append(later, build, file{title("add", k.GetConname()), false, g.alter(add)})
		}
	}
	if filled && len(later) > 0 {
		first.sql += "\n" + belongLater
	}
	return g.files(append([]file{first}, later...)...)
}

const belongLater = "-- The files below belong to a later step."

// constraintsOf a new column, as those of the table: with their columns, a name, and whether they are deferrable.
func constraintsOf(d *tree.ColumnDef) (all []*tree.Constraint) {
	for _, n := range d.GetConstraints() {
		k := proto.CloneOf(n.GetConstraint())
		switch k.GetContype() {
		case tree.ConstrType_CONSTR_FOREIGN:
			k.FkAttrs = []*tree.Node{tree.MakeStrNode(d.GetColname())}
		case tree.ConstrType_CONSTR_UNIQUE, tree.ConstrType_CONSTR_PRIMARY:
			k.Keys = []*tree.Node{tree.MakeStrNode(d.GetColname())}
		case tree.ConstrType_CONSTR_CHECK:
		case tree.ConstrType_CONSTR_ATTR_DEFERRABLE, tree.ConstrType_CONSTR_ATTR_DEFERRED:
			if len(all) > 0 { // it belongs to the one in front of it
				all[len(all)-1].Deferrable = true
				all[len(all)-1].Initdeferred = all[len(all)-1].Initdeferred || k.GetContype() == tree.ConstrType_CONSTR_ATTR_DEFERRED
			}
			continue
		default:
			continue
		}
		all = append(all, k)
	}
	return all
}
