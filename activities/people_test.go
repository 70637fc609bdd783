package activities

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/contraflow/contraflow/signals"
)

const byHand = "  - name: fill\n    backfill: {table: customers, manual: true, where: street is null}\n"

func TestWhatPeopleHaveLeftIsCountedUntilNothingIs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, "create table customers (note text, street text)") // no key: nothing walks it
	b.exec(t, "insert into customers select $1, null from generate_series(1, 3)", rowMarker)
	b.only(t, byHand)
	begun, err := b.begin(t, "p", "run-1")
	require.NoError(t, err)
	in := BackfillInput{Origin: begun.origin("fill"), Backfill: *begun.Plan.Steps[0].Backfill}

	stop, told := make(chan struct{}), make(chan signals.Manual, 1)
	seen := false
	_, err = run[any](t, b, b.acts.AwaitManual, in, call{stop: stop, onAir: func(raw json.RawMessage) {
		var beats []signals.Manual
		if json.Unmarshal(raw, &beats) == nil && len(beats) == 1 && beats[0].Left >= 0 && !seen {
			seen = true
			told <- beats[0]
			close(stop) // what it waits for must not hold the worker up
		}
	}})
	requireRetryable(t, err, "the worker stops")
	require.Equal(t, signals.Manual{Step: "fill", Left: 3, AtFirst: 3}, <-told)

	b.exec(t, "update customers set street = 'S'")
	_, err = run[any](t, b, b.acts.AwaitManual, in, call{})
	require.NoError(t, err)
}

func TestAManualStepIsCheckedBeforeAnythingBegins(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, "create table customers (note text)")
	b.only(t, byHand)
	_, err := b.begin(t, "p", "run-1")
	requirePermanent(t, err, "Backfill", "street")
	b.untouchedBy(t, "p")
}

// untouchedBy tells that nobody holds a plan.
func (b *bundle) untouchedBy(t *testing.T, name string) {
	t.Helper()
	require.Zero(t, one[int](t, b, "select count(*)::int from contraflow.migration where plan = $1", name))
}

func TestRejectsAreRetriedAndAudited(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, "create table customers (id text primary key, address text, street int)")
	b.exec(t, "insert into customers values ($1 || '1', '1'), ($1 || '2', $1)", rowMarker)
	b.only(t, "  - name: fill\n    backfill: {table: customers, set: {street: \"address::int\"}, where: street is null, maxRejects: 5}\n")
	begun, err := b.begin(t, "p", "run-1")
	require.NoError(t, err)
	in := BackfillInput{Origin: begun.origin("fill"), Backfill: *begun.Plan.Steps[0].Backfill}
	prepared := b.prepare(t, in)
	in.Lane = prepared.Lanes[0]
	_, err = b.lane(t, in, call{})
	require.NoError(t, err)
	proven, err := run[BackfillProven](t, b, b.acts.ProveBackfill, in, call{})
	require.NoError(t, err)
	require.Equal(t, BackfillProven{Rows: 1, Rejects: 1}, proven)

	retried := func() signals.RejectsRetried {
		done, err := run[signals.RejectsRetried](t, b, b.acts.RetryRejects, in, call{})
		require.NoError(t, err)
		return done
	}
	require.Equal(t, signals.RejectsRetried{Tried: 1, Left: 1}, retried())
	b.exec(t, "update customers set address = '2' where street is null")
	require.Equal(t, signals.RejectsRetried{Tried: 1, Filled: 1}, retried())
	require.Zero(t, retried())

	b.exec(t, "alter table customers drop column address") // nobody's rejects need it
	require.Zero(t, retried())
	b.exec(t, "insert into contraflow.backfill_reject (plan, step, key, hash, code, message) select 'p', 'fill', array['1'], hash, 'XX000', 'odd' from contraflow.backfill_lane limit 1")
	var beats []string
	_, err = run[any](t, b, b.acts.RetryRejects, in, call{earlier: signals.RejectsRetried{Tried: 3, Filled: 2}, heard: &beats})
	requirePermanent(t, err, "Backfill", "address")
	var counts signals.RejectsRetried
	failed, _ := errors.AsType[*temporal.ApplicationError](err)
	require.NoError(t, failed.Details(&counts))
	require.Equal(t, signals.RejectsRetried{Tried: 3, Filled: 2}, counts)
	b.exec(t, "alter table customers add column address text")
	done, err := run[signals.RejectsRetried](t, b, b.acts.RetryRejects, in, call{earlier: counts, heard: &beats})
	require.NoError(t, err)
	require.Equal(t, signals.RejectsRetried{Tried: 4, Filled: 2}, done, "that row is gone")
	require.Contains(t, beats[len(beats)-2], `"tried":4`)
	require.Equal(t, "1 tried, 0 filled, 1 left", one[string](t, b, "select detail from contraflow.audit where event = 'rejects retried'"),
		"the test environment has one run, and so one event")
}

