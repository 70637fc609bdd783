// Package pgattest tells package attest what a reader of the table contraflow.flag evaluates.
package pgattest

import (
	"context"
	"strconv"

	"github.com/contraflow/contraflow/flags/attest"
	"github.com/contraflow/contraflow/flags/pgflags"
)

// Open opens a reader, as pgflags.Open does, and the source that tells what it holds. If the error is of flags that can't be had
// yet, both are usable all the same.
func Open(ctx context.Context, database pgflags.Source, o pgflags.Options) (*pgflags.Reader, attest.Watcher, error) {
	changes := make(chan struct{}, 1) // holds at most one token: flags have changed since it was last taken
	before := o.Changed
	o.Changed = func(keys []string) {
		if before != nil {
			before(keys)
		}
		select {
		case changes <- struct{}{}:
		default:
		}
	}
	reader, err := pgflags.Open(ctx, database, o)
	return reader, source{reader, changes}, err
}

type source struct {
	reader  *pgflags.Reader
	changes <-chan struct{}
}

// See tells the versions of the rows.
func (s source) See(keys []string) []attest.Seen {
	seen := make([]attest.Seen, 0, len(keys))
	for _, key := range keys {
		version, everybody := s.reader.Standing(key)
		now := attest.Seen{Key: key, Version: version}
		if everybody != nil {
			now.Value = new(strconv.FormatBool(*everybody))
		}
		seen = append(seen, now)
	}
	return seen
}

// Watch hears of each new copy.
func (s source) Watch(ctx context.Context, changed func()) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.changes:
			changed()
		}
	}
}
