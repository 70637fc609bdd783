package lint

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	tree "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"

	"github.com/contraflow/contraflow/internal/sqltree"
	"github.com/contraflow/contraflow/plan"
)

var queryRules = []planRule{
	{Rule{
		ID: "unknown-column", Severity: Error, Title: "SQL of the plan names a column that isn't there at that time",
		Why:     "The step fails, or the check can't be read and the migration pauses.",
		Sources: []string{"contraflow"},
	}, (*check).unknownColumn},
	{Rule{
		ID: "check-without-index", Severity: Warning, Title: "A query that runs all the time reads a whole table",
		Why:     "Checks run every few seconds from the first change to the last, throttles and a protected latency about once a second: each time the whole table is read, and pushes the application's pages out of memory.",
		Sources: []string{"contraflow"},
	}, (*check).checkWithoutIndex},
	{Rule{
		ID: "backfill-where-without-index", Severity: Warning, Title: "Rows still to do are counted over and over by reading the whole table",
		Why:     "A backfill walks by its key and needs no index for where. But a manual one counts every ten seconds how many rows are left, and one with a sync trigger counts once more between the trigger's end and the contract, while what the application writes is not filled.",
		Sources: []string{"contraflow"},
	}, (*check).backfillWhereWithoutIndex},
}

// query is SQL in the plan.
type query struct {
	keys []any // where it stands
	sql  string
	name string // for messages: "check orders carry the new columns"
	// from and to are the steps around which it runs: indexes of c.at.
	from, to int
	every    time.Duration // 0 for what runs once
}

// readingInterval is how often throttles and a protected latency are read.
const readingInterval = time.Second

// queries of the plan; expressions come as the query that Postgres makes of them.
func (c *check) queries() (all []query) {
	p := c.in.Plan
	last := len(p.Steps)
	if p.Guard != nil {
		for i, k := range p.Guard.Checks {
			if k.SQL == nil {
				continue
			}
			every := cmp.Or(k.Interval.Std(), p.Guard.Interval.Std(), plan.DefaultGuardInterval)
			from := max(p.StepIndex(k.From), 0)
			all = append(all, query{[]any{"guard", "checks", i, "sql", "query"}, k.SQL.Query, fmt.Sprintf("check %q", k.Name), from, last, every})
		}
	}
	for i, step := range p.Steps {
		if step.Verify != nil {
			all = append(all, query{[]any{"steps", i, "verify", "query"}, step.Verify.Query, "step " + step.Name, i, i, 0})
		}
		if step.Backfill != nil {
			all = append(all, backfillQueries(i, step.Name, step.Backfill)...)
		}
	}
	return all
}

func backfillQueries(i int, name string, b *plan.Backfill) (all []query) {
	once := func(sql string, keys ...any) {
		all = append(all, query{append([]any{"steps", i, "backfill"}, keys...), sql, "step " + name, i, i, 0})
	}
	for _, column := range slices.Sorted(maps.Keys(b.Set)) {
		once(fmt.Sprintf("select (\n%s\n) from %s", b.Set[column], b.Table), "set", column)
	}
	if b.Where != "" {
		once(fmt.Sprintf("select from %s where (\n%s\n)", b.Table, b.Where), "where")
	}
	if b.Throttles != nil {
		for n, t := range b.Throttles.Queries {
			all = append(all, query{[]any{"steps", i, "backfill", "throttles", "queries", n, "query"}, t.Query, "throttle " + t.Name, i, i, readingInterval})
		}
	}
	if b.Pace != nil && b.Pace.Protect != nil && b.Pace.Protect.SQL != nil {
		all = append(all, query{[]any{"steps", i, "backfill", "pace", "protect", "sql", "query"}, b.Pace.Protect.SQL.Query, "the protected latency of step " + name, i, i, readingInterval})
	}
	return all
}

// atQuery records a finding where a query stands.
func (c *check) atQuery(r Rule, q query, message, safe string) {
	line, column := plan.Position(c.in.Document, q.keys...)
	c.add(r, c.in.File, line, column, message, safe)
}

