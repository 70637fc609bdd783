package lint

import (
	"iter"
	"slices"
	"strings"

	tree "github.com/pganalyze/pg_query_go/v6"
	pgquery "github.com/wasilibs/go-pgquery"
)

var typeRules = []statementRule{
	rule(Rule{
		ID: "ban-char-field", Severity: Note, Title: "char(n)",
		Why:     "Values are filled up with blanks, which some comparisons see and others don't; it is neither smaller nor faster than text.",
		Sources: []string{"squawk: ban-char-field"},
	}, habit(charField)),
	rule(Rule{
		ID: "prefer-text-field", Severity: Note, Title: "varchar(n)",
		Why:     "To lower the limit later every row is read under ACCESS EXCLUSIVE. text with a CHECK on the length can be changed beside the traffic.",
		Sources: []string{"squawk: prefer-text-field"},
	}, habit(textField)),
	rule(Rule{
		ID: "prefer-bigint-over-int", Severity: Warning, Title: "Key of 4 bytes",
		Why:     "It is used up after 2,147,483,647 rows, those deleted and rolled back included; then every insert fails, and to make it wider the table is rewritten.",
		Sources: []string{"squawk: prefer-bigint-over-int", "squawk: prefer-big-int"},
	}, habit(intKey)),
	rule(Rule{
		ID: "prefer-bigint-over-smallint", Severity: Warning, Title: "Key of 2 bytes",
		Why:     "It is used up after 32,767 rows; then every insert fails, and to make it wider the table is rewritten.",
		Sources: []string{"squawk: prefer-bigint-over-smallint", "squawk: prefer-big-int"},
	}, habit(smallintKey)),
	rule(Rule{
		ID: "prefer-identity", Severity: Note, Title: "serial",
		Why:     "The sequence has rights and dependencies of its own, and any insert may pass a number that it comes to later. GENERATED … AS IDENTITY is the standard's, and keeps both together.",
		Sources: []string{"squawk: prefer-identity"},
	}, habit(serialField)),
	rule(Rule{
		ID: "prefer-timestamptz", Severity: Note, Title: "timestamp without time zone",
		Why:     "It says what a clock showed, not where: two sessions of other zones read two moments, and to change it later the table is rewritten.",
		Sources: []string{"squawk: prefer-timestamptz"},
	}, habit(timestampField)),
	rule(Rule{
		ID: "adding-json-field", Severity: Warning, Title: "json",
		Why:     "json has no equality: SELECT DISTINCT, GROUP BY and UNION over the table, which worked before, fail with the new column. jsonb has.",
		Sources: []string{"strong_migrations: add_column_json"},
	}, habit(jsonField)),
}

// habit looks at the columns that come into being, and at those that get another type.
func habit(look func(g glance, table string, d *tree.ColumnDef)) func(glance) {
	return func(g glance) {
		for table, d := range g.typed() {
			look(g, table, d)
		}
	}
}

// typed goes through the columns to which the statement gives a type.
func (g glance) typed() iter.Seq2[string, *tree.ColumnDef] {
	return func(yield func(string, *tree.ColumnDef) bool) {
		if n := g.st.Node.GetCreateStmt(); n != nil {
			for _, e := range n.GetTableElts() {
				if d := e.GetColumnDef(); d.GetTypeName() != nil && !yield(relationName(n.GetRelation()), d) {
					return
				}
			}
		}
		n := g.st.Node.GetAlterTableStmt()
		for _, c := range n.GetCmds() {
			cmd := c.GetAlterTableCmd()
			if cmd.GetSubtype() != tree.AlterTableType_AT_AddColumn && cmd.GetSubtype() != tree.AlterTableType_AT_AlterColumnType {
				continue
			}
			d := cmd.GetDef().GetColumnDef()
			if d.GetColname() == "" {
				d = &tree.ColumnDef{Colname: cmd.GetName(), TypeName: d.GetTypeName()}
			}
			if !yield(relationName(n.GetRelation()), d) {
				return
			}
		}
	}
}

