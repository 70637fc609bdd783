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
	if f.Migration {
		return fmt.Errorf("flag %q: contraflow.flag holds boolean flags only: make one for each stage: %w", key, flags.ErrInvalid)
	}
	if !keepable(key) {
		return fmt.Errorf("flag %q: a key has no NUL and no broken UTF-8: %w", key, flags.ErrInvalid)
	}
	if err := flags.Late(ctx); err != nil {
		return fmt.Errorf("too late to make flag %q: %w", key, err)
	}
	if _, err := p.pool.Exec(ctx, `insert into contraflow.flag (key, description) values ($1, $2) on conflict (key) do nothing`,
		key, storable(f.Description)); err != nil {
		return told(err, "make", key)
	}
	found, err := read(ctx, p.pool, key, "")
	if err == nil && found.archived {
		err = fmt.Errorf("flag %q exists and serves nothing: take it out of the archive (set archived = false), or choose another key: %w",
			key, flags.ErrArchived)
	}
	return err
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
