package activities

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/plan"
)

func contains(err error, text string) bool { return strings.Contains(err.Error(), text) }

// run searches whatever leaves an activity; here are the statements that make Postgres quote rows.

// quoting lists expressions over a column address that holds the marker, each of which fails with the value in its MESSAGE or
// DETAIL.
var quoting = map[string]string{
	"a cast to a number":     "address::int::text",
	"a cast to a date":       "address::date::text",
	"a cast to JSON":         "address::json::text",
	"a cast to an enum":      "address::mood::text",
	"a cast to an array":     "(address::int[])::text",
	"a cast to a range":      "(address::int4range)::text",
	"a cast to an address":   "address::inet::text",
	"a cast to a uuid":       "address::uuid::text",
	"a number out of range":  "to_char((length(address) * 1000000000)::int, '9')",
	"a regular expression":   "regexp_replace('a', address || '(', '')",
	"a function that raises": "shout(address)",
	"a wrong time zone":      "(now() at time zone address)::text",
}

const quotingSchema = `create type mood as enum ('good');
	create function shout(t text) returns text language plpgsql as $$ begin raise exception 'not %', t using detail = t, hint = t; end $$;
	create table customers (id int primary key, address text not null, street text);
	insert into customers values (1, '` + rowMarker + `', null)`

func TestBackfillsQuoteNoRows(t *testing.T) {
	t.Parallel()
	for title, expression := range quoting {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.exec(t, quotingSchema)
			b.only(t, strings.ReplaceAll(fill, "street: address", "street: \""+expression+"\""))
			begun, err := b.begin(t, "p", "run-1")
			require.NoError(t, err)
			in := BackfillInput{Origin: begun.origin("fill"), Backfill: *begun.Plan.Steps[0].Backfill}
			b.prepare(t, in)
			_, err = b.lane(t, in, call{})
			requirePermanent(t, err, "Backfill", "SQLSTATE")
			_, err = run[BackfillProven](t, b, b.acts.ProveBackfill, in, call{})
			requirePermanent(t, err, "Backfill", "more rows are refused than may be")
		})
		t.Run(title+" in where", func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.exec(t, quotingSchema)
			b.only(t, strings.ReplaceAll(fill, "where: street is null", "where: \""+expression+" = 'x'\""))
			begun, err := b.begin(t, "p", "run-1")
			require.NoError(t, err)
			in := BackfillInput{Origin: begun.origin("fill"), Backfill: *begun.Plan.Steps[0].Backfill}
			b.prepare(t, in)
			_, err = b.lane(t, in, call{})
			requirePermanent(t, err, "Backfill", "SQLSTATE")
		})
	}
}

func TestViolatedConstraintsQuoteNoRows(t *testing.T) {
	t.Parallel()
	for title, constraint := range map[string]string{
		"unique": "create unique index on customers (street)", "check": "alter table customers add check (street is null)",
		"too long": "alter table customers alter street type varchar(3)", "foreign key": "alter table customers add foreign key (street) references parent",
		"a trigger": `create function refuse() returns trigger language plpgsql as $$ begin raise '%', new using errcode = '23514'; end $$;
			create trigger refuse before update on customers for each row execute function refuse()`,
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.exec(t, quotingSchema+"; create table parent (id text primary key); insert into customers values (2, '"+rowMarker+"', null); "+constraint)
			b.only(t, fill)
			begun, err := b.begin(t, "p", "run-1")
			require.NoError(t, err)
			in := BackfillInput{Origin: begun.origin("fill"), Backfill: *begun.Plan.Steps[0].Backfill}
			b.prepare(t, in)
			_, err = b.lane(t, in, call{})
			requirePermanent(t, err, "Backfill", "SQLSTATE")
		})
	}
}

func TestSQLFilesQuoteNoRows(t *testing.T) {
	t.Parallel()
	statements := map[string]string{
		"a unique index":          "create unique index on customers (address)",
		"a check":                 "alter table customers add check (address = 'x')",
		"a foreign key":           "alter table customers add foreign key (address) references parent",
		"a shorter type":          "alter table customers alter address type varchar(3)",
		"a raise":                 "do $$ begin raise exception 'have %', (select min(address) from customers); end $$",
		"a raise of another kind": "do $$ begin raise exception 'have %', (select min(address) from customers) using errcode = 'CF999'; end $$",
		"an assertion":            "do $$ begin assert false, (select min(address) from customers); end $$",
	}
	for title, expression := range quoting {
		statements[title] = "update customers set street = " + expression
		statements[title+", as a new type"] = "alter table customers alter street type text using " + expression
	}
	for title, statement := range statements {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.exec(t, quotingSchema+"; create table parent (id text primary key); insert into customers values (2, '"+rowMarker+"', null)")
			b.remove(t, "shop/migrations")
			b.write(t, "shop/migrations/1_a.up.sql", "select 1;\n"+statement+";\n")
			b.write(t, "shop/migrations/1_a.down.sql", "select 1;")
			b.only(t, "  - {name: expand, migrate: {to: 1}}\n")
			begun, err := b.begin(t, "p", "run-1")
			require.NoError(t, err)
			_, err = b.migrate(t, begun, "expand", 1)
			requirePermanent(t, err, "Statement", "1_a.up.sql:2", "SQLSTATE")
		})
	}
}

func TestVerificationsAndGuardsQuoteNoRows(t *testing.T) {
	t.Parallel()
	for title, expression := range quoting {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.exec(t, quotingSchema)
			zero := 0.0
			query := "select count(" + expression + ") from customers"
			_, err := run[Verified](t, b, b.acts.Verify, VerifyInput{Origin: Origin{Database: "shop"}, Verify: plan.Verify{Query: query, Max: &zero}}, call{})
			require.Error(t, err)
			limit := 0
			verdict, err := run[GuardVerdict](t, b, b.acts.WatchHealth, WatchInput{Origin: Origin{Database: "shop"}, Interval: plan.Duration(look),
				Checks: []plan.Check{{Name: "c", SQL: &plan.SQLProbe{Query: query, Max: &zero}, ConsecutiveErrorLimit: &limit}}}, call{})
			require.NoError(t, err)
			require.Equal(t, Inconclusive, verdict.Outcome)
		})
	}
}
