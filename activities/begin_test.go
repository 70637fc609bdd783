package activities

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/examples/shop/seed"
	"github.com/contraflow/contraflow/internal/ledger"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

func TestBeginChecksAndClaimsThePlan(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.stock(t, 1, false)
	require.NoError(t, seed.Rows(t.Context(), b.acts.Databases["shop"].pool, 100))

	begun, err := b.begin(t, "split-customer-address", "run-1")
	require.NoError(t, err)
	require.Equal(t, "split-customer-address", begun.Plan.Name)
	require.Len(t, begun.Plan.Steps, 9)
	require.Equal(t, "shop/migrations", begun.Schema.Folder)
	require.Equal(t, uint(3), begun.Schema.Highest)
	require.NotEmpty(t, begun.Schema.Digest)
	require.Zero(t, begun.ResumeAt)
	require.False(t, begun.Chat)
	require.Equal(t, "m run-1 "+begun.Hash, one[string](t, b, "select migration || ' ' || first_run || ' ' || plan_hash from contraflow.migration where ended_at is null"))
	require.Equal(t, "started by carol", one[string](t, b, "select event || ' ' || detail from contraflow.audit"))
	require.Equal(t, 1, one[int](t, b, "select version::int from schema_migrations"), "nothing is migrated yet")

	again, err := b.begin(t, "split-customer-address", "run-1") // an attempt whose answer was lost
	require.NoError(t, err)
	require.Equal(t, begun, again)
	require.Equal(t, 1, one[int](t, b, "select count(*)::int from contraflow.audit"))

	b.edit(t, "shop/migrations/000002_add_street.up.sql", "street text", "street varchar")
	b.acts.Alive = dead
	changed, err := b.begin(t, "split-customer-address", "run-2")
	require.NoError(t, err)
	require.NotEqual(t, begun.Hash, changed.Hash, "approvals of other SQL must not count")
}

func TestBeginOnAnEmptyDatabase(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.begin(t, "split-customer-address", "run-1")
	require.NoError(t, err, "the table to fill is made by a step of the plan")
	require.True(t, b.has(t, "contraflow.migration"))
}

func TestBeginTakesAWholePlan(t *testing.T) {
	t.Parallel()
	b := setup(t)
	known, err := b.acts.Plans.find("split-customer-address")
	require.NoError(t, err)
	whole := *known.plan
	whole.Description = "as the caller has it"
	document, err := json.Marshal(whole)
	require.NoError(t, err)
	begun, err := b.beginWith(t, signals.Input{Document: document}, "run-1")
	require.NoError(t, err)
	require.Equal(t, "as the caller has it", begun.Plan.Description)
	require.Equal(t, "shop/migrations", begun.Schema.Folder, "beside the document of that name")
	require.Empty(t, one[string](t, b, "select detail from contraflow.audit"))

	whole.Name = "nobody-knows-it"
	document, err = json.Marshal(whole)
	require.NoError(t, err)
	_, err = b.beginWith(t, signals.Input{Document: document}, "run-2")
	requirePermanent(t, err, "SQLFiles", "no folder migrations below the worker's plan root")
}

// untouched is what a failed Begin leaves.
func (b *bundle) untouched(t *testing.T) {
	t.Helper()
	require.False(t, b.has(t, "contraflow.migration"), "nothing is created for a plan that can't run")
}

// only rewrites the shop's plan to these steps.
func (b *bundle) only(t *testing.T, steps string) {
	t.Helper()
	b.write(t, "shop/plan.yaml", "name: p\ndatabase: shop\nmigrations: migrations\nflags: {project: shop, environment: production}\nsteps:\n"+steps)
}

const fill = "  - name: fill\n    backfill: {table: customers, set: {street: address}, where: street is null}\n"

