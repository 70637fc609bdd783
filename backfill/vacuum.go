package backfill

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

const (
	// vacuumSlack is what the heap may take beyond its size once it is rewritten, as a share of that.
	vacuumSlack = 1.0 / 48
	// lastVacuum is the share of the table behind which no more room is made: it would not be used any more.
	lastVacuum = 0.98
	// gentleVacuum is autovacuum's default cost delay (autovacuum_vacuum_cost_delay), for a vacuum under Protect.
	gentleVacuum = "2ms"
	// promptVacuum is VACUUM's own default.
	promptVacuum = "0"
)

// HoldingVacuum is what a lane does between two chunks now and then: see Spec.Vacuum.
const HoldingVacuum = "vacuuming the table"

// vacuum makes the room of outdated row versions reusable, when enough of them have come together. One lane does it for all
// while the others walk on. It never waits for a lock: where autovacuum works on the table, that is as good. Indexes are left
// alone, which is what makes it quick; autovacuum cleans them up afterwards.
func (a *attempt) vacuum(ctx context.Context) error {
	since := float64(a.control.rows-a.control.vacuumed) / float64(max(a.size, 1))
	if !a.spec.Vacuum || since < vacuumSlack {
		return nil
	}
	h, err := a.heap(ctx)
	if err != nil || h.walked > lastVacuum || since < h.allowance() {
		return err
	}
	claimed, err := a.conn.Exec(ctx, `update contraflow.backfill_control set vacuumed = $3, growth = $5
		where plan = $1 and step = $2 and vacuumed = $4`, a.spec.Plan, a.spec.Step, a.control.rows, a.control.vacuumed, h.growth)
	if err != nil || claimed.RowsAffected() == 0 {
		return rowError(a.doing("take its turn to vacuum"), err)
	}
	a.report(HoldingVacuum)
	err = a.vacuumNow(ctx)
	if _, contended := contention(err); contended && ctx.Err() == nil {
		return a.passTurn(ctx)
	}
	return err
}

// passTurn leaves the turn to whoever walks the next chunk: somebody else is at the table, autovacuum as a rule.
func (a *attempt) passTurn(ctx context.Context) error {
	_, err := a.conn.Exec(ctx, "update contraflow.backfill_control set vacuumed = $4 where plan = $1 and step = $2 and vacuumed = $3",
		a.spec.Plan, a.spec.Step, a.control.rows, a.control.vacuumed)
	return rowError(a.doing("leave its turn to vacuum"), err)
}

// heap is how the table grows while it is changed, in shares of its size at the beginning.
type heap struct {
	walked  float64 // rows walked over
	changed float64 // of the rows walked over
	growth  float64 // bytes of a new row version for each of an old one; 0: not known before the first vacuum
}

// allowance is how many rows may be changed before room has to be made, as a share of the table. The file need never be longer
// than the rewritten table with some slack. Rows that grow fill it only at the end; before that the file has room for more
// outdated versions, which matters because every vacuum looks at all pages changed so far.
func (h heap) allowance() float64 {
	if h.growth == 0 {
		return vacuumSlack
	}
	more := (max(h.growth, 1) - 1) * h.changed
	return ((1+more)*(1+vacuumSlack) - 1 - more*h.walked) / max(h.growth, 1)
}

// heap reads how the table has grown. The first rows changed tell by how much a row grows: nothing has been reused yet.
func (a *attempt) heap(ctx context.Context) (h heap, err error) {
	var walked, before, now float64
	err = a.conn.QueryRow(ctx, `select (select sum(scanned) from contraflow.backfill_lane l where l.plan = c.plan and l.step = c.step)::float8,
			heap_bytes::float8, growth::float8, coalesce((select sum(pg_relation_size(relid)) from pg_partition_tree($3)), pg_relation_size($3))::float8
		from contraflow.backfill_control c where plan = $1 and step = $2`,
		a.spec.Plan, a.spec.Step, a.table.relation.OID).Scan(&walked, &before, &h.growth, &now)
	if errors.Is(err, pgx.ErrNoRows) {
		return heap{walked: 1}, nil // reset meanwhile
	}
	rows := float64(a.control.rows)
	h.walked, h.changed = walked/float64(max(a.size, 1)), min(1, rows/max(walked, 1))
	if h.growth == 0 && before > 0 {
		h.growth = (now - before) / before * float64(a.size) / rows
	}
	return h, rowError(a.doing("look how the table has grown"), err)
}

// vacuumNow vacuums outside a transaction, as VACUUM must; its settings are the session's until it ends.
func (a *attempt) vacuumNow(ctx context.Context) error {
	delay := promptVacuum
	if a.spec.Protect != nil {
		delay = gentleVacuum
	}
	// VACUUM itself tells by a mere warning that it has skipped the table.
	_, err := a.conn.Exec(ctx, "begin; lock table "+a.statements.table+" in share update exclusive mode nowait; commit", pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		_, _ = a.conn.Exec(ctx, "rollback") // a connection that cannot is closed by the pool
		return rowError(a.doing("vacuum the table"), err)
	}
	_, err = a.conn.Exec(ctx, "select set_config('statement_timeout', '0', false), set_config('vacuum_cost_delay', $1, false)", delay)
	if err == nil {
		_, err = a.conn.Exec(ctx, "vacuum (skip_locked, index_cleanup off, truncate off) "+a.statements.table, pgx.QueryExecModeSimpleProtocol)
	}
	if !a.conn.Conn().IsClosed() {
		_, resetErr := a.conn.Exec(ctx, "reset statement_timeout; reset vacuum_cost_delay", pgx.QueryExecModeSimpleProtocol)
		err = errors.Join(err, resetErr)
	}
	return rowError(a.doing("vacuum the table"), err)
}

// mayVacuum refuses a spec that asks for what the role may not do: Postgres would skip the table, or one of its partitions, with a
// mere warning.
func (e *Engine) mayVacuum(ctx context.Context, t table) error {
	var forbidden string
	err := e.pool.QueryRow(ctx, `select coalesce(min(oid::regclass::text), '') from pg_class
		where (oid = $1 or oid in (select relid from pg_partition_tree($1))) and not (pg_has_role(relowner, 'usage') or case
			when current_setting('server_version_num')::int >= 170000 then has_table_privilege(oid, 'MAINTAIN') else false end)`,
		t.relation.OID).Scan(&forbidden)
	if err == nil && forbidden != "" {
		return fmt.Errorf("%w: only the owner of %s may vacuum it (from Postgres 17 on also who was granted maintain): run as the owner, or without vacuum",
			ErrSpec, forbidden)
	}
	return planError("look up who may vacuum "+t.relation.Identifier().Sanitize(), err)
}
