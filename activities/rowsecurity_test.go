package activities

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/plan"
)

func TestRowsThatAPolicyHidesAreNotTakenForFilled(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.only(t, fill)
	b.exec(t, "create table customers (id int primary key, address text, street text); insert into customers values (1, 'a', 'a'), (2, 'b', null)")
	begun, err := b.begin(t, "p", "run-1")
	require.NoError(t, err)
	in := BackfillInput{Origin: begun.origin("fill"), Backfill: *begun.Plan.Steps[0].Backfill}
	b.prepare(t, in)
	b.exec(t, `alter table customers enable row level security, force row level security;
		create policy half on customers using (id = 1)`) // binds the owner too, who would see no row that is left to fill

	_, err = b.begin(t, "p", "run-1")
	requirePermanent(t, err, "Backfill", "step fill", "42501", "BYPASSRLS")
	_, err = run[any](t, b, b.acts.ProveBackfill, in, call{})
	requirePermanent(t, err, "Backfill", "42501", "BYPASSRLS")
	none := 0.0
	proof := plan.Verify{Query: "select count(*) from customers where street is null", Max: &none}
	_, err = run[Verified](t, b, b.acts.Verify, VerifyInput{Origin: begun.origin("prove"), Verify: proof}, call{})
	requirePermanent(t, err, "Query", "42501", "BYPASSRLS")
}
