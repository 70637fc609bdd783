package tests

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/proto"

	"github.com/contraflow/contraflow/internal/devstack/chatserver"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

const (
	poison = `update customers set address = 'poisoned ' || address where id in (7, 700, 1400)`
	mend   = `update customers set address = (id % 999) || ' Some Street Number ' || (id % 1000) where id in (7, 700, 1400)`
)

// tolerating is the example over numbers, of which so many may be none.
func tolerating(rejects int) func(*plan.Plan) {
	return func(p *plan.Plan) {
		fill := p.Steps[p.StepIndex("fill")].Backfill
		fill.MaxRejects = rejects
		fill.Set["street_number"] = "split_part(address, ' ', 1)::integer::text"
		most := float64(rejects)
		p.Steps[p.StepIndex("prove")].Verify.Max = &most
	}
}

// rejects lists what is set aside, by the step and the key.
func (b *bundle) rejects() (keys []string) {
	b.t.Helper()
	var all []struct {
		Step, Code, Message string
		Key                 []string
	}
	require.NoError(b.t, json.Unmarshal([]byte(b.contraflow(0, "rejects", b.plan.Name, "--config", b.config(), "--json")), &all))
	for _, r := range all {
		require.Equal(b.t, "fill", r.Step)
		require.Equal(b.t, "22P02", r.Code)
		require.NotContains(b.t, r.Message, "poisoned")
		keys = append(keys, r.Key...)
	}
	slices.Sort(keys)
	return keys
}

func (b *bundle) config() string { return filepath.Join(b.folder, "worker.yaml") }

func TestPoisonRowsAreSetAsideMendedAndFilled(t *testing.T) {
	t.Parallel()
	b := setup(t, options{prepare: poison, edit: tolerating(3)})
	require.Contains(t, b.contraflow(1, "rejects", b.plan.Name, "--config", b.config()), "no such migration")
	b.migrate()
	s := b.asks("cutover")
	require.Equal(t, "none left, 3 rows set aside", step(s, "fill").Detail)
	b.eventually("the card tells it", func() bool {
		return slices.ContainsFunc(b.chat.Messages(), func(m chatserver.Message) bool { return contains(string(must(t, m.Blocks)), "3 rows set aside") })
	})

	require.Equal(t, []string{"1400", "7", "700"}, b.rejects())
	table := b.contraflow(0, "rejects", b.plan.Name, "--config", b.config())
	require.Contains(t, table, "STEP  KEY   CODE   TRIES  WHY\nfill  ")
	require.NotContains(t, table, "poisoned")
	require.Contains(t, b.contraflow(1, "retry-rejects", b.plan.Name), "3 tried: 0 filled, 3 left.")
	retried := b.historyOf(signals.RetryRejectsID(b.plan.Name), "")
	requireNoRow(t, retried)
	b.keepHistory("rejects", retried)
	b.exec(mend + " and id <> 700")
	require.Contains(t, b.contraflow(1, "retry-rejects", b.plan.Name), "3 tried: 2 filled, 1 left.")
	require.Equal(t, []string{"700"}, b.rejects())
	b.exec(mend)
	require.Contains(t, b.contraflow(0, "retry-rejects", b.plan.Name), "1 tried: 1 filled, 0 left.")
	require.Contains(t, b.contraflow(0, "retry-rejects", b.plan.Name), "No row is set aside.")

	b.approve("cutover")
	b.approve("contract")
	b.completes()
	require.Contains(t, b.contraflow(0, "rejects", b.plan.Name, "--plan", b.plan.Name, "--database", "shop", "--config", b.config()), "has set no row aside")
	requireNoRow(t, b.history(""))
	require.Zero(t, b.count(`select count(*) from contraflow.audit where detail like '%poisoned%'`))
}

// requireNoRow searches a history for values and keys of rows that were set aside.
func requireNoRow(t *testing.T, h *historypb.History) {
	t.Helper()
	raw, err := proto.Marshal(h) // with payloads as they are; in JSON they are encoded
	require.NoError(t, err)
	require.Contains(t, string(raw), `"maxRejects":3`, "payloads can be read")
	require.NotContains(t, string(raw), "poisoned")
	require.NotRegexp(t, `[^0-9a-f-]1400[^0-9a-f-]`, string(raw)) // the one of the keys that stands nowhere else; ids may hold it
}

func TestMoreRejectsThanMayBeRollBack(t *testing.T) {
	t.Parallel()
	b := setup(t, options{prepare: poison, edit: tolerating(1)})
	b.migrate()
	report := b.rollsBack()
	require.Contains(t, report.Cause, "step fill")
	require.Contains(t, report.Cause, "more rows are refused than may be")
	require.Contains(t, report.Cause, "22P02")
	require.Subset(t, []string{"1400", "7", "700"}, b.rejects())
	require.Len(t, b.rejects(), 2, "one more than may be")
	require.Contains(t, b.contraflow(1, "retry-rejects", b.plan.Name), "was rolled back")
	b.exec(mend)
	b.requireRolledBack()
	require.Equal(t, signals.StepCompensated, step(b.answers(), "fill").State)
}
