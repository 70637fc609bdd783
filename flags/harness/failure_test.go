package harness_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/harness"
	"github.com/contraflow/contraflow/internal/devstack/harnessserver"
)

// always is more often than any operation tries.
const always = 20

func TestStatusesMeanWhatTheAPIMeans(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]struct {
		is        error
		permanent bool
		says      string
	}{
		http.StatusBadRequest:          {flags.ErrInvalid, true, "resolve what it names"},
		http.StatusUnauthorized:        {flags.ErrUnauthorized, true, "see that the API key is valid, and has ff_featureflag_view"},
		http.StatusForbidden:           {flags.ErrUnauthorized, true, "see that the API key is valid, and has ff_featureflag_view"},
		http.StatusNotFound:            {flags.ErrNotFound, true, "create the flag"},
		http.StatusConflict:            {flags.ErrConflict, false, "conflict"},
		http.StatusPreconditionFailed:  {flags.ErrConflict, false, "conflict"},
		http.StatusUnprocessableEntity: {flags.ErrInvalid, true, "422"},
		http.StatusTooManyRequests:     {nil, false, "rate limited until"},
		http.StatusInternalServerError: {nil, false, "try again later"},
		http.StatusServiceUnavailable:  {nil, false, "try again later"},
		http.StatusRequestTimeout:      {nil, false, "try again later"},
		http.StatusFailedDependency:    {flags.ErrInvalid, true, "Git repository"},
	} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			before, _ := b.server.Snapshot(plain)
			b.server.Inject(status, always)
			_, err := b.provider.Apply(t.Context(), plain, flags.Change{Percent: 100}, "", nil)
			requireDiscreet(t, err)
			if want.is != nil {
				require.ErrorIs(t, err, want.is)
			}
			require.Equal(t, want.permanent, flags.Permanent(err))
			require.ErrorContains(t, err, want.says)
			require.ErrorContains(t, err, plain)
			require.ErrorContains(t, err, b.server.AdminURL())
			after, _ := b.server.Snapshot(plain)
			require.Equal(t, before, after)
		})
	}
}

func TestPassingTroubleIsRidden(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusConflict, http.StatusPreconditionFailed, http.StatusTooManyRequests, http.StatusBadGateway} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.server.Inject(status, 2)
			require.Equal(t, "on: 100 % true", apply(t, b.provider, 100).Summary)
			require.Equal(t, 2, b.environment(t, plain).Version, "one change")
		})
	}
}

func TestConflictIsDecidedAnew(t *testing.T) {
	t.Parallel()
	b := setup(t)
	before, err := b.provider.Get(t.Context(), plain)
	require.NoError(t, err)
	ours := apply(t, b.provider, 50)
	// While our restore is refused once, a stranger turns the flag off.
	b.server.Inject(http.StatusConflict, 1)
	b.wire.onPatch = func(*http.Response) error {
		b.instruct(t, plain, `{"kind": "setFeatureFlagState", "parameters": {"state": "off"}}`)
		return nil
	}
	_, err = b.provider.Restore(t.Context(), plain, before, ours, "", nil)
	require.ErrorIs(t, err, flags.ErrStranger)
	require.ErrorContains(t, err, "it was turned off")
}

func TestARefusalOfWhatIsNotSoAnyMoreIsDecidedAnew(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.server.CreateTargets("ann")
	asked := 0
	state, err := b.provider.Apply(t.Context(), plain, flags.Change{Targets: map[string][]string{"user": {"ann"}}}, "",
		func(context.Context, flags.State) error {
			if asked++; asked == 1 {
				b.instruct(t, plain, `{"kind": "addTargetsToVariationTargetMap", "parameters": {"variation": "false", "targets": ["ann"]}}`)
			}
			return nil
		})
	require.NoError(t, err)
	require.Equal(t, 2, asked)
	require.Equal(t, "on: 0 % true, 1 target", state.Summary)
}

func TestRateLimitBeyondTheDeadlineIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "30")
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
	deadline, _ := ctx.Deadline()
	require.True(t, limited.Until.After(deadline))
	require.NoError(t, ctx.Err(), "nobody waited for it")
}

func TestServerDownAtStart(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	nobody := "http://" + listener.Addr().String()
	require.NoError(t, listener.Close())
	b := setup(t)
	b.config.APIURL, b.config.SDKURL = nobody, nobody
	_, err = b.open(t, b.config).Get(t.Context(), plain)
	requireDiscreet(t, err)
	require.ErrorContains(t, err, nobody)
	require.ErrorContains(t, err, plain)
	require.False(t, flags.Permanent(err))
}

