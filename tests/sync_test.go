package tests

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

// withTrigger is the example for an application that knows nothing of the new shape.
func withTrigger(p *plan.Plan) {
	p.Steps[p.StepIndex("fill")].Backfill.Sync = plan.SyncTrigger
	p.Guard.Checks = p.Guard.Checks[:1] // the other looks at writes from before the trigger too
}

// withPeople adds rows that people do, and have done already, to the example with a trigger.
func withPeople(p *plan.Plan) {
	withTrigger(p)
	p.Steps = slices.Insert(p.Steps, p.StepIndex("fill")+1, plan.Step{Name: "by-hand", Backfill: &plan.Backfill{Table: "customers", Manual: true, Where: "street is null"}})
}

// oldShape is an application that writes addresses alone, again and again, until end is called, and leaves them as it found
// them; it must not fail once.
func (b *bundle) oldShape() (end func()) {
	b.t.Helper()
	ctx, stop := context.WithCancel(b.t.Context())
	var writing sync.WaitGroup
	var failed error
	writing.Go(func() {
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for i := int64(0); ctx.Err() == nil; i++ {
			_, err := b.pool.Exec(b.t.Context(), `update customers set address = $2::bigint || ' Moved Street' where id = $1`, 1+(i*7)%b.rows, i)
			if err != nil && failed == nil {
				failed = err
			}
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	})
	return func() {
		b.t.Helper()
		stop()
		writing.Wait()
		require.NoError(b.t, failed, "the old application is served all the while")
		b.exec(`update customers set address = (id % 999) || ' Some Street Number ' || (id % 1000) where address like '%Moved Street'`)
	}
}

func (b *bundle) triggers() int64 {
	b.t.Helper()
	return b.count(`select count(*) from pg_trigger where tgrelid = 'customers'::regclass and tgname like '%contraflow%'`) +
		b.count(`select count(*) from pg_proc where pronamespace = 'contraflow'::regnamespace and proname like 'sync%'`)
}

func TestASyncTriggerKeepsAnOldApplicationRightUntilItsColumnsGo(t *testing.T) {
	t.Parallel()
	b := setup(t, options{edit: withPeople})
	end := b.oldShape()
	run := b.migrate()
	b.approve("cutover") // proven while it writes
	b.asks("contract")
	require.Positive(t, b.triggers())
	require.Zero(t, b.count(`select count(*) from customers where street is distinct from substr(address, strpos(address, ' ') + 1)
		or street_number is distinct from split_part(address, ' ', 1)`))
	end()
	b.approve("contract")
	var result signals.Result
	require.NoError(t, b.ended(&result))
	require.Zero(t, b.triggers())
	require.Equal(t, "3", b.version())
	require.Equal(t, b.rows, b.count(`select count(*) from customers
		where street_number = (id % 999)::text and street = 'Some Street Number ' || (id % 1000)`))
	b.requireNothingKept()
	b.keep("sync", run.GetRunID())
}

func TestARollbackTakesTheSyncTriggerAway(t *testing.T) {
	t.Parallel()
	b := setup(t, options{edit: withTrigger})
	end := b.oldShape()
	b.migrate()
	b.approve("cutover")
	b.asks("contract")
	b.say(signals.Rollback, signals.Request{By: "dave"})
	requireUndone(t, undone, b.rollsBack())
	end()
	require.Zero(t, b.triggers())
	b.requireRolledBack()
}
