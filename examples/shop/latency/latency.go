// Package latency counts how long things took in the last seconds, in constant memory.
package latency

import (
	"math"
	"sync"
	"time"
)

const (
	seconds = 10 // long enough for a steady p99 at a few hundred requests a second, short enough to show a change at once
	// Buckets grow by 2^(1/8), about 9 %, from 50 µs to more than a minute.
	perDoubling = 8
	smallest    = 50 * time.Microsecond
	buckets     = 21 * perDoubling
)

// Window of the last ten seconds. The zero value is ready; it may be used concurrently.
type Window struct {
	mu    sync.Mutex
	slots [seconds]slot
}

type slot struct {
	second int64
	counts [buckets]int
}

// Add one duration.
func (w *Window) Add(d time.Duration) { w.add(d, time.Now()) }

func (w *Window) add(d time.Duration, at time.Time) {
	bucket := 0
	if d > smallest {
		bucket = min(buckets-1, int(math.Log2(float64(d)/float64(smallest))*perDoubling)+1)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &w.slots[at.Unix()%seconds]
	if s.second != at.Unix() {
		*s = slot{second: at.Unix()}
	}
	s.counts[bucket]++
}

// Quantile q (0 to 1) of the window, within 9 %; 0 if nothing was added.
func (w *Window) Quantile(q float64) time.Duration { return w.quantile(q, time.Now()) }

func (w *Window) quantile(q float64, at time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	var counts [buckets]int
	total := 0
	for _, s := range w.slots {
		if at.Unix()-s.second >= seconds {
			continue
		}
		for i, n := range s.counts {
			counts[i] += n
			total += n
		}
	}
	if total == 0 {
		return 0
	}
	left := int(math.Ceil(q * float64(total)))
	for i, n := range counts {
		if left -= n; left <= 0 {
			return time.Duration(float64(smallest) * math.Exp2(float64(i)/perDoubling))
		}
	}
	return time.Duration(float64(smallest) * math.Exp2(float64(buckets)/perDoubling))
}