func TestLostAnswerDoesNotChangeTwice(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.wire.onPatch = func(*http.Response) error { return errors.New("connection reset") }
	require.Equal(t, "on: 50 % true", apply(t, b.provider, 50).Summary)
	require.Len(t, b.wire.changes(), 1)
}

// A gateway gives up on a request that Harness still gets, after the provider has looked again.
func TestARequestThatGetsThroughLateDoesNotDoubleARule(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.server.CreateSegment("beta", nil, nil)
	b.wire.instead = func(late *http.Request) (*http.Response, error) {
		late = late.Clone(t.Context())
		b.wire.instead = func(again *http.Request) (*http.Response, error) {
			response, err := http.DefaultTransport.RoundTrip(late)
			if err == nil {
				err = response.Body.Close()
			}
			if err != nil {
				return nil, err
			}
			return http.DefaultTransport.RoundTrip(again)
		}
		return nil, errors.New("gateway timeout")
	}
	state, err := b.provider.Apply(t.Context(), plain, groups(10, "beta"), "", nil)
	require.NoError(t, err)
	require.Equal(t, "on: 10 % true, 1 rule", state.Summary)
	require.Len(t, b.environment(t, plain).Rules, 1)
	require.Len(t, b.wire.changes(), 2)
}

// Go would send the key to wherever it is sent, and make a GET of a PATCH.
func TestNoKeyIsSentAfterARedirection(t *testing.T) {
	t.Parallel()
	var strayed atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { strayed.Add(1) }))
	t.Cleanup(elsewhere.Close)
	moved := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	t.Cleanup(moved.Close)
	b := setup(t)
	b.config.APIURL = moved.URL
	_, err := b.open(t, b.config).Get(t.Context(), plain)
	requireDiscreet(t, err)
	require.ErrorIs(t, err, flags.ErrInvalid)
	require.ErrorContains(t, err, "correct the API URL")

	b = setup(t)
	b.config.SDKURL, b.config.ReadBack = moved.URL, 200*time.Millisecond
	_, err = b.open(t, b.config).Apply(t.Context(), plain, flags.Change{Percent: 50}, "", nil)
	requireDiscreet(t, err)
	require.ErrorContains(t, err, "answered 307")
	require.Zero(t, strayed.Load())
}

// Its flag is served just so, which proves nothing of ours.
func TestAnSDKKeyOfAnotherEnvironmentProvesNothing(t *testing.T) {
	t.Parallel()
	b, staging := setup(t), setupWith(t, harnessserver.Options{Environment: "staging"})
	staging.config.Environment = "staging"
	apply(t, staging.open(t, staging.config), 50)
	b.config.SDKURL = staging.server.SDKURL()
	_, err := b.open(t, b.config).Apply(t.Context(), plain, flags.Change{Percent: 50}, "", nil)
	requireDiscreet(t, err)
	require.ErrorIs(t, err, flags.ErrUnauthorized)
	require.ErrorContains(t, err, `"staging"`)
	require.ErrorContains(t, err, `"production"`)
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
	require.Equal(t, "on", b.environment(t, plain).State, "the change had been made")

	// Another process goes on, one forwards, one backwards: what Preview recorded is recognised as our own.
	next := b.open(t, b.config)
	require.True(t, apply(t, next, 50).Equal(expected))
	require.Len(t, b.wire.changes(), 1, "nothing is changed a second time")
	restored, err := next.Restore(t.Context(), plain, before, expected, "", nil)
	require.NoError(t, err)
	require.True(t, restored.Equal(before))
}

func TestChangeThatApplicationsDoNotSeeIsNoSuccess(t *testing.T) {
	t.Parallel()
	b, elsewhere := setup(t), setup(t)
	b.config.SDKURL, b.config.ReadBack = elsewhere.server.SDKURL(), 200*time.Millisecond
	provider := b.open(t, b.config)
	_, err := provider.Apply(t.Context(), plain, flags.Change{Percent: 50}, "", nil)
	requireDiscreet(t, err)
	require.ErrorContains(t, err, elsewhere.server.SDKURL())
	require.ErrorContains(t, err, "show another configuration")
	require.False(t, flags.Permanent(err))

	// As soon as applications are served the same, another attempt succeeds without another change.
	apply(t, elsewhere.provider, 50)
	apply(t, provider, 50)
	require.Len(t, b.wire.changes(), 1)
}

func TestStreamTellsWhileTheReadBackWaits(t *testing.T) {
	t.Parallel()
	b, elsewhere := setup(t), setup(t)
	b.config.SDKURL, b.config.ReadBack = elsewhere.server.SDKURL(), time.Minute
	provider := b.open(t, b.config)
	listeners := func() int {
		now, _ := elsewhere.server.Streams()
		return now
	}
	done := make(chan error, 1)
	go func() {
		_, err := provider.Apply(t.Context(), plain, flags.Change{Percent: 50}, "", nil)
		done <- err
	}()
	require.Eventually(t, func() bool { return listeners() == 1 }, 30*time.Second, time.Millisecond)
	apply(t, elsewhere.provider, 50)
	require.NoError(t, <-done)
	require.Eventually(t, func() bool { return listeners() == 0 }, 30*time.Second, time.Millisecond,
		"nothing listens on when the change was seen")
}