// plannedSyntax looks at the plan's own SQL as at its files.
func (c *check) plannedSyntax() {
	for _, q := range c.queries() {
		_, err := sqltree.Parse(q.sql)
		if failed, ok := errors.AsType[*sqltree.SyntaxError](err); ok {
			c.atQuery(syntaxError, q, failed.Message, "")
		}
	}
}

func (c *check) unknownColumn(r Rule) {
	for i, step := range c.in.Plan.Steps {
		if step.Backfill == nil {
			continue
		}
		t := c.at[i].named(backfilled(step.Backfill))
		for _, column := range slices.Sorted(maps.Keys(step.Backfill.Set)) {
			if t.known && !c.at[i].opaque && t.column(column) == nil {
				c.step(r, i, []any{"backfill", "set", column}, fmt.Sprintf("%s has no column %s at step %s", t.name, column, step.Name), "")
			}
		}
	}
	for _, q := range c.queries() {
		parsed, err := sqltree.Parse(q.sql)
		if err != nil || len(parsed) != 1 {
			continue
		}
		for at := q.from; at <= q.to; at++ {
			table, columns := c.at[at].missing(parsed[0].Node)
			if len(columns) == 0 {
				continue
			}
			when := "when it begins"
			if at > q.from {
				when = "any more behind step " + c.stepName(at-1)
			}
			c.atQuery(r, q, fmt.Sprintf("%s reads %s of %s, which isn't there %s", q.name, strings.Join(columns, ", "), table, when), "")
			break
		}
	}
}

// systemColumns are there in every table.
var systemColumns = []string{"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"}

// missing are the columns that a query over one table reads, and the table doesn't have. What reads more than that, or a
// table that no file made, is not judged.
func (s *schema) missing(n *tree.Node) (name string, columns []string) {
	var selects, sources int
	names := []string{}
	inspect(n, func(m proto.Message) {
		switch m := m.(type) {
		case *tree.SelectStmt:
			selects++
		case *tree.RangeVar, *tree.RangeFunction, *tree.RangeTableFunc:
			sources++
		case *tree.ResTarget:
			names = append(names, m.GetName())
		}
	})
	from := n.GetSelectStmt().GetFromClause()
	if s.opaque || selects != 1 || sources != 1 || len(from) != 1 || from[0].GetRangeVar() == nil {
		return "", nil
	}
	relation := from[0].GetRangeVar()
	t := s.table(relation)
	if !t.known {
		return "", nil
	}
	for _, name := range columnsIn(n) {
		is := func(other string) bool { return name == other }
		if t.column(name) == nil && !slices.ContainsFunc(slices.Concat(systemColumns, names), is) && !is(relation.GetRelname()) && !is(relation.GetAlias().GetAliasname()) {
			columns = append(columns, name)
		}
	}
	return t.name, columns
}

func (c *check) checkWithoutIndex(r Rule) {
	for _, q := range c.queries() {
		parsed, err := sqltree.Parse(q.sql)
		if q.every == 0 || err != nil || len(parsed) != 1 {
			continue
		}
		inspect(parsed[0].Node, func(m proto.Message) {
			n, ok := m.(*tree.SelectStmt)
			if !ok {
				return
			}
			for _, t := range c.at[q.from].scanned(n) {
				c.atQuery(r, q, fmt.Sprintf("%s reads all of %s every %s: no index leads with what it looks for", q.name, t.name, q.every), indexFor(t, n.GetWhereClause()))
			}
		})
	}
}

func (c *check) backfillWhereWithoutIndex(r Rule) {
	for i, step := range c.in.Plan.Steps {
		b := step.Backfill
		if b == nil || !b.Manual && b.Sync != plan.SyncTrigger {
			continue
		}
		parsed, err := sqltree.Parse(fmt.Sprintf("select from %s where (\n%s\n)", b.Table, b.Where))
		if err != nil || len(parsed) != 1 {
			continue
		}
		n := parsed[0].Node.GetSelectStmt()
		for _, t := range c.at[i].scanned(n) {
			c.step(r, i, []any{"backfill", "where"}, fmt.Sprintf("no index of %s leads to the rows that are left", t.name), indexFor(t, n.GetWhereClause()))
		}
	}
}

