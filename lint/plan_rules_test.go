package lint

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// head of every plan here; what stands behind it are its flags, guard and steps.
const head = "name: p\ndatabase: d\nmigrations: migrations\n"

const flagScope = "flags: {project: shop, environment: production}\n"

// customers is what the plans here find.
const customers = `create table customers (id bigint primary key, name text, address text, changed_at timestamptz);
create index on customers (changed_at); create index on customers (lower(name)); create view names as select name from customers; create table orders (id bigint primary key, customer_id bigint)`

// verdict is a plan with the findings of one rule: "file:line" and what the message holds.
type verdict struct {
	plan  string
	files map[string]string // up files by version; version 1 is customers
	want  []string
	safe  string // a part of the first finding's safe form
}

// judgePlan looks at the findings of one rule alone. Down files that only must be there are added.
func judgePlan(t *testing.T, rule string, verdicts map[string]verdict) {
	t.Helper()
	hit, spared := false, false
	for _, test := range verdicts {
		hit, spared = hit || len(test.want) > 0, spared || len(test.want) == 0
	}
	require.True(t, hit && spared, "each rule is tried both ways")
	require.True(t, slices.ContainsFunc(Rules(), func(r Rule) bool { return r.ID == rule && r.Why != "" && r.Title != "" }))
	for name, test := range verdicts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := map[string]string{"1_a.up.sql": customers}
			for version, text := range test.files {
				files[version+"_x.up.sql"], files[version+"_x.down.sql"] = text, "select 1"
			}
			found := only(Check(inputOf(t, head+test.plan, files)), rule)
			var got []string
			for _, f := range found {
				got = append(got, fmt.Sprintf("%s %s:%d %s", f.Severity, strings.TrimPrefix(f.File, "migrations/"), f.Line, f.Message))
			}
			require.Equal(t, test.want, got)
			if test.safe != "" {
				require.Contains(t, found[0].Safe, test.safe)
			}
		})
	}
}

const (
	writeFlag    = "  - {name: write, flag: {key: w}}\n"
	readFlag     = "  - {name: read, flag: {key: r, rollout: [50, 100]}}\n"
	fillStep     = "  - {name: fill, backfill: {table: customers, set: {street: \"substr(address, 2)\"}, where: street is null}}\n"
	proveStep    = "  - {name: prove, verify: {query: \"select count(*) from customers where street is distinct from substr(address, 2)\", max: 0}}\n"
	askStep      = "  - {name: ask, approve: {by: [alice]}}\n"
	retireStep   = "  - {name: retire, retire: {flags: [w, r]}}\n"
	expandStep   = "  - {name: expand, migrate: {to: 2}}\n"
	contractStep = "  - {name: contract, migrate: {to: 3}}\n"
	lastStep     = "  - {name: contract, migrate: {to: 3, irreversible: true}}\n"
	addStreet    = "alter table customers add column street text"
)

