package lint

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/sqltree"
)

// A down file runs by itself, on tables in use: what would stop traffic in an up file stops it there. Dropping what the plan has
// made is what it is for.
func TestDownFilesAreLookedAt(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		up, down string
		want     []string
		safe     string // of the first
	}{
		"columns, tables and constraints that the plan made are dropped": {
			up: `alter table orders add column x int; create table n (a bigint primary key); alter table orders add constraint k check (id > 0) not valid;
				create view v as select 1; create function f() returns int language sql as 'select 1'; create type size as enum ('s'); create sequence q; alter table elsewhere add column y int, add constraint z check (y > 0) not valid;
				create table m (a int); create domain d as int; create publication p`,
			down: `drop publication p; drop domain d; drop table m; drop table n; drop view v; drop function f(); drop type size; drop sequence q; alter table orders drop constraint k; alter table orders drop column x`,
		},
		"what was there before is dropped": {
			up: "select 1", down: "alter table orders drop column note;\ndrop view open_orders;\ndrop table items;\nalter table orders drop constraint amount_positive;\ntruncate customers",
			want: []string{"error ban-drop-column 1", "error ban-drop-object 2", "error ban-drop-table 3", "warning ban-drop-constraint 4", "error ban-truncate 5", "warning several-tables-in-one-file 3"},
		},
		"a type changes back": {up: "alter table widths alter n type numeric(12,2)", down: "alter table widths alter n type numeric(10,2)", want: []string{"error changing-column-type 1"}},
		"a foreign key comes back under its lock": {
			up: "alter table items drop constraint items_order_id_fkey", down: "set lock_timeout = 0;\nalter table items add constraint items_order_id_fkey foreign key (order_id) references orders",
			want: []string{"error adding-foreign-key-constraint 2", "error lifts-lock-timeout 1"},
		},
		"a check comes back": {
			up: "alter table orders drop constraint amount_positive", down: "alter table orders add constraint amount_positive check (amount > 0)", want: []string{"error constraint-missing-not-valid 1"},
			safe: "-- file: 000003_add_amount_positive.down.sql\nALTER TABLE orders ADD CONSTRAINT amount_positive CHECK (amount > 0) NOT VALID;\n" +
				"-- file: 000002_validate_amount_positive.down.sql\n-- contraflow: no-transaction\nALTER TABLE orders VALIDATE CONSTRAINT amount_positive;\n",
		},
		"an index comes back": {
			up: "-- contraflow: no-transaction\ndrop index concurrently orders_state", down: "create index orders_state on orders (state)", want: []string{"error require-concurrent-index-creation 1"},
			safe: "-- file: 000002_build_orders_state.down.sql\n-- contraflow: no-transaction\nCREATE INDEX CONCURRENTLY orders_state ON orders USING btree (state);\n",
		},
		"an index goes":                {up: "-- contraflow: no-transaction\ncreate index concurrently i on orders (code)", down: "drop index i", want: []string{"warning require-concurrent-index-deletion 1"}},
		"an index goes with its table": {up: "create table n (a int); create index i on n (a)", down: "drop index i; drop table n"},
		"an index goes concurrently":   {up: "-- contraflow: no-transaction\ncreate unique index concurrently i on orders (code)", down: "-- contraflow: no-transaction\ndrop index concurrently i"},
		"a column comes back with a default that rewrites": {
			up: "alter table orders drop column code", down: "alter table orders add column code uuid default gen_random_uuid() not null", want: []string{"error adding-field-with-default 1"},
		},
		"a column comes back, filled": {
			up: "alter table orders drop column code", down: "alter table orders add column code char(4);\nupdate orders set code = 'x';\nalter table orders alter code set not null",
			want: []string{"error adding-not-nullable-field 3", "error backfill-in-ddl 2", "error slow-statement-under-lock 2"},
		},
		"what took long is undone in no time": {up: "alter table orders alter customer set not null", down: "alter table orders alter customer drop not null"},
		"a name comes back":                   {up: "alter table orders rename note to remark", down: "alter table orders rename remark to note"},
		"a default comes back":                {up: "alter table orders alter amount set default 1", down: "alter table orders alter amount set default 0"},
		"a view comes back":                   {up: "drop view open_orders", down: "create view open_orders as select id from orders"},
		"concurrently in a transaction":       {up: "select 1", down: "drop index concurrently orders_state", want: []string{"error ban-concurrent-index-creation-in-transaction 1"}},
		"with all that depends on it":         {up: "create table n (a int)", down: "drop table n cascade", want: []string{"warning drop-cascade 1"}},
		"a table of the plan is emptied":      {up: "create table n (a int)", down: "truncate n; drop table n"},
		"what the up file made isn't fresh":   {up: "create table n (a int)", down: "create index i on n (a);\ndrop index i;\ndrop table n", want: []string{"error require-concurrent-index-creation 1"}},
		"two tables": {
			up: "alter table orders add column x int; alter table customers add column y int", down: "alter table customers drop column y;\nalter table orders drop column x", want: []string{"warning several-tables-in-one-file 2"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			report := lintFiles(t, false, map[string]string{"000002_change.up.sql": test.up, "000002_change.down.sql": test.down})
			var got []string
			for _, f := range report.Findings {
				if strings.HasSuffix(f.File, ".down.sql") && f.Rule != "down-not-inverse" {
					got = append(got, fmt.Sprintf("%s %s %d", f.Severity, f.Rule, f.Line))
					if !strings.HasPrefix(f.Safe, "- name: migrate\n") {
						_, err := sqltree.Parse(f.Safe)
						require.NoError(t, err)
					}
					require.NotContains(t, f.Safe, ".up.sql")
					if test.safe != "" {
						require.Equal(t, test.safe, f.Safe)
					}
				}
			}
			require.ElementsMatch(t, test.want, got, "%+v", report.Findings)
			for _, f := range lintFiles(t, true, map[string]string{"000002_change.up.sql": test.up, "000002_change.down.sql": test.down}).Findings {
				require.NotContains(t, f.File, ".down.sql", "nothing runs the down file of a step that is irreversible")
			}
		})
	}
}
