package activities

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/harnessserver"
	"github.com/contraflow/contraflow/plan"
)

// Harness archives a flag in every environment of its project: who is served by it in another is in the way.
func TestRetireLooksAtHarnesssOtherEnvironments(t *testing.T) {
	t.Parallel()
	b, begun, server := begunOnHarness(t)
	in := RetireInput{Origin: begun.origin("retire"), Scope: scope, Retire: plan.Retire{Flags: []string{writeNew}}}
	_, err := b.apply(t, begun.flag("write-new", writeNew, 100))
	require.NoError(t, err)
	server.Evaluated(writeNew)
	may, err := b.mayRetire(t, in, call{})
	require.NoError(t, err, "launched, and in no other environment")
	require.Len(t, may.Notes, 1)

	asked := harnessserver.Status{Status: "active", LastAccess: time.Now().Add(-3 * time.Hour).UnixMilli()}
	server.Elsewhere("staging", writeNew, "off", asked)
	server.Elsewhere("canary", writeNew, "on", asked)
	server.Depend("staging", readNew, writeNew)
	_, err = b.mayRetire(t, in, call{})
	requirePermanent(t, err, "InUse", "flag "+writeNew+" is active in environment staging, asked for 3 h ago, and is archived there as well",
		"is a prerequisite of "+readNew+" (environment staging)")
	require.NotContains(t, err.Error(), "canary")
}
