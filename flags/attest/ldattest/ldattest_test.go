package ldattest_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/launchdarkly/go-sdk-common/v3/ldcontext"
	"github.com/launchdarkly/go-sdk-common/v3/ldvalue"
	ldclient "github.com/launchdarkly/go-server-sdk/v7"
	"github.com/launchdarkly/go-server-sdk/v7/ldcomponents"
	"github.com/launchdarkly/go-server-sdk/v7/ldfiledata"
	"github.com/launchdarkly/go-server-sdk/v7/ldfilewatch"
	"github.com/launchdarkly/go-server-sdk/v7/testhelpers/ldtestdata"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/attest"
	"github.com/contraflow/contraflow/flags/attest/ldattest"
	"github.com/contraflow/contraflow/flags/flagfile"
	"github.com/contraflow/contraflow/flags/launchdarkly"
	"github.com/contraflow/contraflow/internal/devstack/flagserver"
	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/internal/ledger"
	"github.com/contraflow/contraflow/internal/pg"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const (
	key      = "customers-write-new"
	instance = "shop-1"
	patience = time.Minute
	look     = 5 * time.Millisecond
	// never is an interval that no test lives to see: what is reported was a change.
	never = time.Hour
)

// bundle is an application with a flag in some service, and the database that is migrated.
type bundle struct {
	client *ldclient.LDClient
	pool   *pgxpool.Pool
	ledger *ledger.Ledger
}

