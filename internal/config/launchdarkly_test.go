package config

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestApprovalsAreWaitedForOrAskedFor(t *testing.T) {
	t.Parallel()
	getenv := map[string]string{"DSN": "postgres://h/db", "TOKEN": "t", "KEY": "k"}
	const head = "plans: p\ndatabases: {shop: {dsn: \"env:DSN\"}}\n"
	for _, c := range []struct{ keys, approvals, says string }{
		{"", WaitForApprovals, ""},
		{", approvals: wait", WaitForApprovals, ""},
		{", approvals: request", RequestApprovals, ""},
		{", approvals: request, notifyTeams: [release-team]", RequestApprovals, ""},
		{", approvals: never", "", "flags.launchdarkly.approvals: must be wait or request"},
		{", notifyTeams: [release-team]", "", "flags.launchdarkly.notifyTeams: goes with approvals: request"},
	} {
		loaded, err := load(t, head+`flags: {launchdarkly: {token: "env:TOKEN", sdkKey: "env:KEY"`+c.keys+"}}\n", getenv)
		if c.says != "" {
			require.ErrorContains(t, err, c.says)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, c.approvals, loaded.Flags.LaunchDarkly.Approvals)
	}
}
