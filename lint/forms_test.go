package lint

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// formOf is the form of the only finding of a rule in version 2, where other files may stand behind it.
func formOf(t *testing.T, rule, sql string, others map[string]string) string {
	t.Helper()
	files := map[string]string{"000002_change.up.sql": sql}
	for name, text := range others {
		files[name] = text
	}
	found := of(lintFiles(t, false, files), rule)
	require.Len(t, found, 1)
	return found[0].Safe
}

func TestFormsTakeVersionsThatAreFree(t *testing.T) {
	t.Parallel()
	later := map[string]string{"000007_k.up.sql": "select 1"}
	require.Equal(t, `-- file: 000002_add_c.up.sql
ALTER TABLE orders ADD CONSTRAINT c CHECK (id > 0) NOT VALID;
-- file: 000008_validate_c.up.sql
-- contraflow: no-transaction
ALTER TABLE orders VALIDATE CONSTRAINT c;
-- then, in the plan: migrate: {to: 8}, and a down file for each
`, formOf(t, "constraint-missing-not-valid", "alter table orders add constraint c check (id > 0)", later))
	require.Equal(t, `-- in this statement's place; the file's other statements stay
ALTER TABLE orders ADD CONSTRAINT c CHECK (id > 0) NOT VALID;
-- file: 000008_validate_c.up.sql
-- contraflow: no-transaction
ALTER TABLE orders VALIDATE CONSTRAINT c;
-- then, in the plan: migrate: {to: 8}, and a down file for each
`, formOf(t, "constraint-missing-not-valid", "select 1; alter table orders add constraint c check (id > 0)", later))
	require.Equal(t, `-- without this statement, the file's other statements stay
-- file: 000008_build_i.up.sql
-- contraflow: no-transaction
CREATE INDEX CONCURRENTLY i ON orders USING btree (state);
-- then, in the plan: migrate: {to: 8}, and a down file for each
`, formOf(t, "require-concurrent-index-creation", "select 1; create index i on orders (state)", later))
}

func TestFormsQuoteNamesAsSQLAndThePlanNeedThem(t *testing.T) {
	t.Parallel()
	require.Equal(t, `-- file: 000002_add_publicid.up.sql
ALTER TABLE "OrderItem" ADD COLUMN "publicId" uuid;
ALTER TABLE "OrderItem" ALTER COLUMN "publicId" SET DEFAULT gen_random_uuid();
-- For the rows that are there, a step of the plan:
-- - name: fill-public-id
--   backfill: {table: '"OrderItem"', set: {'"publicId"': 'gen_random_uuid()'}, where: '"publicId" is null'}
`, formOf(t, "adding-field-with-default", `alter table "OrderItem" add column "publicId" uuid default gen_random_uuid()`, nil))
	require.Equal(t, `- name: fill-order-item
  backfill:
    table: 'sales."OrderItem"'
    set:
      '"order"': '1'
    where: '"order" IS DISTINCT FROM (1)'
`, formOf(t, "backfill-in-ddl", `update sales."OrderItem" set "order" = 1`, nil))
	require.Contains(t, formOf(t, "changing-column-type", `alter table orders alter column state type "OrderState"`, nil), `ADD COLUMN state_new "OrderState"`)
}

func TestNamesFitThePlan(t *testing.T) {
	t.Parallel()
	for what, step := range map[string]string{
		"publicId": "fill-public-id", "a_b": "fill-a-b", "Order Item": "fill-order-item", "é": "fill", "x__": "fill-x",
	} {
		require.Equal(t, step, stepName("fill", what), what)
	}
	require.Len(t, stepName("fill", "a234567890b234567890c234567890d234567890e234567890f234567890g234567890"), maxStepName)
	for typ, sql := range map[string]string{
		"OrderState": `"OrderState"`, "shop.State[]": `shop."State"[]`, "character varying(20)": "character varying(20)", "timestamp(3) with time zone": "timestamp(3) with time zone", "integer[]": "integer[]", "mood": "mood",
	} {
		require.Equal(t, sql, typeSQL(typ))
	}
}
