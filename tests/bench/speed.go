package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// speed lets all contestants change the same table, one after the other, round by round. Pairs that are compared with each
// other stand side by side: what else the machine does then hits both.
func (b *bench) speed(ctx context.Context) error {
	interleaved := ours(2)
	interleaved.Vacuum = true
	contestants := []contestant{
		{"single_update", "one UPDATE", clocked(singleUpdate)},
		{"one_lane", "ours, one lane", clocked(engine(ours(1)))},
		{"temporal_one_lane", "Temporal path, one lane", b.temporalPath(1)},
		{"temporal_two_lanes", "Temporal path, two lanes", b.temporalPath(2)},
		{"two_lanes", "ours, two lanes", clocked(engine(ours(2)))},
		{"interleaved", "ours, two lanes, interleaved vacuum", clocked(engine(interleaved))},
		{"procedure", "keyset procedure in the server", clocked(serverProcedure)},
		{"naive_batches", "batches of 1,000 by hand", clocked(naiveBatches)},
	}
	heaps := map[string]string{"single_update": "heap_vs_rewritten_single_update", "two_lanes": "heap_vs_rewritten_plain", "interleaved": "heap_vs_rewritten"}
	if err := b.warmUp(ctx, bigint()); err != nil {
		return err
	}
	for round := range b.options.rounds {
		b.say("speed, round %d of %d", round+1, b.options.rounds)
		times := map[string]time.Duration{}
		for _, c := range contestants {
			t, took, err := b.race(ctx, bigint(), c)
			if err != nil {
				return err
			}
			times[c.name] = took
			if name, wanted := heaps[c.name]; wanted {
				err = b.heap(ctx, t, name)
			}
			t.close()
			if err != nil {
				return err
			}
		}
		b.compare(times)
		slices.Reverse(contestants)
	}
	return nil
}

// warmUp is a run that counts for nothing: it makes the WAL files that all later runs write again.
func (b *bench) warmUp(ctx context.Context, s shape) error {
	t, _, err := b.race(ctx, s, contestant{"", "one UPDATE, to warm up", clocked(singleUpdate)})
	if err == nil {
		t.close()
	}
	return err
}

// compare adds the times of one round, and the speeds relative to each other.
func (b *bench) compare(times map[string]time.Duration) {
	for name, took := range times {
		b.results.add(name+"_seconds", took.Seconds())
	}
	relative := func(name, one, to string) { b.results.add(name, times[to].Seconds()/times[one].Seconds()) }
	for _, name := range []string{"naive_batches", "procedure", "one_lane", "two_lanes"} {
		relative(name, name, "single_update")
	}
	relative("interleaved_speed", "interleaved", "two_lanes")
	relative("temporal_path", "temporal_two_lanes", "two_lanes")
	relative("temporal_path_one_lane", "temporal_one_lane", "one_lane")
}

// heap compares the table's file with that of the same rows freshly rewritten.
func (b *bench) heap(ctx context.Context, t *target, name string) error {
	const size = "select pg_relation_size('customers')"
	after, err := t.number(ctx, size)
	if err != nil {
		return err
	}
	if err := rewrite(ctx, t); err != nil {
		return err
	}
	fresh, err := t.number(ctx, size)
	if err == nil {
		b.results.add(name, float64(after)/float64(fresh))
		b.say("%-38s %8.2f × of the same table rewritten", "  its heap", float64(after)/float64(fresh))
	}
	return err
}

// keys compares one lane with one UPDATE on tables with other keys.
func (b *bench) keys(ctx context.Context) error {
	if err := b.warmUp(ctx, uuid()); err != nil {
		return err
	}
	for round := range b.options.rounds {
		b.say("keys, round %d of %d", round+1, b.options.rounds)
		for _, s := range []shape{uuid(), composite()} {
			times := make([]time.Duration, 0, 2)
			for _, c := range []contestant{
				{"single_update", s.name + " key, one UPDATE", clocked(singleUpdate)},
				{"one_lane", s.name + " key, ours, one lane", clocked(engine(ours(1)))},
			} {
				t, took, err := b.race(ctx, s, c)
				if err != nil {
					return err
				}
				t.close()
				times = append(times, took)
			}
			b.results.add(s.name+"_one_lane", times[0].Seconds()/times[1].Seconds())
		}
	}
	for _, s := range []shape{uuid(), composite()} {
		if err := b.forget(ctx, s, b.options.rows); err != nil {
			return fmt.Errorf("drop the table: %w", err)
		}
	}
	return nil
}
