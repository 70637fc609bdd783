package backfill

import (
	"context"
	"fmt"
	"math"
	"time"
)

// Protect keeps a latency that the application feels under a bound. Where the application is slow by itself, one lane still works
// for a fiftieth of the time.
type Protect struct {
	// Name that people see, for example "p99 of the shop".
	Name string
	// Max latency.
	Max time.Duration
	// Read takes the reading, about once a second, by one lane for all. It should look back over a second or two: the further
	// it looks back, the later it shows what a change of speed has done. Where it fails, the lanes hold. It has to end with
	// its context, and the text of its error is shown to people.
	Read func(context.Context) (time.Duration, error)
}

// The controller steers one number, the speed: how many lanes' worth of work may run. It looks at the excess, which is what a
// reading is above the base, the application's own latency without us. Each reading multiplies the speed by
// (target excess/excess)^gain: an integral controller in logarithms, in which no unit and no size of server matters, only the
// elasticity e = dlog(excess)/dlog(speed). It is 1 for an excess in proportion to the speed, more for a queue that is nearly
// full. Near the target a reading takes the share gain·e of the distance away; a reading that shows the speed of d readings ago
// makes that z^(d+1) - z^d + gain·e = 0, whose roots are inside the unit circle for gain·e below 1 (d = 1) or 0.6 (d = 2): with the
// gain of 0.06 for e up to 16 or 10. Above the bound it is the whole latency that counts, at once: a fast way down for the
// application's own peaks, which cannot feed an oscillation, because the slow way up leads back from wherever it ends. Steps are clamped, so that neither
// a wild reading nor a cliff throws the speed about, and so is the speed, so that nothing winds up while it cannot act. A base
// that is wrong changes only the pace at which the target is found, not the target.
const (
	gain = 0.06
	// targetShare of the bound is what the controller aims at: noise of a fifth stays below the bound, where it costs little.
	targetShare = 0.8
	// minStep and maxStep of the speed with one reading: down quickly, up from startSpeed to a lane within some ten to twenty.
	minStep, maxStep = 0.5, 1.25
	// startSpeed is little enough to be no surprise, floorSpeed enough to end some day when the application is slow by itself.
	startSpeed, floorSpeed = 0.1, 0.02
	// leastExcess that is aimed at, as a share of the bound, where the application alone takes nearly all of it.
	leastExcess = 0.05
	// leastReading, in seconds, that any latency counts as.
	leastReading = 1e-9
	// chunkShare of the bound is what a chunk may take: who meets a row that it has locked waits that much longer at most, and
	// a chunk that takes twice as long as aimed still leaves half of the bound.
	chunkShare = 0.25
	// minChunkTime is a few round trips; below it there would be nothing but them.
	minChunkTime = time.Millisecond
)

// nextBase is the lowest reading so far, in seconds; the first is taken before the first chunk. A base of 0 is not known yet, so
// a reading of 0, which an application without requests may well give, counts as next to nothing.
func nextBase(base, reading float64) float64 {
	reading = max(reading, leastReading)
	if base == 0 {
		return reading
	}
	return min(base, reading)
}

// nextSpeed is the control law. A speed of 0 has not been chosen yet. Latencies are in seconds.
func nextSpeed(speed, base, reading, bound float64, lanes int) float64 {
	if speed == 0 {
		speed = startSpeed
	}
	step := targetShare * bound / max(reading, leastReading)
	if reading <= bound {
		step = math.Pow(max(targetShare*bound-base, leastExcess*bound)/max(reading-base, leastReading), gain)
	}
	return min(max(speed*min(max(step, minStep), maxStep), floorSpeed), float64(max(lanes, 1)))
}

func (p Protect) check() error {
	switch {
	case p.Max <= 0:
		return fmt.Errorf("%w: protect has the bound %s; give the highest latency, such as 20ms", ErrSpec, p.Max)
	case p.Name == "" || p.Read == nil:
		return fmt.Errorf("%w: protect needs a name and a function that reads the latency", ErrSpec)
	}
	return nil
}

// holding is what people see of a lane that has to wait for its share.
func (p *Protect) holding() string {
	return fmt.Sprintf("%s: %s stays below %s", HoldingProtect, p.Name, p.Max)
}

// chunkTime to aim at.
func (a *attempt) chunkTime() time.Duration {
	if a.spec.Protect == nil {
		return a.spec.ChunkTime
	}
	return min(a.spec.ChunkTime, max(time.Duration(chunkShare*float64(a.spec.Protect.Max)), minChunkTime))
}

// resting is how much longer the lane rests after its last chunk, so that it works no more than its share of the time: the
// speed is handed out by rank, a whole lane each, and what remains to the next one.
func (a *attempt) resting() time.Duration {
	if a.spec.Protect == nil {
		return 0
	}
	share := min(1, max(0, a.control.speed-float64(a.control.rank)))
	if share == 0 {
		return holdPoll
	}
	whole := min(a.progress.ChunkTime.Hours()/share, 1) // hour; by then the lane has another rank
	return time.Duration(whole*float64(time.Hour)) - time.Since(a.began)
}

// rest is how long to wait before the next probe. What is left after that is for holding, which reports it and looks at the
// control row meanwhile.
func (a *attempt) rest() time.Duration { return min(max(0, a.resting()), holdPoll) }