func TestASyncTriggerIsInstalledAndRemoved(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, in := b.rows(t, 3, "sync: trigger, ")
	triggers := func() int {
		return one[int](t, b, "select count(*)::int from pg_trigger where tgrelid = 'customers'::regclass and not tgisinternal")
	}
	install := func() {
		_, err := run[any](t, b, b.acts.InstallSync, in, call{})
		require.NoError(t, err)
	}
	install()
	install()
	require.Positive(t, triggers())
	b.exec(t, "insert into customers (id, address) values ('new', 'a')")
	require.Equal(t, "a", one[string](t, b, "select street from customers where id = 'new'"))

	b.acts.Alive = dead // a run that ended between the trigger and the checkpoints
	again, err := b.begin(t, "p", "run-2")
	require.NoError(t, err)
	require.Equal(t, []int{0}, again.Begun, "the trigger is there to be undone")
	b.edit(t, "shop/plan.yaml", "sync: trigger, ", "")
	_, err = b.begin(t, "p", "run-3")
	requirePermanent(t, err, "BadPlan", "step fill", "put sync back")
	b.edit(t, "shop/plan.yaml", "name: fill", "name: filled")
	_, err = b.begin(t, "p", "run-3")
	requirePermanent(t, err, "BadPlan", "step fill", "put the step back")

	_, err = run[any](t, b, b.acts.RemoveSync, in, call{})
	requirePermanent(t, err, "Superseded", "another run holds the plan")
	require.Positive(t, triggers())
	_, err = run[any](t, b, b.acts.InstallSync, in, call{})
	requirePermanent(t, err, "Superseded", "another run holds the plan")

	in.Origin.FirstRun, in.Undoing = "run-2", true
	for range 2 {
		_, err := run[any](t, b, b.acts.RemoveSync, in, call{})
		require.NoError(t, err)
	}
	require.Zero(t, triggers())
	_, err = run[any](t, b, b.acts.InstallSync, in, call{})
	requirePermanent(t, err, "Superseded", "its rollback has begun")
	require.Zero(t, triggers())
	b.exec(t, "drop table customers")
	_, err = run[any](t, b, b.acts.RemoveSync, in, call{})
	require.NoError(t, err)
}

// What an old application writes after the trigger is gone would lose its source with the contract.
func TestRowsWithoutNewValuesKeepTheirSource(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, in := b.rows(t, 3, "sync: trigger, ")
	remove := func() error { return b.acts.noneLeft(t.Context(), b.acts.Databases["shop"], in) }
	requirePermanent(t, remove(), "Backfill", "3 rows of table customers are without their new values", "end the application")
	b.exec(t, "update customers set street = 'S'")
	require.NoError(t, remove())
	b.exec(t, "alter table customers drop column street")
	require.NoError(t, remove(), "an earlier attempt has got further")
}

func TestASyncTriggerThatCannotBeRightIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, in := b.rows(t, 1, "")
	in.Backfill.Where = ""
	_, err := run[any](t, b, b.acts.InstallSync, in, call{})
	requirePermanent(t, err, "Backfill", "where")
}

func TestASyncTriggerSaysWhatItWaitsFor(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, in := b.rows(t, 1, "sync: trigger, ")
	tx, err := b.conn.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "lock table customers in row exclusive mode")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	told := make(chan signals.Blocked, 1)
	ended := make(chan error, 1)
	go func() {
		_, err := run[any](t, b, b.acts.InstallSync, in, call{ctx: ctx, onAir: func(raw json.RawMessage) {
			var beats []signals.Blocked
			if json.Unmarshal(raw, &beats) == nil && len(beats) == 1 && beats[0].Text != "" {
				select {
				case told <- beats[0]:
				default:
				}
			}
		}})
		ended <- err
	}()
	blocked := requireSoon(t, told)
	require.Equal(t, "fill", blocked.Step)
	require.Contains(t, blocked.Text, "in the way: pid")
	require.NoError(t, tx.Rollback(t.Context()))
	require.NoError(t, requireSoon(t, ended))
}

// An earlier run whose lanes have helped each other leaves more lanes than may be walked at once.
func TestOnlyAsManyLanesAreWalkedAsThePlanSays(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, in := b.rows(t, 5_000, "lanes: 3, ")
	require.Len(t, b.prepare(t, in).Lanes, 3)
	in.Backfill.Lanes = 2
	require.Equal(t, []int{0, 1}, b.prepare(t, in).Lanes)
	_, err := b.lane(t, in, call{})
	require.NoError(t, err, "it walks the others too")
	require.Equal(t, 5_000, b.filled(t))
	require.Empty(t, b.prepare(t, in).Lanes)
	in.Backfill.Lanes = 0
	require.Empty(t, b.prepare(t, in).Lanes)
}
