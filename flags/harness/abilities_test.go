package harness_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
)

func TestACreationIsAsDocumented(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.NoError(t, b.provider.Create(t.Context(), "made", flags.NewFlag{
		Name: "Made", Description: "for a migration", Tags: []string{"team checkout"}}))
	require.NoError(t, b.provider.Create(t.Context(), "move", flags.NewFlag{Migration: true}))
	changes := b.wire.changes()
	require.Len(t, changes, 2)
	require.Equal(t, http.MethodPost, changes[0].method)
	require.Equal(t, "/gateway/cf/admin/features"+scope, changes[0].target)
	require.JSONEq(t, `{"identifier": "made", "name": "Made", "description": "for a migration", "kind": "boolean", "project": "shop", "permanent": false,
		"defaultOnVariation": "true", "defaultOffVariation": "false", "tags": [{"identifier": "team_checkout", "name": "team checkout"}],
		"variations": [{"identifier": "true", "name": "true", "value": "true"}, {"identifier": "false", "name": "false", "value": "false"}]}`, changes[0].body)
	for _, part := range []string{`"kind":"string"`, `"name":"move"`, `"defaultOnVariation":"off"`, `"defaultOffVariation":"off"`, `"value":"rampdown"`} {
		require.Contains(t, changes[1].body, part)
	}
}

func TestACreationWhoseAnswerIsLostIsMadeOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.wire.instead = func(r *http.Request) (*http.Response, error) {
		response, err := http.DefaultTransport.RoundTrip(r)
		if err == nil {
			err = errors.Join(errors.New("connection reset"), response.Body.Close())
		}
		return nil, err
	}
	require.NoError(t, b.provider.Create(t.Context(), "made", flags.NewFlag{}))
	require.Len(t, b.wire.changes(), 1)
}

func TestAFlagThatSomebodyElseCreatesMeanwhileIsLookedAt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.wire.instead = func(r *http.Request) (*http.Response, error) {
		b.server.CreateFlag("made")
		return http.DefaultTransport.RoundTrip(r)
	}
	require.NoError(t, b.provider.Create(t.Context(), "made", flags.NewFlag{}))
	b.wire.instead = func(r *http.Request) (*http.Response, error) {
		b.server.CreateFlag("move")
		return http.DefaultTransport.RoundTrip(r)
	}
	require.ErrorIs(t, b.provider.Create(t.Context(), "move", flags.NewFlag{Migration: true}), flags.ErrInvalid)
}

func TestNothingIsCreatedTooLateOrByAKindThatHarnessDoesNotKnow(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.ErrorIs(t, b.provider.Create(frozen{t.Context()}, "made", flags.NewFlag{}), flags.Late(frozen{t.Context()}))
	err := b.provider.Create(t.Context(), "made", flags.NewFlag{Migration: true, ContextKind: "account"})
	require.ErrorIs(t, err, flags.ErrInvalid)
	require.ErrorContains(t, err, "account")
	require.ErrorIs(t, b.provider.Create(t.Context(), "not a key", flags.NewFlag{}), flags.ErrInvalid)
	_, err = b.provider.Get(t.Context(), "made")
	require.ErrorIs(t, err, flags.ErrNotFound)
}

func TestACreationIsRehearsedAsFarAsItCanBe(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.server.CreateSegment("beta", nil, nil)
	rollout := func(segments ...string) []flags.Change {
		return []flags.Change{{Percent: 10, ContextKind: "country", Segments: segments}, {Percent: 100}}
	}
	b.server.Inject(http.StatusServiceUnavailable, 2)
	require.NoError(t, b.provider.RehearseCreate(t.Context(), "made", flags.NewFlag{ContextKind: "country"}, rollout("beta")))
	err := b.provider.RehearseCreate(t.Context(), "made", flags.NewFlag{}, rollout("beta", "beta2"))
	require.ErrorIs(t, err, flags.ErrInvalid)
	require.ErrorContains(t, err, `no target group "beta2"`)
	for key, f := range map[string]flags.NewFlag{"made": {Migration: true, ContextKind: "account"}, "not a key": {}, "": {}} {
		require.ErrorIs(t, b.provider.RehearseCreate(t.Context(), key, f, nil), flags.ErrInvalid, key)
		require.ErrorIs(t, b.provider.Create(t.Context(), key, f), flags.ErrInvalid, key)
	}
	b.server.Inject(http.StatusForbidden, 1)
	require.ErrorIs(t, b.provider.RehearseCreate(t.Context(), "made", flags.NewFlag{}, nil), flags.ErrUnauthorized)
	require.Empty(t, b.wire.changes())
}

// older is a Harness that doesn't know a request yet.
type older struct {
	next    http.RoundTripper
	without string // how the path ends
}

func (o older) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Path, o.without) {
		return &http.Response{StatusCode: http.StatusNotFound, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
	}
	return o.next.RoundTrip(r)
}

// Harness is asked for dependents alone: listing whole projects is what gets an API key limited.
func TestDependentsAreFoundOnAllPages(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var want []string
	for i := range 330 { // of whom 110 depend: more than two pages of the stand-in's
		key := fmt.Sprintf("flag-%03d", i)
		b.server.CreateFlag(key)
		if i%3 == 0 {
			b.instruct(t, key, `{"kind": "addPrerequisite", "parameters": {"feature": "plain", "variations": ["true"]}}`)
			want = append(want, key)
		}
	}
	b.server.Inject(http.StatusServiceUnavailable, 2)
	got, err := b.provider.Dependents(t.Context(), plain)
	require.NoError(t, err)
	require.Equal(t, want, got)
	for _, r := range b.wire.seen {
		require.False(t, strings.HasPrefix(r.target, "/gateway/cf/admin/features?"), r.target)
	}
	b.config.HTTPClient = &http.Client{Transport: older{http.DefaultTransport, "/dependants"}}
	got, err = b.open(t, b.config).Dependents(t.Context(), plain)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

// forgetful is a Harness from before it archived flags: it doesn't know the parameter that asks for that.
type forgetful struct{ next http.RoundTripper }

func (f forgetful) RoundTrip(r *http.Request) (*http.Response, error) {
	query := r.URL.Query()
	query.Del("forceDelete")
	r.URL.RawQuery = query.Encode()
	return f.next.RoundTrip(r)
}

func TestAFlagThatHarnessDeletedIsNotSaidToBeArchived(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.config.HTTPClient = &http.Client{Transport: forgetful{http.DefaultTransport}}
	err := b.open(t, b.config).Archive(t.Context(), plain, "")
	requireDiscreet(t, err)
	require.ErrorIs(t, err, flags.ErrNotFound)
	require.ErrorContains(t, err, "deleted it for good")
	_, there := b.server.Snapshot(plain)
	require.False(t, there)
}
