package lint

import (
	"fmt"
	"slices"
	"strings"

	tree "github.com/pganalyze/pg_query_go/v6"

	"github.com/contraflow/contraflow/internal/sqltree"
)

var partitionRules = []statementRule{
	rule(Rule{
		ID: "attaching-unproven-partition", Severity: Error, Title: "Partition that is read while it is attached",
		Why:     "Every row is read under ACCESS EXCLUSIVE on the table, and on a default partition beside it, unless a validated check already says what the partition's bounds say; indexes that the parent has and it lacks are built.",
		Sources: []string{"Postgres: ALTER TABLE, ATTACH PARTITION"},
	}, attachingPartition),
	rule(Rule{
		ID: "require-concurrent-partition-detach", Severity: Error, Title: "Partition detached with everybody waiting",
		Why:     "It takes ACCESS EXCLUSIVE on the whole partitioned table; where foreign keys point to it, those tables are read meanwhile. CONCURRENTLY only waits.",
		Sources: []string{"squawk: require-concurrent-partition-detach"},
	}, detachingPartition),
	rule(Rule{
		ID: "creating-partition-of", Severity: Warning, Title: "Partition made in place",
		Why:     "CREATE TABLE … PARTITION OF takes ACCESS EXCLUSIVE on the whole partitioned table, and reads a default partition under it. ATTACH PARTITION of an empty table takes a lock that reads and writes pass.",
		Sources: []string{"Postgres: CREATE TABLE, PARTITION OF"},
	}, creatingPartitionOf),
}

func attachingPartition(g glance) {
	for parent, cmd := range g.alters(tree.AlterTableType_AT_AttachPartition) {
		bound := cmd.GetDef().GetPartitionCmd()
		part := g.now.table(bound.GetName())
		defaults := g.defaultPartition(parent.name)
		missing, proof := lacks(part, parent), ""
		if parent.known && part.known && missing == "" {
			proof = g.provenPartition(parent, part, bound.GetBound())
		}
		switch {
		case defaults != "" && !bound.GetBound().GetIsDefault():
			g.hit("", "default partition %s of %s is read to see that none of its rows belong to %s, and nobody can read or write it meanwhile", defaults, parent.name, part.name)
		case part.fresh && !parent.known && !bound.GetBound().GetIsDefault():
			g.as(Warning).hit("", "no file tells whether %s has a default partition: it would be read to see that none of its rows belong to %s, and nobody could read or write it meanwhile", parent.name, part.name)
		case part.fresh:
		case !g.within(parent, part, bound.GetBound()):
			g.hit(proof, "every row of %s is read to see that it belongs there, and nobody can read or write it meanwhile", part.name)
		case !parent.known || !part.known:
			g.hit("", "no file tells which indexes and foreign keys %s and %s have: those that %s lacks are built while nobody can read or write it", parent.name, part.name, part.name)
		case missing != "":
			g.hit("", "%s of %s is built on %s while nobody can read or write it: build it CONCURRENTLY, or add it NOT VALID and validate it, before", missing, parent.name, part.name)
		}
	}
}

// lacks names an index or a foreign key that a table has and its partition doesn't.
func lacks(part, parent *table) string {
	for _, i := range parent.indexes {
		if !slices.ContainsFunc(part.indexes, func(own *index) bool {
			return slices.Equal(own.columns, i.columns) && own.where == i.where && (own.unique || !i.unique)
		}) {
			return "index " + i.name
		}
	}
	for _, k := range parent.constraints {
		if k.kind == foreignKey && !slices.ContainsFunc(part.constraints, func(own *constraint) bool {
			return own.kind == foreignKey && own.validated && own.references == k.references && slices.Equal(own.columns, k.columns)
		}) {
			return "foreign key " + k.name
		}
	}
	return ""
}

