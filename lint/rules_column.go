package lint

import (
	"fmt"
	"slices"

	tree "github.com/pganalyze/pg_query_go/v6"
)

var columnRules = []statementRule{
	rule(Rule{
		ID: "adding-required-field", Severity: Error, Title: "New column that every insert must fill",
		Why:     "On a table with rows it fails, after a scan under ACCESS EXCLUSIVE; and the version of the application that doesn't know the column can't insert any more.",
		Sources: []string{"squawk: adding-required-field", "squawk: ban-new-write-restriction"},
	}, addingRequiredField),
	rule(Rule{
		ID: "adding-field-with-default", Severity: Error, Title: "New column whose default differs from row to row",
		Why:     "A constant or stable default costs nothing since Postgres 11; a volatile one is computed for every row: the table is rewritten under ACCESS EXCLUSIVE, which stops reads and writes.",
		Sources: []string{"squawk: adding-field-with-default", "strong_migrations: add_column_default", "strong_migrations: add_column_default_callable", "strong_migrations: add_column_default_null"},
	}, addingFieldWithDefault),
	rule(Rule{
		ID: "adding-stored-generated-field", Severity: Error, Title: "New column that Postgres computes and stores",
		Why:     "The value is computed for every row at once: the table is rewritten under ACCESS EXCLUSIVE, which stops reads and writes.",
		Sources: []string{"squawk: adding-field-with-default", "strong_migrations: add_column_generated_stored"},
	}, addingStoredGeneratedField),
	rule(Rule{
		ID: "adding-serial-primary-key-field", Severity: Error, Title: "New column that numbers the rows",
		Why:     "serial and identity give every row a number at once: the table is rewritten under ACCESS EXCLUSIVE, which stops reads and writes.",
		Sources: []string{"squawk: adding-serial-primary-key-field", "strong_migrations: add_column_auto_incrementing"},
	}, addingSerialField),
	rule(Rule{
		ID: "adding-constrained-domain-field", Severity: Error, Title: "New column of a domain with a constraint",
		Why:     "Postgres checks the domain's constraint for every row: the table is rewritten under ACCESS EXCLUSIVE, which stops reads and writes.",
		Sources: []string{"Postgres: ALTER TABLE, notes on ADD COLUMN"},
	}, addingConstrainedDomainField),
	rule(Rule{
		ID: "changing-generated-expression", Severity: Error, Title: "Other expression for a generated column",
		Why:     "The value is computed anew for every row: the table is rewritten under ACCESS EXCLUSIVE, which stops reads and writes.",
		Sources: []string{"squawk: ban-alter-generated-expression"},
	}, changingGeneratedExpression),
	rule(Rule{
		ID: "adding-not-nullable-field", Severity: Error, Title: "SET NOT NULL that scans the table",
		Why:     "Every row is read under ACCESS EXCLUSIVE, which stops reads and writes, unless a validated CHECK (column IS NOT NULL) proves it already.",
		Sources: []string{"squawk: adding-not-nullable-field", "strong_migrations: change_column_null", "strong_migrations: change_column_null_postgresql", "strong_migrations: change_column_with_not_null"},
	}, addingNotNull),
	rule(Rule{
		ID: "ban-drop-not-null", Severity: Warning, Title: "Column that may be null from now on",
		Why:     "A version of the application that never met a null there reads the rows that the other one writes.",
		Sources: []string{"squawk: ban-drop-not-null"},
	}, droppingNotNull),
	rule(Rule{
		ID: "changing-column-default", Severity: Warning, Title: "Other default for a column in use",
		Why:     "Both versions of the application insert with the new default from this moment on; without one, a version that leaves the column out writes null, or fails where null is forbidden.",
		Sources: []string{"strong_migrations: change_column_default", "squawk: ban-set-default", "squawk: ban-drop-default", "squawk: ban-alter-identity"},
	}, changingDefault),
}

func addingRequiredField(g glance) {
	for t, d := range g.added() {
		required := inline(d, tree.ConstrType_CONSTR_NOTNULL) != nil || inline(d, tree.ConstrType_CONSTR_PRIMARY) != nil
		if !required || hasValue(d) || inline(d, tree.ConstrType_CONSTR_DEFAULT) == nil && g.domainOf(d.GetTypeName(), nil).standard != nil {
			continue
		}
		g.hit(g.column(d),
			"%s gets column %s, which is NOT NULL and has no default: it fails on rows that are there, and on inserts that don't name it", t.name, d.GetColname())
	}
}

