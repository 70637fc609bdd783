// Package plan is the document a person writes: what to change, in which steps. It decodes YAML and JSON of one shape,
// reports every mistake at once with its place and the way out, and computes the hash that approvals are bound to.
package plan

import (
	"encoding/json"
	"fmt"
	"time"
)

// Plan is one change of one database.
type Plan struct {
	// Name identifies the plan; one migration of a plan runs at a time. Lower-case letters, digits and hyphens.
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	Owner       string `json:"owner,omitempty"`
	// Database is a name in the worker's configuration, never a connection string.
	Database string `json:"database"`
	// Migrations is the folder of the SQL files, beside the plan.
	Migrations string     `json:"migrations,omitempty"`
	Flags      *FlagScope `json:"flags,omitempty"`
	Guard      *Guard     `json:"guard,omitempty"`
	Steps      []Step     `json:"steps"`
}

// FlagScope says where in the flag service the plan's flags live.
type FlagScope struct {
	Project     string `json:"project"`
	Environment string `json:"environment"`
	// Drain is how long a request of the application may run on after it has read a flag: the migration waits so long behind
	// the last stage of a flag, and between putting flags back and taking their columns away. Defaults to 5s.
	Drain *Duration `json:"drain,omitempty"`
}

// Step is one entry of the plan; exactly one verb is set.
type Step struct {
	Name string `json:"name"`
	// Timeout bounds the step; past it the migration rolls back. Defaults to none: the guard and people decide.
	Timeout Duration `json:"timeout,omitempty"`

	Migrate  *Migrate  `json:"migrate,omitempty"`
	Flag     *Flag     `json:"flag,omitempty"`
	Backfill *Backfill `json:"backfill,omitempty"`
	Verify   *Verify   `json:"verify,omitempty"`
	Approve  *Approve  `json:"approve,omitempty"`
	Soak     *Duration `json:"soak,omitempty"`
	Retire   *Retire   `json:"retire,omitempty"`
}

// Verb of a step, as written in the plan.
type Verb string

// The seven verbs.
const (
	VerbMigrate  Verb = "migrate"
	VerbFlag     Verb = "flag"
	VerbBackfill Verb = "backfill"
	VerbVerify   Verb = "verify"
	VerbApprove  Verb = "approve"
	VerbSoak     Verb = "soak"
	VerbRetire   Verb = "retire"
)

// Verb tells which verb is set; "" when none is.
func (s Step) Verb() Verb {
	switch {
	case s.Migrate != nil:
		return VerbMigrate
	case s.Flag != nil:
		return VerbFlag
	case s.Backfill != nil:
		return VerbBackfill
	case s.Verify != nil:
		return VerbVerify
	case s.Approve != nil:
		return VerbApprove
	case s.Soak != nil:
		return VerbSoak
	case s.Retire != nil:
		return VerbRetire
	}
	return ""
}

// Irreversible says that nothing undoes the step once it has run.
func (s Step) Irreversible() bool { return s.Migrate != nil && s.Migrate.Irreversible }

// Verify is a proof by query: one row with one number.
type Verify struct {
	Query string   `json:"query"`
	Max   *float64 `json:"max,omitempty"`
	Min   *float64 `json:"min,omitempty"`
}

// Approve waits for people.
type Approve struct {
	// By lists who may decide.
	By []string `json:"by"`
	// Quorum is how many of them must approve. Defaults to 1.
	Quorum int `json:"quorum,omitempty"`
	// Within is how long to wait; an expired approval rolls the migration back. Defaults to 72h.
	Within Duration `json:"within,omitempty"`
}

// Guard is the plan's health checks, watched from the first change to the last.
type Guard struct {
	// Interval between two readings of a check that names none. Defaults to 5s.
	Interval Duration `json:"interval,omitempty"`
	Checks   []Check  `json:"checks"`
}

