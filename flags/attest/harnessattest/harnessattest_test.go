package harnessattest_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/harness/ff-golang-server-sdk/client"
	"github.com/harness/ff-golang-server-sdk/logger"
	"github.com/harness/ff-golang-server-sdk/pkg/repository"
	lru "github.com/hashicorp/golang-lru"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/attest"
	"github.com/contraflow/contraflow/flags/attest/harnessattest"
	"github.com/contraflow/contraflow/flags/harness"
	"github.com/contraflow/contraflow/internal/devstack/harnessserver"
	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/internal/ledger"
	"github.com/contraflow/contraflow/internal/pg"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const (
	key      = "customers_write_new"
	patience = time.Minute
	look     = 5 * time.Millisecond
	// never is an interval that no test lives to see: what is reported was a change.
	never = time.Hour
)

func TestAnApplicationOnHarnessAttestsWhatTheStepComparesWith(t *testing.T) {
	t.Parallel()
	// Nothing promises that the admin API and the SDKs count versions alike.
	server := harnessserver.New(harnessserver.Options{Project: "shop", APIKey: "api-key", SDKKey: "sdk-key", SDKVersions: 100})
	require.NoError(t, server.Start("127.0.0.1:0"))
	t.Cleanup(func() { _ = server.Close() })
	server.CreateFlag(key)
	provider, err := harness.New(harness.Config{APIURL: server.AdminURL(), SDKURL: server.SDKURL(), APIKey: "api-key", SDKKey: "sdk-key",
		Account: "account", Organization: "default", Project: "shop", Environment: "production"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = provider.Close() })

	flagsHeld, err := lru.New(100)
	require.NoError(t, err)
	held := harnessattest.New(timeless{repository.LRUCache{Cache: flagsHeld}})
	sdk, err := client.NewCfClient("sdk-key", client.WithURL(server.SDKURL()), client.WithEventsURL(server.SDKURL()),
		client.WithWaitForInitialized(true), client.WithAnalyticsEnabled(false), client.WithStoreEnabled(false),
		client.WithLogger(logger.NewNoOpLogger()), client.WithCache(held))
	require.NoError(t, err)
	t.Cleanup(func() { _ = sdk.Close() })

	pool, err := pg.Open(t.Context(), pgtest.New(t).DSN, pg.Settings{})
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	require.NoError(t, pg.EnsureSchema(t.Context(), pool))
	a, err := attest.Start(t.Context(), attest.Options{
		Instance: "shop-1", Flags: []string{key, "unknown"}, Source: held, Every: never,
		Exec: func(ctx context.Context, sql string, args ...any) error {
			_, err := pool.Exec(context.WithoutCancel(ctx), sql, args...)
			return err
		},
		OnError: func(err error) { t.Error(err) },
	})
	require.NoError(t, err)
	t.Cleanup(a.Stop)
	reported := func(key string) string {
		all, err := ledger.New(pool).Attestations(t.Context(), key, never, time.Time{})
		require.NoError(t, err)
		if len(all) == 0 {
			return "nothing"
		}
		return fmt.Sprintf("%d %s", all[0].Version, all[0].Value)
	}
	await := func(version int, value string) {
		t.Helper()
		want := fmt.Sprintf("%d %s", version, value)
		require.Eventually(t, func() bool { return reported(key) == want }, patience, look, "want %s", want)
	}

	await(101, "false")
	before, err := provider.Get(t.Context(), key)
	require.NoError(t, err)
	ours := before
	for _, percent := range []int{10, 100} {
		ours, err = provider.Apply(t.Context(), key, flags.Change{Percent: percent}, "test", nil)
		require.NoError(t, err)
		await(ours.SeenAs(), "")
	}
	restored, err := provider.Restore(t.Context(), key, before, ours, "test", nil)
	require.NoError(t, err)
	await(restored.SeenAs(), "false")
	require.Equal(t, "0 ", reported("unknown"))

	require.NoError(t, provider.Archive(t.Context(), key, "test"))
	await(0, "")
}

// timeless is the SDK's cache without the time of its last change, which the SDK writes and reads unguarded.
type timeless struct{ repository.LRUCache }

func (timeless) Updated() time.Time        { return time.Time{} }
func (timeless) SetLogger(_ logger.Logger) {}
