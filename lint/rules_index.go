package lint

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	tree "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
)

var indexRules = []statementRule{
	rule(Rule{
		ID: "require-concurrent-index-creation", Severity: Error, Title: "Index built with writers waiting",
		Why:     "The whole table is read under SHARE, which stops writes until the index stands. CONCURRENTLY takes longer and stops nobody.",
		Sources: []string{"squawk: require-concurrent-index-creation", "strong_migrations: add_index", "strong_migrations: add_reference"},
	}, creatingIndex),
	rule(Rule{
		ID: "require-concurrent-index-deletion", Severity: Warning, Title: "Index dropped with everybody waiting",
		Why:     "It takes ACCESS EXCLUSIVE on the table, if only for a moment; CONCURRENTLY waits without stopping anybody.",
		Sources: []string{"squawk: require-concurrent-index-deletion", "squawk: ban-drop-index", "strong_migrations: remove_index"},
	}, droppingIndex),
	rule(Rule{
		ID: "require-concurrent-reindex", Severity: Error, Title: "Index rebuilt with writers waiting",
		Why:     "REINDEX reads the whole table under SHARE, which stops writes, and takes ACCESS EXCLUSIVE on the index, which stops reads that would use it. CONCURRENTLY stops nobody.",
		Sources: []string{"squawk: require-concurrent-reindex"},
	}, reindexing),
	rule(Rule{
		ID: "refreshing-materialized-view", Severity: Error, Title: "Materialized view refreshed with readers waiting",
		Why:     "The query runs under ACCESS EXCLUSIVE on the view, which stops every reader. CONCURRENTLY needs a unique index on it, and lets them read.",
		Sources: []string{"Postgres: REFRESH MATERIALIZED VIEW"},
	}, refreshing),
	rule(Rule{
		ID: "index-over-many-columns", Severity: Note, Title: "Index over more than three columns",
		Why:     "Such an index is seldom better than one over the columns that narrow most, and costs every write; a unique one says what is unique, and is left alone.",
		Sources: []string{"strong_migrations: add_index_columns"},
	}, indexOverMany),
}

func creatingIndex(g glance) {
	n := g.st.Node.GetIndexStmt()
	if n == nil {
		return
	}
	t := g.now.table(n.GetRelation())
	if n.GetConcurrent() {
		if t.partitioned && n.GetRelation().GetInh() {
			g.hit(g.partitionedIndex(n), "Postgres doesn't build an index on partitioned table %s concurrently: the step would fail", t.name)
		}
		return
	}
	if t.fresh || t.partitioned && !n.GetRelation().GetInh() || g.madeHere(func(e *tree.Node) bool { return makesView(e, t.name) }) {
		return
	}
	if t.partitioned {
		g.hit(g.partitionedIndex(n), "every partition of %s is read to build an index, and nobody can write meanwhile", t.name)
		return
	}
	later := proto.CloneOf(n)
	later.Concurrent = true
	if later.GetIdxname() == "" {
		later.Idxname = g.indexName(t, n)
	}
	g.hit(g.files(file{title("build", later.GetIdxname()), true, sql(&tree.Node{Node: &tree.Node_IndexStmt{IndexStmt: later}})}),
		"%s is read to build an index, and nobody can write to it meanwhile", t.name)
}

func makesView(n *tree.Node, view string) bool {
	c := n.GetCreateTableAsStmt()
	return c.GetObjtype() == tree.ObjectType_OBJECT_MATVIEW && relationName(c.GetInto().GetRel()) == view
}

// indexName is what Postgres would call the index.
func (g glance) indexName(t *table, n *tree.IndexStmt) string {
	var columns []string
	for _, e := range slices.Concat(n.GetIndexParams(), n.GetIndexIncludingParams()) {
		columns = append(columns, elementName(e.GetIndexElem()))
	}
	return g.now.free(t, strings.Join(columns, "_"), "idx")
}

