package flagstest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/flagstest"
)

// service is a flag service in memory, which knows users only, with the provider that changes it.
type service struct {
	mu    sync.Mutex
	flags map[string]feature
}

type feature struct {
	version  int
	archived bool
	served   served
}

// served is what decides who is served what, and all that Restore needs.
type served struct {
	On      bool            `json:"on"`
	Percent int             `json:"percent"`
	Users   map[string]bool `json:"users"`
}

var (
	_ flags.Provider = (*service)(nil)
	_ flags.Creator  = (*service)(nil)
)

// A provider of one's own passes the same suite as those that come with contraflow.
func TestAProviderOfOnesOwn(t *testing.T) {
	t.Parallel()
	flagstest.Run(t, func(*testing.T) flagstest.Fixture {
		s := &service{flags: map[string]feature{
			"plain":     {version: 1, served: served{Percent: 100, Users: map[string]bool{}}},
			"furnished": {version: 1, served: served{On: true, Percent: 25, Users: map[string]bool{"user-1": false, "vip": true}}},
		}}
		return flagstest.Fixture{
			Provider: s, Plain: "plain", Furnished: "furnished", OneKind: true,
			Exempt: []flagstest.Exempt{{ContextKind: "user", ContextKey: "user-1", Value: false}, {ContextKind: "user", ContextKey: "vip", Value: true}},
			Told:   map[int][]string{1: {"2 targets"}, 100: {"1 target"}},
			Target: func(t *testing.T, key, user string) {
				_, err := s.change(t.Context(), key, nil, func(_ flags.State, f feature) (feature, error) {
					f.served.Users = map[string]bool{user: true}
					return f, nil
				})
				require.NoError(t, err)
			},
			Application: func(*testing.T) flagstest.Reader { return s },
		}
	})
}

// Bool is the reading side; Version belongs to it.
func (s *service) Bool(key, _, contextKey string) (value, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.flags[key]
	if !ok || f.archived {
		return false, false
	}
	if named, isNamed := f.served.Users[contextKey]; isNamed && f.served.On {
		return named, true
	}
	hash := fnv.New32a()
	hash.Write([]byte(key + contextKey))
	return f.served.On && int(hash.Sum32()%100) < f.served.Percent, true
}

func (s *service) Version(key string) (int, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.flags[key]
	return f.version, ok && !f.archived
}

func (s *service) state(key string) (flags.State, feature, error) {
	f, ok := s.flags[key]
	if !ok {
		return flags.State{}, f, fmt.Errorf("flag %q: %w", key, flags.ErrNotFound)
	}
	state := flags.State{Provider: "memory", Key: key, Version: f.version, Archived: f.archived, On: f.served.On, Summary: "off"}
	if f.served.On {
		state.Percent = float64(f.served.Percent)
		state.Summary = "on: " + strconv.Itoa(f.served.Percent) + " % true"
		if n := len(f.served.Users); n > 0 {
			state.Summary += ", " + targets(n)
		}
		n := 0
		for value := range maps.Values(f.served.Users) {
			if !value || f.served.Percent < 100 {
				n++
			}
		}
		if n > 0 {
			state.Exceptions = []string{targets(n)}
		}
	}
	if f.archived {
		state.Summary = "archived"
	}
	var err error
	state.Config, err = json.Marshal(f.served)
	return state, f, err
}

func targets(n int) string {
	if n == 1 {
		return "1 target"
	}
	return strconv.Itoa(n) + " targets"
}

func (s *service) Get(_ context.Context, key string) (flags.State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	state, _, err := s.state(key)
	return state, err
}

func (s *service) Preview(ctx context.Context, key string, c flags.Change) (flags.State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	state, f, err := s.state(key)
	if err != nil {
		return flags.State{}, err
	}
	if f, err = want(c)(state, f); err != nil {
		return flags.State{}, err
	}
	alone := &service{flags: map[string]feature{key: f}}
	return alone.Get(ctx, key)
}

func (s *service) Apply(ctx context.Context, key string, c flags.Change, _ string, still flags.Still) (flags.State, error) {
	return s.change(ctx, key, still, want(c))
}

