package postgres

import (
	"context"
	"fmt"

	"github.com/contraflow/contraflow/flags"
)

var (
	_ flags.Creator   = (*Provider)(nil)
	_ flags.Rehearser = (*Provider)(nil)
)

// Create makes a boolean flag that is off. The table has no room for names and tags; of f it keeps the description.
func (p *Provider) Create(ctx context.Context, key string, f flags.NewFlag) error {
	if err := creatable(key, f); err != nil {
		return err
	}
	if err := flags.Late(ctx); err != nil {
		return fmt.Errorf("too late to make flag %q: %w", key, err)
	}
	_, _, err := create(ctx, p.pool, key, f)
	return err
}

// RehearseCreate makes flag and changes in a transaction that is rolled back: so rights, the key and what triggers say are the
// database's own answer. Whoever makes the same flag meanwhile waits for milliseconds.
func (p *Provider) RehearseCreate(ctx context.Context, key string, f flags.NewFlag, changes []flags.Change) error {
	if err := creatable(key, f); err != nil {
		return err
	}
	tx, err := p.begin(ctx, key, "")
	if err != nil {
		return err
	}
	defer rollback(ctx, tx)
	now, made, err := create(ctx, tx, key, f)
	if err != nil || !made {
		return err
	}
	for _, c := range changes {
		want := now
		if want.config, err = now.want(c); err != nil {
			return err
		}
		if want.equal(now) {
			continue
		}
		if want.version, err = write(ctx, tx, want); err != nil {
			return err
		}
		now = want
	}
	return nil
}

// creatable refuses what the table has no room for.
func creatable(key string, f flags.NewFlag) error {
	if f.Migration {
		return fmt.Errorf("flag %q: contraflow.flag holds boolean flags only: make one for each stage: %w", key, flags.ErrInvalid)
	}
	if !keepable(key) {
		return fmt.Errorf("flag %q: a key has no NUL and no broken UTF-8: %w", key, flags.ErrInvalid)
	}
	return nil
}

// create returns the flag as it is then, and whether it was made.
func create(ctx context.Context, q querier, key string, f flags.NewFlag) (found flag, made bool, err error) {
	tag, err := q.Exec(ctx, `insert into contraflow.flag (key, description) values ($1, $2) on conflict (key) do nothing`,
		key, storable(f.Description))
	if err != nil {
		return flag{}, false, told(err, "make", key)
	}
	found, err = read(ctx, q, key, "")
	if err == nil && found.archived {
		err = fmt.Errorf("flag %q exists and serves nothing: take it out of the archive (set archived = false), or choose another key: %w",
			key, flags.ErrArchived)
	}
	return found, tag.RowsAffected() > 0, err
}

// Rehearse finds out whether the worker's role may change flags.
func (p *Provider) Rehearse(ctx context.Context, key string, c flags.Change) error {
	if _, err := p.Preview(ctx, key, c); err != nil {
		return err
	}
	var may bool
	if err := p.pool.QueryRow(ctx, `select has_table_privilege('contraflow.flag', 'update')`).Scan(&may); err != nil {
		return told(err, "rehearse", key)
	}
	if !may {
		return lacksRight("change", key)
	}
	return nil
}
