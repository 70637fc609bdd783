package backfill

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

const (
	bound  = 50 * time.Millisecond
	target = targetShare * 0.05 // seconds
)

// plant tells the latency in seconds at a speed, at the n-th reading.
type plant func(speed float64, n int) float64

// steered is what happens under the controller: the reading of each period shows the speed of delay periods ago.
func steered(p plant, speed float64, lanes, delay, periods int) (speeds, latencies []float64) {
	base := nextBase(0, p(0, 0)) // the first reading is taken before the first chunk
	for n := range periods {
		seen := speed
		if delay > 0 && len(speeds) > 0 {
			seen = speeds[max(0, len(speeds)-delay)]
		}
		latency := p(seen, n)
		speeds, latencies = append(speeds, speed), append(latencies, latency)
		base = nextBase(base, latency)
		speed = nextSpeed(speed, base, latency, bound.Seconds(), lanes)
	}
	return speeds, latencies
}

// above counts the readings above the bound.
func above(latencies []float64) int {
	n := 0
	for _, l := range latencies {
		if l > bound.Seconds() {
			n++
		}
	}
	return n
}

// swing is the ratio of the highest to the lowest.
func swing(values []float64) float64 { return slices.Max(values) / slices.Min(values) }

// linear is an application's own latency and what each lane adds.
func linear(own, perLane float64) plant {
	return func(speed float64, _ int) float64 { return own + perLane*speed }
}

// queue is one server, busy with the application for share of the time and with each lane for perLane more.
func queue(service, share, perLane float64) plant {
	return func(speed float64, _ int) float64 { return service / max(1-share-perLane*speed, 0.001) }
}

func TestProtectConverges(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]plant{
		"linear":               linear(0.005, 0.020),
		"mostly our own":       linear(0.0005, 0.040),
		"mostly the shop's":    linear(0.030, 0.005),
		"nobody else is there": linear(0, 0.040),
		"a queue":              queue(0.010, 0.3, 0.25),
		"a busy queue":         queue(0.010, 0.6, 0.05),
		"a queue far from it":  queue(0.008, 0.1, 0.3),
	} {
		for delay := range 3 {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				speeds, latencies := steered(p, 0, 4, delay, 400)
				end := latencies[300:]
				require.Less(t, swing(speeds[300:]), 1.02, "it settles")
				require.InEpsilon(t, target, end[99], 0.02, "at the target")
				require.LessOrEqual(t, above(latencies), 4, "the way up stays below the bound but for an overshoot")
			})
		}
	}
}

func TestProtectStaysWithinFloorAndLanes(t *testing.T) {
	t.Parallel()
	speeds, _ := steered(linear(0.2, 0.001), 4, 4, 1, 30)
	require.InDelta(t, floorSpeed, speeds[29], 1e-9, "the application is slow by itself")
	require.InDelta(t, floorSpeed, speeds[9], 1e-9, "and gets its way within ten readings")
	speeds, _ = steered(linear(0.002, 0.001), 0, 4, 1, 60)
	require.InDelta(t, 4, speeds[59], 1e-9, "there is room for all lanes")
	speeds, _ = steered(linear(0, 0), 0, 64, 0, 60)
	require.InDelta(t, 64, speeds[59], 1e-9, "nobody uses the application")
	require.InDelta(t, startSpeed*maxStep, speeds[1], 1e-9, "but it begins with little")
	require.InDelta(t, 1, nextSpeed(4, 0.001, 0, bound.Seconds(), 1), 1e-9, "fewer lanes are left")
}

// The load of the application doubles, and later it is as before.
func TestProtectAfterAStep(t *testing.T) {
	t.Parallel()
	for name, load := range map[string]func(factor float64) plant{
		"linear": func(f float64) plant { return linear(0.010*f, 0.015*f) },
		"queue":  func(f float64) plant { return queue(0.010, 0.25*f, 0.2) },
	} {
		for delay := range 3 {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				speeds, latencies := steered(func(speed float64, n int) float64 {
					if n >= 200 && n < 400 {
						return load(2)(speed, n)
					}
					return load(1)(speed, n)
				}, 0, 4, delay, 600)
				require.Greater(t, latencies[200], bound.Seconds(), "the step is one")
				require.LessOrEqual(t, above(latencies[200:400]), 4+delay, "and is answered within some readings")
				require.InEpsilon(t, target, latencies[399], 0.02)
				require.InEpsilon(t, target, latencies[599], 0.02)
				require.InEpsilon(t, speeds[199], speeds[599], 0.05, "what it gave up it gets back")
			})
		}
	}
}

