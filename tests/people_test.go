package tests

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

func TestPeopleDoTheRowsWhileTheMigrationWaits(t *testing.T) {
	t.Parallel()
	b := setup(t, options{edit: func(p *plan.Plan) {
		p.Steps[p.StepIndex("fill")].Backfill = &plan.Backfill{Table: "customers", Manual: true, Where: "street is null"}
		p.Guard.Checks = p.Guard.Checks[:1]
	}})
	b.migrate()
	s := b.reaches("it waits for people", func(s signals.Status) bool { return step(s, "fill").State == signals.StepWaiting })
	require.Equal(t, signals.Waiting, s.State)
	b.statusSays("status tells what they have left", "2,000 rows left for people to do")
	b.stopWorker()
	b.exec(`update customers set street_number = split_part(address, ' ', 1), street = substr(address, strpos(address, ' ') + 1)`)
	b.startWorker() // which counts at once
	b.approve("cutover")
	b.approve("contract")
	var result signals.Result
	require.NoError(t, b.ended(&result))
	require.Zero(t, result.Rows, "people's rows are not ours")
	require.Equal(t, "3", b.version())
	b.requireNothingKept()
}
