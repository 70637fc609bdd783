package ddl

import (
	"context"
	"fmt"
)

// Rest waits until nobody changes the schema: what stands afterwards is not changed by an attempt that was under way.
// Errors: ctx's.
func (e *Engine) Rest(ctx context.Context) error {
	s, err := dial(ctx, e.pool, e.options.LockTimeout)
	if err != nil {
		return err
	}
	defer s.close(ctx)
	defer e.hold(s)()
	o := &observer{engine: e}
	o.next()
	if err := s.lock(ctx, func() { o.refused(ctx, s) }); err != nil {
		return fmt.Errorf("wait for whoever changes the schema: %w", err)
	}
	return s.unlock(ctx)
}

// Withdraw takes back what this plan has begun of version and not seen end (see Begun): it drops an index that was being
// built, valid or not, and what a rebuild has left. It does nothing if nothing was begun. An empty sha accepts any content. Errors: ErrInspect where only a
// person can tell what the statement has done, *StrangerError if the version stands by now, and those of Up.
func (e *Engine) Withdraw(ctx context.Context, version uint, sha string) error {
	f, err := e.files.runnable(version, Up, sha)
	if err != nil {
		return err
	}
	return e.untilDone(ctx, f, func(ctx context.Context, s *session, at State) error {
		d := e.driver(ctx, s, f)
		begun, err := d.readIntent()
		if err != nil || begun.plan != e.options.Plan {
			return err
		}
		if at.Exists && at.Version >= version {
			owner, err := s.owner(ctx, at.Version)
			if err != nil {
				return err
			}
			return &StrangerError{Version: version, Found: at.Version, Owner: owner}
		}
		if err := d.checkClaim(Down); err != nil {
			return err
		}
		if err := d.withdraw(begun.sha); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		return d.clearIntent()
	})
}

// withdraw undoes a statement as far as the catalog tells what it has done.
func (d *driver) withdraw(begun string) error {
	s, err := parseScript(string(d.file.body))
	if err != nil {
		return err
	}
	if !s.noTransaction {
		return d.unknown(statement{})
	}
	done := ask
	if begun == s.sha256() { // the file is the one that was begun
		if done, err = s.operation().withdraw(d); err != nil {
			return err
		}
	}
	if done == ask {
		return d.unknown(s.statements[0])
	}
	return nil
}