func TestContractBeforeRead(t *testing.T) {
	t.Parallel()
	drops := map[string]string{"2": addStreet, "3": "select 1;\nalter table customers drop column address, drop column name"}
	judgePlan(t, "contract-before-read", map[string]verdict{
		"behind the read flag": {plan: flagScope + "steps:\n" + expandStep + writeFlag + readFlag + contractStep, files: drops},
		"between write and read": {
			plan: flagScope + "steps:\n" + expandStep + writeFlag + contractStep + readFlag, files: drops,
			want: []string{"error 3_x.up.sql:2 drops column address of customers, drops column name of customers, and step read turns flag r on only later"},
			safe: "put step contract behind step read",
		},
		"before all flags": {
			plan: flagScope + "steps:\n" + expandStep + contractStep + writeFlag + readFlag, files: map[string]string{"2": "drop view names", "3": "alter table customers rename to clients"},
			want: []string{"error 2_x.up.sql:1 drops view names, and step read turns flag r on only later", "error 3_x.up.sql:1 renames table customers, and step read turns flag r on only later"},
		},
		"before one flag for both": {
			plan: flagScope + "steps:\n" + expandStep + readFlag, files: map[string]string{"2": "alter table customers rename column name to title"},
			want: []string{"error 2_x.up.sql:1 renames column name of customers, and step read turns flag r on only later"},
		},
		"a flag that stays halfway": {
			plan: flagScope + "steps:\n" + expandStep + writeFlag + "  - {name: read, flag: {key: r, rollout: [1, 50]}}\n" + contractStep, files: drops,
			want: []string{"error 3_x.up.sql:2 drops column address of customers, drops column name of customers, while step read leaves flag r at 50 %: the others still use it"},
			safe: "flag: {key: r, rollout: [50, 100]}",
		},
		"between two changes": {
			plan: flagScope + "steps:\n" + expandStep + writeFlag + readFlag + contractStep + "  - {name: other, flag: {key: o}}\n", files: map[string]string{"2": addStreet, "3": "drop table orders"},
			want: []string{"warning 3_x.up.sql:1 drops table orders, and step other turns flag o on only later: is it another change's?"},
		},
		"what the plan itself made": {
			plan: flagScope + "steps:\n" + expandStep + writeFlag + contractStep + readFlag,
			files: map[string]string{"2": addStreet + "; create table help (id int); create view young as select 1",
				"3": "alter table customers drop column street; drop table help; drop view young; alter table customers add column b int; alter table customers rename column b to c"},
		},
		"other things that are dropped": {
			plan: flagScope + "steps:\n" + expandStep + readFlag, files: map[string]string{"2": "drop index customers_changed_at_idx; alter table customers alter column name drop not null, drop column if exists never"},
		},
		"tables that no file made": {
			plan: flagScope + "steps:\n" + expandStep + readFlag, files: map[string]string{"2": "alter table far drop column if exists a"},
			want: []string{"error 2_x.up.sql:1 drops column a of far, and step read turns flag r on only later"},
		},
	})
}

func TestContractWithoutFlag(t *testing.T) {
	t.Parallel()
	judgePlan(t, "contract-without-flag", map[string]verdict{
		"a column": {
			plan: "steps:\n" + expandStep, files: map[string]string{"2": "alter table customers drop column name"},
			want: []string{"warning 2_x.up.sql:1 drops column name of customers, and no flag of the plan stops its use"}, safe: "- name: expand",
		},
		"with a flag":                {plan: flagScope + "steps:\n" + readFlag + expandStep, files: map[string]string{"2": "alter table customers drop column name"}},
		"what the plan itself made":  {plan: "steps:\n" + expandStep + contractStep, files: map[string]string{"2": addStreet, "3": "alter table customers drop column street"}},
		"what was dropped before it": {plan: "steps:\n" + contractStep, files: map[string]string{"2": "drop view names", "3": "select 1"}},
	})
}

func TestIrreversibleWithoutProof(t *testing.T) {
	t.Parallel()
	judgePlan(t, "irreversible-without-proof", map[string]verdict{
		"a verify reads the column": {
			plan: "steps:\n" + expandStep + fillStep + proveStep + askStep + lastStep, files: map[string]string{"2": addStreet, "3": "alter table customers drop column address"},
		},
		"a verify reads other columns": {
			plan:  "steps:\n" + expandStep + fillStep + "  - {name: prove, verify: {query: \"select count(*) from customers where street is null or name = 'address'\", max: 0}}\n" + askStep + lastStep,
			files: map[string]string{"2": addStreet, "3": "alter table customers drop column address; drop table orders"},
			want: []string{
				"warning 3_x.up.sql:1 drops column address of customers, and no verify before it reads it",
				"warning 3_x.up.sql:1 drops table orders, and no verify before it reads it",
			},
			safe: "where street is distinct from (substr(address, 2))",
		},
		"it can be undone": {plan: "steps:\n" + expandStep, files: map[string]string{"2": "alter table customers drop column address"}},
	})
}

