package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const marker = "hunter2"

func write(t *testing.T, document string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "worker.yaml")
	require.NoError(t, os.WriteFile(path, []byte(document), 0o600))
	return path
}

func load(t *testing.T, document string, environment map[string]string) (*Config, error) {
	t.Helper()
	return Load(write(t, document), func(name string) string { return environment[name] })
}

func TestDefaultsAreFilledIn(t *testing.T) {
	t.Parallel()
	path := write(t, "plans: plans\ndatabases: {shop: {dsn: \"env:SHOP_DSN\"}}\n")
	c, err := Load(path, func(string) string { return "postgres://h/db" })
	require.NoError(t, err)
	require.Equal(t, "contraflow", c.TaskQueue)
	require.Equal(t, DefaultListen, c.Listen)
	require.Equal(t, DefaultStopTimeout, c.StopTimeout)
	require.Equal(t, filepath.Join(filepath.Dir(path), "plans"), c.Plans)
	require.Equal(t, "postgres://h/db", c.Databases["shop"].ConnectionString())
	require.Nil(t, c.Slack)
}

func TestEmptyKeysAreNoOtherThanMissingOnes(t *testing.T) {
	t.Parallel()
	c, err := load(t, "plans: p\ntaskQueue: \"\"\nlisten: \"\"\ndatabases: {shop: {dsn: \"env:D\"}}\n", map[string]string{"D": "x"})
	require.NoError(t, err)
	require.Equal(t, "contraflow", c.TaskQueue)
	require.Equal(t, DefaultListen, c.Listen, "an empty address would listen on every interface")
}

func TestEverythingIsRead(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "token"), []byte("  a token\n"), 0o600))
	path := filepath.Join(folder, "worker.yaml")
	require.NoError(t, os.WriteFile(path, []byte(`
taskQueue: mine
plans: /plans
databases: {shop: {dsn: "env:SHOP"}, stock: {dsn: "env:STOCK"}}
flags: {launchdarkly: {token: "file:token", sdkKey: "env:SDK", apiURL: "http://a:1", streamURL: "http://b:2"}}
slack: {channel: C1, token: "env:SLACK", signingSecret: "env:SIGN", apiURL: "http://c/api", people: {U1: alice}}
temporalUI: http://ui:8233
listen: 127.0.0.1:0
stopTimeout: 3s
`), 0o600))
	c, err := Load(path, func(name string) string { return "value of " + name })
	require.NoError(t, err)
	token, sdkKey := c.Flags.LaunchDarkly.Secrets()
	require.Equal(t, []string{"a token", "value of SDK"}, []string{token, sdkKey}, "a secret's file lies beside the configuration")
	token, secret := c.Slack.Secrets()
	require.Equal(t, []string{"value of SLACK", "value of SIGN"}, []string{token, secret})
	require.Equal(t, "http://c/api/", c.Slack.APIURL, "slack-go puts the method right behind it")
	require.Equal(t, "value of STOCK", c.Databases["stock"].ConnectionString())
	require.Equal(t, "/plans", c.Plans)
	require.Equal(t, 3*time.Second, c.StopTimeout)
}

func TestHarnessIsRead(t *testing.T) {
	t.Parallel()
	c, err := load(t, `plans: p
databases: {shop: {dsn: "env:D"}}
flags: {harness: {apiKey: "env:KEY", sdkKey: "env:SDK", account: a, organization: default, apiURL: "http://a:1", sdkURL: "http://b:2"}}
`, map[string]string{"D": "x", "KEY": "key", "SDK": "sdk"})
	require.NoError(t, err)
	apiKey, sdkKey := c.Flags.Harness.Secrets()
	require.Equal(t, []string{"key", "sdk"}, []string{apiKey, sdkKey})
	require.Equal(t, []string{"a", "default"}, []string{c.Flags.Harness.Account, c.Flags.Harness.Organization})
}

func TestAFlagFileLiesBesideTheConfiguration(t *testing.T) {
	t.Parallel()
	path := write(t, "plans: p\ndatabases: {shop: {dsn: \"env:D\"}}\nflags: {flagfile: {path: flags.json}}\n")
	c, err := Load(path, func(string) string { return "x" })
	require.NoError(t, err)
	require.Equal(t, filepath.Join(filepath.Dir(path), "flags.json"), c.Flags.FlagFile.Path)
}

