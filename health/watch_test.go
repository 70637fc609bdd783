package health

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// tick is the interval of the tests' checks; long lets nothing but a verdict end the watch.
const (
	tick = 2 * time.Millisecond
	long = time.Minute
)

var (
	pass    = answer{reading: Reading{Text: "good", Pass: true}}
	fail    = answer{reading: Reading{Text: "bad"}}
	unknown = answer{err: errors.New("no idea")}
)

type answer struct {
	reading Reading
	err     error
}

// script is a prober that gives its answers in order, and the last one for ever.
type script struct {
	mu      sync.Mutex
	answers []answer
	given   int
}

func says(answers ...answer) *script { return &script{answers: answers} }

func (s *script) Probe(context.Context) (Reading, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.answers[min(s.given, len(s.answers)-1)]
	s.given++
	return a.reading, a.err
}

func watch(t *testing.T, slice time.Duration, earlier []Standing, checks ...Check) Verdict {
	t.Helper()
	w, err := New(checks, Targets{})
	require.NoError(t, err)
	v, err := w.Watch(t.Context(), slice, earlier, nil)
	require.NoError(t, err)
	return v
}

func TestLimits(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answers      []answer
		failureLimit int
		errorLimit   int
		outcome      Outcome
		probes       int
	}{
		"the first failure, by default":               {[]answer{pass, fail}, 0, 0, Failed, 2},
		"two failures tolerated, the third is not":    {[]answer{fail}, 2, 0, Failed, 3},
		"a pass starts the failures again":            {[]answer{fail, fail, pass, fail}, 2, 0, Failed, 6},
		"an error leaves the failures as they are":    {[]answer{fail, unknown, fail, unknown, fail}, 2, 0, Failed, 5},
		"four errors tolerated, the fifth is not":     {[]answer{unknown}, 0, 0, Inconclusive, 5},
		"a pass starts the errors again":              {[]answer{unknown, pass, unknown}, 0, 1, Inconclusive, 4},
		"a tolerated failure starts the errors again": {[]answer{unknown, fail, unknown}, 1, 1, Inconclusive, 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			prober := says(c.answers...)
			v := watch(t, long, nil, Check{Name: "c", Custom: prober, Interval: tick,
				FailureLimit: c.failureLimit, ConsecutiveErrorLimit: c.errorLimit})
			require.Equal(t, c.outcome, v.Outcome)
			require.Equal(t, "c", v.Check)
			require.Equal(t, c.probes, prober.given)
			require.Equal(t, c.outcome, v.Standings[0].Outcome)
		})
	}
}

func TestTheFirstCheckOfSeveralBringsTheVerdict(t *testing.T) {
	t.Parallel()
	v := watch(t, long, nil,
		Check{Name: "well", Custom: says(pass), Interval: tick},
		Check{Name: "ill", Custom: says(pass, pass, fail), Interval: tick},
		Check{Name: "rehearsed", Custom: says(fail), Interval: tick, DryRun: true})
	require.Equal(t, Failed, v.Outcome)
	require.Equal(t, "ill", v.Check)
	require.Equal(t, "bad", v.Reading)
}

func TestHealthyWhenTheSliceEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dry := says(fail)
		v := watch(t, 50*time.Millisecond, nil,
			Check{Name: "well", Custom: says(fail, pass), FailureLimit: 1, Interval: tick},
			Check{Name: "rehearsed", Custom: dry, Interval: tick, DryRun: true})
		require.Equal(t, Healthy, v.Outcome)
		require.Empty(t, v.Check)
		require.Equal(t, Healthy, v.Standings[0].Outcome)
		require.Equal(t, Failed, v.Standings[1].Outcome)
		require.Greater(t, v.Standings[1].Failures, 1, "a dry run goes on measuring")
	})
}

