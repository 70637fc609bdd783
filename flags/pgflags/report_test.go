package pgflags_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags/pgflags"
)

// scripted is a database whose reports fail while they are told to.
type scripted struct {
	mu      sync.Mutex
	reports []string
	read    []time.Time
	fails   bool
}

func (s *scripted) Text(_ context.Context, query string, args ...any) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if strings.Contains(query, "flag_list") {
		s.read = append(s.read, time.Now())
		return `[{"key": "on", "version": 1, "on": true, "weight": 100000}, {"key": "half", "version": 1, "on": true, "weight": 50000, "contextKind": "user"}]`, nil
	}
	s.reports = append(s.reports, args[0].(string)+" "+args[1].(string))
	if s.fails {
		return "", errors.New("away")
	}
	return "1", nil
}

func (s *scripted) set(fails bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails = fails
}

// looks are the moments at which the flags were read.
func (s *scripted) looks() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.read)
}

// take returns what was reported since.
func (s *scripted) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.reports
	s.reports = nil
	return out
}

func TestEvaluationsAreReportedOnceAMinuteAndAgainAfterAFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := &scripted{}
		r, err := pgflags.Open(t.Context(), source, pgflags.Options{Instance: "shop-1"})
		require.NoError(t, err)
		minute := func() []string {
			<-time.After(time.Minute) // of the bubble's clock
			synctest.Wait()
			return source.take()
		}
		require.Empty(t, minute(), "nothing was asked for")
		for range 1000 {
			r.Bool("on", "user", "a", false)
		}
		require.Empty(t, source.take(), "no evaluation waits for the database")
		require.Equal(t, []string{`shop-1 {"on":true}`}, minute())
		require.Empty(t, minute())

		source.set(true)
		r.Bool("on", "user", "a", false)
		for _, key := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
			r.Bool("half", "user", key, false)
		}
		r.Bool("half", "device", "other kind", false)
		require.Equal(t, []string{`shop-1 {"half":null,"on":true}`}, minute())
		source.set(false)
		require.Equal(t, []string{`shop-1 {"half":null,"on":true}`}, minute())

		r.Bool("half", "device", "other kind", true)
		require.NoError(t, r.Close())
		require.Equal(t, []string{`shop-1 {"half":false}`}, source.take(), "at the end")

		r, err = pgflags.Open(t.Context(), source, pgflags.Options{Instance: "shop-2"})
		require.NoError(t, err)
		r.Bool("on", "user", "a", false)
		source.set(true)
		require.EqualError(t, r.Close(), "report the evaluations of flags: away")
		require.EqualError(t, r.Close(), "report the evaluations of flags: away", "twice")
	})
}