func TestEveryMistakeIsToldAtOnceByItsKey(t *testing.T) {
	t.Parallel()
	_, err := load(t, `planz: plans
databases:
  stock: {dsn: "env:NOT_SET"}
  shop: {dsn: "file:/does/not/exist"}
flags: {launchdarkly: {apiURL: "localhost:80"}, flagfile: {}, postgres: {database: hunter2}, harness: {sdkURL: "config.ff.harness.io"}}
slack: {people: {}, apiURL: "ftp://x"}
temporalUI: nowhere
stopTimeout: -1s
`, nil)
	require.Error(t, err)
	for _, want := range []string{
		"line 1: field planz", "plans: is missing",
		"databases.stock.dsn: names the environment variable NOT_SET, which is not set", "databases.shop.dsn: names a file that can't be read",
		"flags: has 4 providers", "flags.harness.apiKey: is missing", "flags.harness.sdkKey: is missing",
		"flags.harness.account: is missing", "flags.harness.organization: is missing", "flags.harness.sdkURL: must be a URL", "flags.postgres.database: must be one of databases: shop, stock", "flags.launchdarkly.token: is missing", "flags.launchdarkly.sdkKey: is missing",
		"flags.launchdarkly.apiURL: must be a URL", "flags.flagfile.path: is missing",
		"slack.token: is missing", "slack.signingSecret: is missing", "slack.apiURL: must be a URL", "slack.channel: is missing", "slack.people: is empty",
		"temporalUI: must be a URL", "stopTimeout: must not be negative",
	} {
		require.ErrorContains(t, err, want)
	}
	require.Less(t, strings.Index(err.Error(), "databases.shop"), strings.Index(err.Error(), "databases.stock"), "in a fixed order")
	require.Contains(t, err.Error(), "worker.yaml:\n  ")
}

func TestAnEmptyFileIsToldWhatItNeeds(t *testing.T) {
	t.Parallel()
	for _, document := range []string{"", "# nothing\n"} {
		_, err := load(t, document, nil)
		require.ErrorContains(t, err, "plans: is missing")
		require.ErrorContains(t, err, "databases: is empty")
	}
	_, err := Load(filepath.Join(t.TempDir(), "none.yaml"), os.Getenv)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestSecretsThatStandInTheFileAreRefusedAndNotRepeated(t *testing.T) {
	t.Parallel()
	const head = "plans: p\n"
	for _, document := range []string{
		`databases: {shop: {dsn: "postgres://me:hunter2@h/db"}}`,
		`databases: {shop: {dsn: "env:postgres://me:hunter2@h/db"}}`,
		`databases: {shop: {dsn: "host=h password=hunter2"}}`,
		`databases: {shop: {dsn: hunter2}}`,
		`databases: {shop: hunter2}`,
		`databases: {shop: "postgres://hunter2:hunter2@h/db"}`,
		`databases: {shop: {dsn: [hunter2]}}`,
		`databases: {shop: {dsn: {hunter2: hunter2}}}`,
		`databases: {shop: {dsn: *hunter2}}`,
		"databases: {shop: {dsn: \"env:D\"}}\nslack: hunter2",
		"databases: {shop: {dsn: \"env:D\"}}\nslack: \"`hunter2`'\"",
		"databases: {shop: {dsn: \"env:D\"}}\nslack: {token: xoxb-hunter2}",
		"databases: {shop: {dsn: postgres://me:hunter2@h: 1}}",
		"databases: {shop: {dsn: \"env:D\"}}\nstopTimeout: hunter2",
	} {
		_, err := load(t, head+document, map[string]string{"D": "x"})
		require.Error(t, err, document)
		require.NotContains(t, err.Error(), marker, document)
		require.Contains(t, err.Error(), "worker.yaml", document)
	}
}

func TestAnEmptySecretFileIsNoSecret(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty")
	require.NoError(t, os.WriteFile(empty, []byte(" \n"), 0o600))
	_, err := load(t, "plans: p\ndatabases: {shop: {dsn: \"file:"+empty+"\"}}", nil)
	require.ErrorContains(t, err, "databases.shop.dsn: names the file "+empty+", which is empty")
}

func TestKeysGivenTwiceAndSecondDocumentsAreRefused(t *testing.T) {
	t.Parallel()
	_, err := load(t, "plans: p\nplans: q\ndatabases: {shop: {dsn: \"env:D\"}}\n", map[string]string{"D": "x"})
	require.ErrorContains(t, err, "line 2")
	_, err = load(t, "plans: p\ndatabases: {shop: {dsn: \"env:D\"}}\n---\nplans: q\n", map[string]string{"D": "x"})
	require.ErrorContains(t, err, "second document")
}