func TestCountsAndDelaysGoOnFromSliceToSlice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		// One probe per slice: without the earlier standings three failures in a row would never be seen.
		check := Check{Name: "c", Custom: says(fail), Interval: time.Hour, FailureLimit: 2}
		var earlier []Standing
		for range 2 {
			began := time.Now()
			v := watch(t, 20*time.Millisecond, earlier, check)
			require.Equal(t, Healthy, v.Outcome)
			earlier = v.Standings
			require.Equal(t, began.Add(time.Hour), earlier[0].Due)
			earlier[0].Due = time.Now()
		}
		require.Equal(t, Failed, watch(t, long, earlier, check).Outcome)

		// A delay longer than a slice ends all the same.
		delayed := Check{Name: "d", Custom: says(fail), InitialDelay: 60 * time.Millisecond}
		v := watch(t, 5*time.Millisecond, nil, delayed)
		require.Equal(t, Pending, v.Standings[0].Outcome)
		require.Zero(t, v.Standings[0].At)
		began := time.Now()
		require.Equal(t, Failed, watch(t, long, v.Standings, delayed).Outcome)
		require.Equal(t, 55*time.Millisecond, time.Since(began))
	})
}

func TestAStandingOfAnEarlierVerdictIsNoNewVerdict(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		check := Check{Name: "c", Custom: says(fail, pass), FailureLimit: 1, Interval: tick}
		v := watch(t, 50*time.Millisecond, []Standing{{Check: "c", Outcome: Inconclusive, Errors: 5}}, check)
		require.Equal(t, Healthy, v.Outcome)
		require.Equal(t, Healthy, v.Standings[0].Outcome)
	})
}

func TestASlowProbeCountsThoughTheSliceIsShort(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slow := slowly{50 * time.Millisecond}
		v := watch(t, time.Millisecond, nil, Check{Name: "c", Custom: slow})
		require.Equal(t, Failed, v.Outcome)
	})
}

// slowly fails after a while, unless its context ends before.
type slowly struct{ after time.Duration }

func (s slowly) Probe(ctx context.Context) (Reading, error) {
	if wait(ctx, time.Now().Add(s.after)) {
		return Reading{Text: "slow"}, nil
	}
	return Reading{}, ctx.Err()
}

func TestCancelledAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, err := New([]Check{{Name: "c", Custom: slowly{time.Hour}}, {Name: "d", Custom: says(pass)}}, Targets{})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		_, err = w.Watch(ctx, long, nil, func(s []Standing) {
			if s[1].Outcome == Healthy {
				cancel()
			}
		})
		require.ErrorIs(t, err, context.Canceled)
		require.Zero(t, time.Since(began))
	})
}

func TestReportSeesEveryProbeAndMayKeepWhatItGets(t *testing.T) {
	t.Parallel()
	w, err := New([]Check{{Name: "a", Custom: says(pass, fail), FailureLimit: 3, Interval: tick}}, Targets{})
	require.NoError(t, err)
	var seen []int
	_, err = w.Watch(t.Context(), long, nil, func(s []Standing) {
		seen = append(seen, s[0].Failures)
		s[0].Failures = 99 // a copy
	})
	require.NoError(t, err)
	require.Equal(t, []int{0, 0, 1, 2, 3, 4}, seen)
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	one := 1.0
	for want, checks := range map[string][]Check{
		"no checks":                  nil,
		"has no name":                {{Custom: says(pass)}},
		"exactly one probe, not 0":   {{Name: "c"}},
		"exactly one probe, not 2":   {{Name: "c", Custom: says(pass), HTTP: &HTTPProbe{URL: "http://x"}}},
		"taken by another":           {{Name: "c", Custom: says(pass)}, {Name: "c", Custom: says(pass)}},
		"interval and initial delay": {{Name: "c", Custom: says(pass), Interval: -1}},
		"failure limit":              {{Name: "c", Custom: says(pass), FailureLimit: -1}},
		"no database":                {{Name: "c", SQL: &SQLProbe{Query: "select 1", Max: &one}}},
		"must be absolute":           {{Name: "c", HTTP: &HTTPProbe{URL: "localhost/healthz"}}},
		"from 200 to 599":            {{Name: "c", HTTP: &HTTPProbe{URL: "http://x", Status: 99}}},
	} {
		_, err := New(checks, Targets{})
		require.ErrorContains(t, err, want)
	}
	w, err := New([]Check{{Name: "c", Custom: says(pass)}}, Targets{})
	require.NoError(t, err)
	_, err = w.Watch(t.Context(), 0, nil, nil)
	require.ErrorContains(t, err, "positive slice")
}
