// Package flagfile is the flags.Provider of a JSON file, as the file source of LaunchDarkly's SDKs reads it
// (ldfiledata with ldfilewatch in Go). Applications keep the real SDK and need no account.
//
// The file is {"flags": {key: flag}, …}; a flag is the SDK's full model, with a version that rises with every change:
// only then do the SDK's change listeners fire. What a file says beside its flags stays as it is. An archived flag
// moves to "archivedFlags", which no SDK reads.
package flagfile

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/internal/targeting"
)

// Name is the Provider of every State this package returns.
const Name = "flagfile"

// Provider of one file's flags. Several providers, also in several processes on one machine, may share the file.
type Provider struct{ path string }

var _ flags.Provider = (*Provider)(nil)

// New takes the file's path. The file may come to be later; its folder must be writable, for the lock and for the
// rename that makes changes atomic.
func New(path string) (*Provider, error) {
	absolute, err := filepath.Abs(path)
	if err != nil || path == "" {
		return nil, fmt.Errorf("the flag file needs a path: %w", flags.ErrInvalid)
	}
	return &Provider{path: absolute}, nil
}

// Close does nothing: no file stays open.
func (p *Provider) Close() error { return nil }

// Get reads the file.
func (p *Provider) Get(_ context.Context, key string) (flags.State, error) {
	d, err := p.read()
	if err != nil {
		return flags.State{}, err
	}
	current, err := d.find(key)
	return current.state, err
}

// Preview changes nothing.
func (p *Provider) Preview(_ context.Context, key string, c flags.Change) (flags.State, error) {
	d, err := p.read()
	if err != nil {
		return flags.State{}, err
	}
	current, err := d.find(key)
	if err != nil {
		return flags.State{}, err
	}
	want, err := d.want(current, c)
	if err != nil {
		return flags.State{}, err
	}
	return current.variations.State(Name, key, current.state.Version, false, want)
}

// Apply writes the file, unless the flag serves c already. The file keeps no audit log, so the note is dropped.
func (p *Provider) Apply(
	ctx context.Context, key string, c flags.Change, _ string, still flags.Still,
) (flags.State, error) {
	return p.retarget(ctx, key, still, func(d document, current entry) (targeting.Targeting, error) {
		return d.want(current, c)
	})
}

// Restore writes the file, unless the flag is as before already.
func (p *Provider) Restore(ctx context.Context, key string, before, ours flags.State, _ string, still flags.Still) (flags.State, error) {
	return p.retarget(ctx, key, still, func(_ document, current entry) (targeting.Targeting, error) {
		want, done, err := targeting.Restoration(current.state, before, ours)
		if done {
			return current.targeting, nil
		}
		return want, err
	})
}

// retarget decides and writes under the file's lock, then reads the flag back.
func (p *Provider) retarget(
	ctx context.Context, key string, still flags.Still, decide func(document, entry) (targeting.Targeting, error),
) (flags.State, error) {
	var state flags.State
	err := p.locked(ctx, func() error {
		d, err := p.read()
		if err != nil {
			return err
		}
		current, err := d.find(key)
		if err != nil {
			return err
		}
		want, err := decide(d, current)
		if err != nil {
			return err
		}
		if want.Equal(current.targeting) {
			state = current.state
			return nil
		}
		if err := still.Ask(ctx, current.state); err != nil {
			return err
		}
		if err := d.setTargeting(current, want); err != nil {
			return err
		}
		if err := p.write(ctx, d); err != nil {
			return err
		}
		state, err = p.readBack(key, want)
		return err
	})
	return state, err
}

// readBack opens the file as an application would.
func (p *Provider) readBack(key string, want targeting.Targeting) (flags.State, error) {
	d, err := p.read()
	if err != nil {
		return flags.State{}, err
	}
	now, err := d.find(key)
	if err != nil {
		return flags.State{}, err
	}
	if !now.targeting.Equal(want) {
		return flags.State{}, fmt.Errorf("flag %q in %s was overwritten by a writer that takes no lock: %w",
			key, p.path, flags.ErrConflict)
	}
	return now.state, nil
}

// Archive moves the flag out of the SDK's sight.
func (p *Provider) Archive(ctx context.Context, key, _ string) error {
	return p.locked(ctx, func() error {
		d, err := p.read()
		if err != nil {
			return err
		}
		current, err := d.find(key)
		if err != nil || current.state.Archived {
			return err
		}
		d.archived[key] = d.flags[key]
		delete(d.flags, key)
		return p.write(ctx, d)
	})
}

// Status says Unknown: a file does not hear who reads it.
func (p *Provider) Status(ctx context.Context, key string) (flags.Status, error) {
	if _, err := p.Get(ctx, key); err != nil {
		return flags.Status{}, err
	}
	return flags.Status{Activity: flags.Unknown}, nil
}