func TestBeginRefusesWhatCannotRunAndChangesNothing(t *testing.T) {
	t.Parallel()
	const name = "split-customer-address"
	for title, c := range map[string]struct {
		spoil func(*testing.T, *bundle)
		plan  string
		kind  string
		parts []string
	}{
		"unknown plan": {plan: "nope", kind: "UnknownPlan", parts: []string{`no plan "nope"`, "it knows: split-customer-address"}},
		"undecodable plan": {plan: "shop", kind: "BadPlan", parts: []string{"shop/plan.yaml:", "database"},
			spoil: func(t *testing.T, b *bundle) { b.edit(t, "shop/plan.yaml", "database: shop", "datebase: shop") }},
		"unknown database": {kind: "UnknownDatabase", parts: []string{`"stock"`, "it knows: shop"},
			spoil: func(t *testing.T, b *bundle) { b.edit(t, "shop/plan.yaml", "database: shop", "database: stock") }},
		"no migrations folder": {kind: "SQLFiles", parts: []string{"no folder shop/migrations"},
			spoil: func(t *testing.T, b *bundle) { b.remove(t, "shop/migrations") }},
		"a version without its file": {kind: "SQLFiles", parts: []string{"step drop-old", "version 3 has no .up.sql"},
			spoil: func(t *testing.T, b *bundle) { b.remove(t, "shop/migrations/000003_drop_address.up.sql") }},
		"no way back": {kind: "SQLFiles", parts: []string{"step expand can't be undone", "version 2 has no .down.sql", "mark the step irreversible"},
			spoil: func(t *testing.T, b *bundle) { b.remove(t, "shop/migrations/000002_add_street.down.sql") }},
		"a stray file": {kind: "SQLFiles", parts: []string{"4_oops.sql"},
			spoil: func(t *testing.T, b *bundle) { b.write(t, "shop/migrations/4_oops.sql", "select 1;") }},
		"a script that ends its transaction": {kind: "SQLFiles", parts: []string{"step expand", "000002_add_street.up.sql"},
			spoil: func(t *testing.T, b *bundle) {
				b.write(t, "shop/migrations/000002_add_street.up.sql", "alter table customers add street text; commit;")
			}},
		"a dirty schema": {kind: "SchemaVersion", parts: []string{"dirty at version 1", "run contraflow repair PLAN"},
			spoil: func(t *testing.T, b *bundle) { b.stock(t, 1, true) }},
		"a schema from another folder": {kind: "SchemaVersion", parts: []string{"no file in this folder"},
			spoil: func(t *testing.T, b *bundle) {
				b.remove(t, "shop/migrations/000001_customers.up.sql")
				b.remove(t, "shop/migrations/000001_customers.down.sql")
				b.stock(t, 1, false)
			}},
		"no such flag": {kind: "Flag", parts: []string{"customers-read-newer", "create the flag"},
			spoil: func(t *testing.T, b *bundle) { b.edit(t, "shop/plan.yaml", readNew, "customers-read-newer") }},
		"an archived flag": {kind: "Flag", parts: []string{writeNew, "unarchive"},
			spoil: func(t *testing.T, b *bundle) {
				b.patch(t, writeNew, `{"instructions": [{"kind": "archiveFlag"}]}`)
			}},
		"a flag of three values": {kind: "Flag", parts: []string{"three", "exactly true and false"},
			spoil: func(t *testing.T, b *bundle) {
				b.rest(t, http.MethodPost, "/api/v2/flags/shop", `{"key": "three", "name": "three", "variations": [{"value": "a"}, {"value": "b"}, {"value": "c"}]}`)
				b.edit(t, "shop/plan.yaml", readNew, "three")
			}},
		"no flag provider": {kind: "NoFlags", parts: []string{"add flags to its configuration"},
			spoil: func(_ *testing.T, b *bundle) { b.acts.Flags = nil }},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			if c.spoil != nil {
				c.spoil(t, b)
			}
			asked := name
			if c.plan != "" {
				asked = c.plan
			}
			_, err := b.begin(t, asked, "run-1")
			requirePermanent(t, err, c.kind, c.parts...)
			b.untouched(t)
		})
	}
}

