package pgflags

import (
	"context"
	"strconv"

	"github.com/contraflow/contraflow/flags/attest"
)

var _ attest.Watcher = (*Reader)(nil)

// See tells which versions of the flags the copy holds, and what everybody is served, so that a Reader is the attest.Source of
// what it evaluates itself. It is no evaluation, and not reported as one.
func (r *Reader) See(keys []string) []attest.Seen {
	copied := r.copied.Load()
	if copied == nil {
		return nil
	}
	var all []attest.Seen
	for _, key := range keys {
		f, ok := (*copied)[key]
		if !ok {
			continue
		}
		seen := attest.Seen{Key: key, Version: f.Version}
		if value := f.everybody(); value != nil {
			seen.Value = new(strconv.FormatBool(*value))
		}
		all = append(all, seen)
	}
	return all
}

// Watch calls changed at once, and behind each copy that differs from the one before, until ctx ends.
func (r *Reader) Watch(ctx context.Context, changed func()) { r.fresh.Watch(ctx, changed) }

// everybody is the one value that no context is exempt from; nil where that depends on the context.
func (f *flag) everybody() *bool {
	if !f.On {
		return new(false)
	}
	usual := f.Weight >= fullWeight
	if !usual && f.Weight > 0 {
		return nil
	}
	for _, named := range f.Targets {
		for _, value := range named {
			if value != usual {
				return nil
			}
		}
	}
	return &usual
}
