package lint

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	tree "github.com/pganalyze/pg_query_go/v6"
	pgquery "github.com/wasilibs/go-pgquery"
	"google.golang.org/protobuf/proto"

	"github.com/contraflow/contraflow/internal/sqltree"
)

// sql writes a statement down, as Postgres would; empty for what can't be.
func sql(n *tree.Node) string {
	text, err := pgquery.Deparse(&tree.ParseResult{Stmts: []*tree.RawStmt{{Stmt: n}}})
	if err != nil {
		return ""
	}
	return text + ";"
}

// name writes an identifier, or a qualified one, in quotes where Postgres needs them.
func name(parts ...string) string {
	var fields []*tree.Node
	for _, p := range parts {
		if p != "" {
			fields = append(fields, tree.MakeStrNode(p))
		}
	}
	return expression(tree.MakeColumnRefNode(fields, 0))
}

// relation writes a relation's name as the statement has it.
func relation(r *tree.RangeVar) string { return name(r.GetSchemaname(), r.GetRelname()) }

// tableName writes a name of the schema's in quotes where Postgres needs them.
func tableName(qualified string) string {
	schema, rest, ok := strings.Cut(qualified, ".")
	if !ok {
		return name(qualified)
	}
	return name(schema, rest)
}

// typeText writes a type down as SQL needs it; typeName is for people.
func typeText(t *tree.TypeName) string {
	null := &tree.Node{Node: &tree.Node_AConst{AConst: &tree.A_Const{Isnull: true}}}
	cast := expression(&tree.Node{Node: &tree.Node_TypeCast{TypeCast: &tree.TypeCast{Arg: null, TypeName: t}}})
	return strings.TrimPrefix(cast, "NULL::")
}

// typeSQL is typeText for a type that typeName has written.
func typeSQL(typ string) string {
	if n := parseExpression("NULL::" + typ); n != nil && typeName(n.GetTypeCast().GetTypeName()) == typ {
		return typ
	}
	element, array := strings.CutSuffix(typ, "[]")
	if array {
		return quotedName(element) + "[]"
	}
	return quotedName(typ)
}

// file of a safe form.
type file struct {
	title   string // what the name says behind the version
	outside bool   // of a transaction
	sql     string
}

// files writes a safe form of several files. The first takes this one's place; those behind it take versions that no file has.
// Where the file holds other statements, they stay where they are: what can be said in their transaction is said in this
// statement's place, and the rest follows in files of its own.
func (g glance) files(all ...file) string {
	digits, _, _ := strings.Cut(g.s.Name, "_")
	next := g.s.Version
	if versions := g.in.Files.Versions(); len(versions) > 0 {
		next = max(next, versions[len(versions)-1])
	}
	var b strings.Builder
	last := g.s.Version
	for i, f := range all {
		version := g.s.Version
		switch {
		case i == 0 && len(g.s.statements) == 1:
		case i == 0 && !f.outside && !g.s.NoTransaction:
			b.WriteString(inPlace + strings.TrimSuffix(f.sql, "\n") + "\n")
			continue
		default:
			next++
			version, last = next, next
			if i == 0 {
				b.WriteString(otherStay)
			}
		}
		fmt.Fprintf(&b, "-- file: %0*d_%s.up.sql\n", len(digits), version, f.title)
		if f.outside {
			b.WriteString("-- contraflow: no-transaction\n")
		}
		b.WriteString(strings.TrimSuffix(f.sql, "\n") + "\n")
	}
	if last > g.s.Version && !g.down() {
		fmt.Fprintf(&b, "-- then, in the plan: migrate: {to: %d}, and a down file for each\n", last)
	}
	return b.String()
}

// What a form begins with where the file holds other statements.
const (
	inPlace   = "-- in this statement's place; the file's other statements stay\n"
	otherStay = "-- without this statement, the file's other statements stay\n"
)

// title makes a file's name of what it does and to what.
func title(verb string, parts ...string) string {
	words := []string{verb}
	for _, p := range parts {
		if p != "" {
			words = append(words, strings.Map(func(r rune) rune {
				if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_' {
					return r
				}
				return '_'
			}, strings.ToLower(p)))
		}
	}
	return strings.Join(words, "_")
}

// maxStepName is how long the plan lets a step's name be.
const maxStepName = 63

var separators = regexp.MustCompile(`[^a-z0-9]+`)

// stepName makes a step's name of what it does and to what, as the plan takes them.
func stepName(verb, what string) string {
	called := strings.ToLower(strings.ReplaceAll(camel.ReplaceAllString(what, "$1-$2"), `"`, ""))
	called = verb + "-" + separators.ReplaceAllString(called, "-")
	return strings.TrimRight(called[:min(len(called), maxStepName)], "-")
}

var camel = regexp.MustCompile(`([a-z0-9])([A-Z])`)

