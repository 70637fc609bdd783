package targeting

import (
	"fmt"
	"slices"

	"github.com/contraflow/contraflow/flags"
)

// Variations are the values that one kind of flag may serve. They know what a change means for it.
type Variations interface {
	// Want returns the targeting in which c is served. It refuses what could not be put back afterwards, and leaves current as
	// it is. A targeting in which c is served already comes back alike.
	Want(key string, current Targeting, c flags.Change) (Targeting, error)
	// State describes t.
	State(provider, key string, version int, archived bool, t Targeting) (flags.State, error)
}

var (
	_ Variations = Boolean{}
	_ Variations = Stages{}
)

// New finds out which kind of flag has these values: exactly true and false make a Boolean, the six stages of a migration
// flag, in any order, Stages. Anything else is flags.ErrNotBoolean.
func New(key string, values []any) (Variations, error) {
	if s, ok := newStages(values); ok {
		return s, nil
	}
	b, err := newBoolean(key, values)
	if err != nil {
		return nil, err
	}
	return b, nil
}

// newBoolean finds the two variations.
func newBoolean(key string, values []any) (Boolean, error) {
	b := Boolean{True: slices.Index(values, any(true)), False: slices.Index(values, any(false))}
	if len(values) != 2 || b.True < 0 || b.False < 0 {
		return Boolean{}, fmt.Errorf("flag %q has %d variations, and they are neither exactly true and false nor the six stages %v of a "+
			"migration flag: give a migration one of both: %w", key, len(values), flags.Stages(), flags.ErrNotBoolean)
	}
	return b, nil
}

func newStages(values []any) (Stages, bool) {
	var s Stages
	if len(values) != len(s.Index) {
		return s, false
	}
	for i, stage := range flags.Stages() {
		if s.Index[i] = slices.Index(values, any(string(stage))); s.Index[i] < 0 {
			return s, false
		}
	}
	return s, true
}

// experimenting refuses a flag whose default rule could not be put back.
func experimenting(key string, current Targeting) error {
	if r := current.Fallthrough.Rollout; r != nil && (r.Kind != "" || r.Seed != nil) {
		return fmt.Errorf("flag %q runs an experiment, or a rollout that LaunchDarkly moves by itself, on its default rule: stop that first: %w", key, flags.ErrNotRestorable)
	}
	return nil
}

// off is t turned off, with everybody served a variation: what stands above the default rule serves nobody then.
func (t Targeting) off(key string, variation int) (Targeting, error) {
	if t.OffVariation == nil {
		return Targeting{}, fmt.Errorf("flag %q serves no variation when off: give it an off variation first: %w",
			key, flags.ErrNotRestorable)
	}
	t.On, t.OffVariation = false, &variation
	return t, nil
}

// excludable refuses a flag that serves something else than off to those who are named, too.
func (t Targeting) excludable(key string, off int, other string) error {
	const wayOut = "turn it off for everybody instead, by the kill switch without a context, or correct its off variation"
	switch {
	case t.OffVariation == nil || *t.OffVariation == off:
	case !t.On:
		return fmt.Errorf("flag %q is off and serves everybody %s then, whoever is named: %s: %w", key, other, wayOut, flags.ErrInvalid)
	case len(t.Prerequisites) > 0:
		return fmt.Errorf("flag %q serves everybody %s while its prerequisite %s is not met, whoever is named: %s: %w",
			key, other, t.Prerequisites[0].Key, wayOut, flags.ErrInvalid)
	}
	return nil
}