func TestProtectUnderNoise(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	p := func(speed float64, _ int) float64 {
		return (0.010 + 0.020*speed) * math.Exp(0.08*random.NormFloat64())
	}
	speeds, latencies := steered(p, 0, 4, 1, 2000)
	require.LessOrEqual(t, above(latencies[100:]), 1900/50, "noise rarely reaches the bound")
	mean := 0.0
	for _, s := range speeds[100:] {
		mean += s / 1900
	}
	require.InDelta(t, 1.5, mean, 0.25, "and costs little speed")
}

// Twice as fast as it may be, it is a cliff: nothing in between.
func TestProtectAtACliff(t *testing.T) {
	t.Parallel()
	p := func(speed float64, _ int) float64 {
		if speed > 1 {
			return 2
		}
		return 0.010
	}
	for delay := range 3 {
		speeds, latencies := steered(p, 0, 4, delay, 1000)
		require.LessOrEqual(t, slices.Max(speeds[100:]), math.Pow(maxStep, float64(1+delay)), "no swing grows")
		require.Less(t, float64(above(latencies))/1000, 0.35)
	}
}

// Every plant whose elasticity is within what the law promises.
func TestProtectSettlesOnEveryPromisedPlant(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		delay := rapid.IntRange(0, 2).Draw(t, "delay")
		elasticity := rapid.Float64Range(0.3, []float64{5, 4, 2.5}[delay]).Draw(t, "elasticity")
		own := rapid.Float64Range(0, 0.8).Draw(t, "share of the latency that is not ours")
		right := rapid.Float64Range(floorSpeed*2, 8).Draw(t, "speed at the target")
		from := rapid.Float64Range(floorSpeed, 8).Draw(t, "first speed")
		p := func(speed float64, _ int) float64 {
			return target * (own + (1-own)*math.Pow(speed/right, elasticity))
		}
		speeds, latencies := steered(p, from, 8, delay, 3000)
		require.InEpsilon(t, target, latencies[2999], 0.03)
		require.Less(t, swing(speeds[2900:]), 1.03)
		require.LessOrEqual(t, above(latencies[len(latencies)/2:]), 0)
	})
}

func TestRestsMakeUpTheShare(t *testing.T) {
	t.Parallel()
	synctest.Test(t, restsMakeUpTheShare) // in which no time passes between two looks at the clock
}

func restsMakeUpTheShare(t *testing.T) {
	a := &attempt{spec: Spec{ChunkTime: DefaultChunkTime, Protect: &Protect{Name: "p99", Max: bound}}}
	require.Equal(t, bound/4, a.chunkTime())
	rests := func(speed float64, rank int) time.Duration {
		a.control.speed, a.control.rank = speed, rank
		a.began, a.progress.ChunkTime = time.Now(), 10*time.Millisecond
		return a.resting()
	}
	require.Equal(t, 10*time.Millisecond, rests(1.25, 0), "a whole lane: nothing but the chunk itself")
	require.Equal(t, 40*time.Millisecond, rests(1.25, 1), "a quarter of the time")
	require.Equal(t, holdPoll, rests(1.25, 2), "nothing")
	require.Equal(t, 500*time.Millisecond, rests(floorSpeed, 0))
	require.Equal(t, holdPoll, a.rest(), "the remainder is held and seen")
	require.Equal(t, "protect: p99 stays below 50ms", a.holding())
	require.Positive(t, rests(1e-12, 0))

	a.spec.Protect.Max = time.Nanosecond
	require.Equal(t, minChunkTime, a.chunkTime())
	a.spec.Protect.Max = time.Hour
	require.Equal(t, DefaultChunkTime, a.chunkTime())
	a.spec.Protect = nil
	require.Zero(t, a.rest())
	require.Equal(t, DefaultChunkTime, a.chunkTime())
}
