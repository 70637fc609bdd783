package main

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/watch"
	"github.com/contraflow/contraflow/signals"
)

// firstWrite is a writer that tells when something has been written.
type firstWrite struct {
	mu   sync.Mutex
	all  strings.Builder
	once sync.Once
	seen chan struct{}
}

func (w *firstWrite) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.once.Do(func() { close(w.seen) })
	return w.all.Write(p)
}

func (w *firstWrite) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all.String()
}

func TestADecisionIsAnsweredAtOnce(t *testing.T) {
	t.Parallel()
	const id = "decide"
	startWorker(t, id)
	startStub(t, id)

	refused := call(t, "approve", id, "cutover", "--by", "mallory")
	require.Equal(t, exitError, refused.code)
	require.Equal(t, `migration decide refuses the decision on step cutover: mallory may not decide on plan hash "`+stubHash+"\". If you go by another name there, say so with --by NAME\n", refused.stderr)

	other := call(t, "approve", id, "cutover", "--by", "alice", "--plan-hash", "ffff", "--json")
	require.Equal(t, exitError, other.code)
	require.Empty(t, other.stderr)
	require.NotContains(t, other.stdout, "--by", "her name is known")
	require.Contains(t, other.stdout, `"exitCode": 1`)

	accepted := call(t, "approve", id, "cutover", "--by", "alice", "--reason", "fine", "--json")
	require.Zero(t, accepted.code, accepted.stdout)
	var d decided
	accepted.decode(t, &d)
	require.Equal(t, signals.Decision{Step: "cutover", By: "alice", Verdict: signals.Approved, Reason: "fine", PlanHash: stubHash, Via: "cli"}, d.Decision)
	require.True(t, d.Receipt.Decided)
	require.False(t, d.Queued)

	require.Equal(t, exitOK, call(t, "watch", id).code, "it completes")
	late := call(t, "reject", id, "cutover", "--by", "alice", "--reason", "oh")
	require.Equal(t, exitError, late.code)
	require.Contains(t, late.stderr, "migration decide is over (completed)")
	require.Contains(t, call(t, "pause", id).stderr, "migration decide is over (completed)")
}

func TestADecisionWaitsForAWorker(t *testing.T) {
	t.Parallel()
	const id = "queued"
	startStub(t, id)

	a := callAlone(t, "reject", id, "cutover", "--by", "bob", "--reason", "no", "--json")
	require.Zero(t, a.code, a.stdout)
	var d decided
	a.decode(t, &d)
	require.True(t, d.Queued)
	require.Nil(t, d.Receipt)

	shown := callAlone(t, "status", id)
	require.Zero(t, shown.code)
	require.Contains(t, shown.stdout, "No worker answers")

	startWorker(t, id)
	require.Equal(t, exitRolledBack, call(t, "watch", id).code, "the queued decision was taken in")
}

func TestARefusedRequestIsAnError(t *testing.T) {
	t.Parallel()
	const id = "refuses"
	startWorker(t, id)
	startStub(t, id)
	for _, by := range []string{"alice", "bob", "bob"} { // the same words again are news again
		a := call(t, "retry", id, "--by", by, "--reason", "too early")
		require.Equal(t, exitError, a.code)
		require.Equal(t, "migration refuses: retry by "+by+" refused: nothing is stuck\n", a.stderr)
		require.Empty(t, a.stdout)
	}
	require.Zero(t, call(t, "pause", id, "--by", "bob").code, "an old refusal is no answer")
	require.Zero(t, call(t, "retry", id, "--by", "bob", "--reason", "now").code)
}

func TestARequestWaitsForAWorker(t *testing.T) {
	t.Parallel()
	const id = "queued-request"
	startStub(t, id)
	a := callAlone(t, "rollback", id, "--reason", "enough")
	require.Zero(t, a.code, a.stderr)
	require.Contains(t, a.stdout, "Queued: no worker answers now.")
	var s said
	callAlone(t, "pause", id, "--json").decode(t, &s)
	require.True(t, s.Queued)

	startWorker(t, id)
	require.Equal(t, exitRolledBack, call(t, "watch", id).code, "the queued request was taken in")
}

func TestWhatIsSaidArrives(t *testing.T) {
	t.Parallel()
	const id = "steer"
	startWorker(t, id)
	startStub(t, id)
	for _, args := range [][]string{
		{"pause", id, "--by", "alice", "--reason", "lunch"},
		{"resume", id, "--by", "bob"},
		{"retry", id, "--by", "bob", "--reason", "fixed"},
		{"force", id, "--by", "bob", "--reason", "seen", "--question", "6"},
		{"throttle", id, "--rows-per-second", "5000", "--by", "dave"},
	} {
		require.Zero(t, call(t, args...).code)
	}
	for _, none := range []string{"-1", "0"} {
		require.Equal(t, exitUsage, call(t, "retry", id, "--question", none).code)
	}
	require.Equal(t, exitUsage, call(t, "pause", id, "--question", "7").code, "it answers nothing")
	var s watch.Snapshot
	require.Eventually(t, func() bool {
		s = watch.Snapshot{} // decoding would keep what is there
		a := call(t, "status", id, "--json")
		return json.Unmarshal([]byte(a.stdout), &s) == nil && s.Status != nil && len(s.Status.Notices) == 5
	}, waitFor, every)
	var told []string
	for _, n := range s.Status.Notices {
		told = append(told, n.Text)
	}
	require.ElementsMatch(t, []string{"pause by alice: lunch", "resume by bob: ", "retry by bob: fixed, to question 7", "force by bob: seen, to question 6", "throttle 5000 by dave"}, told)
	require.Equal(t, "carol", s.Status.StartedBy)

	shown := call(t, "status", id).stdout
	require.Contains(t, shown, "◆ cutover  approve")
	require.Contains(t, shown, "contraflow approve steer cutover --by alice")
	require.NotContains(t, shown, "\x1b", "no colours where there is no terminal")

	require.Eventually(t, func() bool { // other tests' migrations have no worker, and are not waited for
		var listed []watch.Entry
		a := callAlone(t, "list", "--json")
		return json.Unmarshal([]byte(a.stdout), &listed) == nil && slices.ContainsFunc(listed, func(e watch.Entry) bool {
			return e.ID == id && e.State == string(signals.Waiting) && e.Ended.IsZero()
		})
	}, waitFor, every)
	line := regexp.MustCompile(`(?m)^steer .* ◆ waiting `)
	require.Eventually(t, func() bool { return line.MatchString(callAlone(t, "list").stdout) }, waitFor, every)
}
