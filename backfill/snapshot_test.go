package backfill_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/backfill"
	"github.com/contraflow/contraflow/internal/pg"
)

// A concurrent index build waits for every older snapshot of its database. Lanes take a new one for each chunk, so that the
// build, of ours or of anybody's, waits for a chunk and not for the backfill.
func TestLanesHoldNoSnapshotLong(t *testing.T) {
	t.Parallel()
	const rows, lanes = 200_000, 2
	b := setup(t, numbers(rows))
	b.Engine = backfill.New(openWith(t, b.DSN, pg.Settings{ApplicationName: "contraflow backfill", MaxConns: 8}))
	spec := counting("numbers")
	// The cap keeps one lane from filling a quarter while the machine keeps the other from its own chunk's end.
	spec.Lanes, spec.ChunkTime, spec.RowsPerSecond = lanes, 10*time.Millisecond, 20_000
	_, err := b.Prepare(t.Context(), spec)
	require.NoError(t, err)

	walked := make(chan []error, 1)
	go func() { walked <- b.together(t.Context(), spec, lanes, backfill.LaneOptions{}) }()
	admin := b.Connect(t)
	type transaction struct {
		pid   int32
		began time.Time
	}
	first, last := map[transaction]int64{}, map[transaction]int64{} // rows that were done when it was seen
	var failed []error
	for failed == nil {
		select {
		case failed = <-walked:
		default:
			done, open, err := snapshots(t.Context(), admin)
			require.NoError(t, err)
			for _, s := range open {
				seen := transaction{s.PID, s.Began}
				if _, known := first[seen]; !known {
					first[seen] = done
				}
				last[seen] = done
			}
		}
	}
	for _, err := range failed {
		require.NoError(t, err)
	}
	require.Greater(t, len(first), 20, "the test sees the chunks' transactions")
	for seen, before := range first {
		require.Less(t, last[seen]-before, int64(rows/4), "a snapshot was held while a quarter of the table was filled")
	}
}

type snapshot struct {
	PID   int32
	Began time.Time
}

// snapshots are those that a build would wait for, which leaves vacuums out, and the rows filled so far.
func snapshots(ctx context.Context, admin *pgx.Conn) (done int64, open []snapshot, err error) {
	if err := admin.QueryRow(ctx, "select coalesce(sum(rows), 0)::bigint from contraflow.backfill_lane").Scan(&done); err != nil {
		return 0, nil, err
	}
	rows, err := admin.Query(ctx, `select pid, xact_start from pg_stat_activity
		where application_name = 'contraflow backfill' and datname = current_database() and backend_xmin is not null and xact_start is not null
		and pid not in (select pid from pg_stat_progress_vacuum)`)
	if err != nil {
		return 0, nil, err
	}
	open, err = pgx.CollectRows(rows, pgx.RowToStructByPos[snapshot])
	return done, open, err
}