// Check is one health check; exactly one probe is set.
type Check struct {
	Name string     `json:"name"`
	SQL  *SQLProbe  `json:"sql,omitempty"`
	HTTP *HTTPProbe `json:"http,omitempty"`
	// From names the step from which on the check is watched. Defaults to the first.
	From         string   `json:"from,omitempty"`
	Interval     Duration `json:"interval,omitempty"`
	InitialDelay Duration `json:"initialDelay,omitempty"`
	// FailureLimit is how many failures in a row are tolerated. Defaults to 0 for sql, 2 for http.
	FailureLimit *int `json:"failureLimit,omitempty"`
	// ConsecutiveErrorLimit is how many readings in a row may fail to be taken. Defaults to 4.
	ConsecutiveErrorLimit *int `json:"consecutiveErrorLimit,omitempty"`
	// DryRun reports and never judges.
	DryRun bool `json:"dryRun,omitempty"`
}

// SQLProbe is a query for one number, with bounds.
type SQLProbe struct {
	Query string   `json:"query"`
	Max   *float64 `json:"max,omitempty"`
	Min   *float64 `json:"min,omitempty"`
}

// HTTPProbe is a GET with the status it must answer.
type HTTPProbe struct {
	URL string `json:"url"`
	// Status expected. Defaults to 200.
	Status int `json:"status,omitempty"`
	// Timeout of one request. Defaults to 5s.
	Timeout Duration `json:"timeout,omitempty"`
}

// Defaults, each with its reason.
const (
	DefaultQuorum        = 1
	DefaultWithin        = 72 * time.Hour         // a decision asked on a Friday evening is still answerable on Monday
	DefaultDrain         = 5 * time.Second        // longer than a web request takes in an application that is well
	DefaultContextKind   = "user"                 // LaunchDarkly's own default context kind
	DefaultGuardInterval = 5 * time.Second        // a bad minute is seen within seconds, and the probes cost nothing
	DefaultChunkTime     = 200 * time.Millisecond // longest a foreground transaction waits behind a chunk
	MaxLanes             = 64                     // far above where lanes still help: each keeps a connection and a core of the database busy
	DefaultLatencyName   = "protected latency"    // it is the only one of its step
	DefaultHTTPStatus    = 200
	DefaultHTTPTimeout   = 5 * time.Second // an application that answers slower than that is not healthy
	DefaultSQLFailures   = 0               // a query's number is a fact
	DefaultHTTPFailures  = 2               // one lost request is weather
	DefaultErrorLimit    = 4               // Argo Rollouts' consecutiveErrorLimit
)

// Duration is a Go duration that travels as its text, such as "30s".
type Duration time.Duration

// Std is the duration as the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String is the duration as people write it.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalJSON writes the duration as text.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads the text form.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return fmt.Errorf("a duration is a text such as \"30s\": %w", err)
	}
	v, err := time.ParseDuration(text)
	if err != nil {
		return err
	}
	*d = Duration(v)
	return nil
}

// HighestVersion is the last schema version the plan migrates to; 0 when it has no migrate step.
func (p *Plan) HighestVersion() uint {
	var highest uint
	for _, s := range p.Steps {
		if s.Migrate != nil {
			highest = max(highest, s.Migrate.To)
		}
	}
	return highest
}

// FlagKeys lists the flags that the plan turns or retires, each once, in order of appearance.
func (p *Plan) FlagKeys() []string {
	var keys []string
	seen := map[string]bool{}
	add := func(key string) {
		if !seen[key] {
			seen[key] = true
			keys = append(keys, key)
		}
	}
	for _, s := range p.Steps {
		if s.Flag != nil {
			for _, key := range s.Flag.All() {
				add(key)
			}
		}
		if s.Retire != nil {
			for _, key := range s.Retire.Flags {
				add(key)
			}
		}
	}
	return keys
}

// StepIndex finds a step by name; -1 when there is none.
func (p *Plan) StepIndex(name string) int {
	for i, s := range p.Steps {
		if s.Name == name {
			return i
		}
	}
	return -1
}
