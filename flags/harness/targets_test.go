package harness_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/devstack/harnessserver"
)

// person is a target that no error may name.
const person = "erika.mustermann@example.org"

var (
	withPerson = flags.Change{Percent: 10, Targets: map[string][]string{"user": {person, "known"}}}
	noPerson   = flags.Change{Exclude: &flags.Context{Kind: "user", Key: person}}
)

// knowing is a server that knows one other target, and does with unknown ones what it is told.
func knowing(t *testing.T, unknown harnessserver.UnknownTargets) bundle {
	b := setupWith(t, harnessserver.Options{UnknownTargets: unknown})
	b.server.CreateTargets("known")
	return b
}

// Nobody knows what Harness does with a target that it has forgotten, so it must make no difference.
var unknowns = map[string]harnessserver.UnknownTargets{
	"refuse": harnessserver.RefuseUnknown, "leave out": harnessserver.LeaveOutUnknown, "take": harnessserver.TakeUnknown,
}

func TestTargetsThatHarnessDoesNotKnowAreAdded(t *testing.T) {
	t.Parallel()
	for name, unknown := range unknowns {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := knowing(t, unknown)
			require.NoError(t, b.provider.Rehearse(t.Context(), plain, withPerson))
			require.Equal(t, []string{"known"}, b.server.Targets(), "looked for only")
			require.Equal(t, "on: 10 % true, 2 targets", change(t, b, plain, withPerson).Summary)
			changes := b.wire.changes()
			require.Len(t, changes, 2)
			require.Equal(t, "/gateway/cf/admin/targets"+scope, changes[0].target)
			require.JSONEq(t, `{"identifier": "`+person+`", "name": "`+person+`", "anonymous": false, "attributes": {}, "account": "account", "org": "default",
				"project": "shop", "environment": "production"}`, changes[0].body)
			b.server.ForgetTargets(person) // which the flag names
			change(t, b, plain, noPerson)
			require.Len(t, b.wire.changes(), 3)

			b = knowing(t, unknown)
			require.Equal(t, "off", change(t, b, plain, noPerson).Summary)
			require.Equal(t, person, b.environment(t, plain).VariationMap[0].Targets[0].Identifier)
		})
	}
}

func TestATargetThatCannotBeAddedStopsTheChangeBeforeAnyPartOfIt(t *testing.T) {
	t.Parallel()
	for name, unknown := range unknowns {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := knowing(t, unknown)
			b.server.Deny("ff_targetgroup_edit")
			_, err := b.provider.Apply(t.Context(), plain, withPerson, "", nil)
			requireDiscreet(t, err)
			require.NotContains(t, err.Error(), person)
			require.ErrorIs(t, err, flags.ErrUnauthorized)
			require.ErrorContains(t, err, "ff_targetgroup_edit")
			require.ErrorContains(t, err, "doesn't name all targets")
			require.Equal(t, 1, b.environment(t, plain).Version)
		})
	}
}

// The kill switch tries all the same, and says what has come of it.
func TestAKillOfOneContextIsTriedWithoutTheRightToAddTargets(t *testing.T) {
	t.Parallel()
	for name, unknown := range unknowns {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := knowing(t, unknown)
			b.server.Deny("ff_targetgroup_edit", "ff_targetgroup_view")
			change(t, b, plain, flags.Change{Percent: 50})
			urgent := flags.Urgent(t.Context())
			_, err := b.provider.Apply(urgent, plain, noKnown, "", nil)
			require.NoError(t, err)
			_, err = b.provider.Apply(urgent, plain, noPerson, "", nil)
			if unknown == harnessserver.TakeUnknown {
				require.NoError(t, err)
				return
			}
			requireDiscreet(t, err)
			require.NotContains(t, err.Error(), person)
			require.ErrorIs(t, err, flags.ErrUnauthorized)
			require.NotErrorIs(t, err, flags.ErrNotFound, "the flag is there")
			require.ErrorContains(t, err, "or serve everybody the same")
			require.Len(t, b.environment(t, plain).VariationMap[0].Targets, 1)
		})
	}
}