// partitionedIndex is the index on the parent alone, to which those of the partitions are attached one by one. "" for
// partitions that are partitioned themselves, and where no file tells the partitions.
func (g glance) partitionedIndex(n *tree.IndexStmt) string {
	parent := proto.CloneOf(n)
	parent.Relation.Inh, parent.Concurrent = false, false
	if parent.GetIdxname() == "" {
		parent.Idxname = g.indexName(g.now.table(n.GetRelation()), n)
	}
	all := []file{{title("index", parent.GetIdxname()), false, sql(&tree.Node{Node: &tree.Node_IndexStmt{IndexStmt: parent}})}}
	for _, called := range slices.Sorted(maps.Keys(g.now.tables)) {
		part := g.now.tables[called]
		if part.parent != relationName(n.GetRelation()) {
			continue
		}
		if part.partitioned {
			return ""
		}
		own := proto.CloneOf(n)
		own.Relation, own.Concurrent = &tree.RangeVar{Schemaname: schemaOf(called), Relname: bare(called), Inh: true, Relpersistence: "p"}, true
		own.Idxname = ""
		own.Idxname = g.indexName(part, own)
		all = append(all, file{title("build", own.GetIdxname()), true, sql(&tree.Node{Node: &tree.Node_IndexStmt{IndexStmt: own}})},
			file{title("attach", own.GetIdxname()), false, fmt.Sprintf("ALTER INDEX %s ATTACH PARTITION %s;", name(schemaOf(relationName(n.GetRelation())), parent.GetIdxname()), name(schemaOf(called), own.GetIdxname()))})
	}
	if len(all) == 1 {
		return ""
	}
	return g.files(all...)
}

func droppingIndex(g glance) {
	n := g.st.Node.GetDropStmt()
	if n.GetRemoveType() != tree.ObjectType_OBJECT_INDEX {
		return
	}
	if n.GetConcurrent() {
		if len(n.GetObjects()) > 1 {
			g.as(Error).hit("", "Postgres drops one index at a time concurrently: the step would fail; give each a file of its own")
		}
		return
	}
	var files []file
	var dropped []string
	for _, o := range n.GetObjects() {
		called := objectName(o)
		t, i := g.now.index(called)
		if t != nil && t.fresh || i != nil && i.fresh || t != nil && g.madeBelow(func(m *tree.Node) bool { return dropsTable(m, t.name) }) {
			continue
		}
		one := &tree.DropStmt{RemoveType: n.GetRemoveType(), Objects: []*tree.Node{o}, Behavior: tree.DropBehavior_DROP_RESTRICT, MissingOk: n.GetMissingOk(), Concurrent: true}
		files = append(files, file{title("drop", bare(called)), true, sql(&tree.Node{Node: &tree.Node_DropStmt{DropStmt: one}})})
		dropped = append(dropped, called)
	}
	safe := ""
	if !g.madeBelow(func(m *tree.Node) bool { return slices.Contains(dropped, m.GetIndexStmt().GetIdxname()) }) {
		safe = g.files(files...)
	}
	if len(dropped) > 0 {
		g.hit(safe, "the table of index %s is locked for a moment while it is dropped", strings.Join(dropped, ", "))
	}
}

// dropsTable tells that a statement drops a table.
func dropsTable(n *tree.Node, table string) bool {
	d := n.GetDropStmt()
	return d.GetRemoveType() == tree.ObjectType_OBJECT_TABLE && slices.ContainsFunc(d.GetObjects(), func(o *tree.Node) bool { return objectName(o) == table })
}

func reindexing(g glance) {
	n := g.st.Node.GetReindexStmt()
	if n == nil || option(n.GetParams(), "concurrently") {
		return
	}
	what := n.GetName()
	if r := n.GetRelation(); r != nil {
		if t, _ := g.now.index(relationName(r)); g.now.table(r).fresh || t != nil && t.fresh {
			return
		}
		what = relationName(r)
	}
	safe := ""
	if n.GetKind() != tree.ReindexObjectType_REINDEX_OBJECT_SYSTEM {
		kind := strings.TrimPrefix(n.GetKind().String(), "REINDEX_OBJECT_")
		called := name(n.GetName())
		if n.GetRelation() != nil {
			called = relation(n.GetRelation())
		}
		safe = g.files(file{title("reindex", what), true, fmt.Sprintf("REINDEX %s CONCURRENTLY %s;", kind, called)})
	}
	g.hit(safe, "%s is read to build its indexes anew, and nobody can write meanwhile", cmp.Or(what, "the database"))
}

func refreshing(g glance) {
	n := g.st.Node.GetRefreshMatViewStmt()
	if n == nil || n.GetConcurrent() {
		return
	}
	view := relationName(n.GetRelation())
	if g.madeHere(func(e *tree.Node) bool { return makesView(e, view) }) {
		return
	}
	if n.GetSkipData() {
		g.hit("", "readers of %s get an error from now on, since it is emptied", view)
		return
	}
	if !slices.ContainsFunc(g.now.named(view).indexes, func(i *index) bool { return i.unique && i.where == "" }) {
		g.hit("", "nobody can read %s until its query is done: with a unique index on all its rows it can be refreshed CONCURRENTLY", view)
		return
	}
	later := proto.CloneOf(n)
	later.Concurrent = true
	g.hit(sql(&tree.Node{Node: &tree.Node_RefreshMatViewStmt{RefreshMatViewStmt: later}}), "nobody can read %s until its query is done", view)
}