func want(c flags.Change) func(flags.State, feature) (feature, error) {
	return func(state flags.State, f feature) (feature, error) {
		if err := c.Validate(); err != nil {
			return f, err
		}
		switch kinds := kinds(c); {
		case c.Stage != "" || len(c.Segments) > 0:
			return f, fmt.Errorf("flag %q: there are neither stages nor segments, list targets instead: %w", state.Key, flags.ErrInvalid)
		case len(kinds) > 0 && !slices.Equal(kinds, []string{flags.DefaultContextKind}):
			return f, fmt.Errorf("flag %q: there are users only, not %v: %w", state.Key, kinds, flags.ErrInvalid)
		case f.archived:
			return f, fmt.Errorf("flag %q: %w", state.Key, flags.ErrArchived)
		}
		f.served.Users = maps.Clone(f.served.Users)
		if f.served.Users == nil {
			f.served.Users = map[string]bool{}
		}
		if c.Exclude != nil {
			f.served.Users[c.Exclude.Key] = false
			return f, nil
		}
		named := c.Targets[flags.DefaultContextKind]
		for _, user := range named {
			f.served.Users[user] = true
		}
		f.served.On = c.Percent > 0 || len(named) > 0
		if f.served.On {
			f.served.Percent = c.Percent
		}
		return f, nil
	}
}

// kinds that a change speaks of.
func kinds(c flags.Change) []string {
	all := slices.Collect(maps.Keys(c.Targets))
	if c.ContextKind != "" {
		all = append(all, c.ContextKind)
	}
	if c.Exclude != nil {
		all = append(all, c.Exclude.Kind)
	}
	return slices.Compact(slices.Sorted(slices.Values(all)))
}

func (s *service) Restore(ctx context.Context, key string, before, ours flags.State, _ string, still flags.Still) (flags.State, error) {
	return s.change(ctx, key, still, func(now flags.State, f feature) (feature, error) {
		var then served
		switch {
		case before.Key != key || before.Provider != now.Provider:
			return f, fmt.Errorf("the recorded state is of another flag: %w", flags.ErrInvalid)
		case now.Equal(before):
			return f, nil
		case now.Archived && !ours.Archived:
			return f, &flags.Stranger{Key: key, Differs: []string{"it was archived"}, Ours: ours.Summary, Theirs: now.Summary}
		case !now.Equal(ours):
			return f, &flags.Stranger{
				Key: key, Differs: []string{"the individual targets are others"}, Ours: ours.Summary, Theirs: now.Summary,
			}
		case now.Archived || before.Archived:
			return f, fmt.Errorf("archive flag %q, or take it out of the archive, by hand: %w", key, flags.ErrNotRestorable)
		}
		err := json.Unmarshal(before.Config, &then)
		f.served = then
		return f, err
	})
}

func (s *service) Archive(ctx context.Context, key, _ string) error {
	_, err := s.change(ctx, key, nil, func(_ flags.State, f feature) (feature, error) {
		f.archived = true
		return f, nil
	})
	return err
}

// Create does nothing where RehearseCreate finds the flag.
func (s *service) Create(ctx context.Context, key string, f flags.NewFlag) error {
	if err := s.RehearseCreate(ctx, key, f, nil); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, exists := s.flags[key]; !exists {
		s.flags[key] = fresh()
	}
	return nil
}

func fresh() feature {
	return feature{version: 1, served: served{Percent: 100, Users: map[string]bool{}}}
}

// RehearseCreate tries the changes on a flag that nobody else sees.
func (s *service) RehearseCreate(ctx context.Context, key string, f flags.NewFlag, changes []flags.Change) error {
	if f.Migration {
		return fmt.Errorf("flag %q: there are no stages, make a boolean flag: %w", key, flags.ErrInvalid)
	}
	switch found, err := s.Get(ctx, key); {
	case err == nil && found.Archived:
		return fmt.Errorf("flag %q: %w", key, flags.ErrArchived)
	case !errors.Is(err, flags.ErrNotFound):
		return err
	}
	alone := &service{flags: map[string]feature{key: fresh()}}
	for _, c := range changes {
		if _, err := alone.Apply(ctx, key, c, "", nil); err != nil {
			return err
		}
	}
	return nil
}

// change decides and writes at one moment, and only if something differs.
func (s *service) change(
	ctx context.Context, key string, still flags.Still, decide func(flags.State, feature) (feature, error),
) (flags.State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	state, now, err := s.state(key)
	if err != nil {
		return flags.State{}, err
	}
	then, err := decide(state, now)
	if err != nil {
		return flags.State{}, err
	}
	if !reflect.DeepEqual(now, then) {
		if err := still.Ask(ctx, state); err != nil {
			return flags.State{}, err
		}
		if err := flags.Late(ctx); err != nil {
			return flags.State{}, err
		}
		then.version++
		s.flags[key] = then
	}
	state, _, err = s.state(key)
	return state, err
}

func (s *service) Status(ctx context.Context, key string) (flags.Status, error) {
	_, err := s.Get(ctx, key)
	return flags.Status{Activity: flags.Unknown}, err
}

func (s *service) Close() error { return nil }
