package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/config"
	"github.com/contraflow/contraflow/internal/ledger"
	"github.com/contraflow/contraflow/internal/pg"
	"github.com/contraflow/contraflow/internal/providers"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

// flagLookups are made side by side: enough for a list of fifty within seconds, and few for a service that bounds requests.
const flagLookups = 4

const (
	// staleDatabaseTimeout bounds the look into one database, a single query, so that one which is silent costs the others little.
	staleDatabaseTimeout = 10 * time.Second
	// staleFlagsTimeout bounds the look at all flags: some requests each, and a pause where the flag service wants one.
	staleFlagsTimeout = 30 * time.Second
)

// notFound is what a flag serves that the flag service does not know.
const notFound = "not found"

// staleSearch is one look into all databases, which are asked side by side, and at the flags found there.
type staleSearch struct {
	find func(plan.FlagScope) (flags.Provider, error)
	hold asksHolder
	all  bool

	mu    sync.Mutex
	pools []*pgxpool.Pool
	found []staleFound
	held  []staleHeld
	gone  []staleFound
	seen  map[ledger.Scope]bool // where the flag service knows a flag
	dark  map[string]error      // flags that could not be asked for, and why
	list  staleFlags
}

// staleFound is a flag that a database lists, and where to note that it is archived.
type staleFound struct {
	staleFlag
	ledger *ledger.Ledger
}

func (f staleFound) scope() ledger.Scope {
	return ledger.Scope{Project: f.Project, Environment: f.Environment}
}

func findStale(
	ctx context.Context, c *config.Config, unreadable map[string]error, find func(plan.FlagScope) (flags.Provider, error), hold asksHolder, all bool,
) (staleFlags, error) {
	s := &staleSearch{find: find, hold: hold, all: all, seen: map[ledger.Scope]bool{}, dark: map[string]error{}, list: staleFlags{Flags: []staleFlag{}}}
	defer s.close()
	for _, err := range unreadable {
		s.lacks("%v", err)
	}
	var asking sync.WaitGroup
	for name, db := range c.Databases {
		asking.Go(func() {
			if err := s.database(ctx, name, db.ConnectionString()); err != nil {
				s.lacks("database %s: %s", name, reasonOf(err))
			}
		})
	}
	asking.Wait()
	s.askHolders(ctx)
	looking, cancel := context.WithTimeout(ctx, staleFlagsTimeout)
	defer cancel()
	s.look(looking)
	if errors.Is(ctx.Err(), context.Canceled) {
		return staleFlags{}, ctx.Err()
	}
	s.leaveOut()
	if keys := slices.Sorted(maps.Keys(s.dark)); len(keys) > 0 { // mostly for one reason
		s.tells("not known what these serve now: %s; of %s: %v", strings.Join(keys, ", "), keys[0], s.dark[keys[0]])
	}
	slices.SortFunc(s.list.Flags, func(a, b staleFlag) int {
		return cmp.Or(a.Finished.Compare(b.Finished), cmp.Compare(a.Plan, b.Plan), cmp.Compare(a.Flag, b.Flag), cmp.Compare(a.Database, b.Database))
	})
	slices.Sort(s.list.Problems)
	return s.list, nil
}

// leaveOut tells of the flags that are not in the flag service: they were deleted, or never made. Where it knows none of a project's environment, that was
// perhaps renamed, or the token may no longer see it: then they are listed.
func (s *staleSearch) leaveOut() {
	var left []string
	for _, f := range s.gone {
		if s.seen[f.scope()] {
			left = append(left, f.Flag)
			continue
		}
		s.tells("no flag of project %s, environment %s is found: look whether they are still called so, and whether this configuration sees them",
			f.Project, f.Environment)
		f.Serves = new(notFound)
		s.list.Flags = append(s.list.Flags, f.staleFlag)
	}
	if len(left) > 0 {
		slices.Sort(left)
		s.tells("not in the flag service, and left out: %s", strings.Join(slices.Compact(left), ", "))
	}
}

