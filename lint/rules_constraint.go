package lint

import (
	"slices"
	"strings"

	tree "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
)

var constraintRules = []statementRule{
	rule(Rule{
		ID: "constraint-missing-not-valid", Severity: Error, Title: "Check that is proven on the spot",
		Why:     "Every row is read under ACCESS EXCLUSIVE, which stops reads and writes. With NOT VALID it holds for new rows at once, and VALIDATE CONSTRAINT proves the old ones beside the traffic.",
		Sources: []string{"squawk: constraint-missing-not-valid", "strong_migrations: add_check_constraint"},
	}, missingNotValid),
	rule(Rule{
		ID: "adding-foreign-key-constraint", Severity: Error, Title: "Foreign key that is proven on the spot",
		Why:     "Every row is looked up under SHARE ROW EXCLUSIVE on both tables, which stops writes to both. With NOT VALID it holds for new rows at once, and VALIDATE CONSTRAINT proves the old ones beside the traffic.",
		Sources: []string{"squawk: adding-foreign-key-constraint", "squawk: constraint-missing-not-valid", "strong_migrations: add_foreign_key", "strong_migrations: add_reference"},
	}, addingForeignKey),
	rule(Rule{
		ID: "disallowed-unique-constraint", Severity: Error, Title: "Unique or primary key constraint that builds its index",
		Why:     "The index is built under ACCESS EXCLUSIVE, which stops reads and writes. An index built CONCURRENTLY before can be given to the constraint in no time.",
		Sources: []string{"squawk: disallowed-unique-constraint", "squawk: adding-serial-primary-key-field", "strong_migrations: add_unique_constraint"},
	}, addingUnique),
	rule(Rule{
		ID: "adding-primary-key-over-nullable-columns", Severity: Error, Title: "Primary key over columns that may be null",
		Why:     "A primary key makes its columns NOT NULL: every row is read under ACCESS EXCLUSIVE, which stops reads and writes, unless they are NOT NULL or a validated check proves it.",
		Sources: []string{"squawk: adding-serial-primary-key-field", "Postgres: ALTER TABLE, ADD table_constraint_using_index"},
	}, addingPrimaryKeyOverNullable),
	rule(Rule{
		ID: "adding-exclusion-constraint", Severity: Error, Title: "Exclusion constraint on a table in use",
		Why:     "Its index is built under ACCESS EXCLUSIVE, which stops reads and writes, and Postgres knows no other way.",
		Sources: []string{"strong_migrations: add_exclusion_constraint"},
	}, addingExclusion),
	rule(Rule{
		ID: "validating-in-the-same-file", Severity: Error, Title: "NOT VALID and VALIDATE in one transaction",
		Why:     "The lock that adding the constraint took is held while every row is read, as if NOT VALID were not there.",
		Sources: []string{"squawk: constraint-missing-not-valid", "strong_migrations: validate_check_constraint", "strong_migrations: validate_foreign_key"},
	}, validatingInTheSameFile),
	rule(Rule{
		ID: "ban-alter-domain-with-add-constraint", Severity: Error, Title: "Constraint on a domain that is in use",
		Why:     "Every table with a column of the domain is read, under SHARE locks that stop writes to all of them.",
		Sources: []string{"squawk: ban-alter-domain-with-add-constraint"},
	}, alteringDomain),
	rule(Rule{
		ID: "ban-create-domain-with-constraint", Severity: Note, Title: "Domain with a constraint",
		Why:     "To change the constraint later, every table that uses the domain is read with writes stopped; a CHECK on the column can be changed without.",
		Sources: []string{"squawk: ban-create-domain-with-constraint"},
	}, creatingConstrainedDomain),
}

// constraintColumns that the constraint is about: its own, or the column that it stands at.
func constraintColumns(k *tree.Constraint, d *tree.ColumnDef) []string {
	switch {
	case d != nil:
		return []string{d.GetColname()}
	case k.GetContype() == tree.ConstrType_CONSTR_FOREIGN:
		return texts(k.GetFkAttrs())
	}
	return texts(k.GetKeys())
}

func missingNotValid(g glance) {
	for k, d := range g.constrained(tree.ConstrType_CONSTR_CHECK) {
		if !k.GetSkipValidation() {
			g.hit(g.provenLater(k, d), "every row of %s is read to prove CHECK (%s), and nobody can read or write meanwhile", g.target().name, expression(k.GetRawExpr()))
		}
	}
}

func addingForeignKey(g glance) {
	for k, d := range g.constrained(tree.ConstrType_CONSTR_FOREIGN) {
		from, to := g.target().name, relationName(k.GetPktable())
		switch {
		case k.GetSkipValidation() && g.target().partitioned:
			g.hit("", "Postgres below 18 takes no NOT VALID foreign key on partitioned table %s: the step would fail; add it to each partition first", from)
		case k.GetSkipValidation():
		case d != nil && g.empty(d): // Postgres doesn't look
			g.as(Note).hit("", "%s and %s are locked together for a moment; with an empty column nothing is read", from, to)
		default:
			g.hit(g.provenLater(k, d), "every row of %s is looked up in %s, and nobody can write to either meanwhile", from, to)
		}
	}
}

