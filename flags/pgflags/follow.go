package pgflags

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// follow takes a new copy at every poll, and whenever it is woken.
func (r *Reader) follow(ctx context.Context, failing bool) {
	due := time.NewTimer(r.options.pause(failing))
	defer due.Stop()
	failures := 0
	for {
		polled := false
		select {
		case <-ctx.Done():
			return
		case <-due.C:
			polled = true
		case <-r.wake:
		}
		err := r.load(ctx)
		fails := err != nil
		if fails && ctx.Err() != nil {
			return
		}
		switch {
		case fails && !failing:
			r.options.Log.Warn("flags can't be read: the last copy is served", "error", err)
		case failing && !fails:
			r.options.Log.Info("flags can be read again")
		}
		if polled || fails != failing {
			due.Reset(r.options.pause(fails))
		}
		switch failing = fails; {
		case !fails:
			failures = 0
		case polled:
			failures++
		}
		if failures >= stalePolls {
			r.loading.Lock()
			r.tellStale(true)
			r.loading.Unlock()
		}
	}
}

// pause before the next poll.
func (o Options) pause(failing bool) time.Duration {
	if failing {
		return min(o.Poll, maxPause)
	}
	return o.Poll
}

// tellStale is called with loading locked, so that what is told is told in order.
func (r *Reader) tellStale(stale bool) {
	if r.stale.Swap(stale) != stale && r.options.Stale != nil {
		r.options.Stale(stale)
	}
}

// listen wakes follow, and connects again when the connection is lost. It listens before the copy is taken that told causes,
// so that nothing falls between.
func (r *Reader) listen(ctx context.Context, source Listener) {
	told := func() {
		select {
		case r.wake <- struct{}{}:
		default: // it is to be woken already
		}
	}
	for ctx.Err() == nil {
		err := source.Listen(ctx, channel, told)
		if err != nil && ctx.Err() == nil {
			r.options.Log.Debug("notifications of flags are lost: polling until they are back", "error", err)
		}
		pause := r.options.pause(true)
		if server, ok := errors.AsType[*pgconn.PgError](err); ok && server.Code == readOnly {
			pause = standbyPause
		}
		wait(ctx, pause)
	}
}

// report tells once a minute, and at the end, what was evaluated.
func (r *Reader) report(ctx context.Context) {
	ticker := time.NewTicker(reportEvery)
	defer ticker.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			r.unreported = r.reportNow(context.WithoutCancel(ctx))
			return
		case <-ticker.C:
		}
		err := r.reportNow(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			r.options.Log.Warn("evaluations of flags can't be reported: whether flags are in use stays unknown", "error", err)
		}
		failing = err != nil
	}
}

func (r *Reader) reportNow(ctx context.Context) error {
	values := map[string]*bool{}
	r.seen.Range(func(key, s any) bool {
		if value, ok := s.(*seen).take(); ok {
			values[key.(string)] = value
		}
		return true
	})
	if len(values) == 0 {
		return nil
	}
	raw, err := json.Marshal(values)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	if _, err = r.source.Text(ctx, "select contraflow.flag_saw($1::text, $2::jsonb)::text", r.options.Instance, string(raw)); err == nil {
		return nil
	}
	for key, value := range values { // to be told the next time
		for _, v := range []bool{true, false} {
			if value == nil || *value == v {
				r.seenOf(key).add(v)
			}
		}
	}
	return fmt.Errorf("report the evaluations of flags: %w", err)
}

// changed lists the keys of flags that are new, gone or of another configuration.
func changed(old, fresh map[string]*flag) []string {
	var keys []string
	for key, f := range fresh {
		if !reflect.DeepEqual(old[key], f) {
			keys = append(keys, key)
		}
	}
	for key := range old {
		if fresh[key] == nil {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
