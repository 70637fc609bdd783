package service

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"github.com/contraflow/contraflow/internal/devstack/harnessserver"
	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/internal/devstack/temporaltest"
	"github.com/contraflow/contraflow/signals"
)

// onHarness moves one flag; whether the proof holds decides whether it is put back or retired.
const onHarness = `
name: on-harness
database: shop
flags: {project: shop, environment: production, drain: 10ms}
steps:
  - {name: write-new, flag: {key: write-new, rollout: [10, 100], soak: 10ms}}
  - {name: prove, verify: {query: "select count(*) from wrong", max: 0}}
  - {name: retire, retire: {flags: [write-new]}}
`

func TestFlagsOfHarnessAreMovedPutBackAndRetired(t *testing.T) {
	t.Parallel()
	server := harnessserver.New(harnessserver.Options{Project: "shop", APIKey: "pat.account.4711", SDKKey: "sdk-key-0815"})
	require.NoError(t, server.Start("127.0.0.1:0"))
	t.Cleanup(func() { _ = server.Close() })
	server.CreateFlag("write-new")
	queue := temporaltest.TaskQueue(t)
	path := configure(t, fmt.Sprintf(`taskQueue: %s
flags: {harness: {apiKey: "env:HARNESS_API_KEY", sdkKey: "env:HARNESS_SDK_KEY", account: account, organization: default, apiURL: %q, sdkURL: %q}}
`, queue, server.AdminURL(), server.SDKURL()))
	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(path), "plans", "on-harness.yaml"), []byte(onHarness), 0o600))
	db := pgtest.New(t)
	conn := db.Connect(t)
	_, err := conn.Exec(t.Context(), `create table wrong (id bigint); insert into wrong values (1); grant select on wrong to public`)
	require.NoError(t, err)

	env := environment{}.at(temporaltest.Address(t))
	env["SHOP_DSN"], env["HARNESS_API_KEY"], env["HARNESS_SDK_KEY"] = db.DSN, "pat.account.4711", "sdk-key-0815"
	w := begin(t, path, env)
	w.requireWorking(t)
	migrate := func() error {
		run, err := temporaltest.Client(t).ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
			ID: queue, TaskQueue: queue}, signals.Workflow, signals.Input{Name: "on-harness"})
		require.NoError(t, err)
		ctx, cancel := contextWithin(t, patience)
		defer cancel()
		err = run.Get(ctx, nil)
		require.NoError(t, ctx.Err(), "%s", w.stderr)
		return err
	}
	flag := func() harnessserver.Feature {
		feature, ok := server.Snapshot("write-new")
		require.True(t, ok)
		return feature
	}
	before := flag().EnvProperties
	require.Error(t, migrate(), "the proof fails")
	after := flag().EnvProperties
	require.Len(t, server.Comments("write-new"), 3, "two stages, and back")
	require.Equal(t, before.State, after.State)
	require.Equal(t, before.DefaultServe, after.DefaultServe)

	_, err = conn.Exec(t.Context(), `truncate wrong`)
	require.NoError(t, err)
	server.Evaluated("write-new") // else nobody knows whether the application ever asked for it, and retiring asks
	require.NoError(t, migrate())
	require.True(t, flag().Archived)
	require.Equal(t, "on", flag().EnvProperties.State)
	w.stop()
	w.requireEnd(t, 0)
}
