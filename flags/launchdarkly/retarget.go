package launchdarkly

import (
	"context"
	"errors"
	"fmt"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/internal/targeting"
)

// order is a change that is asked for, over all attempts at it.
type order struct {
	note  string
	still flags.Still
	// plain lets the next attempts be semantic patches. misread says that the conditional one was not understood: that is the
	// service's way with them if it understands the semantic one.
	plain, misread bool
}

// change makes what decide wants of the flag as it is, unless that is done.
func (p *Provider) change(
	ctx context.Context, key string, o *order, decide func(current snapshot) (want targeting.Targeting, done bool, err error),
) (snapshot, error) {
	return retry(ctx, func() (snapshot, error) {
		current, err := p.read(ctx, key)
		if err != nil {
			return snapshot{}, err
		}
		want, done, err := decide(current)
		if err != nil || done {
			return current, err
		}
		if version, ok := p.look(ctx, current); ok {
			if current, err = p.read(ctx, key); err != nil {
				return snapshot{}, err
			}
			if want, done, err = decide(current); err != nil || done {
				return current, err
			}
			p.shown.Store(key, shown{version: version, before: current.state.Version})
		}
		after, err := p.retarget(ctx, current, want, o)
		if err == nil {
			p.made(current, after)
		}
		return after, err
	})
}

// retarget patches current into want.
func (p *Provider) retarget(ctx context.Context, current snapshot, want targeting.Targeting, o *order) (snapshot, error) {
	key := current.state.Key
	instructions, err := p.instructions(ctx, current, want)
	if err != nil {
		return snapshot{}, err
	}
	asked, waits, err := p.asked(ctx, current, instructions, o.note)
	if err != nil {
		return snapshot{}, err
	}
	operations, sayable := p.operations(current, want)
	guarded := !waits && sayable && !o.plain
	if guarded {
		if guarded, err = p.honoursConditions(ctx, current, o); err != nil {
			return snapshot{}, err
		}
	}
	// Nothing comes between this and the request.
	if err := o.still.Ask(ctx, current.state); err != nil {
		return snapshot{}, err
	}
	if waits {
		return p.petition(ctx, current, want, instructions, o.note, o.still, asked)
	}
	var after snapshot
	if guarded {
		after, err = p.patchIfUnchanged(ctx, current, want, operations, o)
	} else {
		after, err = p.patch(ctx, key, semanticPatch{
			Comment: o.note, EnvironmentKey: p.config.Environment, Instructions: instructions,
		})
	}
	if errors.Is(err, flags.ErrApprovalRequired) {
		return p.petition(ctx, current, want, instructions, o.note, o.still, asked)
	}
	if errors.Is(err, flags.ErrInvalid) {
		err = p.overtaken(ctx, current, err)
	}
	if errors.Is(err, flags.ErrInvalid) && asked.request != nil { // which no one needs any more, and which may be what is in the way
		if err := p.remove(ctx, key, asked.request.ID); err != nil {
			return snapshot{}, err
		}
		err = fmt.Errorf("%s: %w", err, flags.ErrConflict)
	}
	if err == nil && !after.targeting.Equal(want) {
		err = overtaken(key)
	}
	if err == nil && o.misread {
		p.conditions.Store(ignored)
	}
	return after, err
}

// overtaken turns the refusal of a change into a conflict, if it was decided on what is not so any more.
func (p *Provider) overtaken(ctx context.Context, current snapshot, refusal error) error {
	now, err := p.read(ctx, current.state.Key)
	if err == nil && (now.state.Archived != current.state.Archived || !now.targeting.Equal(current.targeting)) {
		return overtaken(current.state.Key)
	}
	return refusal
}

func overtaken(key string) error {
	return fmt.Errorf("flag %q was changed by someone else at the same moment: %w", key, flags.ErrConflict)
}