// hasValue tells whether Postgres has a value for the rows that are there already.
func hasValue(d *tree.ColumnDef) bool {
	if k := inline(d, tree.ConstrType_CONSTR_DEFAULT); k != nil && !null(k.GetRawExpr()) {
		return true
	}
	return numbers(d) || inline(d, tree.ConstrType_CONSTR_GENERATED) != nil
}

// null tells that an expression is NULL, with a type or without.
func null(n *tree.Node) bool {
	for n.GetTypeCast() != nil {
		n = n.GetTypeCast().GetArg()
	}
	return n.GetAConst().GetIsnull()
}

// numbers tells whether the column is serial or an identity.
func numbers(d *tree.ColumnDef) bool {
	_, serial := serials[typeName(d.GetTypeName())]
	return serial || inline(d, tree.ConstrType_CONSTR_IDENTITY) != nil
}

func addingFieldWithDefault(g glance) {
	for t, d := range g.added() {
		k := inline(d, tree.ConstrType_CONSTR_DEFAULT)
		if k == nil {
			g.defaultOfDomain(t, d)
			continue
		}
		culprit, sure := volatile(k.GetRawExpr())
		if culprit == "" {
			continue
		}
		effect := "which is volatile: the table is rewritten"
		if !sure {
			effect = "which no list of stable functions has: the table may be rewritten"
		}
		g.hit(g.column(d),
			"%s gets column %s with a default that calls %s, %s", t.name, d.GetColname(), culprit, effect)
	}
}

// defaultOfDomain looks at the default that a column has of its type.
func (g glance) defaultOfDomain(t *table, d *tree.ColumnDef) {
	typ := g.domainOf(d.GetTypeName(), nil)
	if culprit, _ := volatile(typ.standard); typ.standard != nil && !typ.constrained && culprit != "" {
		column := name(d.GetColname())
		g.hit(g.files(file{title("add", d.GetColname()), false, fmt.Sprintf("ALTER TABLE %[1]s ADD COLUMN %[2]s %[3]s DEFAULT NULL;\nALTER TABLE %[1]s ALTER COLUMN %[2]s DROP DEFAULT;\n%[4]s",
			tableName(t.name), column, typeText(d.GetTypeName()), fill(t.name, d.GetColname(), expression(typ.standard)))}),
			"%s gets column %s of domain %s, whose default calls %s: the table is rewritten", t.name, d.GetColname(), typeName(d.GetTypeName()), culprit)
	}
}

func addingStoredGeneratedField(g glance) {
	for t, d := range g.added() {
		if inline(d, tree.ConstrType_CONSTR_GENERATED) != nil {
			g.hit("", "%s gets generated column %s: the table is rewritten; add a plain column, which a trigger keeps and a backfill fills", t.name, d.GetColname())
		}
	}
}

func addingSerialField(g glance) {
	for t, d := range g.added() {
		if numbers(d) {
			g.hit(g.column(d), "%s gets column %s, which numbers every row: the table is rewritten", t.name, d.GetColname())
		}
	}
}

func addingConstrainedDomainField(g glance) {
	for t, d := range g.added() {
		constrained, known := g.domain(d.GetTypeName())
		typ := typeName(d.GetTypeName())
		switch {
		case constrained:
			g.hit("", "%s gets column %s of domain %s, which has a constraint: the table is rewritten; take the type that the domain stands for, and its rule as a CHECK … NOT VALID", t.name, d.GetColname(), typ)
		case !known:
			g.as(Warning).hit("", "%s gets column %s of type %s, which no file makes: if it is a domain with a constraint, the table is rewritten", t.name, d.GetColname(), typ)
		}
	}
}

func changingGeneratedExpression(g glance) {
	for t, cmd := range g.alters(tree.AlterTableType_AT_SetExpression) {
		g.hit("", "column %s of %s is computed anew for every row: the table is rewritten; add a new column beside it and fill that", cmd.GetName(), t.name)
	}
}

func addingNotNull(g glance) {
	for t, cmd := range g.alters(tree.AlterTableType_AT_SetNotNull) {
		if c := t.column(cmd.GetName()); c != nil && c.notNull || g.proven(t, cmd.GetName()) {
			continue
		}
		g.hit(g.files(g.notNull(t, cmd.GetName(), cmd)...), "every row of %s is read to see that %s is never null, and nobody can read or write meanwhile", t.name, cmd.GetName())
	}
}

