package flagstest

import (
	"context"
	"testing"

	"github.com/contraflow/contraflow/flags"
)

// Reader is a flag service's reading side, as an application has it: its SDK, or whatever evaluates flags.
type Reader interface {
	// Bool evaluates a boolean flag for one context. ok is false where the service serves nothing, so that the application
	// is left with the fallback in its own code.
	Bool(key, contextKind, contextKey string) (value, ok bool)
}

// Batcher is a Reader that evaluates for many contexts at once: the suite asks for thousands, which is slow one by one where
// each has to travel.
type Batcher interface {
	// Bools evaluates as Bool does, with one value for each context.
	Bools(key, contextKind string, contextKeys []string) (values []bool, ok bool)
}

// Listener is a Reader that tells of changes. The suite then waits to be told before it looks.
type Listener interface {
	// Listen begins to listen; each call of next waits for a flag to change, and returns its key.
	Listen() (next func(context.Context) (key string, err error))
}

// Stager is a Reader that evaluates migration flags. It is needed where the fixture names one.
type Stager interface {
	// Stage evaluates a migration flag for one context: "off", "dualwrite", … ok is as Bool's.
	Stage(key, contextKind, contextKey string) (stage string, ok bool)
}

// Mixer is a Reader that evaluates a boolean flag for contexts of several kinds at once, as one request of an application has
// them.
type Mixer interface {
	// Mixed evaluates as Bool does, for one context of each kind.
	Mixed(key string, contexts ...flags.Context) (value, ok bool)
}

// Versioner is a Reader that knows which version of a flag it evaluates. The suite then holds State.SeenAs against it.
type Versioner interface {
	// Version of the flag as the application has it now; ok is false where it has none.
	Version(key string) (version int, ok bool)
}

// Fixture is a provider with flags prepared behind its back. What a service doesn't have stays empty: the suite then wants the
// provider to refuse what would need it.
type Fixture struct {
	Provider flags.Provider
	// Plain is a boolean flag: off, true by its default rule, without targets and rules.
	Plain string
	// Furnished is a boolean flag: on, a 25 % rollout of true by the default kind, and what Exempt says.
	Furnished string
	// Exempt are contexts that Furnished serves one value whatever its default rule says: some true, some false. Those who
	// are served false are individual targets, one of them of the default kind.
	Exempt []Exempt
	// Told is what the Exceptions of Furnished's state say when its default rule serves true to a percentage: 1 and 100.
	Told map[int][]string
	// Inverted is a boolean flag that is off, and serves everybody true then; empty where the service knows none.
	Inverted string
	// Text is a flag that serves texts; empty where the service knows boolean flags only.
	Text string
	// Migration is a migration flag with six stages: off, its off variation the stage off, without targets and rules. Empty
	// where the service knows none: no stage is taken then, and no migration flag made.
	Migration string
	// Segment is the key of a segment of users; empty where the service knows none: Apply then refuses all.
	Segment string
	// Members are users in Segment, and none of "user-0" to "user-9999" is one.
	Members []string
	// OneKind says that the service distributes by one kind of context only. Apply then refuses any other, also in targets.
	OneKind bool
	// OneTargetKind says that the service has individual targets of one kind of context only. Apply then refuses any other.
	OneTargetKind bool
	// KindAlone says that a percentage by one kind of context serves false, below 100, to contexts that lack the kind.
	KindAlone bool
	// Ordered says that targets of several kinds stand in an order that the provider decides on: who is excluded is served false
	// whatever the other contexts of the same request are served by name.
	Ordered bool
	// Target lets a stranger serve true to one user, not through the provider.
	Target func(t *testing.T, key, user string)
	// Rule lets a stranger serve false to one user by a rule above all others. Needed where there are segments.
	Rule func(t *testing.T, key, user string)
	// Depend lets a stranger make the flag key serve true only where the flag on does. Needed where the provider is a
	// flags.Depender.
	Depend func(t *testing.T, key, on string)
	// Application starts a reading side as an application would, waits until it has flags, and closes it when t ends.
	Application func(t *testing.T) Reader
}

// Exempt is one context with the value that it is served.
type Exempt struct {
	ContextKind, ContextKey string
	Value                   bool
}

// exempt is one of kind user who is served false by name.
func (f Fixture) exempt() string {
	for _, e := range f.Exempt {
		if e.ContextKind == user && !e.Value {
			return e.ContextKey
		}
	}
	return ""
}
