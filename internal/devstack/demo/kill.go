package demo

import (
	"context"
	"fmt"
	"time"
)

const (
	// checkpointInterval at which the backfill's progress is read while a kill is due.
	checkpointInterval = 20 * time.Millisecond
	// chunkWait is how long to wait for a chunk to be under way; a paced backfill begins several a second.
	chunkWait = 2 * time.Second
)

// KillDuring kills the worker at each of the shares (rising, 0 to 1) of a backfill step's progress, in the middle of a chunk
// if there is one, and starts it again at once. killed, or nil, is told the share of each and whether it met a chunk. It ends
// with the last kill, when the backfill ends before, or with ctx's error.
func (s *Stack) KillDuring(ctx context.Context, step string, shares []float64, killed func(share float64, inChunk bool)) error {
	for _, share := range shares {
		done, err := s.reach(ctx, step, share)
		if err != nil || done {
			return err
		}
		inChunk, err := s.awaitChunk(ctx)
		if err != nil {
			return err
		}
		s.KillWorker()
		if killed != nil {
			killed(share, inChunk)
		}
		if err := s.StartWorker(ctx); err != nil {
			return err
		}
	}
	return nil
}

// reach waits until the backfill's own checkpoints have reached a share; done says that it ended meanwhile.
func (s *Stack) reach(ctx context.Context, step string, share float64) (done bool, err error) {
	const progress = `select coalesce(sum(scanned) / nullif(sum(total), 0), 0)::float8, coalesce(bool_and(done_at is not null), false)
		from contraflow.backfill_lane where plan = $1 and step = $2`
	for {
		var now float64
		var installed bool
		err := s.Pool.QueryRow(ctx, `select to_regclass('contraflow.backfill_lane') is not null`).Scan(&installed)
		if err == nil && installed {
			err = s.Pool.QueryRow(ctx, progress, s.Plan.Name, step).Scan(&now, &done)
		}
		switch {
		case err != nil:
			return false, fmt.Errorf("read the checkpoints: %w", err)
		case done || now >= share:
			return done, nil
		case !wait(ctx, checkpointInterval):
			return false, ctx.Err()
		}
	}
}

// awaitChunk returns while a chunk is being written, so that the kill meets a transaction; false when none came for chunkWait.
// It asks as fast as the server answers: a chunk may take a few milliseconds only.
func (s *Stack) awaitChunk(ctx context.Context) (bool, error) {
	conn, err := s.Pool.Acquire(ctx)
	if err != nil {
		return false, fmt.Errorf("wait for a chunk: %w", err)
	}
	defer conn.Release()
	for until := time.Now().Add(chunkWait); time.Now().Before(until); {
		var writing bool
		err := conn.QueryRow(ctx, `select exists (select from pg_stat_activity
			where application_name = 'contraflow backfill' and backend_xid is not null)`).Scan(&writing)
		if err != nil {
			return false, fmt.Errorf("wait for a chunk: %w", err)
		}
		if writing {
			return true, nil
		}
	}
	return false, nil
}
