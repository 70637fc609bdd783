package config

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestADatabaseIsReadWithoutTheOtherSecrets(t *testing.T) {
	t.Parallel()
	const document = `plans: plans
databases: {shop: {dsn: "env:SHOP_DSN"}, other: {dsn: "env:OTHER_DSN"}, leaky: {dsn: "postgres://hunter2@h/db"}}
slack: {channel: C1, token: "env:SLACK_TOKEN", signingSecret: "env:SIGNING", people: {U1: alice}}
`
	path := write(t, document)
	read := func(name string) (string, error) {
		return ReadDatabase(path, name, func(name string) string { return map[string]string{"SHOP_DSN": "postgres://h/shop"}[name] })
	}
	dsn, err := read("shop")
	require.NoError(t, err)
	require.Equal(t, "postgres://h/shop", dsn)
	for name, want := range map[string]string{
		"other": "databases.other.dsn: names the environment variable OTHER_DSN, which is not set",
		"nope":  `has no database "nope"; it knows: leaky, other, shop`,
		"leaky": "databases.leaky.dsn: must be env:NAME or file:PATH",
	} {
		_, err := read(name)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, path)
		require.NotContains(t, err.Error(), marker)
	}
	path = write(t, "databases: {shop: {dns: \"env:SHOP_DSN\"}}\n")
	_, err = read("shop")
	require.ErrorContains(t, err, "line 1")
	path += ".gone"
	_, err = read("shop")
	require.ErrorContains(t, err, "read the worker's configuration")
}