// partitionKey of a table is the one column that its files partition it by; "" for other keys, or if no file tells.
func (g glance) partitionKey(parent string) string {
	for n := range g.past() {
		if c := n.GetCreateStmt(); c != nil && relationName(c.GetRelation()) == parent && len(c.GetPartspec().GetPartParams()) == 1 {
			return c.GetPartspec().GetPartParams()[0].GetPartitionElem().GetName()
		}
	}
	return ""
}

// defaultPartition of a table; "" if no file makes one.
func (g glance) defaultPartition(parent string) (found string) {
	for n := range g.past() {
		c := n.GetCreateStmt()
		if c.GetPartbound().GetIsDefault() && relationName(c.GetInhRelations()[0].GetRangeVar()) == parent {
			found = relationName(c.GetRelation())
		}
		a := n.GetAlterTableStmt()
		for _, cmd := range a.GetCmds() {
			p := cmd.GetAlterTableCmd().GetDef().GetPartitionCmd()
			if cmd.GetAlterTableCmd().GetSubtype() == tree.AlterTableType_AT_AttachPartition && p.GetBound().GetIsDefault() && relationName(a.GetRelation()) == parent {
				found = relationName(p.GetName())
			}
			if cmd.GetAlterTableCmd().GetSubtype() == tree.AlterTableType_AT_DetachPartition && relationName(p.GetName()) == found {
				found = ""
			}
		}
		for _, o := range n.GetDropStmt().GetObjects() {
			if objectName(o) == found {
				found = ""
			}
		}
	}
	return found
}

// within tells that validated checks of the table say all that its bounds will say.
func (g glance) within(parent, part *table, bound *tree.PartitionBoundSpec) bool {
	terms := g.bounds(parent, bound)
	if len(terms) == 0 {
		return false
	}
	var proven []string
	for _, k := range part.constraints {
		if k.kind == checkConstraint && k.validated {
			proven = append(proven, checkTerms(k.check)...)
		}
	}
	for _, c := range part.columns {
		if c.notNull {
			proven = append(proven, name(c.name)+" IS NOT NULL")
		}
	}
	return !slices.ContainsFunc(terms, func(t string) bool { return !slices.Contains(proven, t) })
}

// bounds are what a row of the partition fulfils, all of them; none where that can't be told.
func (g glance) bounds(parent *table, bound *tree.PartitionBoundSpec) []string {
	key := g.partitionKey(parent.name)
	if key == "" || bound.GetIsDefault() {
		return nil
	}
	terms := []string{name(key) + " IS NOT NULL"}
	for _, side := range []struct {
		operator string
		values   []*tree.Node
	}{{">=", bound.GetLowerdatums()}, {"<", bound.GetUpperdatums()}} {
		for _, v := range side.values {
			if ref := v.GetColumnRef(); ref != nil { // MINVALUE and MAXVALUE
				continue
			}
			terms = append(terms, fmt.Sprintf("%s %s %s", name(key), side.operator, expression(v)))
		}
	}
	if list := bound.GetListdatums(); len(list) > 0 {
		var values []string
		for _, v := range list {
			if v.GetAConst().GetIsnull() {
				return nil
			}
			values = append(values, expression(v))
		}
		in := fmt.Sprintf("%s IN (%s)", name(key), strings.Join(values, ", "))
		if len(values) == 1 {
			in = fmt.Sprintf("%s = %s", name(key), values[0])
		}
		terms = append(terms, in)
	}
	if len(terms) == 1 && bound.GetStrategy() != "r" { // hash
		return nil
	}
	return terms
}

// checkTerms of a check: it is true only if each of them is.
func checkTerms(check string) []string {
	if n := parseExpression(check); n != nil {
		return conjuncts(n)
	}
	return nil
}

