package harness

import (
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Harness takes 400 requests a minute from an API key, which workers and the kill switch share
// (https://developer.harness.io/docs/platform/rate-limits). Looking for targets leaves a quarter of them.
const (
	// atOnce is more targets than most plans name.
	atOnce = 100
	// apart makes 200 a minute behind those.
	apart = 300 * time.Millisecond
	// acquainted is how long a target counts as known: far above what all attempts at one change take, far below the 60 days.
	acquainted = time.Hour
)

// acquaintances are the targets that Harness was seen to know, on the way to a patch that names them.
type acquaintances struct {
	pace *rate.Limiter
	mu   *sync.Mutex
	met  map[string]time.Time
}

func newAcquaintances() acquaintances {
	return acquaintances{rate.NewLimiter(rate.Every(apart), atOnce), &sync.Mutex{}, map[string]time.Time{}}
}

// strangers are the others of the targets.
func (a acquaintances) strangers(targets []string) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(targets), func(one string) bool { return time.Since(a.met[one]) < acquainted })
}

func (a acquaintances) remember(target string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.met[target] = time.Now()
}

func (a acquaintances) forget(targets []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, one := range targets {
		delete(a.met, one)
	}
}
