package activities

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/backfill"
	"github.com/contraflow/contraflow/internal/devstack/pgtest"
)

const (
	syncingNow = "  - name: fill\n    backfill: {table: customers, set: {street: now()::text}, where: street is null, sync: trigger}\n"
	expand     = "  - {name: expand, migrate: {to: 2}}\n"
)

// protecting is a backfill that reads a latency by this query.
func protecting(query string) string {
	return "  - name: fill\n    backfill: {table: customers, set: {street: address}, where: street is null, pace: {protect: {max: 20ms, sql: {query: \"" + query + "\"}}}}\n"
}

// A worker built without the transform must not roll back what others have half done.
func TestAMissingTransformIsRefusedAtTheStartAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, in := b.rows(t, 3, "")
	in.Backfill.Set, in.Backfill.Transform = nil, "split"
	b.acts.Transforms = map[string]backfill.Transform{"split": {Read: []string{"address"}, Write: []string{"street"},
		Rows: func(_ context.Context, rows [][]any) ([][]any, error) { return rows, nil }}}
	in.Lane = b.prepare(t, in).Lanes[0]
	b.acts.Transforms = nil
	_, err := b.lane(t, in, call{})
	requireRetryable(t, err, "split")
	_, err = run[any](t, b, b.acts.PrepareBackfill, in, call{})
	requireRetryable(t, err, "split")
	_, err = run[any](t, b, b.acts.ProveBackfill, in, call{})
	requireRetryable(t, err, "split")

	b.edit(t, "shop/plan.yaml", "set: {street: address}", "transform: split")
	_, err = b.begin(t, "p", "run-1")
	requirePermanent(t, err, "Backfill", "step fill", "split")
}

func TestBeginJudgesTriggersAndLatencies(t *testing.T) {
	t.Parallel()
	const ready = "create table customers (id int primary key, address text, street text)"
	for title, c := range map[string]struct {
		sql, steps, kind string // "": it begins
		parts            []string
	}{
		"an expression that can't be repeated": {ready, syncingNow, "Backfill", []string{"step fill", "must be immutable"}},
		"a table of somebody else, though its columns are to come": {"create table customers (id int primary key, address text)",
			expand + syncingNow, "Backfill", []string{"step fill", "only its owner can remove a trigger"}},
		"an expression over columns to come":        {"create table customers (id int primary key, address text)", expand + syncingNow, "", nil},
		"a latency that can't be read":              {ready, protecting("select max(ms) from latencies"), "Database", []string{"step fill", "pace.protect", "latencies"}},
		"a latency of a table to come":              {ready, expand + protecting("select max(ms) from latencies"), "", nil},
		"a latency whose query would change things": {ready, protecting("analyze delete from customers"), "Database", []string{"pace.protect"}},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.exec(t, c.sql)
			if strings.Contains(title, "somebody else") {
				pgtest.Database{DSN: b.db.SuperDSN}.Exec(t, "alter table customers owner to current_user; grant all on customers to public")
			}
			b.only(t, c.steps)
			_, err := b.begin(t, "p", "run-1")
			if c.kind == "" {
				require.NoError(t, err)
				return
			}
			requirePermanent(t, err, c.kind, c.parts...)
			b.untouchedBy(t, "p")
			require.Zero(t, one[int](t, b, "select count(*)::int from pg_trigger where tgname like '%contraflow%'"))
		})
	}
}