func TestSDKEndpointsAreDownWhileTheAPIWorks(t *testing.T) {
	t.Parallel()
	b, down := setup(t), setup(t)
	require.NoError(t, down.server.Close())
	b.config.SDKURL, b.config.ReadBack = down.server.SDKURL(), 200*time.Millisecond
	_, err := b.open(t, b.config).Apply(t.Context(), plain, flags.Change{Percent: 50}, "", nil)
	requireDiscreet(t, err)
	require.ErrorContains(t, err, down.server.SDKURL())
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

func TestAnSDKKeyThatIsNowhereIsNamedAtOnce(t *testing.T) {
	t.Parallel()
	nowhere := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(nowhere.Close)
	b := setup(t)
	b.config.SDKURL = nowhere.URL
	_, err := b.open(t, b.config).Apply(t.Context(), plain, flags.Change{Percent: 50}, "", nil)
	requireDiscreet(t, err)
	require.ErrorIs(t, err, flags.ErrUnauthorized)
	require.ErrorContains(t, err, "correct the SDK URL")
}

func TestCancelledWhileWaitingForSDKs(t *testing.T) {
	t.Parallel()
	b, elsewhere := setup(t), setup(t)
	b.config.SDKURL = elsewhere.server.SDKURL()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := b.open(t, b.config).Apply(ctx, plain, flags.Change{Percent: 50}, "", nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// frozen is the context of a process that was stopped and goes on before its timers do.
type frozen struct{ context.Context }

func (frozen) Deadline() (time.Time, bool) { return time.Now().Add(-time.Second), true }

func TestNothingIsChangedTooLate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	off, err := b.provider.Get(t.Context(), plain)
	require.NoError(t, err)
	_, err = b.provider.Apply(frozen{t.Context()}, plain, flags.Change{Percent: 50}, "", nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorIs(t, b.provider.Archive(frozen{t.Context()}, plain, ""), context.DeadlineExceeded)
	require.Empty(t, b.wire.changes())
	ours := apply(t, b.provider, 50)
	_, err = b.provider.Restore(frozen{t.Context()}, plain, off, ours, "", nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Len(t, b.wire.changes(), 1)
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
	b.instruct(t, plain, `{"kind": "addTargetsToVariationTargetMap", "parameters": {"variation": "true", "targets": ["bert", "`+person+`"]}}`)
	before, err := b.provider.Get(t.Context(), plain)
	require.NoError(t, err)
	b.instruct(t, plain, `{"kind": "removeTargetsToVariationTargetMap", "parameters": {"variation": "true", "targets": ["bert", "`+person+`"]}}`)
	ours, err := b.provider.Get(t.Context(), plain)
	require.NoError(t, err)
	b.wire.refuse(http.StatusBadRequest, `{"code": "400", "message": "target `+person+` is named twice"}`)
	_, err = b.provider.Restore(t.Context(), plain, before, ours, "", nil)
	require.ErrorIs(t, err, flags.ErrInvalid)
	require.NotContains(t, err.Error(), person)
}

func TestConfigurationIsChecked(t *testing.T) {
	t.Parallel()
	complete := harness.Config{
		APIKey: apiKey, Account: "account", Organization: "default", Project: "shop", Environment: "production", SDKKey: sdkKey,
	}
	_, err := harness.New(complete)
	require.NoError(t, err, "Harness's own addresses are the default")
	for name, spoil := range map[string]func(*harness.Config){
		"API key":      func(c *harness.Config) { c.APIKey = "" },
		"account":      func(c *harness.Config) { c.Account = "" },
		"organization": func(c *harness.Config) { c.Organization = "" },
		"project":      func(c *harness.Config) { c.Project = "" },
		"environment":  func(c *harness.Config) { c.Environment = "" },
		"SDK key":      func(c *harness.Config) { c.SDKKey = "" },
		"API URL":      func(c *harness.Config) { c.APIURL = "app.harness.io" },
		"SDK URL":      func(c *harness.Config) { c.SDKURL = "ftp://" + apiKey },
	} {
		config := complete
		spoil(&config)
		_, err := harness.New(config)
		require.ErrorIs(t, err, flags.ErrInvalid, name)
		require.ErrorContains(t, err, name)
		requireDiscreet(t, err)
	}
}
