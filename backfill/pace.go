package backfill

import (
	"math"
	"math/rand/v2"
	"strconv"
	"time"
)

const (
	// minChunkRows: a row may be slow all by itself.
	minChunkRows = 1
	// maxChunkRows bounds what one transaction locks and one crash repeats, however fast the rows are.
	maxChunkRows = 100_000
	// grow and shrink bound one step of the pace, so that a single slow or quick chunk cannot throw it about.
	grow, shrink = 2.0, 0.5
	// rateTime is the time constant of the smoothed rate: short enough to show a throttle, long enough to read.
	rateTime = 5 * time.Second
	// firstBackoff and maxBackoff frame the pause after a chunk that lost against the application; it doubles in between.
	firstBackoff, maxBackoff = 100 * time.Millisecond, 5 * time.Second
	// maxContended tries in a row take about 40 s of back-off besides the timeouts; then it is for the caller to say so.
	maxContended = 12
	// firstProbeTimeout bounds the look-up of a chunk's end: an index-only scan that is over in milliseconds. Where it is not, for
	// example behind millions of dead entries, fewer rows and twice the time are tried, up to maxProbeTimeout.
	firstProbeTimeout, maxProbeTimeout = 5 * time.Second, 5 * time.Minute
	// leaveTimeout is for a server that does not answer any more.
	leaveTimeout = 5 * time.Second
)

// pace finds the rows of a chunk that take about target.
type pace struct {
	target time.Duration
	rows   int
}

// took learns from a chunk that walked over rows in d.
func (p *pace) took(rows int64, d time.Duration) {
	if rows < int64(p.rows) {
		// The last chunk of a range, or one that a cap cut short: that it was quick says nothing.
		if d < p.target {
			return
		}
		p.rows = int(rows)
	}
	p.scale(p.target.Seconds() / max(d.Seconds(), 1e-6))
}

// lost learns that a chunk did not get through.
func (p *pace) lost() { p.scale(shrink) }

func (p *pace) scale(factor float64) {
	rows := float64(p.rows) * min(max(factor, shrink), grow)
	p.rows = int(min(max(rows, minChunkRows), maxChunkRows))
}

// rate is rows per second over a window that forgets exponentially. Rows and seconds are smoothed apart, so that a quick chunk
// before the first wait weighs no more than the time it took.
type rate struct {
	perSecond     float64
	since         time.Time
	rows, seconds float64
}

// add counts rows changed between the last call and now.
func (r *rate) add(rows int64, now time.Time) {
	d := now.Sub(r.since).Seconds()
	r.since = now
	if d <= 0 {
		return
	}
	kept := math.Exp(-d / rateTime.Seconds())
	r.rows, r.seconds = r.rows*kept+float64(rows), r.seconds*kept+d
	r.perSecond = r.rows / r.seconds
}

func probeTimeout(lost int) time.Duration {
	return min(firstProbeTimeout<<min(lost, 10), maxProbeTimeout)
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

func backoff(tries int) time.Duration {
	return jitter(min(firstBackoff<<min(tries-1, 10), maxBackoff))
}

// jitter spreads d by a fifth either way, so that lanes do not come back all at once.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}