func TestATargetThatIsLeftOutIsNoStranger(t *testing.T) {
	t.Parallel()
	for name, unknown := range unknowns {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := knowing(t, unknown)
			forgotten := func(context.Context, flags.State) error {
				b.server.ForgetTargets(person)
				return nil
			}
			_, err := b.provider.Apply(t.Context(), plain, withPerson, "", forgotten)
			if unknown == harnessserver.TakeUnknown {
				require.NoError(t, err)
				return
			}
			requireDiscreet(t, err)
			require.NotContains(t, err.Error(), person)
			require.ErrorIs(t, err, flags.ErrInvalid)
			require.NotErrorIs(t, err, flags.ErrConflict)
			require.NotErrorIs(t, err, flags.ErrNotFound)
		})
	}
}

func TestATargetThatAnSDKIsQuickerToAddIsNamed(t *testing.T) {
	t.Parallel()
	b := knowing(t, harnessserver.RefuseUnknown)
	b.server.CreateTargets(person)
	b.config.HTTPClient = &http.Client{Transport: older{http.DefaultTransport, "/" + person}} // a look that comes too early
	state, err := b.open(t, b.config).Apply(t.Context(), plain, withPerson, "", nil)
	require.NoError(t, err)
	require.Equal(t, "on: 10 % true, 2 targets", state.Summary)
}

func TestAStrangerWhoComesAsATargetIsLeftOutIsDecidedOnAnew(t *testing.T) {
	t.Parallel()
	b, asked := knowing(t, harnessserver.LeaveOutUnknown), 0
	b.server.CreateTargets(person)
	state, err := b.provider.Apply(t.Context(), plain, withPerson, "", func(context.Context, flags.State) error {
		if asked++; asked == 1 {
			b.server.ForgetTargets(person)
			b.instruct(t, plain, `{"kind": "addRule", "parameters": {"uuid": "theirs", "priority": 1, "serve": {"variation": "false"}, "clauses":
				[{"attribute": "country", "op": "in", "values": ["at"]}]}}`)
		}
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, "on: 10 % true, 2 targets, 1 rule", state.Summary)
}

func TestNobodyIsATargetWithoutAnIdentifierOfHarness(t *testing.T) {
	t.Parallel()
	b := knowing(t, harnessserver.TakeUnknown)
	const strange = "ann+test:4711/ä"
	named := flags.Change{Percent: 10, Targets: map[string][]string{"user": {strange, "known"}}}
	excluded := flags.Change{Exclude: &flags.Context{Kind: "user", Key: strange}}
	for wayOut, err := range map[string]error{
		"put them into a target group":            b.provider.Rehearse(t.Context(), plain, named),
		"target group by an attribute":            b.provider.RehearseCreate(t.Context(), "made", flags.NewFlag{}, []flags.Change{named}),
		"turn the flag off for everybody instead": b.provider.Rehearse(t.Context(), plain, excluded),
	} {
		requireDiscreet(t, err)
		require.ErrorIs(t, err, flags.ErrInvalid)
		require.ErrorContains(t, err, wayOut)
		require.NotContains(t, err.Error(), strange)
	}
	require.Empty(t, b.wire.changes())
	b.instruct(t, plain, `{"kind": "addTargetsToVariationTargetMap", "parameters": {"variation": "true", "targets": ["`+strange+`"]}}`)
	change(t, b, plain, excluded) // it can be one after all
}

// failing loses all requests about single targets.
type failing struct{ next http.RoundTripper }

func (f failing) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.Contains(r.URL.Path, "/targets/") {
		return nil, errors.New("connection reset")
	}
	return f.next.RoundTrip(r)
}

func TestNoErrorOfALookForTargetsNamesOne(t *testing.T) {
	t.Parallel()
	b := knowing(t, harnessserver.RefuseUnknown)
	b.config.HTTPClient = &http.Client{Transport: failing{http.DefaultTransport}}
	provider := b.open(t, b.config)
	err := provider.Rehearse(t.Context(), plain, withPerson)
	requireDiscreet(t, err)
	require.ErrorContains(t, err, "connection reset")
	require.NotContains(t, err.Error(), "mustermann")
	require.False(t, flags.Permanent(err))
	_, err = provider.Apply(flags.Urgent(t.Context()), plain, noPerson, "", nil)
	requireDiscreet(t, err)
	require.ErrorContains(t, err, "connection reset")
	require.NotContains(t, err.Error(), "mustermann")
}
