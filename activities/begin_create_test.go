package activities

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/plan"
)

// expanding comes before the flag: nothing of it may be done when the flag turns out to be impossible.
const expanding = "  - {name: expand, migrate: {to: 2}}\n"

func TestBeginRefusesAFlagThatCannotBeMade(t *testing.T) {
	t.Parallel()
	all := slices.Sorted(maps.Keys(flagServices))
	const made = expanding + "  - {name: move, flag: {key: made, create: {}, "
	for title, c := range map[string]struct {
		steps string
		in    []string // the services that can't
		says  []string
	}{
		"a segment that is missing": {made + "rollout: [10, 100], segments: [no-such-segment]}}\n", all, []string{"step move", "segment"}},
		"stages":                    {made + "stages: [dualwrite, complete]}}\n", []string{"postgres"}, []string{"step move", "boolean flags only"}},
		"targets of another kind":   {made + "rollout: [0, 100], targets: {account: [acme]}}}\n", []string{"harness"}, []string{"step move", "no account"}},
		"one of two": {expanding + "  - {name: move, flag: {keys: [customers-write-new, made], create: {}, rollout: [0, 100], segments: [no-such-segment]}}\n",
			all, []string{"step move", "segment"}},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.only(t, c.steps)
			for _, name := range c.in {
				service := flagServices[name](t, pgtest.New(t))
				b.acts.Flags = func(plan.FlagScope) (flags.Provider, error) { return service.provider, nil }
				_, err := b.begin(t, "p", "run-1")
				requirePermanent(t, err, "Flag", c.says...)
				require.NotContains(t, err.Error(), "acme")
				_, err = service.provider.Get(t.Context(), "made")
				require.ErrorIs(t, err, flags.ErrNotFound, "it was only tried")
			}
			b.untouched(t)
		})
	}
}

func TestBeginTakesAFlagThatCanBeMade(t *testing.T) {
	t.Parallel()
	for name, open := range flagServices {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			service := open(t, pgtest.New(t))
			b.acts.Flags = func(plan.FlagScope) (flags.Provider, error) { return service.provider, nil }
			steps := expanding + "  - {name: move, flag: {key: made, create: {tags: [contraflow]}, rollout: [0, 10, 100], contextKind: account, targets: {user: [erika]}}}\n" +
				"  - {name: again, flag: {key: made, rollout: [50]}}\n" // which lowers nothing, and so asks for nothing
			if service.staged {
				steps += "  - {name: stages, flag: {key: staged, create: {}, stages: [dualwrite, complete]}}\n"
			}
			b.only(t, steps)
			_, err := b.begin(t, "p", "run-1")
			require.NoError(t, err)
			for _, key := range []string{"made", "staged"} {
				_, err = service.provider.Get(t.Context(), key)
				require.ErrorIs(t, err, flags.ErrNotFound, "its step makes it")
			}
			in := FlagInput{Origin: Begun{Plan: &plan.Plan{Name: "p"}}.origin("move"), Key: "made", ContextKind: "account", Create: &plan.Create{}}
			require.NoError(t, service.provider.(flags.Creator).Create(t.Context(), "made", in.newFlag("p")), "the kind of a percentage is not the flag's")
		})
	}
}

func TestBeginAsksWhetherTheTokenMayMakeFlags(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.only(t, expanding+"  - {name: move, flag: {key: made, create: {}}}\n")
	b.flagd.Role("reader")
	_, err := b.begin(t, "p", "run-1")
	requirePermanent(t, err, "Flag", "step move", "made", "the role reader", "createFlag")
	b.untouched(t)
	b.flagd.Role("", "some-custom-role") // which nobody can judge
	_, err = b.begin(t, "p", "run-1")
	require.NoError(t, err)
}

func TestBeginTellsThatANewFlagWillWaitForApproval(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.only(t, "  - {name: move, flag: {key: made, create: {}, rollout: [10, 100]}}\n  - {name: again, flag: {key: made}}\n")
	b.flagd.Require(2)
	_, err := b.begin(t, "p", "run-1")
	require.NoError(t, err)
	require.Equal(t, 1, one[int](t, b, "select count(*)::int from contraflow.audit where event = 'flag will wait' and detail like '%made%2 approvals%'"))
}
