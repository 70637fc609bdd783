package launchdarkly_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
)

// before lets a stranger act right before the provider's first PATCH.
func (w *wire) before(act func()) {
	acted := false
	w.instead = func(r *http.Request) *http.Response {
		if r.Method == http.MethodPatch && !acted {
			acted = true
			act()
		}
		return nil
	}
}

func TestAFlagThatIsArchivedAtTheSameMomentIsFoundSo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	archive := func() {
		b.rest(t, http.MethodPatch, "/api/v2/flags/shop/plain", `{"instructions": [{"kind": "archiveFlag"}]}`)
	}
	b.wire.before(archive)
	_, err := b.provider.Apply(t.Context(), plain, flags.Change{Percent: 50}, "", nil)
	require.ErrorIs(t, err, flags.ErrArchived)

	b = setup(t)
	off, err := b.provider.Get(t.Context(), plain)
	require.NoError(t, err)
	ours, err := b.provider.Apply(t.Context(), plain, flags.Change{Percent: 50}, "", nil)
	require.NoError(t, err)
	b.wire.before(archive)
	_, err = b.provider.Restore(t.Context(), plain, off, ours, "", nil)
	var stranger *flags.Stranger
	require.ErrorAs(t, err, &stranger)
	require.Equal(t, &flags.Stranger{Key: plain, Differs: []string{"it was archived"}, Ours: "on: 50 % true", Theirs: "archived"}, stranger)

	b = setup(t)
	b.wire.before(archive)
	require.NoError(t, b.provider.Archive(t.Context(), plain, ""), "somebody else has done it")
}

func TestARefusalOfWhatIsNotSoAnyMoreIsDecidedAnew(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.furnish(t, "furnished")
	require.NoError(t, b.server.PutSegment("beta", nil))
	b.wire.before(func() { // the rule before which ours shall stand
		b.instruct(t, "furnished", `{"kind": "removeRule", "ruleId": "`+b.environment(t, "furnished").Rules[0].ID+`"}`)
	})
	state, err := b.provider.Apply(t.Context(), "furnished", flags.Change{Percent: 100, Segments: []string{"beta"}}, "", nil)
	require.NoError(t, err)
	require.Equal(t, "on: 100 % true, 2 targets, 1 rule", state.Summary)
	require.Len(t, b.wire.patches(), 2)
}

func TestADeletedRequestIsFiledAgain(t *testing.T) {
	t.Parallel()
	b, p := petitioner(t)
	_, err := b.apply(t, p, 50)
	requireWaiting(t, err)
	gone := b.server.Approvals(plain)[0].ID
	b.rest(t, http.MethodDelete, requestPath+"/"+gone, "")
	_, err = b.apply(t, p, 50)
	require.NotContains(t, requireWaiting(t, err), gone)
	require.Len(t, b.server.Approvals(plain), 1)
}

func TestAnApprovedRequestIsNotAppliedToWhatAStrangerMadeOfTheFlag(t *testing.T) {
	t.Parallel()
	b, p := petitioner(t)
	off, err := p.Get(t.Context(), plain)
	require.NoError(t, err)
	b.instruct(t, plain, `{"kind": "turnFlagOn"}`)
	ours, err := p.Get(t.Context(), plain)
	require.NoError(t, err)
	_, err = p.Restore(t.Context(), plain, off, ours, note, nil)
	requireWaiting(t, err)
	b.server.Review(plain, "erika", "approve")
	yes, _ := b.ids(t, plain)
	b.wire.instead = func(r *http.Request) *http.Response { // while the request is looked up
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/approval-requests") {
			b.instruct(t, plain, `{"kind": "addTargets", "values": ["theirs"], "variationId": "`+yes+`"}`)
		}
		return nil
	}
	_, err = p.Restore(t.Context(), plain, off, ours, note, nil)
	require.ErrorIs(t, err, flags.ErrStranger)
	require.Empty(t, b.wire.all(http.MethodPost, "/apply"))
}

func TestARateLimitThatNamesNoMomentOrAPastOneIsRidden(t *testing.T) {
	t.Parallel()
	b := setup(t)
	resets := []string{"", strconv.FormatInt(time.Now().Add(-time.Hour).UnixMilli(), 10), "soon"}
	var asked atomic.Int32
	b.wire.instead = func(*http.Request) *http.Response {
		n := int(asked.Add(1)) - 1
		if n >= len(resets) {
			return nil
		}
		out := answered(http.StatusTooManyRequests, "")
		out.Header.Set("X-Ratelimit-Reset", resets[n])
		return out
	}
	began := time.Now()
	_, err := b.provider.Get(t.Context(), plain)
	require.NoError(t, err)
	require.EqualValues(t, len(resets)+1, asked.Load())
	require.GreaterOrEqual(t, time.Since(began), 2*time.Second, "a second where none is named")
}

// zeros is an endless answer.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	return copy(p, bytes.Repeat([]byte{' '}, len(p))), nil
}

func TestAnAnswerThatIsTooLargeIsNamed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.wire.instead = func(*http.Request) *http.Response {
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(zeros{})}
	}
	_, err := b.provider.Get(t.Context(), plain)
	require.ErrorIs(t, err, flags.ErrInvalid)
	require.ErrorContains(t, err, "larger than 32 MB")
}

func TestAStreamThatEndsWithARefusalIsNamed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var connected atomic.Int32
	stream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if connected.Add(1) > 1 {
			w.WriteHeader(http.StatusUnauthorized) // the key was taken away
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = fmt.Fprint(w, "event: put\ndata: {\"path\": \"/\", \"data\": {\"flags\": {}, \"segments\": {}}}\n\n")
	}))
	t.Cleanup(stream.Close)
	b.config.StreamURL = stream.URL
	_, err := b.open(t, b.config).Apply(t.Context(), plain, flags.Change{Percent: 50}, "", nil)
	requireDiscreet(t, err)
	require.ErrorIs(t, err, flags.ErrUnauthorized)
	require.ErrorContains(t, err, "SDK key")
	require.True(t, b.environment(t, plain).On, "the change was made")
}
