package postgres

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/contraflow/contraflow/flags"
)

// fullWeight is 100 % in thousandths of a percent, which the column percent has room for.
const fullWeight = 100_000

// flag is one row.
type flag struct {
	key      string
	version  int
	archived bool
	config
}

// config is what decides who is served what.
type config struct {
	On          bool    `json:"on"`
	Weight      int     `json:"weight"` // of true, in thousandths of a percent
	ContextKind string  `json:"contextKind"`
	Targets     targets `json:"targets"`
	Salt        string  `json:"salt"`
}

// targets are contexts by their kind.
type targets map[string]lists

// lists of the keys that are served true, or false.
type lists struct {
	True  []string `json:"true,omitempty"`
	False []string `json:"false,omitempty"`
}

// normal drops what means nothing: order, repetition, empty lists, and true where false wins.
func (t targets) normal() targets {
	out := targets{}
	for kind, l := range t {
		l.False = slices.Compact(slices.Sorted(slices.Values(l.False)))
		l.True = slices.DeleteFunc(slices.Compact(slices.Sorted(slices.Values(l.True))), func(key string) bool {
			_, wins := slices.BinarySearch(l.False, key)
			return wins
		})
		if len(l.True) == 0 {
			l.True = nil
		}
		if len(l.True)+len(l.False) > 0 {
			out[kind] = l
		}
	}
	return out
}

func (t targets) count() (yes, no int) {
	for l := range maps.Values(t) {
		yes, no = yes+len(l.True), no+len(l.False)
	}
	return yes, no
}

func (f flag) equal(other flag) bool {
	return f.archived == other.archived && reflect.DeepEqual(f.config, other.config)
}

// restoration is the configuration to put back; it is the flag's own if that is as before already.
func (f flag) restoration(before, ours flags.State) (config, error) {
	now, err := f.state()
	if err != nil {
		return config{}, err
	}
	if before.Key != f.key || before.Provider != Name {
		return config{}, fmt.Errorf("the recorded state is of flag %q of %s, not of flag %q of %s: %w",
			before.Key, before.Provider, f.key, Name, flags.ErrInvalid)
	}
	then, err := recorded(before)
	if err != nil {
		return config{}, err
	}
	switch {
	case now.Equal(before):
		return f.config, nil
	case !now.Equal(ours):
		return config{}, f.stranger(then, ours, now)
	case before.Archived || f.archived:
		return config{}, fmt.Errorf("flag %q is %q and was %q before: archive it, or take it out of the archive, by hand: %w",
			f.key, now.Summary, before.Summary, flags.ErrNotRestorable)
	}
	return then, nil
}

func (f flag) stranger(before config, ours, now flags.State) error {
	out := &flags.Stranger{Key: f.key, Theirs: now.Summary}
	then := before
	if len(ours.Config) > 0 { // else nothing was recorded of our own change
		out.Ours = ours.Summary
		var err error
		if then, err = recorded(ours); err != nil {
			return err
		}
	}
	if f.archived && !ours.Archived {
		out.Differs = []string{"it was archived"}
		return out
	}
	if ours.Archived && !f.archived {
		out.Differs = append(out.Differs, "it was taken out of the archive")
	}
	if then.On != f.On {
		out.Differs = append(out.Differs, map[bool]string{true: "it was turned on", false: "it was turned off"}[f.On])
	}
	if then.Weight != f.Weight || then.ContextKind != f.ContextKind {
		out.Differs = append(out.Differs, "the default rule serves something else")
	}
	if then.Salt != f.Salt {
		out.Differs = append(out.Differs, "the salt is another")
	}
	if !reflect.DeepEqual(then.Targets, f.Targets) {
		out.Differs = append(out.Differs, "the individual targets are others")
	}
	return out
}

// recorded reads a state's configuration. The error repeats nothing of it: it may hold a target's key.
func recorded(s flags.State) (config, error) {
	decoder := json.NewDecoder(bytes.NewReader(s.Config))
	decoder.DisallowUnknownFields()
	var c config
	if decoder.Decode(&c) != nil {
		return config{}, fmt.Errorf("the recorded state of flag %q is not one of this provider: %w", s.Key, flags.ErrInvalid)
	}
	c.Targets = c.Targets.normal()
	return c, nil
}

func (f flag) state() (flags.State, error) {
	raw, err := json.Marshal(f.config)
	if err != nil {
		return flags.State{}, errors.New("encode the configuration of flag " + strconv.Quote(f.key))
	}
	s := flags.State{Provider: Name, Key: f.key, Version: f.version, Archived: f.archived, On: f.On, Summary: "off", Config: raw}
	if f.On {
		s.Percent = float64(f.Weight) * 100 / fullWeight
		s.Summary = "on: " + percent(f.Weight) + " % true"
		yes, no := f.Targets.count()
		if yes+no > 0 {
			s.Summary += ", " + count(yes+no)
		}
		s.Exceptions = f.exceptions(yes, no)
	}
	if f.archived {
		s.Summary = "archived"
	}
	return s, nil
}

// exceptions are the targets that can be served another value than the default rule's.
func (f flag) exceptions(yes, no int) []string {
	n := yes + no
	switch f.Weight {
	case 0:
		n = yes
	case fullWeight:
		n = no
	}
	if n == 0 {
		return nil
	}
	return []string{count(n)}
}

func count(n int) string {
	if n == 1 {
		return "1 target"
	}
	return strconv.Itoa(n) + " targets"
}

func percent(weight int) string {
	return strconv.FormatFloat(float64(weight)*100/fullWeight, 'f', -1, 64)
}

// storable is a note as Postgres takes it, which knows no NUL and no broken UTF-8.
func storable(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}
