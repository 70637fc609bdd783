package activities

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/harness"
	"github.com/contraflow/contraflow/plan"
)

// without sends no request with one of its parameters, as if Harness did not know it.
type without string

func (w without) RoundTrip(r *http.Request) (*http.Response, error) {
	query := r.URL.Query()
	query.Del(string(w))
	r.URL.RawQuery = query.Encode()
	return http.DefaultTransport.RoundTrip(r)
}

func onOlderHarness(t *testing.T, parameter string) (*bundle, Begun) {
	t.Helper()
	b, begun, server := begunOnHarness(t)
	_, err := b.apply(t, begun.flag("write-new", writeNew, 100))
	require.NoError(t, err)
	server.Evaluated(writeNew)
	provider, err := harness.New(harness.Config{APIURL: server.AdminURL(), SDKURL: server.SDKURL(), APIKey: apiToken, SDKKey: sdkKey,
		Account: "account", Organization: "default", Project: "shop", Environment: "production",
		HTTPClient: &http.Client{Transport: without(parameter)}})
	require.NoError(t, err)
	b.acts.Flags = func(plan.FlagScope) (flags.Provider, error) { return provider, nil }
	return b, begun
}

// A flag in full use must not be archived because nobody is told of it.
func TestAFlagWhoseStatusHarnessDoesNotTellIsNotRetired(t *testing.T) {
	t.Parallel()
	b, begun := onOlderHarness(t, "metrics")
	in := RetireInput{Origin: begun.origin("retire"), Scope: scope, Retire: plan.Retire{Flags: []string{writeNew}}}
	_, err := b.mayRetire(t, in, call{})
	requirePermanent(t, err, "InUse", "whether flag "+writeNew+" is in use can't be seen", "doesn't tell who asks for it")
}

// A Harness from before it archived deletes: that is said, and behind that there is nothing left to do.
func TestAFlagThatHarnessDeletesIsSaidToBeGone(t *testing.T) {
	t.Parallel()
	b, begun := onOlderHarness(t, "forceDelete")
	in := begun.flag("retire", writeNew, 100)
	requirePermanent(t, b.retire(t, in), "Flag", "deleted it for good")
	require.NoError(t, b.retire(t, in), "a person has asked again")
}
