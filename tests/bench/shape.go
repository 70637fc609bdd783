package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/contraflow/contraflow/internal/pg"
)

// shape of the table: what its primary key is.
type shape struct {
	name string
	key  string // columns
	ddl  string // of the key's columns
	expr string // of the key's values for row i
}

// bigint keys lie in the heap in their order, as those of a sequence do.
func bigint() shape { return shape{"bigint", "id", "id bigint", "i"} }

// uuid keys lie in the heap in any order.
func uuid() shape { return shape{"uuid", "id", "id uuid", "gen_random_uuid()"} }

// composite keys: a hundred tenants whose rows came in turn, so that one tenant's are scattered over the heap.
func composite() shape {
	return shape{"composite", "tenant, id", "tenant integer, id bigint", "(i % 100)::integer, i"}
}

// create makes the table as the yardstick has it: primary key, two more indexes, two columns to fill.
func (s shape) create(rows int64) []string {
	return []string{
		"create table customers (" + s.ddl + ", name text, email text, address text, created_at timestamptz, street text, street_number text)",
		fmt.Sprintf(`insert into customers select %s, 'name ' || i, 'user' || i || '@example.com', (i %% 999) || ' Some Street Number ' || (i %% 1000),
			timestamptz '2026-01-01' + i * interval '1 second' from generate_series(1, %d) i`, s.expr, rows),
		"alter table customers add primary key (" + s.key + ")",
		"create index on customers (email)",
		"create index on customers (created_at)",
		"vacuum (freeze, analyze) customers",
	}
}

// warm reads heap and indexes through the shared buffers, in which a copied database has nothing yet. Index scans, because a
// scan of the whole table would keep to a small ring of buffers.
func (s shape) warm(ctx context.Context, dsn string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	for _, sql := range []string{
		"set enable_seqscan = off", "set enable_sort = off", "set max_parallel_workers_per_gather = 0", "set jit = off",
		"select count(name) from (select name from customers order by " + s.key + " offset 0) k",
		"select count(*) from (select email from customers order by email offset 0) k",
		"select count(*) from (select created_at from customers order by created_at offset 0) k",
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

// template makes the database that runs are copied from, once.
func (b *bench) template(ctx context.Context, s shape, rows int64) (string, error) {
	name := fmt.Sprintf("%s_%d", s.name, rows)
	if b.templates[name] {
		return name, nil
	}
	b.say("filling a table of %s rows, key %s", thousands(float64(rows)), s.name)
	if err := b.cluster.CreateDatabase(ctx, name, owner); err != nil {
		return "", err
	}
	dsn := b.cluster.DSN(owner, name)
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(ctx) }()
	for _, sql := range s.create(rows) {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return "", fmt.Errorf("%s: %w", strings.SplitN(sql, "(", 2)[0], err)
		}
	}
	pool, err := pg.Open(ctx, dsn, pg.Settings{})
	if err != nil {
		return "", err
	}
	defer pool.Close()
	if err := pg.EnsureSchema(ctx, pool); err != nil {
		return "", err
	}
	b.templates[name] = true
	return name, nil
}

// forget drops a template that is not needed any more: the big ones fill disks.
func (b *bench) forget(ctx context.Context, s shape, rows int64) error {
	name := fmt.Sprintf("%s_%d", s.name, rows)
	delete(b.templates, name)
	return b.cluster.DropDatabase(ctx, name)
}