// empty tells that Postgres knows a new column to be null in every row: one with a DEFAULT it doesn't, not even with DEFAULT NULL.
func (g glance) empty(d *tree.ColumnDef) bool {
	typ := g.domainOf(d.GetTypeName(), nil)
	return !hasValue(d) && inline(d, tree.ConstrType_CONSTR_DEFAULT) == nil && typ.known && typ.standard == nil
}

func addingUnique(g glance) {
	for _, kind := range []tree.ConstrType{tree.ConstrType_CONSTR_UNIQUE, tree.ConstrType_CONSTR_PRIMARY} {
		for k, d := range g.constrained(kind) {
			if k.GetIndexname() == "" {
				g.hit(g.indexFirst(k, d), "an index is built over %s of %s, and nobody can read or write meanwhile", strings.Join(constraintColumns(k, d), ", "), g.target().name)
			}
		}
	}
}

// never tells that the files forbid null in a column.
func (g glance) never(t *table, column string) bool {
	c := t.column(column)
	return c != nil && c.notNull || g.proven(t, column)
}

func addingPrimaryKeyOverNullable(g glance) {
	for k := range g.constrained(tree.ConstrType_CONSTR_PRIMARY) {
		t := g.target()
		i := t.index(k.GetIndexname())
		switch {
		case k.GetIndexname() == "":
		case i == nil:
			g.hit("", "no file tells over which columns of %s index %s is: if one of them may be null, every row is read", t.name, k.GetIndexname())
		default:
			open := slices.DeleteFunc(slices.Clone(i.columns), func(c string) bool { return g.never(t, c) })
			if len(open) == 0 {
				continue
			}
			var all []file
			for _, c := range open {
				all = append(all, g.prove(t, c)...)
			}
			g.hit(g.files(append(all, file{title("add", i.name), false, sql(g.st.Node)})...),
				"every row of %s is read to see that %s is never null, and nobody can read or write meanwhile", t.name, strings.Join(open, ", "))
		}
	}
}

func addingExclusion(g glance) {
	for range g.constrained(tree.ConstrType_CONSTR_EXCLUSION) {
		g.hit("", "an index is built over %s for the exclusion, and nobody can read or write meanwhile: build it on a new, empty table and fill that, or let the application see to it", g.target().name)
	}
}

func validatingInTheSameFile(g glance) {
	for t, cmd := range g.alters(tree.AlterTableType_AT_ValidateConstraint) {
		if k := t.constraint(cmd.GetName()); k != nil && k.fresh {
			g.hit(g.apart(cmd, g.validated(&tree.Constraint{Conname: k.name})),
				"%s of %s is proven in the transaction that adds it: give VALIDATE CONSTRAINT a file of its own", k.name, t.name)
		}
	}
}

func alteringDomain(g glance) {
	n := g.st.Node.GetAlterDomainStmt()
	domain := listName(n.GetTypeName())
	k := n.GetDef().GetConstraint()
	switch {
	case n == nil || g.madeHere(func(e *tree.Node) bool { return listName(e.GetCreateDomainStmt().GetDomainname()) == domain }):
	case n.GetSubtype() == "C" && !k.GetSkipValidation():
		later := proto.CloneOf(n)
		later.Def.GetConstraint().SkipValidation, later.Def.GetConstraint().InitiallyValid = true, false
		g.hit(g.files(file{title("constrain", bare(domain)), false, sql(&tree.Node{Node: &tree.Node_AlterDomainStmt{AlterDomainStmt: later}}) +
			"\n-- To prove the old rows, validate a CHECK … NOT VALID on each table instead: VALIDATE on a domain stops writes."}),
			"every table with a column of domain %s is read, and nobody can write to them meanwhile", domain)
	case n.GetSubtype() == "O":
		g.hit("", "every table with a column of domain %s is read for nulls, and nobody can write to them meanwhile: make the columns NOT NULL instead", domain)
	case n.GetSubtype() == "V":
		g.hit("", "every table with a column of domain %s is read, and nobody can write to them meanwhile: a CHECK on each table can be validated without", domain)
	}
}

// madeHere tells whether a statement above in the same file fits.
func (g glance) madeHere(fits func(*tree.Node) bool) bool {
	for n := range g.earlier() {
		if fits(n) {
			return true
		}
	}
	return false
}

func creatingConstrainedDomain(g glance) {
	n := g.st.Node.GetCreateDomainStmt()
	for _, k := range n.GetConstraints() {
		if kind := k.GetConstraint().GetContype(); kind == tree.ConstrType_CONSTR_CHECK || kind == tree.ConstrType_CONSTR_NOTNULL {
			g.hit("", "domain %s has a constraint: put a CHECK on the columns instead", listName(n.GetDomainname()))
			return
		}
	}
}
