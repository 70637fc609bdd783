package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/contraflow/contraflow/backfill"
)

const (
	// pauses to measure: the longest of them is reported.
	pauses = 10
	// controlRows are the fewest that a lane at full speed walks long enough to be paused or killed several times.
	controlRows = 300_000
	// fullSpeed is how many chunks a lane needs to grow from its first chunk to its pace, between how many after a pause.
	fullSpeed, between = 8, 2
	// unheard reports may wait, far more than come in while nobody listens: a lane shall not wait for us.
	unheard = 1000
)

// pause measures how long a lane at full speed goes on after it was told to pause.
func (b *bench) pause(ctx context.Context) error {
	rows := max(b.options.rows, controlRows)
	for n := 0; n < pauses; {
		t, err := b.fresh(ctx, bigint(), rows)
		if err != nil {
			return err
		}
		all, err := holdAgainAndAgain(ctx, t, pauses-n)
		t.close()
		if err != nil {
			return err
		}
		if len(all) == 0 {
			return errors.New("the table was done before a lane could be paused: give more rows")
		}
		for _, ms := range all {
			b.say("paused after %.0f ms", ms)
			b.results.add("pause_ms", ms)
			b.results.add("pause_median_ms", ms)
		}
		n += len(all)
	}
	if rows != b.options.rows {
		return b.forget(ctx, bigint(), rows)
	}
	return nil
}

// holdAgainAndAgain pauses one lane up to n times, as long as the table lasts. Milliseconds run from the call of SetControl to
// the lane's word that it holds, before which its last chunk was committed.
func holdAgainAndAgain(ctx context.Context, t *target, n int) (ms sample, err error) {
	e, spec := backfill.New(t.pool), ours(1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	heard := make(chan string, unheard) // what holds the lane, "" after a chunk
	done := make(chan error, 1)
	go func() {
		done <- lanes(ctx, e, spec, backfill.LaneOptions{Report: func(p backfill.Progress) {
			select {
			case heard <- p.Holding:
			case <-ctx.Done():
			}
		}})
	}()
	// hear waits until the lane has said so n times; false: it is done.
	hear := func(holding string, n int) (bool, error) {
		for n > 0 {
			select {
			case h := <-heard:
				if h == holding {
					n--
				}
			case err := <-done:
				return false, err
			}
		}
		return true, nil
	}
	for chunks := fullSpeed; len(ms) < n; chunks = between {
		if going, err := hear("", chunks); !going {
			return ms, err
		}
		// Anywhere in a chunk.
		if err := sleep(ctx, rand.N(backfill.DefaultChunkTime)); err != nil {
			return ms, err
		}
		asked := time.Now()
		if err := e.SetControl(ctx, spec.Plan, spec.Step, backfill.Control{Paused: true}); err != nil {
			return ms, err
		}
		if going, err := hear(backfill.HoldingPaused, 1); !going {
			return ms, err
		}
		ms = append(ms, float64(time.Since(asked))/float64(time.Millisecond))
		if err := e.SetControl(ctx, spec.Plan, spec.Step, backfill.Control{}); err != nil {
			return ms, err
		}
	}
	cancel()
	<-done // it was told to end
	return ms, nil
}
