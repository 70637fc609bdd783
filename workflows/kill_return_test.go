package workflows

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/signals"
)

// returning is a plan whose old shape goes at its end.
const returning = `
name: switched
database: shop
migrations: migrations
flags: {project: shop, environment: production, drain: 0s}
steps:
  - {name: expand, migrate: {to: 2}}
  - {name: write, flag: {key: a, rollout: [100], soak: 1h}}
  - {name: prove, verify: {query: "select 0", max: 0}}
  - {name: ask, approve: {by: [alice, bob]}}
  - {name: read, flag: {key: b, rollout: [100], soak: 1h}}
  - {name: drop, migrate: {to: 3, irreversible: true}}
`

func TestTheOldShapeInUseIsAskedAbout(t *testing.T) {
	t.Parallel()
	for says, forces := range map[string][]bool{signals.Retry: {false, false}, signals.Force: {false, true}} {
		t.Run(says, func(t *testing.T) {
			t.Parallel()
			b := setup(t, planOf(t, returning))
			b.when("Migrate drop", failing(inUseType, "one context is out of flag a"), play{})
			b.after(24*time.Hour, func() {
				require.Equal(t, signals.Stuck, b.status().State)
				require.Equal(t, "step drop: one context is out of flag a; `retry` looks again, `force` goes on all the same, and leaves them without a shape; `rollback` undoes",
					b.status().Needs)
				require.Equal(t, []string{"retry", "force"}, b.status().Answers, "what follows wants it done")
			})
			b.after(25*time.Hour, b.say(says))
			b.approveAll()
			b.completes()
			var forced []bool
			for _, c := range b.made("Migrate drop") {
				forced = append(forced, c.in.(activities.MigrateInput).Force)
				require.Equal(t, b.plan.Flags, c.in.(activities.MigrateInput).Flags)
			}
			require.Equal(t, forces, forced)
		})
	}
}