// proven tells that a validated check forbids null, and that this statement doesn't take it away or make it.
func (g glance) proven(t *table, column string) bool {
	return slices.ContainsFunc(t.constraints, func(k *constraint) bool {
		return k.kind == checkConstraint && k.validated && slices.Contains(k.notNull, column) && !g.drops(k.name)
	})
}

// drops tells whether the ALTER TABLE drops a constraint.
func (g glance) drops(constraint string) bool {
	for _, cmd := range g.alters(tree.AlterTableType_AT_DropConstraint) {
		if cmd.GetName() == constraint {
			return true
		}
	}
	return false
}

func droppingNotNull(g glance) {
	for t, cmd := range g.alters(tree.AlterTableType_AT_DropNotNull) {
		if c := t.column(cmd.GetName()); c == nil || c.notNull && !c.fresh {
			g.hit("", "column %s of %s may be null from now on: make sure that both versions of the application read that", cmd.GetName(), t.name)
		}
	}
}

func changingDefault(g glance) {
	for t, cmd := range g.alters(tree.AlterTableType_AT_ColumnDefault) {
		c := t.column(cmd.GetName())
		switch {
		case cmd.GetDef() == nil && c != nil && c.standard != "" && c.notNull && (c.step == history || c.step == g.s.step) && !g.frees(c.name):
			// the running version leaves it out, or may; of a column from an earlier step it may know by now
			g.as(Error).hit("", "column %s of %s is NOT NULL and has no default any more: every insert that leaves it out fails", c.name, t.name)
		case c != nil && c.fresh:
		case cmd.GetDef() == nil && (c == nil || c.standard != "" && c.notNull):
			g.hit("", "column %s of %s has no default any more: inserts that leave it out fail if it is NOT NULL", cmd.GetName(), t.name)
		case cmd.GetDef() != nil && c != nil && c.standard != "" && c.standard != expression(cmd.GetDef()):
			g.hit("", "column %s of %s gets default %s instead of %s, for both versions of the application", cmd.GetName(), t.name, expression(cmd.GetDef()), c.standard)
		}
	}
	for t, cmd := range g.alters(tree.AlterTableType_AT_DropIdentity, tree.AlterTableType_AT_AddIdentity, tree.AlterTableType_AT_SetIdentity) {
		c := t.column(cmd.GetName())
		switch kind := cmd.GetSubtype(); {
		case c != nil && c.fresh:
		case kind == tree.AlterTableType_AT_DropIdentity && !g.frees(cmd.GetName()):
			g.as(Error).hit("", "column %s of %s gets no number any more and is NOT NULL: every insert that leaves it out fails", cmd.GetName(), t.name)
		case kind == tree.AlterTableType_AT_AddIdentity && !numberedFrom(cmd.GetDef()):
			g.hit("", "column %s of %s is numbered from where its new sequence begins: make that higher than all that is there, with START, or numbers come twice", cmd.GetName(), t.name)
		case always(cmd.GetDef()):
			g.hit("", "column %s of %s takes no other value than its sequence's from now on: inserts that name it fail", cmd.GetName(), t.name)
		}
	}
}

// frees tells that the same ALTER TABLE gives the column another default, or lets it be null.
func (g glance) frees(column string) bool {
	for _, cmd := range g.alters(tree.AlterTableType_AT_ColumnDefault, tree.AlterTableType_AT_AddIdentity, tree.AlterTableType_AT_DropNotNull) {
		if cmd.GetName() == column && (cmd.GetDef() != nil || cmd.GetSubtype() == tree.AlterTableType_AT_DropNotNull) {
			return true
		}
	}
	return false
}

// numberedFrom tells that an identity that is added says where its numbers begin.
func numberedFrom(n *tree.Node) bool {
	return slices.ContainsFunc(n.GetConstraint().GetOptions(), func(o *tree.Node) bool { return o.GetDefElem().GetDefname() == "start" })
}

// always tells that an identity that is added or altered says GENERATED ALWAYS.
func always(n *tree.Node) bool {
	return n.GetConstraint().GetGeneratedWhen() == "a" || slices.ContainsFunc(n.GetList().GetItems(), func(o *tree.Node) bool {
		return o.GetDefElem().GetDefname() == "generated" && o.GetDefElem().GetArg().GetInteger().GetIval() == 'a'
	})
}
