package backfill

import (
	"context"
	"fmt"
	"math"
	"time"
)

// Protect keeps a latency that the application feels under a bound.
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

// The controller steers one number, the speed: how many lanes' worth of work may run. x = log(speed) is moved by
// -gain·log(reading/target), an integral controller in logarithms, in which no unit and no size of server matters, only the
// elasticity e = dlog(latency)/dlog(speed). Near the target one step takes the share gain·e of the distance away. With one
// reading's delay that settles for 0 < gain·e < 1, with two for gain·e < 0.6 (roots of z^(d+1) - z^d + gain·e inside the unit
// circle), without oscillation that grows: for e up to 5, and 3. An elasticity of 1 is a latency in proportion to the speed;
// a queue has one of 5 where latency is many times what it is without us. Steps are clamped, so that neither a wild reading
// nor a cliff throws the speed about, and the speed itself is, so that nothing winds up while it cannot act. Above the bound the
// step is always the full one down: that is only ever slower than the law says, so it adds no oscillation upwards, and it
// ends a step of the application's own load within a few readings. Between target and bound there is room for noise.
const (
	gain = 0.2
	// targetShare of the bound is what the controller aims at: noise of a fifth stays below the bound.
	targetShare = 0.8
	// minStep and maxStep of the speed with one reading: down quickly, up from startSpeed to a lane within about ten.
	minStep, maxStep = 0.5, 1.25
	// startSpeed is little enough to be no surprise, floorSpeed enough to end some day when the application is slow by itself.
	startSpeed, floorSpeed = 0.1, 0.02
	// chunkShare of the bound is what a chunk may take: who meets a row that it has locked waits that much longer at most, and
	// a chunk that takes twice as long as aimed still leaves half of the bound.
	chunkShare = 0.25
	// minChunkTime is a few round trips; below it there would be nothing but them.
	minChunkTime = time.Millisecond
)

// nextSpeed is the control law. A speed of 0 has not been chosen yet.
func nextSpeed(speed float64, reading, bound time.Duration, lanes int) float64 {
	if speed == 0 {
		speed = startSpeed
	}
	step := minStep
	if reading <= bound {
		target := targetShare * bound.Seconds()
		step = min(max(math.Pow(target/max(reading.Seconds(), 1e-9), gain), minStep), maxStep)
	}
	return min(max(speed*step, floorSpeed), float64(max(lanes, 1)))
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
func (p *Protect) holding() string { return fmt.Sprintf("%s: %s stays below %s", HoldingProtect, p.Name, p.Max) }

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
