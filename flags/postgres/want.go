package postgres

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/contraflow/contraflow/flags"
)

// want is the configuration in which c is served.
func (f flag) want(c flags.Change) (config, error) {
	if err := f.possible(c); err != nil {
		return config{}, err
	}
	want := f.config
	switch {
	case c.Exclude != nil:
		want.Targets = want.Targets.moved(c.Exclude.Kind, []string{c.Exclude.Key}, false)
		return want, nil
	case c.Percent == 0 && !c.Named():
		want.On = false
		return want, nil
	}
	want.On, want.Weight = true, c.Percent*fullWeight/100
	for kind, keys := range c.Targets {
		want.Targets = want.Targets.moved(kind, keys, true)
	}
	if want.Weight == 0 || want.Weight == fullWeight {
		return want, nil
	}
	want.ContextKind = cmp.Or(c.ContextKind, flags.DefaultContextKind)
	if f.On && f.Weight > 0 && f.Weight < fullWeight && f.ContextKind != want.ContextKind {
		return config{}, fmt.Errorf("flag %q is rolled out to %s %%, and going on with it differently would take it from some who are served "+
			"true (it distributes by %s, not by %s): give the plan the same contextKind, or bring the flag to 0 or 100 %% by hand first: %w",
			f.key, percent(f.Weight), f.ContextKind, want.ContextKind, flags.ErrInvalid)
	}
	return want, nil
}

// possible refuses what makes no sense, and what the table has no room for. It never quotes a context's key.
func (f flag) possible(c flags.Change) error {
	if err := c.Validate(); err != nil {
		return fmt.Errorf("flag %q: %w", f.key, err)
	}
	refused := func(why string) error {
		return fmt.Errorf("flag %q %s: %w", f.key, why, flags.ErrInvalid)
	}
	switch {
	case f.archived:
		return fmt.Errorf("flag %q serves nothing: take it out of the archive first (set archived = false): %w", f.key, flags.ErrArchived)
	case c.Stage != "":
		return refused("has no stages, because contraflow.flag holds boolean flags only: move it by percent (rollout), or make one flag for each stage")
	case len(c.Segments) > 0:
		return refused("can't be given to segments, because contraflow.flag knows none: list their members under targets")
	case c.Exclude != nil && !keepable(c.Exclude.Key):
		return refused("can't exclude that context: Postgres keeps no key with a NUL")
	}
	for _, kind := range slices.Sorted(maps.Keys(c.Targets)) {
		if slices.ContainsFunc(c.Targets[kind], func(key string) bool { return !keepable(key) }) {
			return refused("has a target of kind " + kind + " with a NUL in its key, which Postgres can't keep: remove it")
		}
	}
	return nil
}

// keepable tells whether jsonb can hold a key as it is.
func keepable(key string) bool { return utf8.ValidString(key) && !strings.ContainsRune(key, 0) }

// moved is a copy in which contexts of a kind are served a value, and not the other one.
func (t targets) moved(kind string, keys []string, value bool) targets {
	out := maps.Clone(t)
	l := out[kind]
	gone := make(map[string]bool, len(keys))
	for _, key := range keys {
		gone[key] = true
	}
	without := func(list []string) []string {
		return slices.DeleteFunc(slices.Clone(list), func(key string) bool { return gone[key] })
	}
	l.True, l.False = without(l.True), without(l.False)
	if value {
		l.True = append(l.True, keys...)
	} else {
		l.False = append(l.False, keys...)
	}
	out[kind] = l
	return out.normal()
}
