package launchdarkly_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/launchdarkly"
	"github.com/contraflow/contraflow/internal/devstack/flagserver"
)

func TestPassingTroubleIsRidden(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusConflict, http.StatusTooManyRequests, http.StatusBadGateway} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.server.Inject(status, 2)
			state, err := b.provider.Apply(t.Context(), plain, flags.Change{Percent: 100}, "", nil)
			require.NoError(t, err)
			require.Equal(t, "on: 100 % true", state.Summary)
			require.Equal(t, 2, b.environment(t, plain).Version, "one change")
		})
	}
}

func TestConflictIsDecidedAnew(t *testing.T) {
	t.Parallel()
	b := setup(t)
	before, err := b.provider.Get(t.Context(), plain)
	require.NoError(t, err)
	ours, err := b.provider.Apply(t.Context(), plain, flags.Change{Percent: 50}, "", nil)
	require.NoError(t, err)
	// While our restore is refused once, a stranger turns the flag off.
	b.wire.onPatch = func(*http.Response) error {
		b.instruct(t, plain, `{"kind": "turnFlagOff"}`)
		return nil
	}
	b.server.Inject(http.StatusConflict, 1)
	// The injected answer is for the provider's PATCH; the stranger's comes after it.
	_, err = b.provider.Restore(t.Context(), plain, before, ours, "", nil)
	require.ErrorIs(t, err, flags.ErrStranger)
	require.ErrorContains(t, err, "it was turned off")
}

func TestRateLimitBeyondTheDeadlineIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	until := time.Now().Add(30 * time.Second).Truncate(time.Millisecond)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Ratelimit-Reset", strconv.FormatInt(until.UnixMilli(), 10))
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	t.Cleanup(server.Close)
	b := setup(t)
	b.config.APIURL = server.URL
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err := b.open(t, b.config).Get(ctx, plain)
	limited, ok := errors.AsType[*flags.RateLimited](err)
	require.True(t, ok)
	require.True(t, until.Equal(limited.Until))
	require.NoError(t, ctx.Err(), "nobody waited for it")
}

func TestServerDownAtStart(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	nobody := "http://" + listener.Addr().String()
	require.NoError(t, listener.Close())
	b := setup(t)
	b.config.APIURL, b.config.StreamURL = nobody, nobody
	provider := b.open(t, b.config)
	_, err = provider.Get(t.Context(), plain)
	requireDiscreet(t, err)
	require.ErrorContains(t, err, nobody)
	require.ErrorContains(t, err, plain)
	require.False(t, flags.Permanent(err))
}

func TestServerDownInTheMiddleAndBack(t *testing.T) {
	t.Parallel()
	options := flagserver.Options{
		Project: "shop", Environment: "production", APIToken: token, SDKKey: sdkKey,
		File: filepath.Join(t.TempDir(), "flags.json"),
	}
	first := flagserver.New(options)
	require.NoError(t, first.Start("127.0.0.1:0"))
	require.NoError(t, first.CreateFlag(plain))
	provider, err := launchdarkly.New(t.Context(), launchdarkly.Config{
		APIURL: first.URL(), StreamURL: first.URL(), Token: token, Project: "shop", Environment: "production", SDKKey: sdkKey,
	})
	require.NoError(t, err)
	ours, err := provider.Apply(t.Context(), plain, flags.Change{Percent: 10}, "", nil)
	require.NoError(t, err)
	require.NoError(t, first.Close())

	_, err = provider.Apply(t.Context(), plain, flags.Change{Percent: 50}, "", nil)
	requireDiscreet(t, err)
	require.ErrorContains(t, err, first.URL())
	require.False(t, flags.Permanent(err))

	second := flagserver.New(options)
	require.NoError(t, second.Start(first.URL()[len("http://"):]))
	t.Cleanup(func() { require.NoError(t, second.Close()) })
	again, err := provider.Get(t.Context(), plain)
	require.NoError(t, err)
	require.Equal(t, ours, again, "the stand-in kept its flags")
	_, err = provider.Apply(t.Context(), plain, flags.Change{Percent: 50}, "", nil)
	require.NoError(t, err)
}

