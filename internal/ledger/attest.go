package ledger

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// attestationsKept is how long contraflow.attest keeps instances that went without a word.
const attestationsKept = 24 * time.Hour

// Attestation is what one instance of the application says of one flag.
type Attestation struct {
	Instance string
	Version  int64         // 0: its SDK does not know the flag
	Value    string        // what everybody is served there; "" where that depends on who asks
	Age      time.Duration // of the report
	Silent   bool          // no report for longer than an instance may go without, and no goodbye either
}

// Awaiting audits, once, that instances are waited for, and tells since when by the database's own clock.
func (l *Ledger) Awaiting(ctx context.Context, e Event) (since time.Time, err error) {
	if err := l.Audit(ctx, e); err != nil {
		return time.Time{}, err
	}
	err = l.pool.QueryRow(ctx, `select at from contraflow.audit where event_key = $1`, storable(e.FirstRun+"/"+e.Key)).Scan(&since)
	return since, wrap(err, "see since when instances are waited for")
}

// Attestations lists the instances that may be alive, sorted by name: those that have reported the flag within that time, by the
// database's own clock, and for as long behind since and behind the start of the server those as well that are silent. They may
// just not have been able to report: while the database is away nobody is, and everybody goes on evaluating what it has.
func (l *Ledger) Attestations(ctx context.Context, key string, within time.Duration, since time.Time) ([]Attestation, error) {
	rows, err := l.pool.Query(ctx, `with clock as materialized (select now, now - $2::interval as least,
			case when greatest($3, pg_postmaster_start_time()) > now - $2::interval then now - $4::interval end as silent_least
			from clock_timestamp() now)
		select instance, version, coalesce(value, ''), now - at, at <= least from contraflow.attestation, clock
		where flag_key = $1 and (at > least or at > silent_least) order by instance`, key, within, since, attestationsKept)
	if err != nil {
		return nil, wrap(err, "read who attests flag "+key)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Attestation])
	return all, wrap(err, "read who attests flag "+key)
}
