package demo

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Witness writes down, inside the database and in the backfill's own transactions, every row that a backfill changes.
// It owes nothing to contraflow's bookkeeping: a row that was committed twice is there twice.
type Witness struct {
	pool  *pgxpool.Pool
	table string
}

// The guard stands in the WHEN clause, so that the application's own updates cost nothing.
const placeWitness = `
create table public.demo_witness (id bigint not null);
create function public.demo_witness() returns trigger language plpgsql as $$
begin
	insert into public.demo_witness values (new.id);
	return null;
end $$;
create trigger demo_witness after update on %s for each row
	when (current_setting('application_name') = 'contraflow backfill') execute function public.demo_witness()`

const removeWitness = `
drop trigger if exists demo_witness on %s;
drop function if exists public.demo_witness();
drop table if exists public.demo_witness`

// PlaceWitness puts a witness on a table with an id column. table is SQL, quoted where needed.
func PlaceWitness(ctx context.Context, pool *pgxpool.Pool, table string) (*Witness, error) {
	if _, err := pool.Exec(ctx, fmt.Sprintf(placeWitness, table)); err != nil {
		return nil, fmt.Errorf("place the witness on %s: %w", table, err)
	}
	return &Witness{pool, table}, nil
}

// Testimony of a witness.
type Testimony struct {
	// Changes that backfills have committed, and how many of them were of a row that was changed before.
	Changes, Twice int64
}

// Ask the witness what it has seen so far.
func (w *Witness) Ask(ctx context.Context) (Testimony, error) {
	var t Testimony
	err := w.pool.QueryRow(ctx, `select count(*), count(*) - count(distinct id) from public.demo_witness`).Scan(&t.Changes, &t.Twice)
	if err != nil {
		return t, fmt.Errorf("ask the witness: %w", err)
	}
	return t, nil
}

// Remove takes the witness and all it wrote away.
func (w *Witness) Remove(ctx context.Context) error {
	if _, err := w.pool.Exec(ctx, fmt.Sprintf(removeWitness, w.table)); err != nil {
		return fmt.Errorf("remove the witness from %s: %w", w.table, err)
	}
	return nil
}
