package lint

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFlagUnused(t *testing.T) {
	t.Parallel()
	judgePlan(t, "flag-unused", map[string]verdict{
		"a scope without flags":  {plan: flagScope + "steps:\n" + proveStep, want: []string{"warning plan.yaml:4 the plan says where its flags live, and has no flag step"}, safe: "flag: {key: KEY"},
		"retired without a step": {plan: flagScope + "steps:\n" + writeFlag + retireStep, want: []string{"warning plan.yaml:7 flag r is retired, and no step before turns it on"}},
		"all turned":             {plan: flagScope + "steps:\n" + writeFlag + readFlag + retireStep},
	})
}

func TestFlagNotRetired(t *testing.T) {
	t.Parallel()
	judgePlan(t, "flag-not-retired", map[string]verdict{
		"two of them": {plan: flagScope + "steps:\n" + writeFlag + readFlag, want: []string{"note plan.yaml:6 flag w is turned on and never retired", "note plan.yaml:7 flag r is turned on and never retired"}, safe: "retire: {flags: [w]}"},
		"retired":     {plan: flagScope + "steps:\n" + writeFlag + readFlag + retireStep},
	})
}

func TestBackfillBeforeWrite(t *testing.T) {
	t.Parallel()
	files := map[string]string{"2": addStreet}
	synced := "  - {name: fill, backfill: {table: customers, set: {street: \"substr(address, 2)\"}, where: street is null, sync: trigger}}\n"
	judgePlan(t, "backfill-before-write", map[string]verdict{
		"behind the write flag": {plan: flagScope + "steps:\n" + expandStep + writeFlag + fillStep, files: files},
		"before it":             {plan: flagScope + "steps:\n" + expandStep + fillStep + writeFlag + readFlag, files: files, want: []string{"error plan.yaml:7 step write, the first to turn a flag, comes only behind it"}, safe: "put step write in front of step fill"},
		"with a trigger":        {plan: flagScope + "steps:\n" + expandStep + synced + readFlag, files: files},
		"without any flag":      {plan: "steps:\n" + expandStep + fillStep, files: files, want: []string{"note plan.yaml:6 no flag makes the application fill the new columns of customers, and no trigger does: it has to do so already"}},
		"of an older column":    {plan: "steps:\n  - {name: fill, backfill: {table: customers, set: {name: upper(name)}}}\n"},
		"by a transform":        {plan: "steps:\n" + expandStep + "  - {name: fill, backfill: {table: public.customers, transform: x}}\n", files: files, want: []string{"note plan.yaml:6 no flag makes the application fill the new columns of public.customers, and no trigger does: it has to do so already"}},
	})
}

func TestUnknownColumn(t *testing.T) {
	t.Parallel()
	check := func(rest string) string { return "guard: {checks: [{name: c, sql: {" + rest + ", max: 0}}]}\n" }
	checkFrom := func(rest, from string) string {
		return "guard: {checks: [{name: c, sql: {" + rest + ", max: 0}, from: " + from + "}]}\n"
	}
	drop := map[string]string{"2": addStreet, "3": "alter table customers drop column address"}
	judgePlan(t, "unknown-column", map[string]verdict{
		"all there": {plan: "steps:\n" + expandStep + fillStep + proveStep, files: map[string]string{"2": addStreet}},
		"set, read and counted before it is there": {
			plan: "steps:\n" + fillStep + proveStep + expandStep, files: map[string]string{"2": addStreet},
			want: []string{
				"error plan.yaml:5 customers has no column street at step fill",
				"error plan.yaml:5 step fill reads street of customers, which isn't there when it begins",
				"error plan.yaml:6 step prove reads street of customers, which isn't there when it begins",
			},
		},
		"an expression's column": {plan: "steps:\n  - {name: fill, backfill: {table: customers, set: {name: nane || 'x'}}}\n", want: []string{"error plan.yaml:5 step fill reads nane of customers, which isn't there when it begins"}},
		"a check outlives its column": {
			plan: checkFrom("query: select count(*) from customers c where c.address is null and changed_at > now()", "fill") + "steps:\n" + expandStep + fillStep + contractStep + "  - {name: wait, soak: 1s}\n", files: drop,
			want: []string{`error plan.yaml:4 check "c" reads address of customers, which isn't there any more behind step contract`},
		},
		"a check from before its column": {plan: check("query: select count(*) from customers where street is null") + "steps:\n" + expandStep, files: drop, want: []string{`error plan.yaml:4 check "c" reads street of customers, which isn't there when it begins`}},
		"a check from its column on":     {plan: checkFrom("query: select count(*) from customers where street is null", "fill") + "steps:\n" + expandStep + fillStep, files: drop},
		"what can't be judged": {
			plan: check("query: select count(*) from customers a join orders o on o.x = a.y") + "steps:\n" +
				"  - {name: a, verify: {query: \"select count(far) from away\", max: 0}}\n" +
				"  - {name: b, verify: {query: \"select count(*) from customers where exists (select from lateral x)\", max: 0}}\n" +
				"  - {name: c, verify: {query: \"select count(*) as n from customers c where c.xmin <> c.ctid order by n\", max: 0}}\n" +
				"  - {name: d, verify: {query: \"select count(customers) from customers\", max: 0}}\n",
		},
		"behind a block that may have added it": {plan: "steps:\n" + expandStep + fillStep, files: map[string]string{"2": "do $$ begin execute 'alter table customers add column street text'; end $$"}},
	})
}

