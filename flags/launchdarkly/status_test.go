package launchdarkly_test

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/devstack/flagserver"
)

// onChange answers every change with this, and lets all else through.
func onChange(status int, body string, header ...string) func(*http.Request) *http.Response {
	return func(r *http.Request) *http.Response {
		if r.Method != http.MethodPatch {
			return nil
		}
		out := &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
		for i := 0; i < len(header); i += 2 {
			out.Header.Set(header[i], header[i+1])
		}
		return out
	}
}

// The bodies are the documented ones: https://launchdarkly.com/docs/api/feature-flags/patch-feature-flag, and for what a role
// lacks https://github.com/launchdarkly/ldcli/pull/87
func TestStatusesMeanWhatTheAPIMeans(t *testing.T) {
	t.Parallel()
	soon := strconv.FormatInt(time.Now().Add(time.Hour).UnixMilli(), 10)
	for name, c := range map[string]struct {
		status    int
		body      string
		header    []string
		given     func(bundle)
		is        error
		permanent bool
		tries     int
		says      []string
	}{
		"400": {
			status: 400, body: `{"code": "invalid_request", "message": "Invalid request body"}`,
			is: flags.ErrInvalid, permanent: true, tries: 1, says: []string{"invalid_request", "malformed, or impossible"},
		},
		"400, a change is scheduled": {
			status: 400, body: `{"code": "invalid_request", "message": "conflict"}`,
			given: func(b bundle) { b.server.Schedule(plain, time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)) },
			is:    flags.ErrInvalid, permanent: true, tries: 1, says: []string{"scheduled for 2030-01-02T03:04:05Z"},
		},
		"401": {
			status: 401, body: `{"code": "unauthorized", "message": "Invalid access token"}`,
			is: flags.ErrUnauthorized, permanent: true, tries: 1, says: []string{"renew the API token"},
		},
		"403": {
			status: 403, body: `{"code": "forbidden", "message": "Forbidden. Access to the requested resource was denied."}`,
			is: flags.ErrUnauthorized, permanent: true, tries: 1, says: []string{"give the API token the rights", `"shop"`, `"production"`},
		},
		"403, the role lacks an action": {
			status: 403,
			body: `{"message": "Access to the requested resource was denied", "reason": {"effect": "deny"},
				"access": {"action": "updateOn", "resource": "proj/shop:env/production:flag/plain"}, "code": "forbidden"}`,
			is: flags.ErrUnauthorized, permanent: true, tries: 1, says: []string{`action "updateOn" on "proj/shop:env/production:flag/plain"`},
		},
		"404": {
			status: 404, body: `{"code": "not_found", "message": "Invalid resource identifier"}`,
			is: flags.ErrNotFound, permanent: true, tries: 1, says: []string{"create the flag"},
		},
		"405": {
			status: 405, body: `{"code": "method_not_allowed", "message": "Method not allowed"}`,
			given: func(b bundle) { b.server.Require(2) },
			is:    flags.ErrApprovalRequired, permanent: true, tries: 1,
			says: []string{"2 approvals (service launchdarkly)", `environment "production"`, "/shop/production/features/plain"},
		},
		"409": {
			status: 409, body: `{"code": "optimistic_locking_error", "message": "Conflict. Optimistic lock error. Try again later."}`,
			is: flags.ErrConflict, tries: 5, says: []string{"optimistic_locking_error"},
		},
		"422": {
			status: 422, body: `{"code": "patch_failed", "message": "Unprocessable entity. Could not apply patch."}`,
			is: flags.ErrInvalid, permanent: true, tries: 1, says: []string{"does not understand the instructions"},
		},
		"429, all requests": {
			status: 429, body: `{"code": "rate_limited", "message": "You've exceeded the API rate limit. Try again later."}`,
			header: []string{"X-Ratelimit-Global-Remaining", "0", "X-Ratelimit-Reset", soon}, tries: 1,
			says: []string{"the account's limit of requests is used up", "rate limited until"},
		},
		"429, such requests": {
			status: 429, header: []string{"X-Ratelimit-Route-Remaining", "0", "X-Ratelimit-Global-Remaining", "7", "X-Ratelimit-Reset", soon},
			tries: 1, says: []string{"the account's limit of such requests"},
		},
		"429, this address": {
			status: 429, header: []string{"Retry-After", "3600"}, tries: 1, says: []string{"requests from this address", "rate limited until"},
		},
		"500":                     {status: 500, tries: 5, says: []string{"try again later"}},
		"503":                     {status: 503, body: `<html>a proxy</html>`, tries: 5, says: []string{"try again later"}},
		"409 that echoes a token": {status: 409, body: `{"message": "with ` + token + `"}`, is: flags.ErrConflict, tries: 5},
	} {
		for _, way := range both() {
			t.Run(name+" "+way.name, func(t *testing.T) {
				t.Parallel()
				b := setup(t)
				b.server.TakeJSONPatches(way.taken)
				if c.given != nil {
					c.given(b)
				}
				conditional := 0 // what is not understood, is said otherwise once
				if c.is == flags.ErrInvalid && way.taken == flagserver.Tested {
					conditional = 1
				}
				before, _ := b.server.Snapshot(plain)
				b.wire.instead = onChange(c.status, c.body, c.header...)
				_, err := b.provider.Apply(t.Context(), plain, flags.Change{Percent: 100}, "", nil)
				requireDiscreet(t, err)
				if c.is != nil {
					require.ErrorIs(t, err, c.is)
				}
				require.Equal(t, c.permanent, flags.Permanent(err))
				for _, part := range append(c.says, plain, b.server.URL()) {
					require.ErrorContains(t, err, part)
				}
				require.Len(t, b.wire.patches(), c.tries+conditional)
				after, _ := b.server.Snapshot(plain)
				require.Equal(t, before, after)
			})
		}
	}
}

func TestWhatIsNotThereIsNamed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ project, environment, key, says string }{
		"flag":        {"shop", "production", "absent", `create the flag in project "shop"`},
		"environment": {"shop", "staging", "absent", `there is no environment "staging" in project "shop"`},
		"project":     {"other", "production", plain, `there is no project "other"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.config.Project, b.config.Environment = c.project, c.environment
			_, err := b.open(t, b.config).Get(t.Context(), c.key)
			requireDiscreet(t, err)
			require.ErrorIs(t, err, flags.ErrNotFound)
			require.ErrorContains(t, err, c.says)
		})
	}
}

func TestAWaitForTheRateLimitIsTold(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.server.Inject(http.StatusTooManyRequests, 1)
	var heard []string
	began := time.Now()
	ctx := flags.Telling(t.Context(), func(waiting string) { heard = append(heard, waiting) })
	_, err := b.provider.Get(ctx, plain)
	require.NoError(t, err)
	require.Len(t, heard, 2)
	require.Contains(t, heard[0], "LaunchDarkly limits requests until ")
	require.Empty(t, heard[1], "the wait is over")
	require.GreaterOrEqual(t, time.Since(began), 50*time.Millisecond, "the reset time, and jitter")
}
