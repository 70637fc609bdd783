package flags

import "context"

// What a provider may offer beside Provider. Whoever wants an ability asks for it with a type assertion, and does without
// it where the provider lacks it.

// Rehearser lets the service itself say whether it would accept a change.
type Rehearser interface {
	// Rehearse changes nothing. Its error is the one that Apply would meet, as far as the service tells beforehand: an
	// ApprovalRequired if the change will have to wait for people.
	Rehearse(ctx context.Context, key string, c Change) error
}

// Withdrawer is a provider that may have asked for approvals.
type Withdrawer interface {
	// Withdraw takes back what was asked for under this note and not carried out: nobody shall carry it out later. It may
	// be called again, also when there is nothing to take back.
	Withdraw(ctx context.Context, key, note string) error
}

// Creator makes flags.
type Creator interface {
	// Create makes a flag that is off, and returns once applications can see it. A flag of the same kind that exists is
	// left as it is; one of another kind is an ErrInvalid.
	Create(ctx context.Context, key string, f NewFlag) error
	// RehearseCreate changes nothing. Its error is the one that Create would meet, or one of the changes that come behind it,
	// in this order, on the new flag: as far as the service tells beforehand, an ApprovalRequired if a change will have to wait
	// for people. Of a flag that exists already the changes are not looked at: see Rehearser.
	RehearseCreate(ctx context.Context, key string, f NewFlag, changes []Change) error
}

// Depender knows which flags need another.
type Depender interface {
	// Dependents lists the flags of the environment, sorted, that have this one as a prerequisite and are not archived. Where
	// Archive acts on other environments too it lists theirs as well, as people read them: "other (environment staging)".
	Dependents(ctx context.Context, key string) ([]string, error)
}

// Widely is a provider whose Archive acts on more than its own environment.
type Widely interface {
	// Elsewhere is what the service has heard of those who ask for the flag in all other environments that Archive acts on, by
	// the environment's key.
	Elsewhere(ctx context.Context, key string) (map[string]Status, error)
}

// NewFlag is a flag to be made.
type NewFlag struct {
	// Name and Description are for people. Name defaults to the key.
	Name, Description string
	Tags              []string
	// Migration makes a migration flag with the stages off, dualwrite, shadow, live, rampdown and complete, instead of a
	// boolean flag.
	Migration bool
	// ContextKind whose keys decide who is in which stage. Of migration flags alone; defaults to DefaultContextKind.
	ContextKind string
}

type tellKey struct{}

// Telling returns a context whose operations tell what they wait for: a text for people, without a target's key, and ""
// when the wait is over. The function must not block, and is called by one goroutine at a time.
func Telling(ctx context.Context, tell func(waiting string)) context.Context {
	return context.WithValue(ctx, tellKey{}, tell)
}

// Tell is how a provider says what it waits for.
func Tell(ctx context.Context, waiting string) {
	if tell, ok := ctx.Value(tellKey{}).(func(string)); ok {
		tell(waiting)
	}
}

type urgentKey struct{}

// Urgent returns a context whose changes go before what is scheduled or asked for in the service, and would fail by them: those of
// the kill switch. Any other change gives way.
func Urgent(ctx context.Context) context.Context { return context.WithValue(ctx, urgentKey{}, true) }

// IsUrgent is how a provider knows of it.
func IsUrgent(ctx context.Context) bool { return ctx.Value(urgentKey{}) != nil }
