// Package health probes a system again and again and says when it is no longer well: the engine of a plan's guard.
// It knows nothing of who asks or what is done about the answer.
package health

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// DefaultInterval between two probes of a check: three misses of a dead application are noticed within 15 s,
	// and a count over an index every 5 s is no load.
	DefaultInterval = 5 * time.Second
	// DefaultConsecutiveErrorLimit is Argo Rollouts' consecutiveErrorLimit: a restart of the database
	// or a short network fault passes within four probes.
	DefaultConsecutiveErrorLimit = 4
)

// Outcome of a check, or of the whole watch.
type Outcome string

const (
	// Pending: not measured well yet, and not judged either. Never a verdict.
	Pending Outcome = "pending"
	// Healthy: the check passed, and has not crossed a limit since.
	Healthy Outcome = "healthy"
	// Failed: the check failed more often in a row than it may.
	Failed Outcome = "failed"
	// Inconclusive: the check could not be measured, more often in a row than it may. Neither good nor bad: a person must look.
	Inconclusive Outcome = "inconclusive"
)

// Reading is what one probe measured.
type Reading struct {
	// Text for people: numbers and statuses only, never values out of rows.
	Text string
	// Pass says whether the reading is as it should be.
	Pass bool
}

// Prober measures once. An error means that it could not measure, which is neither a pass nor a failure; its text reaches
// people, so it must hold no secret and no row value. Probe returns soon after its context ends.
type Prober interface {
	Probe(ctx context.Context) (Reading, error)
}

// Check is one thing to watch. Exactly one of SQL, HTTP and Custom is set.
type Check struct {
	// Name is unique among the checks watched together.
	Name string
	SQL  *SQLProbe
	HTTP *HTTPProbe
	// Custom is a prober of your own.
	Custom Prober
	// Interval from the start of one probe to the start of the next. Defaults to DefaultInterval.
	Interval time.Duration
	// InitialDelay before the first probe. Defaults to none.
	InitialDelay time.Duration
	// FailureLimit is how many consecutive failures are tolerated: one more is the verdict Failed. A pass starts the
	// count again; an error neither counts nor starts it again. Defaults to 0: the first failure is the verdict.
	FailureLimit int
	// ConsecutiveErrorLimit is how many consecutive errors are tolerated: one more is the verdict Inconclusive. Any reading
	// starts the count again. Defaults to DefaultConsecutiveErrorLimit.
	ConsecutiveErrorLimit int
	// DryRun measures and reports, and never brings a verdict.
	DryRun bool
}

// Targets are what probes of the built-in kinds go through.
type Targets struct {
	// Pool to the database that SQL probes ask. Needed only if there are any.
	Pool *pgxpool.Pool
	// Client for HTTP probes; its redirect policy is replaced. Defaults to http.DefaultClient.
	Client *http.Client
}

// watched is a check whose defaults are filled in and whose prober is made.
type watched struct {
	Check
	prober Prober
}

func prepare(c Check, on Targets) (watched, error) {
	if c.Name == "" {
		return watched{}, errors.New("a check has no name: give each check one")
	}
	fault := func(text string) (watched, error) { return watched{}, fmt.Errorf("check %q: %s", c.Name, text) }
	switch {
	case c.Interval < 0 || c.InitialDelay < 0:
		return fault("interval and initial delay must not be negative")
	case c.FailureLimit < 0 || c.ConsecutiveErrorLimit < 0:
		return fault("failure limit and consecutive error limit must not be negative")
	}
	if c.Interval == 0 {
		c.Interval = DefaultInterval
	}
	if c.ConsecutiveErrorLimit == 0 {
		c.ConsecutiveErrorLimit = DefaultConsecutiveErrorLimit
	}
	probers := make([]Prober, 0, 1)
	if c.SQL != nil {
		p, err := newSQLProber(*c.SQL, on.Pool)
		if err != nil {
			return fault(err.Error())
		}
		probers = append(probers, p)
	}
	if c.HTTP != nil {
		p, err := newHTTPProber(*c.HTTP, on.Client)
		if err != nil {
			return fault(err.Error())
		}
		probers = append(probers, p)
	}
	if c.Custom != nil {
		probers = append(probers, c.Custom)
	}
	if len(probers) != 1 {
		return fault(fmt.Sprintf("set exactly one probe, not %d", len(probers)))
	}
	return watched{c, probers[0]}, nil
}