// manyColumns is where an index begins to be wide, as strong_migrations has it.
const manyColumns = 3

func indexOverMany(g glance) {
	if n := g.st.Node.GetIndexStmt(); len(n.GetIndexParams()) > manyColumns && !n.GetUnique() {
		g.hit("", "index %s of %s has %d columns: begin with those that narrow most, and leave out the rest", n.GetIdxname(), relationName(n.GetRelation()), len(n.GetIndexParams()))
	}
}

var outsideRules = []statementRule{
	rule(Rule{
		ID: "ban-concurrent-index-creation-in-transaction", Severity: Error, Title: "Statement that can't run in a transaction",
		Why:     "Postgres refuses CONCURRENTLY, VACUUM and their like in a transaction, and a file is one, unless its first line says that it isn't.",
		Sources: []string{"squawk: ban-concurrent-index-creation-in-transaction", "strong_migrations: add_index (disable_ddl_transaction!)"},
	}, needsNoTransaction),
	rule(Rule{
		ID: "needless-no-transaction", Severity: Error, Title: "Statement that belongs in a transaction",
		Why:     "Outside of a transaction there is no lock_timeout, because what belongs there waits by design: a statement that takes a strong lock would wait for it without end, and everybody behind it; a crash may leave it done without its version.",
		Sources: []string{"squawk: require-lock-timeout"},
	}, needlessNoTransaction),
}

// outside tells that Postgres runs the statement in no transaction.
func outside(n *tree.Node) bool {
	switch n := n.GetNode().(type) {
	case *tree.Node_IndexStmt:
		return n.IndexStmt.GetConcurrent()
	case *tree.Node_DropStmt:
		return n.DropStmt.GetConcurrent()
	case *tree.Node_ReindexStmt:
		wide := []tree.ReindexObjectType{tree.ReindexObjectType_REINDEX_OBJECT_SCHEMA, tree.ReindexObjectType_REINDEX_OBJECT_SYSTEM, tree.ReindexObjectType_REINDEX_OBJECT_DATABASE}
		return option(n.ReindexStmt.GetParams(), "concurrently") || slices.Contains(wide, n.ReindexStmt.GetKind())
	case *tree.Node_VacuumStmt:
		return n.VacuumStmt.GetIsVacuumcmd()
	case *tree.Node_ClusterStmt:
		return n.ClusterStmt.GetRelation() == nil
	case *tree.Node_AlterTableStmt:
		return slices.ContainsFunc(n.AlterTableStmt.GetCmds(), func(c *tree.Node) bool {
			return c.GetAlterTableCmd().GetDef().GetPartitionCmd().GetConcurrent()
		})
	case *tree.Node_CreatedbStmt, *tree.Node_DropdbStmt, *tree.Node_CreateTableSpaceStmt, *tree.Node_DropTableSpaceStmt, *tree.Node_AlterSystemStmt:
		return true
	}
	return false
}

func needsNoTransaction(g glance) {
	if g.s.NoTransaction || !outside(g.st.Node) {
		return
	}
	words := strings.Fields(g.st.Text)
	safe := g.files(file{title(strings.ToLower(words[0])), true, sql(g.st.Node)})
	if n := g.st.Node.GetReindexStmt(); n != nil && !option(n.GetParams(), "concurrently") {
		safe = "" // the rule about that has one
	}
	g.hit(safe, "%s can't run in a transaction: give the statement a file of its own whose first line is -- contraflow: no-transaction", strings.ToUpper(strings.Join(words[:min(2, len(words))], " ")))
}

func needlessNoTransaction(g glance) {
	if !g.s.NoTransaction || outside(g.st.Node) {
		return
	}
	switch n := g.st.Node.GetNode().(type) {
	case *tree.Node_AlterEnumStmt, *tree.Node_CallStmt, *tree.Node_VacuumStmt: // CALL commits on its way
		return
	case *tree.Node_VariableSetStmt, *tree.Node_VariableShowStmt: // which wait for no lock
		return
	case *tree.Node_CreateSubscriptionStmt, *tree.Node_DropSubscriptionStmt, *tree.Node_AlterSubscriptionStmt, *tree.Node_AlterDatabaseStmt:
		return
	case *tree.Node_RefreshMatViewStmt:
		if n.RefreshMatViewStmt.GetConcurrent() {
			return
		}
	case *tree.Node_AlterTableStmt:
		if len(g.strong(g.st.Node)) == 0 {
			return
		}
	}
	words := strings.Fields(g.st.Text)
	g.hit(g.files(file{title(strings.ToLower(words[0])), false, g.st.Text + ";"}),
		"%s runs without lock_timeout here: take the first line away", strings.ToUpper(strings.Join(words[:min(2, len(words))], " ")))
}