func TestNotNullWithItsColumn(t *testing.T) {
	t.Parallel()
	judgePlan(t, "not-null-with-its-column", map[string]verdict{
		"in the next statement": {
			plan: "steps:\n" + expandStep, files: map[string]string{"2": addStreet + ";\nalter table customers alter column street set not null"},
			want: []string{"error 2_x.up.sql:2 column street of customers is new in step expand, and nothing has filled it yet"},
			safe: "alter table customers add constraint customers_street_not_null check (street is not null) not valid;",
		},
		"in the same statement": {
			plan: "steps:\n" + expandStep, files: map[string]string{"2": addStreet + ", alter column street set not null"},
			want: []string{"error 2_x.up.sql:1 column street of customers is new in step expand, and nothing has filled it yet"},
		},
		"as a check": {
			plan: "steps:\n" + expandStep, files: map[string]string{"2": addStreet + ", add check (street is not null and street <> '') not valid;\nalter table customers add column b int check (b is not null)"},
			want: []string{
				"error 2_x.up.sql:1 column street of customers is new in step expand, and nothing has filled it yet",
				"error 2_x.up.sql:2 column b of customers is new in step expand, and nothing has filled it yet",
			},
		},
		"later, before the backfill": {
			plan: "steps:\n" + expandStep + contractStep + fillStep, files: map[string]string{"2": addStreet, "3": "alter table customers alter column street set not null"},
			want: []string{"error 3_x.up.sql:1 column street of customers is new in step expand, and nothing has filled it yet"},
		},
		"behind the backfill":    {plan: "steps:\n" + expandStep + fillStep + contractStep, files: map[string]string{"2": addStreet, "3": "alter table customers alter column street set not null"}},
		"with a default":         {plan: "steps:\n" + expandStep, files: map[string]string{"2": addStreet + " default ''; alter table customers alter street set not null"}},
		"of a table that is new": {plan: "steps:\n" + expandStep, files: map[string]string{"2": "create table n (a int); alter table n add b int; alter table n alter b set not null"}},
		"of an older column":     {plan: "steps:\n" + expandStep, files: map[string]string{"2": "alter table customers alter column name set not null"}},
	})
}

func TestTypeChangeWithItsColumn(t *testing.T) {
	t.Parallel()
	judgePlan(t, "type-change-with-its-column", map[string]verdict{
		"in the same step": {
			plan: "steps:\n" + expandStep, files: map[string]string{"2": addStreet + ";\nalter table customers alter column street type varchar(9)"},
			want: []string{"warning 2_x.up.sql:2 column street of customers is new in the same step: give it the type character varying(9) there"},
			safe: "alter table customers add column street character varying(9);",
		},
		"of an older column": {plan: "steps:\n" + expandStep, files: map[string]string{"2": "alter table customers alter column name type varchar(9)"}},
		"of a step before":   {plan: "steps:\n" + expandStep + contractStep, files: map[string]string{"2": addStreet, "3": "alter table customers alter column street type varchar(9)"}},
	})
}

func TestUnindexedForeignKey(t *testing.T) {
	t.Parallel()
	judgePlan(t, "unindexed-foreign-key", map[string]verdict{
		"added": {
			plan: "steps:\n" + expandStep, files: map[string]string{"2": "alter table orders add foreign key (customer_id) references customers not valid"},
			want: []string{"warning 2_x.up.sql:1 no index of orders begins with customer_id"},
			safe: "create index concurrently orders_customer_id_idx on orders (customer_id);",
		},
		"of new columns and tables": {
			plan: "steps:\n" + expandStep, files: map[string]string{"2": "alter table orders add column c bigint references customers;\ncreate table n (a bigint references customers, b int, c int, foreign key (b, c) references o)"},
			want: []string{"warning 2_x.up.sql:1 no index of orders begins with c", "warning 2_x.up.sql:2 no index of n begins with a", "warning 2_x.up.sql:2 no index of n begins with b, c"},
		},
		"with an index that comes later": {
			plan:  "steps:\n" + expandStep + contractStep,
			files: map[string]string{"2": "alter table orders add foreign key (customer_id) references customers not valid", "3": "-- contraflow: no-transaction\ncreate index concurrently on_customer on orders (customer_id, id)"},
		},
		"of a primary key":              {plan: "steps:\n" + expandStep, files: map[string]string{"2": "create table n (a bigint primary key references customers)"}},
		"of a table that no file made":  {plan: "steps:\n" + expandStep, files: map[string]string{"2": "alter table far add foreign key (customer_id) references customers not valid"}},
		"of a table that is gone again": {plan: "steps:\n" + expandStep + contractStep, files: map[string]string{"2": "create table n (a bigint references customers)", "3": "drop table n"}},
	})
}