func setup(t *testing.T, sdkKey string, config ldclient.Config) bundle {
	t.Helper()
	config.Logging, config.DiagnosticOptOut = ldcomponents.NoLogging(), true
	if config.Events == nil {
		config.Events = ldcomponents.NoEvents()
	}
	client, err := ldclient.MakeCustomClient(sdkKey, config, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	pool, err := pg.Open(t.Context(), pgtest.New(t).DSN, pg.Settings{})
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	require.NoError(t, pg.EnsureSchema(t.Context(), pool))
	return bundle{client, pool, ledger.New(pool)}
}

func (b bundle) attest(t *testing.T) *attest.Attester {
	t.Helper()
	a, err := attest.Start(t.Context(), attest.Options{
		Instance: instance, Flags: []string{key, "unknown"}, Source: ldattest.Source(b.client), Every: never,
		Exec: func(ctx context.Context, sql string, args ...any) error {
			_, err := b.pool.Exec(context.WithoutCancel(ctx), sql, args...)
			return err
		},
		OnError: func(err error) { t.Error(err) },
	})
	require.NoError(t, err)
	t.Cleanup(a.Stop)
	return a
}

// reported is "version value", as the step that waits reads it.
func (b bundle) reported(t *testing.T, key string) string {
	all, err := b.ledger.Attestations(t.Context(), key, never, time.Time{})
	require.NoError(t, err)
	switch len(all) {
	case 0:
		return "nothing"
	case 1:
	default:
		return "several"
	}
	require.True(t, strings.HasPrefix(all[0].Instance, instance+"-"))
	return fmt.Sprintf("%d %s", all[0].Version, all[0].Value)
}

func (b bundle) await(t *testing.T, version int, value string) {
	t.Helper()
	want := strconv.Itoa(version) + " " + value
	require.Eventually(t, func() bool { return b.reported(t, key) == want }, patience, look, "want %s", want)
}

// follows changes the flag through a provider: the version that the step compares is the one that the application reports.
func (b bundle) follows(t *testing.T, provider flags.Provider) {
	t.Helper()
	before, err := provider.Get(t.Context(), key)
	require.NoError(t, err)
	ours := before
	for _, percent := range []int{1, 50, 100} {
		ours, err = provider.Apply(t.Context(), key, flags.Change{Percent: percent}, "test", nil)
		require.NoError(t, err)
		b.await(t, ours.SeenAs(), "")
	}
	off, err := provider.Apply(t.Context(), key, flags.Change{Percent: 0}, "test", nil)
	require.NoError(t, err)
	b.await(t, off.SeenAs(), "false")
	ours, err = provider.Apply(t.Context(), key, flags.Change{Percent: 100}, "test", nil)
	require.NoError(t, err)
	restored, err := provider.Restore(t.Context(), key, before, ours, "test", nil)
	require.NoError(t, err)
	b.await(t, restored.SeenAs(), "false")
	require.Equal(t, "0 ", b.reported(t, "unknown"), "the SDK does not know it, and the report says so")
}

func launchDarkly(t *testing.T) (*flagserver.Server, *launchdarkly.Provider) {
	t.Helper()
	server := flagserver.New(flagserver.Options{Project: "shop", Environment: "production", APIToken: "api-token", SDKKey: "sdk-key"})
	require.NoError(t, server.Start("127.0.0.1:0"))
	t.Cleanup(func() { _ = server.Close() })
	require.NoError(t, server.CreateFlag(key))
	provider, err := launchdarkly.New(t.Context(), launchdarkly.Config{APIURL: server.URL(), StreamURL: server.URL(),
		Token: "api-token", SDKKey: "sdk-key", Project: "shop", Environment: "production"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = provider.Close() })
	return server, provider
}

func TestAnApplicationOnTheStreamAttestsWhatTheStepComparesWith(t *testing.T) {
	t.Parallel()
	server, provider := launchDarkly(t)
	b := setup(t, "sdk-key", ldclient.Config{ServiceEndpoints: ldcomponents.RelayProxyEndpoints(server.URL())})
	b.attest(t)
	b.follows(t, provider)
}

func TestAnApplicationOnAFlagFileAttestsWhatTheStepComparesWith(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "flags.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"flags": {"`+key+`": {"key": "`+key+`", "version": 4, "on": false,
		"variations": [true, false], "fallthrough": {"variation": 0}, "offVariation": 1, "salt": "s"}}}`), 0o600))
	provider, err := flagfile.New(file)
	require.NoError(t, err)
	b := setup(t, "sdk-key", ldclient.Config{DataSource: ldfiledata.DataSource().FilePaths(file).Reloader(ldfilewatch.WatchFiles)})
	b.attest(t)
	b.await(t, 4, "false")
	b.follows(t, provider)
}

func TestOnlyAFlagThatIsOffIsKnownToServeEverybodyOneValue(t *testing.T) {
	t.Parallel()
	source := ldtestdata.DataSource()
	b := setup(t, "sdk-key", ldclient.Config{DataSource: source})
	stages := []ldvalue.Value{ldvalue.String("off"), ldvalue.String("shadow"), ldvalue.String("complete")}
	source.Update(source.Flag(key).Variations(stages...).On(false).OffVariationIndex(0).FallthroughVariationIndex(1))
	b.attest(t)
	b.await(t, 1, "off")
	source.Update(source.Flag(key).On(true))
	b.await(t, 2, "")
	source.Update(source.Flag(key).BooleanFlag().On(false).OffVariation(true))
	b.await(t, 3, "true")
	source.Update(source.Flag(key).Variations(ldvalue.Int(1), ldvalue.Int(2)).On(false).OffVariationIndex(0))
	b.await(t, 4, "")
}

func TestAnApplicationWithoutFlagsAttestsNone(t *testing.T) {
	t.Parallel()
	b := setup(t, "sdk-key", ldclient.Config{ServiceEndpoints: ldcomponents.RelayProxyEndpoints("http://127.0.0.1:1")})
	b.attest(t)
	b.await(t, 0, "")
}

// Retirement believes what LaunchDarkly hears of a flag.
func TestToAttestIsNoEvaluation(t *testing.T) {
	t.Parallel()
	server, provider := launchDarkly(t)
	const other = "other"
	require.NoError(t, server.CreateFlag(other))
	b := setup(t, "sdk-key", ldclient.Config{ServiceEndpoints: ldcomponents.RelayProxyEndpoints(server.URL()),
		Events: ldcomponents.SendEvents().FlushInterval(10 * time.Millisecond)})
	b.attest(t)
	on, err := provider.Apply(t.Context(), key, flags.Change{Percent: 100}, "test", nil)
	require.NoError(t, err)
	b.await(t, on.SeenAs(), "")
	_, err = b.client.BoolVariation(other, ldcontext.New("4711"), false)
	require.NoError(t, err)
	activity := func(key string) flags.Activity {
		status, err := provider.Status(t.Context(), key)
		require.NoError(t, err)
		return status.Activity
	}
	require.Eventually(t, func() bool { return activity(other) != flags.New }, patience, look)
	require.Equal(t, flags.New, activity(key))
}

// The SDK stops for a listener that is there and doesn't read.
func TestTheSDKGoesOnBehindAnAttesterThatWasStoppedInTheMidstOfChanges(t *testing.T) {
	t.Parallel()
	source := ldtestdata.DataSource()
	b := setup(t, "sdk-key", ldclient.Config{DataSource: source})
	source.Update(source.Flag(key).On(false))
	for range 50 {
		a := b.attest(t)
		changed := make(chan struct{})
		go func() {
			defer close(changed)
			for i := range 100 {
				source.Update(source.Flag(key).On(i%2 == 0))
			}
		}()
		a.Stop()
		<-changed
	}
	require.Eventually(t, func() bool { return b.reported(t, key) == "nothing" }, patience, look, "each has said goodbye")
	source.Update(source.Flag(key).On(true))
	on, err := b.client.BoolVariation(key, ldcontext.New("4711"), false)
	require.NoError(t, err)
	require.True(t, on)
}

// What one look costs beside a hundred other flags.
func BenchmarkSee(b *testing.B) {
	source := ldtestdata.DataSource()
	for i := range 100 {
		source.Update(source.Flag(fmt.Sprint("flag-", i)).On(true))
	}
	client, err := ldclient.MakeCustomClient("sdk-key", ldclient.Config{DataSource: source, Events: ldcomponents.NoEvents(),
		Logging: ldcomponents.NoLogging()}, time.Minute)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	see := ldattest.Source(client)
	b.ReportAllocs()
	for b.Loop() {
		if len(see.See([]string{"flag-1", "flag-2"})) != 2 {
			b.Fatal("not seen")
		}
	}
}
