package backfill

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func at(reading, maximum float64) taken {
	return taken{Reading: Reading{Name: "queue", Reading: &reading, Max: maximum}}
}

func unread(maximum float64) taken {
	r := at(0, maximum)
	r.unreadable("nobody answers")
	return r
}

// judged feeds readings one after the other and counts how often the hold begins.
func judged(readings ...taken) (last taken, holds int) {
	for _, r := range readings {
		r = r.judge(last)
		if r.Holding && !last.Holding {
			holds++
		}
		last = r
	}
	return last, holds
}

func TestAThrottleHoldsAtOnceAndGoesOnWhenCalm(t *testing.T) {
	t.Parallel()
	r, _ := judged(at(10, 10))
	require.False(t, r.Holding, "the maximum itself is allowed")
	r, _ = judged(at(10.5, 10))
	require.True(t, r.Holding)
	require.Equal(t, "queue 10.5, above 10", r.message())
	for i := range calmReadings {
		require.True(t, r.Holding, "reading %d", i)
		r = at(8, 10).judge(r)
	}
	require.False(t, r.Holding)
	require.Empty(t, r.message())

	r, _ = judged(at(11, 10), at(7, 10), at(7, 10), at(9, 10))
	require.True(t, r.Holding)
	require.Zero(t, r.calm, "below the maximum is not calm")
	require.Equal(t, "queue 9, not calm for long enough yet (maximum 10)", r.message())

	r, _ = judged(at(1, 0), at(0, 0), at(0, 0), at(0, 0), at(0, 0), at(0, 0))
	require.False(t, r.Holding, "with a maximum of 0 only 0 is calm")
	r, _ = judged(at(-9, -10), at(-9.9, -10))
	require.True(t, r.Holding)
	require.Less(t, at(-12, -10).judge(r).calm, calmReadings)
	require.Equal(t, 1, at(-12, -10).judge(r).calm, "a negative maximum has its calm below as well")
}

func TestWhatCannotBeReadHolds(t *testing.T) {
	t.Parallel()
	r, _ := judged(at(1, 10), unread(10))
	require.True(t, r.Holding)
	require.Nil(t, r.Reading.Reading)
	require.Equal(t, "queue cannot be read: nobody answers", r.message())
	r = at(1, 10).judge(r)
	require.True(t, r.Holding, "one good reading proves nothing")
}

func TestAReadingAroundTheMaximumDoesNotFlap(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var readings []taken
		for range rapid.IntRange(10, 300).Draw(t, "readings") {
			readings = append(readings, at(rapid.Float64Range(8.01, 12).Draw(t, "reading"), 10))
		}
		_, holds := judged(readings...)
		require.LessOrEqual(t, holds, 1)
	})
	// A swing as wide as can be does not either, as long as it comes back within calmReadings.
	var swinging []taken
	for i := range 200 {
		swinging = append(swinging, at(10+10*math.Cos(2*math.Pi*float64(i)/calmReadings), 10))
	}
	_, holds := judged(swinging...)
	require.Equal(t, 1, holds)
}

func TestTheProtectedLatency(t *testing.T) {
	t.Parallel()
	latency, failure := time.Millisecond, error(nil)
	p := &Protect{Name: "p99", Max: bound, Read: func(ctx context.Context) (time.Duration, error) {
		_, bounded := ctx.Deadline()
		require.True(t, bounded)
		return latency, failure
	}}
	a := &attempt{spec: Spec{Protect: p}}
	a.control.lanes = 4
	former := taken{}
	speed, base := 0.0, 0.0
	step := func() taken {
		former, speed, base = a.steer(p.read(t.Context()), former, speed, base)
		a.control.held, a.control.speed = "", speed
		if former.Holding {
			a.control.held = former.message()
		}
		return former
	}
	step()
	require.InDelta(t, startSpeed*maxStep, speed, 1e-9)
	step()
	require.InDelta(t, startSpeed*maxStep*maxStep, speed, 1e-9)

	before := speed
	failure = errors.New("the page answers with status 503, must be 200")
	require.True(t, step().Holding)
	require.Equal(t, "p99 cannot be read: the page answers with status 503, must be 200", a.holding())
	require.Equal(t, before, speed)
	failure = nil
	require.True(t, step().Holding)
	require.Equal(t, before, speed, "lanes that hold prove no speed")
	latency = time.Second
	require.True(t, step().Holding)
	require.InDelta(t, before*minStep, speed, 1e-9, "but a bad latency counts")
	for range calmReadings {
		step()
	}
	require.False(t, former.Holding, "a latency that can be read never holds all lanes")

	latency, before = 0, speed
	a.control.Paused = true
	step()
	require.Equal(t, before, speed)
	a.control.Paused = false
	step()
	require.Greater(t, speed, before)
	former.age = math.Inf(1)
	step()
	require.InDelta(t, startSpeed*maxStep, speed, 1e-9, "after a long time it begins low again")
}

func TestPaceCheck(t *testing.T) {
	t.Parallel()
	read := func(context.Context) (time.Duration, error) { return 0, nil }
	good := Spec{Windows: []Window{{From: time.Hour}}, Protect: &Protect{Name: "p99", Max: bound, Read: read}, Throttles: []Throttle{
		{Signal: ReplicaLag, Max: 10}, {Signal: Query, Name: "queue", Query: "select 1", Max: -1}, {Signal: LockWaiters}}}
	require.NoError(t, good.checkPace())
	for _, bad := range []Spec{
		{Throttles: []Throttle{{Signal: "moon phase"}}},
		{Throttles: []Throttle{{Signal: wraparound}}},
		{Throttles: []Throttle{{Signal: LockWaiters}, {Signal: LockWaiters}}},
		{Throttles: []Throttle{{Signal: Query, Name: string(wraparound), Query: "select 1"}}},
		{Throttles: []Throttle{{Signal: Query, Query: "select 1"}}},
		{Throttles: []Throttle{{Signal: Query, Name: "queue", Query: " \n"}}},
		{Throttles: []Throttle{{Signal: LockWaiters, Max: math.NaN()}}},
		{Throttles: []Throttle{{Signal: LockWaiters, Name: "p99"}}, Protect: good.Protect},
		{Protect: &Protect{Name: "p99", Read: read}},
		{Protect: &Protect{Name: "p99", Max: bound}},
		{Windows: []Window{{Zone: "nowhere"}}},
	} {
		require.ErrorIs(t, bad.checkPace(), ErrSpec)
	}
}
