package ddl

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	// lookEvery is how often a session is looked at: soon enough to tell of a wait, too seldom to be felt.
	lookEvery = 100 * time.Millisecond
	// looksPerAttempt makes sure that a short lock_timeout doesn't pass unseen, and shortestLook that looking costs little: each
	// look takes Postgres's whole lock table.
	looksPerAttempt = 4
	shortestLook    = 50 * time.Millisecond
	// calmLooks without a wait make it over: an attempt needs a moment before it stands in a queue again. After as many that found
	// nothing new, a statement is looked at every restfulLook: it may run for hours.
	calmLooks   = 10
	restfulLook = time.Second
)

// observer tells of waits while one version is being changed, over all attempts.
type observer struct {
	engine *Engine

	mu      sync.Mutex
	attempt int
	pid     int32   // of the session that is watched
	last    Waiting // as told
	calm    int     // looks since something was in the way
	quiet   int     // looks at this statement since something was new
	looked  time.Time
	waits   bool          // at the last look
	waited  time.Duration // of this statement, for locks
	aside   bool          // the session does nothing that could wait: see older
	ended   []Ended

	vacuums  []string // tables on which autovacuum was met
	deadlock int64    // deadlock_timeout in milliseconds, once it was met
}

// next begins another attempt.
func (o *observer) next() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.attempt++
	o.calm = 0
}

// saw passes on what has changed; found is false if nothing is in the way.
func (o *observer) saw(ctx context.Context, w Waiting, found bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if found {
		o.calm = 0
		if w.Lock == "" { // it was over while we looked, and is awaited again
			w.Lock = o.last.Lock
		}
		w.Hint = o.endIdle(ctx, w.Blockers)
		o.meetsAutovacuum(ctx, &w)
	} else if o.calm++; o.last.Waits() && o.calm < calmLooks {
		return
	}
	o.tell(w)
}

func (o *observer) tell(w Waiting) {
	w.Attempt, w.Ended = o.attempt, o.ended
	sameBlockers := slices.EqualFunc(w.Blockers, o.last.Blockers, func(a, b Blocker) bool { return a.PID == b.PID && a.State == b.State })
	if !sameBlockers || w.Lock != o.last.Lock {
		o.quiet = 0
	}
	sameAttempt := w.Attempt == o.last.Attempt || !w.Waits() && !o.last.Waits() // one that meets nothing is no news
	if sameBlockers && sameAttempt && w.Lock == o.last.Lock && w.RetryIn == o.last.RetryIn && w.Progress == o.last.Progress &&
		w.Hint == o.last.Hint && len(w.Ended) == len(o.last.Ended) {
		return
	}
	o.last = w
	o.engine.options.onWait(w)
}

// gaveWay tells that the attempt was rolled back, and when the next one comes.
func (o *observer) gaveWay(backoff time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	w := o.last
	w.RetryIn, w.Progress = backoff, ""
	o.tell(w)
}

// over ends the wait for lock, or for anything.
func (o *observer) over(lock string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.last.Waits() && (lock == "" || o.last.Lock == lock) {
		o.tell(Waiting{})
	}
}

// refused is called when the migration lock could not be taken.
func (o *observer) refused(ctx context.Context, s *session) {
	if w, found := o.engine.look(ctx, holdersOf, s.locks); found {
		o.saw(ctx, w, true)
	}
}

// watch looks at the session's waits until stop, which returns when the last look is over.
func (o *observer) watch(ctx context.Context, s *session) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	pid := int32(s.pid())
	o.mu.Lock()
	o.pid = pid
	o.mu.Unlock()
	go func() {
		defer close(done)
		ticker := time.NewTicker(o.every())
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-ticker.C:
				if o.due(now) {
					o.lookAt(ctx, pid)
				}
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

func (o *observer) every() time.Duration {
	return max(shortestLook, min(lookEvery, o.engine.options.LockTimeout/looksPerAttempt))
}

func (o *observer) due(now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return !o.aside && (o.quiet < calmLooks || now.Sub(o.looked) >= restfulLook)
}

func (o *observer) lookAt(ctx context.Context, pid int32) {
	w, found := o.engine.look(ctx, blockersOf, pid)
	w.Progress = o.engine.progress(ctx, pid)
	if ctx.Err() == nil && !o.isAside() {
		o.count(found)
		o.saw(ctx, w, found)
	}
}

// count takes the time since the last look for waited if this one sees a wait.
func (o *observer) count(waits bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if waits {
		o.waited += now.Sub(o.looked)
	}
	o.looked, o.waits = now, waits
	o.quiet++
}

// begins tells that another statement begins.
func (o *observer) begins() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.looked, o.waits, o.waited, o.quiet = time.Now(), false, 0, 0
}

// hasWaited is how long the statement that took so long has waited for locks: all the time if it was too short to be looked at, and
// to its end if the last look saw it wait.
func (o *observer) hasWaited(took time.Duration) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	if took <= o.every() {
		return took
	}
	if o.waits {
		return min(o.waited+time.Since(o.looked), took)
	}
	return min(o.waited, took)
}

func (o *observer) isAside() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.aside
}

func (o *observer) setAside(aside bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.aside = aside
}