// provenPartition are the files that prove the bounds beside the traffic; "" where they can't be told.
func (g glance) provenPartition(parent, part *table, bound *tree.PartitionBoundSpec) string {
	terms := g.bounds(parent, bound)
	if len(terms) == 0 {
		return ""
	}
	at, k := "ALTER TABLE "+tableName(part.name), name(g.now.free(part, "bounds", "check"))
	return g.files(
		file{title("bound", bare(part.name)), false, fmt.Sprintf("%s ADD CONSTRAINT %s CHECK (%s) NOT VALID;", at, k, strings.Join(terms, " AND "))},
		file{title("validate", bare(part.name)), true, fmt.Sprintf("%s VALIDATE CONSTRAINT %s;", at, k)},
		file{title("attach", bare(part.name)), false, sql(g.st.Node)},
		file{title("unbound", bare(part.name)), false, fmt.Sprintf("%s DROP CONSTRAINT %s;", at, k)},
	)
}

func detachingPartition(g glance) {
	for parent, cmd := range g.alters(tree.AlterTableType_AT_DetachPartition) {
		p := cmd.GetDef().GetPartitionCmd()
		if found := g.defaultPartition(parent.name); p.GetConcurrent() && found != "" {
			g.hit("", "Postgres detaches no partition concurrently where there is a default one, as %s of %s: the step would fail", found, parent.name)
		}
		if p.GetConcurrent() || g.now.table(p.GetName()).fresh {
			continue
		}
		safe := ""
		if g.defaultPartition(parent.name) == "" {
			safe = g.files(file{title("detach", p.GetName().GetRelname()), true, fmt.Sprintf("ALTER TABLE %s DETACH PARTITION %s CONCURRENTLY;", tableName(parent.name), relation(p.GetName())) +
				fmt.Sprintf("\n-- It leaves a check of the bounds on %s, which a later file can drop.", relation(p.GetName()))})
		}
		if parent.known && !g.pointedAt(parent.name) {
			g.as(Warning).hit(safe, "all of %s is locked for a moment while %s is detached", parent.name, relationName(p.GetName()))
		} else {
			g.hit(safe, "all of %s is locked while %s is detached, and the tables whose foreign keys point to it are read meanwhile", parent.name, relationName(p.GetName()))
		}
	}
}

// pointedAt tells whether a foreign key refers to the table.
func (g glance) pointedAt(table string) bool {
	for _, t := range g.now.tables {
		if slices.ContainsFunc(t.constraints, func(k *constraint) bool { return k.kind == foreignKey && k.references == table }) {
			return true
		}
	}
	return false
}

func creatingPartitionOf(g glance) {
	n := g.st.Node.GetCreateStmt()
	if n.GetPartbound() == nil {
		return
	}
	parent := n.GetInhRelations()[0].GetRangeVar()
	if g.now.table(parent).fresh {
		return
	}
	child := relation(n.GetRelation())
	bound := sql(g.st.Node)
	bound = bound[strings.Index(bound, " PARTITION OF "):]
	_, bound, _ = strings.Cut(bound[1:], relation(parent))
	safe := ""
	if len(n.GetTableElts()) == 0 && n.GetPartspec() == nil && n.GetTablespacename() == "" && n.GetAccessMethod() == "" && len(n.GetOptions()) == 0 {
		safe = g.files(file{title("make", n.GetRelation().GetRelname()), false,
			fmt.Sprintf("CREATE TABLE %s (LIKE %s INCLUDING ALL EXCLUDING IDENTITY);\nALTER TABLE %s ATTACH PARTITION %s%s", child, relation(parent), relation(parent), child, bound)})
	}
	if found := g.defaultPartition(relationName(parent)); found != "" {
		g.as(Error).hit("", "default partition %s of %s is read to see that none of its rows belong to %s, and nobody can read or write meanwhile", found, relationName(parent), relationName(n.GetRelation()))
		return
	}
	g.hit(safe, "all of %s is locked while partition %s is made", relationName(parent), relationName(n.GetRelation()))
}

// parseExpression is the tree of an expression that expression has written; nil if it can't be read.
func parseExpression(text string) *tree.Node {
	all, err := sqltree.Parse("SELECT " + text)
	if err != nil || len(all) != 1 || len(all[0].Node.GetSelectStmt().GetTargetList()) != 1 {
		return nil
	}
	return all[0].Node.GetSelectStmt().GetTargetList()[0].GetResTarget().GetVal()
}
