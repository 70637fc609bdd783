package service

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/internal/devstack/temporaltest"
	"github.com/contraflow/contraflow/internal/pg"
	"github.com/contraflow/contraflow/signals"
)

// toggled is a migration of one flag, which is put back when the proof fails.
const toggled = `
name: toggle
database: shop
flags: {project: shop, environment: production, drain: 10ms}
steps:
  - {name: write-new, flag: {key: write-new, rollout: [10, 100], soak: 10ms}}
  - {name: prove, verify: {query: "select count(*) from contraflow.flag where key = 'wrong'", max: 0}}
  - {name: retire, retire: {flags: [write-new]}}
`

func TestFlagsInATableAreMovedPutBackAndRetired(t *testing.T) {
	t.Parallel()
	queue := temporaltest.TaskQueue(t)
	path := configure(t, "taskQueue: "+queue+"\nflags: {postgres: {database: shop}}\n")
	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(path), "plans", "toggle.yaml"), []byte(toggled), 0o600))
	db := pgtest.New(t)
	pool, err := pgxpool.New(t.Context(), db.DSN)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	require.NoError(t, pg.EnsureSchema(t.Context(), pool))
	exec := func(sql string) {
		t.Helper()
		_, err := pool.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	is := func(want, sql string) {
		t.Helper()
		var got string
		require.NoError(t, pool.QueryRow(t.Context(), sql).Scan(&got))
		require.Equal(t, want, got)
	}
	const flag = `select concat_ws(' ', is_on, percent, targets, archived) from contraflow.flag where key = 'write-new'`
	exec(`insert into contraflow.flag (key, percent, targets) values ('write-new', 7.5, '{"user": {"true": ["4711"]}}'), ('wrong', 100, '{}')`)

	env := environment{}.at(temporaltest.Address(t))
	env["SHOP_DSN"] = db.DSN
	w := begin(t, path, env)
	w.requireWorking(t)
	migrate := func() error {
		run, err := temporaltest.Client(t).ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
			ID: queue, TaskQueue: queue}, signals.Workflow, signals.Input{Name: "toggle"})
		require.NoError(t, err)
		ctx, cancel := contextWithin(t, patience)
		defer cancel()
		err = run.Get(ctx, nil)
		require.NoError(t, ctx.Err(), "%s", w.stderr)
		return err
	}
	require.Error(t, migrate(), "the proof fails")
	is(`f 7.500 {"user": {"true": ["4711"]}} f`, flag)
	is("3", `select count(*)::text from contraflow.audit where event = 'flag changed' and detail like '%step write-new%'`)

	exec(`delete from contraflow.flag where key = 'wrong'`)
	require.NoError(t, migrate())
	is(`t 100.000 {"user": {"true": ["4711"]}} t`, flag)
	w.stop()
	w.requireEnd(t, 0)
}
