package harness_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/harness"
)

// The kill switch and what is behind the point of no return take rights of their own: who can give them has to be told which.
func TestTheRightThatIsMissingIsNamed(t *testing.T) {
	t.Parallel()
	apply := func(c flags.Change) func(*harness.Provider, context.Context) error {
		return func(p *harness.Provider, ctx context.Context) error {
			_, err := p.Apply(ctx, plain, c, "", nil)
			return err
		}
	}
	for right, attempt := range map[string]func(*harness.Provider, context.Context) error{
		"ff_featureflag_view":   apply(flags.Change{Percent: 50}),
		"ff_featureflag_edit":   apply(flags.Change{Percent: 50}),
		"ff_featureflag_toggle": apply(flags.Change{Percent: 100}),
		"ff_featureflag_delete": func(p *harness.Provider, ctx context.Context) error { return p.Archive(ctx, plain, "") },
		"ff_targetgroup_view": func(p *harness.Provider, ctx context.Context) error {
			return p.Rehearse(ctx, plain, groups(10, "beta"))
		},
		"core_environment_view": func(p *harness.Provider, ctx context.Context) error {
			_, err := p.Elsewhere(ctx, plain)
			return err
		},
	} {
		t.Run(right, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.server.CreateSegment("beta", nil, nil)
			b.server.Deny(right)
			err := attempt(b.provider, t.Context())
			requireDiscreet(t, err)
			require.ErrorIs(t, err, flags.ErrUnauthorized)
			require.ErrorContains(t, err, right)
			require.Equal(t, "off", b.environment(t, plain).State)
		})
	}
	b := setup(t)
	b.server.Deny("ff_featureflag_edit")
	require.ErrorContains(t, b.provider.Create(t.Context(), "made", flags.NewFlag{}), "ff_featureflag_edit")
}
