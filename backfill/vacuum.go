package backfill

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// vacuumParts is how often the table is vacuumed while it is changed once: what waits to be reused is then never more than about
// a twelfth of it, and the passes over pages that did not change cost next to nothing (the visibility map skips them).
const vacuumParts = 12

const (
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
	if !a.spec.Vacuum || a.control.rows-a.control.vacuumed < max(1, a.size/vacuumParts) {
		return nil
	}
	claimed, err := a.conn.Exec(ctx, "update contraflow.backfill_control set vacuumed = $3 where plan = $1 and step = $2 and vacuumed = $4",
		a.spec.Plan, a.spec.Step, a.control.rows, a.control.vacuumed)
	if err != nil || claimed.RowsAffected() == 0 {
		return rowError(a.doing("take its turn to vacuum"), err)
	}
	a.report(HoldingVacuum)
	err = a.vacuumNow(ctx)
	if _, contended := contention(err); contended && ctx.Err() == nil {
		return nil // the next turn comes
	}
	return err
}

// vacuumNow vacuums outside a transaction, as VACUUM must; its settings are the session's until it ends.
func (a *attempt) vacuumNow(ctx context.Context) error {
	delay := promptVacuum
	if a.spec.Protect != nil {
		delay = gentleVacuum
	}
	_, err := a.conn.Exec(ctx, "select set_config('statement_timeout', '0', false), set_config('vacuum_cost_delay', $1, false)", delay)
	if err == nil {
		_, err = a.conn.Exec(ctx, "vacuum (skip_locked, index_cleanup off, truncate off) "+a.statements.table, pgx.QueryExecModeSimpleProtocol)
	}
	if !a.conn.Conn().IsClosed() {
		_, resetErr := a.conn.Exec(ctx, "reset statement_timeout; reset vacuum_cost_delay", pgx.QueryExecModeSimpleProtocol)
		err = errors.Join(err, resetErr)
	}
	return rowError(a.doing("vacuum the table"), err)
}

// mayVacuum refuses a spec that asks for what the role may not do: Postgres would skip the table with a mere warning.
func (e *Engine) mayVacuum(ctx context.Context, t table) error {
	var may bool
	err := e.pool.QueryRow(ctx, `select pg_has_role(relowner, 'usage') or case
			when current_setting('server_version_num')::int >= 170000 then has_table_privilege(oid, 'MAINTAIN') else false end
		from pg_class where oid = $1`, t.relation.OID).Scan(&may)
	if err == nil && !may {
		return fmt.Errorf("%w: only the owner of %s may vacuum it (from Postgres 17 on also who was granted maintain): run as the owner, or without vacuum",
			ErrSpec, t.relation.Identifier().Sanitize())
	}
	return planError("look up who may vacuum "+t.relation.Identifier().Sanitize(), err)
}
