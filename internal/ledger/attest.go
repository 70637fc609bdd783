package ledger

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Attestation is what one instance of the application says of one flag.
type Attestation struct {
	Instance string
	Version  int64         // 0: its SDK does not know the flag
	Value    string        // what everybody is served there; "" where that depends on who asks
	Age      time.Duration // of the report
}

// Attestations lists the instances that have reported the flag within that time, by the database's own clock; sorted by instance.
func (l *Ledger) Attestations(ctx context.Context, key string, within time.Duration) ([]Attestation, error) {
	rows, err := l.pool.Query(ctx, `select instance, version, coalesce(value, ''), clock_timestamp() - at from contraflow.attestation
		where flag_key = $1 and at > clock_timestamp() - $2::interval order by instance`, key, within)
	if err != nil {
		return nil, wrap(err, "read who attests flag "+key)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Attestation])
	return all, wrap(err, "read who attests flag "+key)
}
