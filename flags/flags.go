// Package flags changes feature flags and puts them back. A Provider speaks to one flag service; it knows nothing of
// migrations, and whoever uses it decides when a change is due.
package flags

import (
	"cmp"
	"context"
	"encoding/json"
	"reflect"
	"time"
)

// Provider changes the flags of one environment. Every method may be called again after a crash at any point: it
// first looks at the flag and does only what is missing. Implementations are safe for concurrent use.
//
// Errors are those of this package, wrapped with the flag and the way out; Permanent tells which are worth a retry.
type Provider interface {
	// Get returns the flag's state as the service holds it.
	Get(ctx context.Context, key string) (State, error)
	// Preview returns the state Apply would leave, and changes nothing. A caller records it before Apply, so that
	// after a crash it can still tell its own change from a stranger's.
	Preview(ctx context.Context, key string, c Change) (State, error)
	// Apply makes the flag serve what c asks for and returns the state after, but only once the new configuration was
	// seen where applications read it. The note goes into the service's audit log. Before it changes anything it asks
	// still, if that is not nil.
	Apply(ctx context.Context, key string, c Change, note string, still Still) (State, error)
	// Restore puts exactly the configuration of before back and returns the state after. It does nothing if the flag
	// is already there, and fails with a Stranger if the flag's state is neither before nor ours. It asks still as Apply does.
	Restore(ctx context.Context, key string, before, ours State, note string, still Still) (State, error)
	// Archive retires the flag: applications are served the fallback value in their own code from then on.
	Archive(ctx context.Context, key, note string) error
	// Status tells whether applications still ask for the flag.
	Status(ctx context.Context, key string) (Status, error)
	// Close releases connections. The provider must not be used afterwards.
	Close() error
}

// Still returns an error if a change of a flag in the state found is not wanted any more. It is asked right before the
// change is made, every time that is tried.
type Still func(ctx context.Context, found State) error

// Ask is nil for a nil Still.
func (s Still) Ask(ctx context.Context, found State) error {
	if s == nil {
		return nil
	}
	return s(ctx, found)
}

// Late is the error of a context that has ended, or whose deadline has passed by the clock: a process that was frozen
// sees the clock before its timers fire. Providers ask right before every change, because somebody else has put the flag
// back by then.
func Late(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return nil
}

// State is what a provider knows of one flag in one environment. It is plain JSON. Config may name people (individual
// targets): keep it in the database it belongs to, and show only Summary.
type State struct {
	Provider string `json:"provider"` // "launchdarkly", "flagfile"
	Key      string `json:"key"`
	Version  int    `json:"version"` // rises with every change of the environment's configuration
	Archived bool   `json:"archived,omitempty"`
	On       bool   `json:"on"`
	// Served is the version of this configuration as applications' SDKs count it, where that is another than Version; only the
	// states that Apply and Restore return have it.
	Served int `json:"served,omitempty"`
	// Percent of contexts, 0 to 100, that the default rule serves true; 0 when the flag is off, and for migration flags.
	Percent float64 `json:"percent"`
	// Stage that a migration flag serves everybody by default; "" for boolean flags, and where the default rule serves several.
	Stage Stage `json:"stage,omitempty"`
	// Summary is for people: "off", "on: 25 % true", "on: 100 % true, 2 rules", "on: stage shadow".
	Summary string `json:"summary"`
	// Exceptions are what can serve somebody another value than the default rule does while the flag is on, in words and
	// never with a target's key: "3 targets", "1 rule", "prerequisite other-flag". Targets and rules that can only serve
	// the default rule's own value are none. A prerequisite always is one, whether it is met now or not: whoever changes
	// that flag changes what this one serves. Beside a percentage rollout, which serves both values, everything is one.
	Exceptions []string `json:"exceptions,omitempty"`
	// Config is all that Restore needs, in a normal form without ids, versions and dates.
	Config json.RawMessage `json:"config"`
}

// SeenAs is the version that an application's SDK reports for this configuration.
func (s State) SeenAs() int { return cmp.Or(s.Served, s.Version) }

// Equal reports whether both are the same configuration of the same flag, whatever their versions.
func (s State) Equal(other State) bool {
	if s.Provider != other.Provider || s.Key != other.Key || s.Archived != other.Archived {
		return false
	}
	var a, b any
	if json.Unmarshal(s.Config, &a) != nil || json.Unmarshal(other.Config, &b) != nil {
		return false
	}
	return reflect.DeepEqual(a, b)
}

// Activity says whether applications ask for a flag, in LaunchDarkly's words.
type Activity string

const (
	New      Activity = "new"      // never asked for, and young
	Active   Activity = "active"   // asked for
	Launched Activity = "launched" // asked for, and one value for everybody
	Inactive Activity = "inactive" // not asked for lately
	Unknown  Activity = "unknown"  // the provider hears nothing from its readers
)

// Status of a flag.
type Status struct {
	Activity      Activity  `json:"activity"`
	LastRequested time.Time `json:"lastRequested,omitzero"` // zero: never, or unknown
}
