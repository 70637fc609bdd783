package config

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTargetsAreReadWithoutTheWorkersOtherSecrets(t *testing.T) {
	t.Parallel()
	path := write(t, `plans: plans
databases: {shop: {dsn: "env:SHOP_DSN"}, other: {dsn: "env:OTHER_DSN"}, leaky: {dsn: "postgres://hunter2@h/db"}}
flags: {launchdarkly: {token: "env:TOKEN", sdkKey: "env:SDK"}}
slack: {channel: C1, token: "env:SLACK_TOKEN", signingSecret: "env:SIGNING", people: {U1: alice}}
`)
	environment := map[string]string{"SHOP_DSN": "postgres://h/shop", "TOKEN": "token", "SDK": "sdk"}
	c, unreadable, err := LoadTargets(path, func(name string) string { return environment[name] })
	require.NoError(t, err)
	require.Len(t, c.Databases, 1)
	require.Equal(t, "postgres://h/shop", c.Databases["shop"].ConnectionString())
	token, sdkKey := c.Flags.LaunchDarkly.Secrets()
	require.Equal(t, []string{"token", "sdk"}, []string{token, sdkKey})
	require.Len(t, unreadable, 2)
	require.ErrorContains(t, unreadable["other"], "databases.other.dsn: names the environment variable OTHER_DSN, which is not set")
	require.ErrorContains(t, unreadable["leaky"], "databases.leaky.dsn: must be env:NAME or file:PATH")
	require.NotContains(t, unreadable["leaky"].Error(), marker)

	delete(environment, "TOKEN")
	_, _, err = LoadTargets(path, func(name string) string { return environment[name] })
	require.ErrorContains(t, err, "flags.launchdarkly.token: names the environment variable TOKEN, which is not set")
	require.ErrorContains(t, err, path)
	require.NotContains(t, err.Error(), "slack")
	_, _, err = LoadTargets(path+".gone", func(string) string { return "" })
	require.ErrorContains(t, err, "read the worker's configuration")
}

func TestAFlagFileOfTheTargetsLiesBesideTheConfiguration(t *testing.T) {
	t.Parallel()
	path := write(t, "databases: {shop: {dsn: \"env:D\"}}\nflags: {flagfile: {path: flags.json}}\n")
	c, _, err := LoadTargets(path, func(string) string { return "x" })
	require.NoError(t, err)
	require.Equal(t, filepath.Join(filepath.Dir(path), "flags.json"), c.Flags.FlagFile.Path)
}

func TestFlagsThatNobodyCanReachAreAnError(t *testing.T) {
	t.Parallel()
	_, _, err := LoadTargets(write(t, "databases: {shop: {dsn: \"env:D\"}}\nflags: {postgres: {database: shop}}\n"), func(string) string { return "" })
	require.ErrorContains(t, err, "databases.shop.dsn: names the environment variable D")
	_, _, err = LoadTargets(write(t, "flags: {flagfile: {}, postgres: {database: shop}}\n"), func(string) string { return "x" })
	require.ErrorContains(t, err, "flags: has 2 providers")
}
