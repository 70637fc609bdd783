package harness_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/devstack/harnessserver"
)

var noKnown = flags.Change{Exclude: &flags.Context{Kind: "user", Key: "known"}}

// looks for single targets that got an answer.
func (b bundle) looks() (n int) {
	for _, r := range b.wire.seen {
		if strings.Contains(r.target, "/targets/") {
			n++
		}
	}
	return n
}

func crowd(n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("person-%d", i))
	}
	return out
}

// limited answers each 12th request with 429.
type limited struct {
	next  http.RoundTripper
	asked int
}

func (l *limited) RoundTrip(r *http.Request) (*http.Response, error) {
	if l.asked++; l.asked%12 == 0 {
		return &http.Response{StatusCode: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"0"}}, Body: http.NoBody, Request: r}, nil
	}
	return l.next.RoundTrip(r)
}

// Harness limits requests by the minute: an attempt that always began with the first target would never come to the last one.
func TestMoreTargetsThanALimitLetsThroughAreAddedByAndBy(t *testing.T) {
	t.Parallel()
	for name, unknown := range unknowns {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := knowing(t, unknown)
			people := crowd(60)
			b.server.CreateTargets(people[10:]...)
			b.config.HTTPClient = &http.Client{Transport: &limited{next: b.wire}}
			provider, named := b.open(t, b.config), flags.Change{Percent: 10, Targets: map[string][]string{"user": people}}
			state, err := provider.Apply(t.Context(), plain, named, "", nil)
			for attempt := 1; err != nil && attempt < 10; attempt++ { // as the step's own retries do
				_, ok := errors.AsType[*flags.RateLimited](err)
				require.True(t, ok, "%v", err)
				require.Equal(t, 1, b.environment(t, plain).Version, "no part of it is made")
				state, err = provider.Apply(t.Context(), plain, named, "", nil)
			}
			require.NoError(t, err)
			require.Equal(t, "on: 10 % true, 60 targets", state.Summary)
			require.Len(t, b.wire.changes(), 11, "ten targets are added once, and one patch made")
			require.Equal(t, 60, b.looks(), "each is looked for once")
		})
	}
}

// upTo passes requests on until that many have looked for a target, and ends the attempt amid the last of them.
type upTo struct {
	next http.RoundTripper
	left int
	end  func()
}

func (u *upTo) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.Contains(r.URL.Path, "/targets/") {
		if u.left--; u.left == 0 {
			u.end()
		}
	}
	return u.next.RoundTrip(r)
}

// The kill switch shares the limit: a plan with very many targets must leave it some of the minute's requests.
func TestMoreThanAHundredTargetsAreLookedForSlowlyAndByTheNextAttempt(t *testing.T) {
	t.Parallel()
	b, people, began := setup(t), crowd(106), time.Now()
	b.server.CreateTargets(people...)
	named := flags.Change{Percent: 10, Targets: map[string][]string{"user": people}}
	var told []string
	ctx, end := context.WithCancel(t.Context())
	defer end()
	b.config.HTTPClient = &http.Client{Transport: &upTo{b.wire, 103, end}}
	provider := b.open(t, b.config)
	_, err := provider.Apply(flags.Telling(ctx, func(waiting string) { told = append(told, waiting) }), plain, named, "", nil)
	requireDiscreet(t, err)
	require.ErrorIs(t, err, context.Canceled)
	require.NotContains(t, err.Error(), "person-")
	require.Empty(t, b.wire.changes())
	require.Equal(t, []string{"106 targets are looked for in Harness, which limits requests", ""}, told)
	state, err := provider.Apply(t.Context(), plain, named, "", nil)
	require.NoError(t, err)
	require.Equal(t, "on: 10 % true, 106 targets", state.Summary)
	require.GreaterOrEqual(t, time.Since(began), 1500*time.Millisecond, "the last six have 0.3 s each")
	require.LessOrEqual(t, b.looks(), 107, "but for the one that the end has cut off, each is looked for once")
}

// hanging never answers requests about targets.
type hanging struct{ next http.RoundTripper }

func (h hanging) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.Contains(r.URL.Path, "/targets") {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	return h.next.RoundTrip(r)
}

func TestAKillOfOneContextWaitsForNoTarget(t *testing.T) {
	t.Parallel()
	b := knowing(t, harnessserver.RefuseUnknown)
	b.config.HTTPClient = &http.Client{Transport: hanging{b.wire}}
	state, err := b.open(t, b.config).Apply(flags.Urgent(t.Context()), plain, noKnown, "kill", nil)
	require.NoError(t, err)
	require.Equal(t, "known", b.environment(t, plain).VariationMap[0].Targets[0].Identifier)
	require.Equal(t, b.environment(t, plain).Version, state.Version)
	require.Len(t, b.wire.seen, 3, "read, changed, and read")
}

// Where Harness has refused it, or left it out, the flag is as it was: the patch is made again.
func TestAKillOfOneContextAddsATargetOnlyWhereItHasTo(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][]string{"refuse": {"PATCH", "POST", "PATCH"}, "leave out": {"PATCH", "POST", "PATCH"}, "take": {"PATCH"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := knowing(t, unknowns[name])
			change(t, b, plain, flags.Change{Percent: 50})
			before, err := b.provider.Get(t.Context(), plain)
			require.NoError(t, err)
			b.wire.seen = nil
			_, err = b.provider.Apply(flags.Urgent(t.Context()), plain, noPerson, "kill", func(_ context.Context, found flags.State) error {
				require.True(t, found.Equal(before))
				return nil
			})
			require.NoError(t, err)
			var methods []string
			for _, r := range b.wire.changes() {
				methods = append(methods, r.method)
			}
			require.Equal(t, want, methods)
			require.Equal(t, person, b.environment(t, plain).VariationMap[0].Targets[0].Identifier)
		})
	}
}

func TestNoTargetIsAddedThatIsNotWantedAnyMore(t *testing.T) {
	t.Parallel()
	for name, ctx := range map[string]context.Context{"superseded": t.Context(), "late": frozen{t.Context()}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := knowing(t, harnessserver.RefuseUnknown)
			_, err := b.provider.Apply(ctx, plain, withPerson, "", func(context.Context, flags.State) error {
				if name == "superseded" {
					return flags.ErrSuperseded
				}
				return nil
			})
			require.Error(t, err)
			require.Empty(t, b.wire.changes())
			require.Equal(t, []string{"known"}, b.server.Targets())
		})
	}
}

// What takes minutes gives strangers time.
func TestAStrangerWhoComesAsTargetsAreAddedIsDecidedOnAnew(t *testing.T) {
	t.Parallel()
	b, asked := knowing(t, harnessserver.TakeUnknown), 0
	state, err := b.provider.Apply(t.Context(), plain, withPerson, "", func(context.Context, flags.State) error {
		if asked++; asked == 1 {
			b.instruct(t, plain, `{"kind": "addTargetsToVariationTargetMap", "parameters": {"variation": "false", "targets": ["theirs"]}}`)
		}
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, "on: 10 % true, 3 targets", state.Summary)
	require.Len(t, b.wire.changes(), 2, "added, and patched once")
	require.Equal(t, 2, asked)
}