func TestLostAnswerDoesNotChangeTwice(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.wire.onPatch = func(*http.Response) error { return errors.New("connection reset") }
	state, err := b.provider.Apply(t.Context(), plain, flags.Change{Percent: 50}, "", nil)
	require.NoError(t, err)
	require.Equal(t, "on: 50 % true", state.Summary)
	require.Len(t, b.wire.patches(), 1)
}

func TestKilledBetweenChangeAndReadBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	expected, err := b.provider.Preview(t.Context(), plain, flags.Change{Percent: 50})
	require.NoError(t, err)
	before, err := b.provider.Get(t.Context(), plain)
	require.NoError(t, err)
	ctx, kill := context.WithCancel(t.Context())
	b.wire.onPatch = func(*http.Response) error {
		kill()
		return context.Canceled
	}
	_, err = b.provider.Apply(ctx, plain, flags.Change{Percent: 50}, "", nil)
	require.ErrorIs(t, err, context.Canceled)
	require.True(t, b.environment(t, plain).On, "the change had been made")

	// Another process goes on, one forwards, one backwards: what Preview recorded is recognised as our own.
	next := b.open(t, b.config)
	state, err := next.Apply(t.Context(), plain, flags.Change{Percent: 50}, "", nil)
	require.NoError(t, err)
	require.Len(t, b.wire.patches(), 1, "nothing is changed a second time")
	require.True(t, state.Equal(expected))
	restored, err := next.Restore(t.Context(), plain, before, expected, "", nil)
	require.NoError(t, err)
	require.True(t, restored.Equal(before))
}

func TestChangeThatApplicationsDoNotSeeIsNoSuccess(t *testing.T) {
	t.Parallel()
	b, elsewhere := setup(t), setup(t)
	b.config.StreamURL, b.config.ReadBack = elsewhere.server.URL(), 200*time.Millisecond
	_, err := b.open(t, b.config).Apply(t.Context(), plain, flags.Change{Percent: 50}, "", nil)
	requireDiscreet(t, err)
	require.ErrorContains(t, err, elsewhere.server.URL())
	require.ErrorContains(t, err, "does not show it")
	require.False(t, flags.Permanent(err))

	// As soon as applications are served the same, another attempt succeeds without another change.
	_, err = elsewhere.provider.Apply(t.Context(), plain, flags.Change{Percent: 50}, "", nil)
	require.NoError(t, err)
	b.config.ReadBack = time.Minute
	_, err = b.open(t, b.config).Apply(t.Context(), plain, flags.Change{Percent: 50}, "", nil)
	require.NoError(t, err)
	require.Len(t, b.wire.patches(), 1)
}

func TestStreamIsDownWhileTheAPIWorks(t *testing.T) {
	t.Parallel()
	b, down := setup(t), setup(t)
	require.NoError(t, down.server.Close())
	b.config.StreamURL, b.config.ReadBack = down.server.URL(), 200*time.Millisecond
	_, err := b.open(t, b.config).Apply(t.Context(), plain, flags.Change{Percent: 50}, "", nil)
	requireDiscreet(t, err)
	require.ErrorContains(t, err, down.server.URL())
	require.False(t, flags.Permanent(err))
}

func TestWrongSDKKeyIsNamedAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.config.SDKKey = "sdk-key-of-another-environment"
	_, err := b.open(t, b.config).Apply(t.Context(), plain, flags.Change{Percent: 50}, "", nil)
	require.ErrorIs(t, err, flags.ErrUnauthorized)
	require.ErrorContains(t, err, "SDK key")
	require.NotContains(t, err.Error(), b.config.SDKKey)
	require.True(t, flags.Permanent(err))
}

