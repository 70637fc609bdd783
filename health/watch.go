package health

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Standing is how one check stands after its latest probe. A list of them, kept and given to the next Watch, lets counts
// and delays go on where they were.
type Standing struct {
	Check string `json:"check"`
	// Outcome is Pending until the first pass, and changes to Failed or Inconclusive only when a limit is crossed.
	Outcome Outcome `json:"outcome"`
	// Reading is the latest one, or why there was none.
	Reading string `json:"reading,omitempty"`
	// Failures and Errors in a row.
	Failures int  `json:"failures,omitempty"`
	Errors   int  `json:"errors,omitempty"`
	DryRun   bool `json:"dryRun,omitempty"`
	// At is when the latest probe ended, zero before the first.
	At time.Time `json:"at,omitzero"`
	// Due is when the next one starts.
	Due time.Time `json:"due,omitzero"`
}

// Verdict of a watch.
type Verdict struct {
	// Outcome is Healthy (the slice ended and no limit was crossed), Failed or Inconclusive.
	Outcome Outcome `json:"outcome"`
	// Check and Reading name what brought the verdict; empty for Healthy.
	Check   string `json:"check,omitempty"`
	Reading string `json:"reading,omitempty"`
	// Standings of all checks, in their order, for the next Watch.
	Standings []Standing `json:"standings,omitempty"`
}

// Watcher watches a fixed list of checks.
type Watcher struct {
	checks []watched
}

// New validates the checks; the error names the check and what to change. At least one check is needed, with a name of its own.
func New(checks []Check, on Targets) (*Watcher, error) {
	if len(checks) == 0 {
		return nil, errors.New("no checks to watch")
	}
	w := &Watcher{}
	for _, c := range checks {
		ready, err := prepare(c, on)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(w.checks, func(o watched) bool { return o.Name == c.Name }) {
			return nil, fmt.Errorf("check %q: the name is taken by another check", c.Name)
		}
		w.checks = append(w.checks, ready)
	}
	return w, nil
}

// result is one probe of the check at index.
type result struct {
	index   int
	reading Reading
	err     error
	due     time.Time
}

// Watch probes every check at its own interval until one of them crosses a limit or slice has passed. Probes under way at
// the end of the slice are waited for, so that slow ones count in short slices too. earlier are the standings of the watch
// before, matched by name; nil starts afresh. report, unless nil, gets all standings at the start and after every probe,
// one call at a time. The error is ctx's, or says that slice is not positive.
func (w *Watcher) Watch(ctx context.Context, slice time.Duration, earlier []Standing, report func([]Standing)) (Verdict, error) {
	if slice <= 0 {
		return Verdict{}, fmt.Errorf("a watch of %s measures nothing: give it a positive slice", slice)
	}
	standings := w.resume(earlier, time.Now())
	tell := func() {
		if report != nil {
			report(slices.Clone(standings))
		}
	}
	tell()
	probing, stop := context.WithCancel(ctx)
	defer stop()
	scheduling, end := context.WithTimeout(probing, slice)
	defer end()

	results := make(chan result)
	var probers sync.WaitGroup
	for i, c := range w.checks {
		due := standings[i].Due
		probers.Go(func() {
			for wait(scheduling, due) {
				began := time.Now()
				reading, err := c.prober.Probe(probing)
				if probing.Err() != nil {
					return // an interrupted probe measured nothing
				}
				due = began.Add(c.Interval)
				results <- result{i, reading, err, due}
			}
		})
	}
	go func() { probers.Wait(); close(results) }()

	verdict := Verdict{Outcome: Healthy}
	for r := range results {
		if verdict.Outcome != Healthy {
			continue // the first verdict stands
		}
		s, c := &standings[r.index], w.checks[r.index]
		if crossed := s.record(c, r); crossed && !c.DryRun {
			verdict = Verdict{Outcome: s.Outcome, Check: s.Check, Reading: s.Reading}
			stop()
		}
		tell()
	}
	if verdict.Outcome == Healthy && ctx.Err() != nil {
		return Verdict{}, ctx.Err()
	}
	verdict.Standings = standings
	return verdict, nil
}

// resume gives every check its standing, from earlier where it has one.
func (w *Watcher) resume(earlier []Standing, now time.Time) []Standing {
	standings := make([]Standing, 0, len(w.checks))
	for _, c := range w.checks {
		s := Standing{Check: c.Name, Outcome: Pending, Due: now.Add(c.InitialDelay)}
		if at := slices.IndexFunc(earlier, func(e Standing) bool { return e.Check == c.Name }); at >= 0 {
			s = earlier[at]
			// Another machine's clock may have set it: never later than this one would.
			if latest := now.Add(max(c.Interval, c.InitialDelay)); s.Due.After(latest) {
				s.Due = latest
			}
		}
		s.DryRun = c.DryRun
		standings = append(standings, s)
	}
	return standings
}

// record takes in one probe and says whether it crossed a limit.
func (s *Standing) record(c watched, r result) (crossed bool) {
	s.At, s.Due = time.Now(), r.due
	switch {
	case r.err != nil:
		s.Errors++
		s.Reading = r.err.Error()
		if crossed = s.Errors > c.ConsecutiveErrorLimit; crossed {
			s.Outcome = Inconclusive
		}
	case r.reading.Pass:
		s.Failures, s.Errors, s.Reading, s.Outcome = 0, 0, r.reading.Text, Healthy
	default:
		s.Failures++
		s.Errors, s.Reading = 0, r.reading.Text
		if crossed = s.Failures > c.FailureLimit; crossed {
			s.Outcome = Failed
		} else if s.Outcome == Inconclusive {
			s.Outcome = Pending // it can be measured again
		}
	}
	return crossed
}

// wait until due; false once ctx has ended.
func wait(ctx context.Context, due time.Time) bool {
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return ctx.Err() == nil
	}
}