func TestCheckWithoutIndex(t *testing.T) {
	t.Parallel()
	guard := func(query string) verdict {
		return verdict{plan: "guard: {interval: 2s, checks: [{name: c, sql: {query: \"" + query + "\", max: 0}}]}\nsteps:\n" + askStep}
	}
	hit := func(query, safe string) verdict {
		j := guard(query)
		j.want, j.safe = []string{`warning plan.yaml:4 check "c" reads all of customers every 2s: no index leads with what it looks for`}, safe
		return j
	}
	judgePlan(t, "check-without-index", map[string]verdict{
		"by an indexed column":      guard("select count(*) from customers where changed_at > now() - interval '1 s' and name is null"),
		"by an indexed expression":  guard("select count(*) from customers where lower(name) = 'x'"),
		"by no index":               hit("select count(*) from customers where address = 'x'", "create index concurrently customers_address_idx on customers (address);"),
		"by nulls":                  hit("select count(*) from customers where address is null", "on customers (address) where address IS NULL;"),
		"everything":                hit("select count(*) from customers", ""),
		"within another query":      hit("select (select count(*) from customers where address = 'x') + 1", ""),
		"joined by its key":         guard("select count(*) from orders join customers c on c.id = orders.id where orders.id > 7"),
		"joined by something else":  hit("select count(*) from orders join customers c on c.address = orders.id::text where orders.id > 7", ""),
		"the end of an index":       guard("select extract(epoch from now() - t.m) from (select max(changed_at) from customers) t(m)"),
		"the first row":             guard("select 1 from customers limit 1"),
		"a table that no file made": guard("select count(*) from far where x = 1"),
		"a verify, which runs once": {plan: "steps:\n  - {name: a, verify: {query: \"select count(*) from customers\", max: 0}}\n"},
		"throttles and protect": {
			plan: "steps:\n  - name: fill\n    backfill:\n      table: customers\n      set: {name: upper(name)}\n      throttles: {queries: [{name: t, query: select count(*) from orders where customer_id = 1, max: 1}]}\n" +
				"      pace: {protect: {max: 1s, sql: {query: select count(*) from orders where customer_id = 2}}}\n",
			want: []string{
				"warning plan.yaml:9 throttle t reads all of orders every 1s: no index leads with what it looks for",
				"warning plan.yaml:10 the protected latency of step fill reads all of orders every 1s: no index leads with what it looks for",
			},
		},
		"by a partial index": {
			plan:  "guard: {checks: [{name: c, sql: {query: select count(*) from customers where address is null and name <> 'x', max: 0}, from: ask}]}\nsteps:\n" + expandStep + askStep,
			files: map[string]string{"2": "-- contraflow: no-transaction\ncreate index concurrently i on customers (id) where address is null"},
		},
	})
}

func TestBackfillWhereWithoutIndex(t *testing.T) {
	t.Parallel()
	judgePlan(t, "backfill-where-without-index", map[string]verdict{
		"by hand": {
			plan: "steps:\n  - name: fill\n    backfill:\n      table: customers\n      manual: true\n      where: name is null\n",
			want: []string{"warning plan.yaml:9 no index of customers leads to the rows that are left"}, safe: "create index concurrently customers_name_idx on customers (name) where name IS NULL;",
		},
		"by a trigger": {
			plan: "steps:\n  - name: fill\n    backfill:\n      table: customers\n      set: {name: upper(address)}\n      sync: trigger\n      where: name is null\n",
			want: []string{"warning plan.yaml:10 no index of customers leads to the rows that are left"},
		},
		"walked by its key":      {plan: "steps:\n  - {name: fill, backfill: {table: customers, set: {name: upper(address)}, where: name is null}}\n"},
		"by hand, with an index": {plan: "steps:\n  - {name: fill, backfill: {table: customers, manual: true, where: changed_at is null}}\n"},
	})
}

func TestThePlansOwnSQLIsRead(t *testing.T) {
	t.Parallel()
	const document = head + "guard: {checks: [{name: c, sql: {query: selec 1, max: 0}}]}\nsteps:\n  - name: fill\n    backfill:\n      table: customers\n      set: {name: upper(}\n      where: name is is null\n"
	found := only(Check(inputOf(t, document, map[string]string{"1_a.up.sql": customers})), "syntax-error")
	lines := make([]int, len(found))
	for i, f := range found {
		require.Equal(t, "plan.yaml", f.File)
		lines[i] = f.Line
	}
	require.Equal(t, []int{4, 9, 10}, lines)
}
