package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/contraflow/contraflow/internal/holder"
	"github.com/contraflow/contraflow/internal/ledger"
)

// asksHolder tells whether the migration that holds a plan has ended without a word to its database, how and when.
type asksHolder func(ctx context.Context, h ledger.Holder) (how string, at time.Time, ended bool, err error)

// holders asks Temporal, which is connected to when somebody first has to be asked for.
func (a *app) holders() (ask asksHolder, done func()) {
	var c client.Client
	var here ledger.Home
	var unknown error
	return func(ctx context.Context, h ledger.Holder) (string, time.Time, bool, error) {
			if c == nil && unknown == nil {
				if c, unknown = a.dial(ctx); unknown == nil {
					here, unknown = holder.Home(ctx, c, a.connection.namespace, a.connection.address)
				}
			}
			if unknown != nil {
				return "", time.Time{}, false, unknown
			}
			if !here.Same(h.Home) {
				return "", time.Time{}, false, fmt.Errorf("that is known in %s only, and here is %s", h.Home, here)
			}
			return holder.End(ctx, c, h.Migration)
		}, func() {
			if c != nil {
				c.Close()
			}
		}
}

// staleHeld is a flag whose plan is held, by whom runs as far as its database knows.
type staleHeld struct {
	staleFound
	holder ledger.Holder
}

// askHolders finds out which of the migrations that hold plans run no more: they were terminated, or Temporal has lost them. Their
// flags were left as they are; nobody comes back to them unless the plan is started again.
func (s *staleSearch) askHolders(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, staleDatabaseTimeout)
	defer cancel()
	by := map[ledger.Holder][]staleHeld{}
	for _, h := range s.held {
		by[h.holder] = append(by[h.holder], h)
	}
	dark := map[string][]string{} // by the reason why
	for h, all := range by {
		how, at, ended, err := s.hold(ctx, h)
		if err != nil {
			dark[err.Error()] = append(dark[err.Error()], h.Migration)
			continue
		}
		for _, one := range all {
			if ended {
				one.Migration, one.Outcome, one.Finished = h.Migration, how, at.UTC()
				s.found = append(s.found, one.staleFound)
			}
		}
	}
	for _, why := range slices.Sorted(maps.Keys(dark)) {
		s.list.unsure = true
		slices.Sort(dark[why])
		s.tells("not known whether these still run, and their flags not listed: %s (%s)", strings.Join(slices.Compact(dark[why]), ", "), why)
	}
}
