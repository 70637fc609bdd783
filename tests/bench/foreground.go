package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/contraflow/contraflow/backfill"
)

const (
	// idleTime gives some thousand transactions: dozens above the 99th percentile.
	idleTime = 15 * time.Second
	// protectedTime is enough to see the speed that the engine settles at; the table need not be finished for that.
	protectedTime = 30 * time.Second
	// tolerated is the latency to protect, relative to the idle one: below the mark of twice, because what is measured over the
	// whole time also holds the moments at which the engine has overstepped it and goes back.
	tolerated = 1.75
)

// errEnough ends a run that has been measured for long enough.
var errEnough = errors.New("measured for long enough")

// felt is what a run meant for the foreground and for the rows.
type felt struct {
	p99           time.Duration
	rowsPerSecond float64
}

// foreground measures what an application feels at a fixed rate, without and with a change of the whole table.
func (b *bench) foreground(ctx context.Context) error {
	if err := b.warmUp(ctx, bigint()); err != nil {
		return err
	}
	for round := range b.options.rounds {
		b.say("foreground, round %d of %d", round+1, b.options.rounds)
		idle, err := b.feel(ctx, "nothing else", func(ctx context.Context, _ *target, _ *load) error {
			return sleep(ctx, idleTime)
		})
		if err != nil {
			return err
		}
		single, err := b.feel(ctx, "one UPDATE", func(ctx context.Context, t *target, _ *load) error { return singleUpdate(ctx, t) })
		if err != nil {
			return err
		}
		fast, err := b.feel(ctx, "ours at full speed", func(ctx context.Context, t *target, _ *load) error {
			return engine(ours(1))(ctx, t)
		})
		if err != nil {
			return err
		}
		protected, err := b.feel(ctx, "ours, protecting it", func(ctx context.Context, t *target, l *load) error {
			return protect(ctx, t, l, time.Duration(tolerated*float64(idle.p99)))
		})
		if err != nil {
			return err
		}
		t, took, err := b.race(ctx, bigint(), contestant{"one_lane", "ours, without foreground", clocked(engine(ours(1)))})
		if err != nil {
			return err
		}
		t.close()
		ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
		for name, value := range map[string]float64{
			"p99_idle_ms": ms(idle.p99), "p99_single_update_ms": ms(single.p99), "p99_full_speed_ms": ms(fast.p99), "p99_protected_ms": ms(protected.p99),
			"p99_ratio_single_update":   float64(single.p99) / float64(idle.p99),
			"p99_ratio_full_speed":      float64(fast.p99) / float64(idle.p99),
			"p99_ratio_protected":       float64(protected.p99) / float64(idle.p99),
			"protected_rows_per_second": protected.rowsPerSecond,
			"protected_speed":           protected.rowsPerSecond / (float64(b.options.rows) / took.Seconds()),
			"protected_speed_same_load": protected.rowsPerSecond / fast.rowsPerSecond,
		} {
			b.results.add(name, value)
		}
	}
	return nil
}

// protect runs one lane that keeps the latency below limit, for protectedTime or until the table is done.
func protect(ctx context.Context, t *target, l *load, limit time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, protectedTime, errEnough)
	defer cancel()
	spec := ours(1)
	spec.Protect = &backfill.Protect{Name: "p99 of the foreground", Max: limit, Read: l.recentP99}
	err := lanes(ctx, backfill.New(t.pool), spec, backfill.LaneOptions{Help: true})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// feel runs work on a fresh table under load.
func (b *bench) feel(ctx context.Context, title string, work func(context.Context, *target, *load) error) (felt, error) {
	t, err := b.fresh(ctx, bigint(), b.options.rows)
	if err != nil {
		return felt{}, err
	}
	defer t.close()
	l, err := b.press(ctx, t)
	if err != nil {
		return felt{}, err
	}
	defer l.stop()
	from := time.Now()
	if err := work(ctx, t, l); err != nil {
		return felt{}, fmt.Errorf("%s: %w", title, err)
	}
	to := time.Now()
	if err := l.until(ctx, to.Add(drained)); err != nil {
		return felt{}, err
	}
	p99, err := l.p99(from, to)
	if err != nil {
		return felt{}, fmt.Errorf("%s: %w", title, err)
	}
	changed, err := t.number(ctx, "select count(*) from customers where street is not null")
	if err != nil {
		return felt{}, err
	}
	b.results.add("foreground_failed", float64(l.failed))
	rate := float64(changed) / to.Sub(from).Seconds()
	b.say("p99 with %-29s %8.2f ms %10s rows/s", title, float64(p99)/float64(time.Millisecond), thousands(rate))
	return felt{p99, rate}, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
