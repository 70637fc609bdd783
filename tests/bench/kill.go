package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"github.com/contraflow/contraflow/backfill"
	"github.com/contraflow/contraflow/internal/pg"
)

const (
	// childDSN makes this program a child that only walks the lanes, so that there is something to kill.
	childDSN = "CONTRAFLOW_BENCH_CHILD_DSN"
	// killings in one run, at random places between the tenth and the ninetieth percent.
	killings = 6
	// childTries: a lane that meets the orphaned transaction of its killed predecessor comes back, as a worker's does.
	childTries = 10
	// watchEvery is a small part of a chunk's time, so that a kill falls anywhere in it.
	watchEvery = 5 * time.Millisecond
)

// counting changes a row differently each time: whoever is changed twice shows it.
func counting() backfill.Spec {
	return backfill.Spec{Plan: "bench", Step: "count", Table: "customers", Lanes: 2,
		Set: []backfill.Assignment{{Column: "n", Expr: "n + 1"}}}
}

// increment is the child: lanes and proof.
func increment(ctx context.Context, dsn string) error {
	pool, err := pg.Open(ctx, dsn, pg.Settings{
		ApplicationName: "contraflow backfill", LockTimeout: lockTimeout, StatementTimeout: statementTimeout, MaxConns: laneConns,
	})
	if err != nil {
		return err
	}
	defer pool.Close()
	t := &target{dsn: dsn, pool: pool}
	for range childTries {
		if err = engine(counting())(ctx, t); err == nil || backfill.Permanent(err) {
			return err
		}
	}
	return err
}

// kill ends processes in the middle of their lanes with SIGKILL, lets the last one finish, and counts the rows that were not
// changed exactly once.
func (b *bench) kill(ctx context.Context) error {
	rows := max(b.options.rows, controlRows)
	t, err := b.fresh(ctx, bigint(), rows)
	if err != nil {
		return err
	}
	defer t.close()
	if _, err := t.pool.Exec(ctx, "alter table customers add column n integer not null default 0"); err != nil {
		return err
	}
	shares := make([]float64, killings)
	for i := range shares {
		shares[i] = 0.1 + 0.8*rand.Float64()
	}
	slices.Sort(shares)
	for _, share := range shares {
		killed, err := killAt(ctx, t, int64(share*float64(rows)))
		if err != nil {
			return err
		}
		if !killed {
			b.say("a child came to the end before it could be killed")
			continue
		}
		b.say("killed beyond %10s rows", thousands(share*float64(rows)))
		b.results.add("kills", 1)
	}
	child, err := newChild(ctx, t)
	if err != nil {
		return err
	}
	if err := child.Wait(); err != nil {
		return fmt.Errorf("the last child: %w", err)
	}
	wrong, err := t.number(ctx, "select count(*) from customers where n <> 1")
	if err != nil {
		return err
	}
	b.say("%d of %s rows were not changed exactly once", wrong, thousands(float64(rows)))
	b.results.add("redone_rows", float64(wrong))
	if rows != b.options.rows {
		t.close()
		return b.forget(ctx, bigint(), rows)
	}
	return nil
}

func newChild(ctx context.Context, t *target) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	child := exec.CommandContext(ctx, self)
	child.Env, child.Stderr = []string{childDSN + "=" + t.dsn}, os.Stderr
	child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := child.Start(); err != nil {
		return nil, fmt.Errorf("start a child: %w", err)
	}
	return child, nil
}

// killAt kills a child somewhere in the chunk after so many rows, of which it has changed some itself. It tells whether the
// child was still at work.
func killAt(ctx context.Context, t *target, rows int64) (killed bool, err error) {
	const count = "select coalesce(sum(rows), 0)::bigint from contraflow.backfill_lane"
	before, err := t.number(ctx, count)
	if err != nil {
		return false, err
	}
	child, err := newChild(ctx, t)
	if err != nil {
		return false, err
	}
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	watch := time.NewTicker(watchEvery)
	defer watch.Stop()
	for walked := int64(0); err == nil && (walked <= before || walked < rows); {
		select {
		case err := <-ended:
			return false, err
		case <-watch.C:
			walked, err = t.number(ctx, count)
		}
	}
	somewhere := time.NewTimer(rand.N(backfill.DefaultChunkTime))
	defer somewhere.Stop()
	select {
	case err := <-ended:
		return false, err
	case <-somewhere.C:
	}
	killed = child.Process.Kill() == nil
	<-ended
	return killed, err
}
