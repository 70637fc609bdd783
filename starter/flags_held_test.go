package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"github.com/contraflow/contraflow/internal/holder"
	"github.com/contraflow/contraflow/internal/ledger"
)

// A claim in a database says nothing of whether its migration still runs: Temporal does, and only the one where it does.
func TestFlagsOfAMigrationThatWasCutOffAreListed(t *testing.T) {
	t.Parallel()
	s := setupStale(t)
	c := dial(t)
	here, err := holder.Home(t.Context(), c, client.DefaultNamespace, server.Address())
	require.NoError(t, err)
	elsewhere := ledger.Home{Namespace: "default", Cluster: "another", Address: "temporal.example:7233"}
	name := strings.ToLower(strings.NewReplacer("/", "-").Replace(t.Name()))
	run := func(plan string) ledger.Holder {
		t.Helper()
		id := name + "-" + plan
		begun, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: id}, "nobody's")
		require.NoError(t, err)
		return ledger.Holder{Migration: id, FirstRun: begun.GetRunID(), Home: here}
	}
	lost := ledger.Holder{Migration: name + "-lost", FirstRun: "x", Home: here}
	apart := ledger.Holder{Migration: name + "-apart", FirstRun: "x", Home: elsewhere}
	cut, running, again := run("cut"), run("running"), run("again")
	for plan, h := range map[string]ledger.Holder{"cut": cut, "running": running, "again": again, "lost": lost, "apart": apart} {
		require.NoError(t, s.flagd.CreateFlag(plan+"-new"))
		s.ranAs(t, s.shop, plan, h, "", plan+"-new")
	}
	for _, h := range []ledger.Holder{cut, again} {
		require.NoError(t, c.TerminateWorkflow(t.Context(), h.Migration, "", "over"))
	}
	run("again") // which will take the plan over

	var a answer
	require.Eventually(t, func() bool {
		a = s.callAt(t, server.Address())
		return strings.Contains(a.stdout, "terminated")
	}, waitFor, every)
	require.Equal(t, exitOK, a.code, a.stderr)
	require.Regexp(t, `(?m)^cut-new +cut +- +terminated +\d+ (s|min) ago +off +new, never asked for$`, a.stdout)
	require.Regexp(t, `(?m)^lost-new +lost +- +not running +not known +off +new, never asked for$`, a.stdout)
	for _, no := range []string{"running-new", "again-new", "apart-new"} {
		require.NotContains(t, a.stdout, no)
	}
	require.Contains(t, a.stderr, "not known whether these still run, and their flags not listed: "+apart.Migration+
		" (that is known in namespace default of Temporal at temporal.example:7233 only")
	require.Equal(t, exitError, s.callAt(t, server.Address(), "--exit-code").code)

	a = s.callAt(t, server.Address(), "--json")
	var list staleFlags
	a.decode(t, &list)
	require.Len(t, list.Flags, 2)
	require.Equal(t, []string{lost.Migration, "not_running"}, []string{list.Flags[0].Migration, list.Flags[0].Outcome}, "nobody knows since when")
	require.Equal(t, []string{cut.Migration, "terminated"}, []string{list.Flags[1].Migration, list.Flags[1].Outcome})
	require.NotContains(t, a.stdout, "0001-01-01")

	// Without Temporal it is said what is not known.
	a = s.call(t)
	require.Equal(t, exitOK, a.code)
	require.Equal(t, "Not known whether a flag of a finished migration is left.\n", a.stdout)
	require.Contains(t, a.stderr, cut.Migration)
	require.Contains(t, a.stderr, running.Migration)
}