// simple are texts that YAML takes as they are, wherever they stand.
var simple = regexp.MustCompile(`^[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?( is null)?$`)

// notTexts are words that some readers of YAML take for a boolean.
var notTexts = []string{"y", "n", "yes", "no", "on", "off", "true", "false", "null"}

// yamlText writes a text as YAML, in quotes where it needs them.
func yamlText(text string) string {
	if simple.MatchString(text) && !slices.Contains(notTexts, text) {
		return text
	}
	return yamlQuoted(text)
}

func yamlQuoted(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// fill tells of the backfill step for a new column.
func fill(table, column, expr string) string {
	return "-- For the rows that are there, a step of the plan:\n" + step(table, column, expr)
}

// step is the backfill step for a column, as a comment.
func step(table, column, expr string) string {
	return fmt.Sprintf("-- - name: %s\n--   backfill: {table: %s, set: {%s: %s}, where: %s}",
		stepName("fill", column), yamlText(tableName(table)), yamlText(name(column)), yamlQuoted(expr), yamlText(name(column)+" is null"))
}

// command is one command of ALTER TABLE, from its text.
func command(format string, args ...any) *tree.AlterTableCmd {
	all, err := sqltree.Parse("ALTER TABLE t " + fmt.Sprintf(format, args...))
	if err != nil || len(all) != 1 || len(all[0].Node.GetAlterTableStmt().GetCmds()) != 1 {
		return nil
	}
	return all[0].Node.GetAlterTableStmt().GetCmds()[0].GetAlterTableCmd()
}

// addingColumn is the command of ALTER TABLE that adds a column.
func addingColumn(d *tree.ColumnDef) *tree.AlterTableCmd {
	return &tree.AlterTableCmd{Subtype: tree.AlterTableType_AT_AddColumn, Def: &tree.Node{Node: &tree.Node_ColumnDef{ColumnDef: d}}, Behavior: tree.DropBehavior_DROP_RESTRICT}
}

// adding is the command of ALTER TABLE that adds a constraint.
func adding(k *tree.Constraint) *tree.AlterTableCmd {
	return &tree.AlterTableCmd{Subtype: tree.AlterTableType_AT_AddConstraint, Def: &tree.Node{Node: &tree.Node_Constraint{Constraint: k}}, Behavior: tree.DropBehavior_DROP_RESTRICT}
}

// alter writes an ALTER TABLE of the statement's own table.
func (g glance) alter(commands ...*tree.AlterTableCmd) string {
	n := proto.CloneOf(g.st.Node.GetAlterTableStmt())
	n.Cmds = nil
	for _, cmd := range commands {
		if cmd == nil {
			return ""
		}
		n.Cmds = append(n.Cmds, &tree.Node{Node: &tree.Node_AlterTableCmd{AlterTableCmd: cmd}})
	}
	if len(n.Cmds) == 0 {
		return ""
	}
	return sql(&tree.Node{Node: &tree.Node_AlterTableStmt{AlterTableStmt: n}})
}

// instead writes the statement's ALTER TABLE with other commands in the place of one, which is given as it stands there or by
// what it adds.
func (g glance) instead(of proto.Message, commands ...*tree.AlterTableCmd) string {
	var all []*tree.AlterTableCmd
	for _, c := range g.st.Node.GetAlterTableStmt().GetCmds() {
		cmd := c.GetAlterTableCmd()
		if of == proto.Message(cmd) || of == proto.Message(cmd.GetDef().GetColumnDef()) || of == proto.Message(cmd.GetDef().GetConstraint()) {
			all = append(all, commands...)
		} else {
			all = append(all, cmd)
		}
	}
	return g.alter(all...)
}

// notNull are the files that make a column NOT NULL without a scan that anybody waits for. The first holds the check that is
// proven then, as one more command of the statement in the place of another.
func (g glance) notNull(t *table, column string, instead proto.Message) []file {
	all := g.prove(t, column)
	all[0].sql = g.instead(instead, command("ADD CONSTRAINT %s CHECK (%s IS NOT NULL) NOT VALID", name(g.now.free(t, column, "not_null")), name(column)))
	return all
}

// prove is notNull with an ALTER TABLE of its own.
func (g glance) prove(t *table, column string) []file {
	k := name(g.now.free(t, column, "not_null"))
	at := "ALTER TABLE " + tableName(t.name)
	return []file{
		{title("check", column), false, fmt.Sprintf("%s ADD CONSTRAINT %s CHECK (%s IS NOT NULL) NOT VALID;", at, k, name(column))},
		{title("validate", column), true, fmt.Sprintf("%s VALIDATE CONSTRAINT %s;", at, k)},
		{title("require", column), false, fmt.Sprintf("%s ALTER COLUMN %s SET NOT NULL;\n%s DROP CONSTRAINT %s;", at, name(column), at, k)},
	}
}