func TestCancelledWhileWaitingForTheStream(t *testing.T) {
	t.Parallel()
	b, elsewhere := setup(t), setup(t)
	b.config.StreamURL = elsewhere.server.URL()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := b.open(t, b.config).Apply(ctx, plain, flags.Change{Percent: 50}, "", nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// frozen is the context of a process that was stopped and goes on before its timers do.
type frozen struct{ context.Context }

func (frozen) Deadline() (time.Time, bool) { return time.Now().Add(-time.Second), true }

func TestNothingIsPatchedTooLate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	off, err := b.provider.Get(t.Context(), plain)
	require.NoError(t, err)
	_, err = b.provider.Apply(frozen{t.Context()}, plain, flags.Change{Percent: 50}, "", nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorIs(t, b.provider.Archive(frozen{t.Context()}, plain, ""), context.DeadlineExceeded)
	require.Empty(t, b.wire.patches())
	ours, err := b.provider.Apply(t.Context(), plain, flags.Change{Percent: 50}, "", nil)
	require.NoError(t, err)
	_, err = b.provider.Restore(frozen{t.Context()}, plain, off, ours, "", nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Len(t, b.wire.patches(), 1)
}

func TestWrongEnvironmentIsNamed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.config.Environment = "staging"
	_, err := b.open(t, b.config).Get(t.Context(), plain)
	require.ErrorIs(t, err, flags.ErrNotFound)
	require.ErrorContains(t, err, `"staging"`)
}

func TestRefusedTargetsStayOutOfTheError(t *testing.T) {
	t.Parallel()
	const person = "erika-mustermann"
	b := setup(t)
	yes, _ := b.ids(t, plain)
	b.instruct(t, plain, `{"kind": "addTargets", "values": ["`+person+`"], "variationId": "`+yes+`"}`)
	before, err := b.provider.Get(t.Context(), plain)
	require.NoError(t, err)
	b.instruct(t, plain, `{"kind": "replaceTargets", "targets": []}`)
	ours, err := b.provider.Get(t.Context(), plain)
	require.NoError(t, err)
	b.wire.instead = onChange(http.StatusBadRequest, `{"code": "invalid_request", "message": "context `+person+` is targeted twice"}`)
	_, err = b.provider.Restore(t.Context(), plain, before, ours, "", nil)
	require.ErrorIs(t, err, flags.ErrInvalid)
	require.ErrorContains(t, err, "invalid_request")
	require.NotContains(t, err.Error(), person)
	// Whoever is turned on by default may stand against other people's pending changes.
	_, err = b.provider.Apply(t.Context(), plain, flags.Change{Percent: 50}, "", nil)
	require.ErrorIs(t, err, flags.ErrInvalid)
	require.NotContains(t, err.Error(), person)
}

func TestARedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	moved := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, b.server.URL()+r.URL.RequestURI(), http.StatusMovedPermanently)
	}))
	t.Cleanup(moved.Close)
	b.config.APIURL = moved.URL
	_, err := b.open(t, b.config).Apply(t.Context(), plain, flags.Change{Percent: 50}, "", nil)
	requireDiscreet(t, err)
	require.ErrorIs(t, err, flags.ErrInvalid)
	require.ErrorContains(t, err, "correct the API URL")
	require.Len(t, b.wire.seen, 1)
}

func TestConfigurationIsChecked(t *testing.T) {
	t.Parallel()
	complete := launchdarkly.Config{Token: token, Project: "shop", Environment: "production", SDKKey: sdkKey}
	_, err := launchdarkly.New(t.Context(), complete)
	require.NoError(t, err, "LaunchDarkly's own addresses are the default")
	for name, spoil := range map[string]func(*launchdarkly.Config){
		"API token": func(c *launchdarkly.Config) { c.Token = "" },
		"project":   func(c *launchdarkly.Config) { c.Project = "" },
		"SDK key":   func(c *launchdarkly.Config) { c.SDKKey = "" },
		"API URL":   func(c *launchdarkly.Config) { c.APIURL = "app.launchdarkly.com" },
		"stream":    func(c *launchdarkly.Config) { c.StreamURL = "ftp://" + token },
	} {
		config := complete
		spoil(&config)
		_, err := launchdarkly.New(t.Context(), config)
		require.ErrorIs(t, err, flags.ErrInvalid, name)
		require.ErrorContains(t, err, name)
		requireDiscreet(t, err)
	}
}