// reasonOf an error of a database, without where it lies and who asks.
func reasonOf(err error) string {
	_, connecting := errors.AsType[*pgconn.ConnectError](err)
	server, answered := errors.AsType[*pgconn.PgError](err)
	switch {
	case answered:
		return "SQLSTATE " + server.Code + ", see its log"
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("it does not answer within %s", staleDatabaseTimeout)
	case connecting:
		return "it does not answer"
	}
	return err.Error()
}

func (s *staleSearch) close() {
	for _, pool := range s.pools {
		pool.Close()
	}
}

// tells notes a problem; lacks notes one over which flags may be missing.
func (s *staleSearch) tells(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if problem := oneLine(fmt.Sprintf(format, args...)); !slices.Contains(s.list.Problems, problem) {
		s.list.Problems = append(s.list.Problems, problem)
	}
}

func (s *staleSearch) lacks(format string, args ...any) {
	s.tells(format, args...)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list.short = true
}

func (s *staleSearch) database(ctx context.Context, name, dsn string) error {
	pool, err := pg.Open(ctx, dsn, pg.Settings{ApplicationName: "contraflow", StatementTimeout: staleDatabaseTimeout})
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.pools = append(s.pools, pool)
	s.mu.Unlock()
	book := ledger.New(pool)
	asking, cancel := context.WithTimeout(ctx, staleDatabaseTimeout)
	defer cancel()
	unretired, err := book.Unretired(asking)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range unretired {
		found := staleFound{ledger: book, staleFlag: staleFlag{
			Flag: u.Key, Project: u.Scope.Project, Environment: u.Scope.Environment, Database: name, Plan: u.Plan, Owner: u.Owner,
			Migration: u.Migration, Outcome: u.Outcome,
		}}
		switch {
		case u.Ended == nil && u.Holder.Migration == "": // somebody has tidied its plan away: nothing is known of it
		case u.Ended == nil:
			s.held = append(s.held, staleHeld{found, u.Holder})
		case u.Outcome == string(signals.Completed) || s.all:
			found.Finished = u.Ended.UTC()
			s.found = append(s.found, found)
		}
	}
	return nil
}

// look asks the flag service for each flag once, however many plans have moved it.
func (s *staleSearch) look(ctx context.Context) {
	type flag struct {
		scope ledger.Scope
		key   string
	}
	by := map[flag][]staleFound{}
	for _, f := range s.found {
		at := flag{f.scope(), f.Flag}
		by[at] = append(by[at], f)
	}
	slots := make(chan struct{}, flagLookups)
	var looking sync.WaitGroup
	for _, same := range slices.Collect(maps.Values(by)) {
		looking.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			s.lookAt(ctx, same)
		})
	}
	looking.Wait()
}

// lookAt lists a flag, for each of the plans that moved it, unless it is archived or gone.
func (s *staleSearch) lookAt(ctx context.Context, same []staleFound) {
	key := same[0].Flag
	now, status, err := s.ask(ctx, same[0])
	switch {
	case errors.Is(err, flags.ErrNotFound):
		s.mu.Lock()
		s.gone = append(s.gone, same...)
		s.mu.Unlock()
		return
	case errors.Is(err, providers.ErrNone):
		s.tells("%v; what flags serve now is not known", err)
	case err != nil:
		s.mu.Lock()
		s.dark[key] = err
		s.mu.Unlock()
	case now.Archived:
		s.mu.Lock()
		s.seen[same[0].scope()] = true
		s.mu.Unlock()
		for _, f := range same {
			if err := f.ledger.FlagRetired(ctx, f.scope(), key); err != nil {
				s.tells("database %s: %v", f.Database, err)
			}
		}
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[same[0].scope()] = s.seen[same[0].scope()] || err == nil
	for _, f := range same {
		if err == nil {
			f.Serves, f.Status = &now.Summary, &status
		}
		s.list.Flags = append(s.list.Flags, f.staleFlag)
	}
}

func (s *staleSearch) ask(ctx context.Context, f staleFound) (now flags.State, status flags.Status, err error) {
	provider, err := s.find(plan.FlagScope{Project: f.Project, Environment: f.Environment})
	if err == nil {
		now, err = provider.Get(ctx, f.Flag)
	}
	if err == nil && !now.Archived {
		status, err = provider.Status(ctx, f.Flag)
	}
	return now, status, err
}