// scanned are the known tables of one SELECT that can only be read as a whole: no index begins with, or is restricted to,
// something the query looks for.
func (s *schema) scanned(n *tree.SelectStmt) (all []*table) {
	where := n.GetWhereClause()
	if where == nil && n.GetLimitCount() != nil {
		return nil
	}
	conditions := []*tree.Node{where}
	for _, from := range n.GetFromClause() {
		inspect(from, func(m proto.Message) {
			if join, ok := m.(*tree.JoinExpr); ok {
				conditions = append(conditions, join.GetQuals())
			}
		})
	}
	for _, target := range n.GetTargetList() {
		call := target.GetResTarget().GetVal().GetFuncCall()
		if where == nil && call != nil && slices.Contains([]string{"min", "max"}, bare(strings.Join(texts(call.GetFuncname()), "."))) {
			conditions = append(conditions, target.GetResTarget().GetVal()) // the first or last entry of an index
		}
	}
	for _, from := range n.GetFromClause() {
		for _, r := range relations(from) {
			if t := s.table(r); t.known && !slices.ContainsFunc(t.indexes, func(i *index) bool { return i.serves(r, conditions) }) {
				all = append(all, t)
			}
		}
	}
	return all
}

// serves tells whether a condition has something of this relation that the index begins with or is restricted to.
func (i *index) serves(r *tree.RangeVar, conditions []*tree.Node) bool {
	return slices.ContainsFunc(conditions, func(n *tree.Node) bool {
		text := expression(n)
		switch {
		case i.where != "":
			return text == i.where || slices.Contains(conjuncts(n), i.where)
		case !plain.MatchString(i.columns[0]):
			return strings.Contains(text, i.columns[0])
		}
		return slices.ContainsFunc(referencesIn(n), func(words []string) bool {
			qualifiers := words[:len(words)-1]
			return words[len(words)-1] == i.columns[0] &&
				(len(qualifiers) == 0 || slices.Contains([]string{r.GetRelname(), r.GetAlias().GetAliasname()}, qualifiers[len(qualifiers)-1]))
		})
	})
}

// relations of a FROM item, without those of its subqueries.
func relations(n *tree.Node) []*tree.RangeVar {
	if r := n.GetRangeVar(); r != nil {
		return []*tree.RangeVar{r}
	}
	if j := n.GetJoinExpr(); j != nil {
		return append(relations(j.GetLarg()), relations(j.GetRarg())...)
	}
	return nil
}

// conjuncts are the terms of a condition that must all hold.
func conjuncts(n *tree.Node) (terms []string) {
	if both := n.GetBoolExpr(); both.GetBoolop() == tree.BoolExprType_AND_EXPR {
		for _, arg := range both.GetArgs() {
			terms = append(terms, conjuncts(arg)...)
		}
		return terms
	}
	return append(terms, expression(n))
}

// indexFor is an index that holds just the rows of a condition where it is fixed, and otherwise one over the first column it
// looks at; empty where there is no condition.
func indexFor(t *table, where *tree.Node) string {
	columns := columnsIn(where)
	columns = slices.DeleteFunc(columns, func(name string) bool { return t.column(name) == nil })
	if len(columns) == 0 {
		return ""
	}
	condition := ""
	if nullTests(where) {
		condition = " where " + expression(where)
	}
	return fmt.Sprintf("-- contraflow: no-transaction\ncreate index concurrently %s on %s (%s)%s;",
		quoted(fit(bare(t.name), columns[0], "idx")), quotedName(t.name), quoted(columns[0]), condition)
}

// nullTests tells that a condition is made of nothing but "is null" and "is not null".
func nullTests(n *tree.Node) bool {
	if both := n.GetBoolExpr(); both != nil {
		return !slices.ContainsFunc(both.GetArgs(), func(arg *tree.Node) bool { return !nullTests(arg) })
	}
	return n.GetNullTest() != nil
}