func TestBeginInspectsTheTableToFill(t *testing.T) {
	t.Parallel()
	for title, c := range map[string]struct {
		steps, sql string
		parts      []string
	}{
		"no table":           {steps: fill, parts: []string{"step fill", "customers", "does not exist"}},
		"no key":             {steps: fill, sql: "create table customers (address text, street text)", parts: []string{"step fill", "no primary key"}},
		"no column":          {steps: fill, sql: "create table customers (id int primary key, address text)", parts: []string{"step fill", `no column "street"`}},
		"no column in where": {steps: strings.ReplaceAll(fill, "street is null", "lane is null"), sql: "create table customers (id int primary key, address text, street text)", parts: []string{"step fill", "lane"}},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			if c.sql != "" {
				b.exec(t, c.sql)
			}
			b.only(t, c.steps)
			_, err := b.begin(t, "p", "run-1")
			requirePermanent(t, err, "Backfill", c.parts...)
			require.Zero(t, one[int](t, b, "select count(*)::int from contraflow.migration"), "no claim")
			require.Zero(t, one[int](t, b, "select count(*)::int from contraflow.backfill_lane"))
		})
		t.Run(title+", and a migration is pending", func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			if c.sql != "" {
				b.exec(t, c.sql)
			}
			b.only(t, "  - {name: expand, migrate: {to: 2}}\n"+c.steps)
			_, err := b.begin(t, "p", "run-1")
			require.NoError(t, err, "what a step before has still to make is looked for when its turn comes")
		})
	}
}

func TestBeginOfABackfillAloneOnAFreshDatabase(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, "create table customers (id int primary key, address text, street text)")
	b.only(t, fill)
	begun, err := b.begin(t, "p", "run-1")
	require.NoError(t, err)
	require.Empty(t, begun.Schema)
}

func TestBeginWaitsForServersThatAreDown(t *testing.T) {
	t.Parallel()
	for title, dsn := range map[string]string{
		"Postgres is down":         "postgres://S3CRET-USER:S3CRET-PASSWORD@127.0.0.1:1/S3CRET-DB?sslmode=disable",
		"its name isn't known":     "postgres://S3CRET-USER:S3CRET-PASSWORD@shop.invalid/S3CRET-DB?sslmode=disable",
		"the socket isn't there":   "host=/S3CRET/socket user=S3CRET-USER password=S3CRET-PASSWORD dbname=S3CRET-DB",
		"the password is rotating": "", // filled in below
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			if dsn == "" {
				dsn = strings.Replace(b.db.DSN, "migrator:", "migrator:S3CRET-WRONG", 1)
			}
			b.acts.Databases["shop"] = b.open(t, dsn)
			_, err := b.begin(t, "split-customer-address", "run-1")
			requireRetryable(t, err)
			b.untouched(t)
		})
	}
	t.Run("the flag service is down", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		require.NoError(t, b.flagd.Close())
		_, err := b.begin(t, "split-customer-address", "run-1")
		requireRetryable(t, err, "LaunchDarkly does not answer", writeNew)
		b.untouched(t)
	})
}

func TestBeginNamesTheMissingGrant(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, "revoke create on database "+b.db.Name+" from migrator") // the owner may take it from itself
	_, err := b.begin(t, "split-customer-address", "run-1")
	requirePermanent(t, err, "Database", "GRANT CREATE ON DATABASE", b.db.Name)
}

// patch changes a flag as a stranger.
func (b *bundle) patch(t *testing.T, key, body string) {
	t.Helper()
	b.rest(t, http.MethodPatch, "/api/v2/flags/shop/"+key, body)
}

func (b *bundle) rest(t *testing.T, method, path, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, b.flagd.URL()+path, strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Authorization", adminToken)
	r.Header.Set("LD-API-Version", "20240415")
	r.Header.Set("Content-Type", "application/json; domain-model=launchdarkly.semanticpatch")
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Equal(t, 2, answer.StatusCode/100, "%s %s: %s", method, path, answer.Status)
}

func TestTheExampleIsDecodable(t *testing.T) {
	t.Parallel()
	document, err := os.ReadFile("../examples/shop/plan.yaml")
	require.NoError(t, err)
	_, err = plan.Decode("plan.yaml", document)
	require.NoError(t, err)
}

// As behind a pooler: the connection is made, without what we asked for.
func TestBeginBehindAPoolerIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	config := b.acts.Databases["shop"].pool.Config()
	config.ConnConfig.AfterConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		return conn.Exec(ctx, "set client_connection_check_interval = 0").Close()
	}
	pooled, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(pooled.Close)
	b.acts.Databases["shop"] = &Database{pool: pooled, backfill: pooled, ledger: ledger.New(pooled)}
	for _, plan := range []string{shopPlan, "p"} {
		_, err = b.begin(t, plan, "run-1")
		requirePermanent(t, err, "Database", "lost: client_connection_check_interval", "connect to Postgres itself")
		b.untouched(t)
		b.only(t, fill)
	}
}