func charField(g glance, table string, d *tree.ColumnDef) {
	if shapeOf(typeName(d.GetTypeName())).base == "character" {
		g.hit("", "%s.%s is %s: take text", table, d.GetColname(), typeName(d.GetTypeName()))
	}
}

func textField(g glance, table string, d *tree.ColumnDef) {
	if s := shapeOf(typeName(d.GetTypeName())); s.base == "character varying" && len(s.mods) > 0 {
		g.hit("", "%s.%s is %s: take text, with CHECK (length(%s) <= %d) if the limit matters", table, d.GetColname(), typeName(d.GetTypeName()), name(d.GetColname()), s.mods[0])
	}
}

// key tells whether the column is one that rows are numbered or found by.
func (g glance) key(d *tree.ColumnDef) bool {
	if numbers(d) || inline(d, tree.ConstrType_CONSTR_PRIMARY) != nil {
		return true
	}
	for _, e := range g.st.Node.GetCreateStmt().GetTableElts() {
		if k := e.GetConstraint(); k.GetContype() == tree.ConstrType_CONSTR_PRIMARY && slices.Equal(texts(k.GetKeys()), []string{d.GetColname()}) {
			return true
		}
	}
	return false
}

func intKey(g glance, table string, d *tree.ColumnDef) {
	if shapeOf(typeName(d.GetTypeName())).base == "integer" && g.key(d) {
		g.hit("", "%s.%s is %s: take bigint", table, d.GetColname(), typeName(d.GetTypeName()))
	}
}

func smallintKey(g glance, table string, d *tree.ColumnDef) {
	if shapeOf(typeName(d.GetTypeName())).base == "smallint" && g.key(d) {
		g.hit("", "%s.%s is %s: take bigint", table, d.GetColname(), typeName(d.GetTypeName()))
	}
}

func serialField(g glance, table string, d *tree.ColumnDef) {
	if _, serial := serials[typeName(d.GetTypeName())]; serial {
		g.hit("", "%s.%s is %s: take bigint GENERATED BY DEFAULT AS IDENTITY", table, d.GetColname(), typeName(d.GetTypeName()))
	}
}

func timestampField(g glance, table string, d *tree.ColumnDef) {
	if shapeOf(typeName(d.GetTypeName())).base == "timestamp without time zone" {
		g.hit("", "%s.%s is %s: take timestamptz", table, d.GetColname(), typeName(d.GetTypeName()))
	}
}

func jsonField(g glance, table string, d *tree.ColumnDef) {
	if typeName(d.GetTypeName()) != "json" {
		return
	}
	if g.st.Node.GetCreateStmt() != nil {
		g = g.as(Note) // no statement reads it yet
	}
	g.hit("", "%s.%s is json: take jsonb", table, d.GetColname())
}

var habitRules = []statementRule{
	rule(Rule{
		ID: "identifier-too-long", Severity: Error, Title: "Name that Postgres cuts",
		Why:     "Postgres keeps 63 bytes of a name and says so in a notice nobody reads; two names that begin alike become one.",
		Sources: []string{"squawk: identifier-too-long", "strong_migrations: constraint names"},
	}, tooLong),
}

func tooLong(g glance) {
	scanned, err := pgquery.Scan(g.st.Text)
	if err != nil {
		return
	}
	for _, t := range scanned.GetTokens() {
		if t.GetToken() != tree.Token_IDENT {
			continue
		}
		word := g.st.Text[t.GetStart():t.GetEnd()]
		if inner, ok := strings.CutPrefix(word, `"`); ok {
			word = strings.ReplaceAll(strings.TrimSuffix(inner, `"`), `""`, `"`)
		}
		if len(word) > maxIdentifier {
			g.hit("", "%s has %d bytes, of which Postgres keeps %d", word, len(word), maxIdentifier)
		}
	}
}
