package launchdarkly_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/launchdarkly/go-sdk-common/v3/ldcontext"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
)

func TestTargetsOfOtherKindsThatAnExcludedContextMayBeAreTold(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var told []string
	ctx := flags.Telling(t.Context(), func(waiting string) { told = append(told, waiting) })
	_, err := b.provider.Apply(ctx, plain, flags.Change{Percent: 100, Targets: map[string][]string{"user": {"anna", "eve"}, "account": {"umbrella"}}}, note, nil)
	require.NoError(t, err)
	require.Empty(t, told)
	for range 2 { // also when it is pressed again
		_, err = b.provider.Apply(ctx, plain, flags.Change{Exclude: &flags.Context{Kind: "account", Key: "acme"}}, note, nil)
		require.NoError(t, err)
	}
	require.Len(t, told, 4)
	require.Contains(t, told[0], "2 individual targets of other kinds than account are served true by name")
	require.Empty(t, told[1], "nothing is waited for")
	require.NotContains(t, strings.Join(told, ""), "anna")
	// What it says is true.
	value, err := b.application(t).BoolVariation(plain, ldcontext.NewMulti(ldcontext.New("anna"), ldcontext.NewWithKind("account", "acme")), false)
	require.NoError(t, err)
	require.True(t, value)
}

func TestAFlagWithoutAnOffVariationIsRefusedAtTheStart(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.stage(t, "staged", "user")
	b.wire.instead = func(r *http.Request) *http.Response {
		response, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			return nil
		}
		defer response.Body.Close()
		raw, _ := io.ReadAll(response.Body)
		var flag map[string]any
		if json.Unmarshal(raw, &flag) == nil {
			delete(flag["environments"].(map[string]any)["production"].(map[string]any), "offVariation")
			raw, _ = json.Marshal(flag)
		}
		response.Body = io.NopCloser(bytes.NewReader(raw))
		return response
	}
	for key, c := range map[string]flags.Change{plain: {Percent: 10}, "staged": {Stage: flags.StageShadow}} {
		_, err := b.provider.Preview(t.Context(), key, c)
		require.ErrorIs(t, err, flags.ErrNotRestorable)
		require.ErrorContains(t, err, "the kill switch could not turn it off: give it an off variation")
		require.ErrorIs(t, b.provider.Rehearse(t.Context(), key, c), flags.ErrNotRestorable)
	}
}
