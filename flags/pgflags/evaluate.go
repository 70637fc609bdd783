package pgflags

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"sync/atomic"
)

// fullWeight is 100 % in thousandths of a percent: the number of places that contexts are distributed over.
const fullWeight = 100_000

// defaultKind of a context that names none, as in contraflow.flag_is_on.
const defaultKind = "user"

// Reason says why a flag serves what it serves.
type Reason string

const (
	Off      Reason = "off"      // the flag is off for everybody
	Target   Reason = "target"   // the context is named
	Everyone Reason = "everyone" // the default rule serves one value to all
	Split    Reason = "split"    // the context is in, or out, at this percentage
	NotFound Reason = "notFound" // unknown or archived: the fallback is served
	NotReady Reason = "notReady" // there is no copy of the flags yet: the fallback is served
)

// Evaluation of one flag for one context.
type Evaluation struct {
	Value  bool
	Reason Reason
	// Version of the flag's configuration; 0 where the fallback is served.
	Version int
}

// Found tells whether the flag serves anything; else Value is the fallback.
func (e Evaluation) Found() bool { return e.Reason != NotFound && e.Reason != NotReady }

// flag is one element of contraflow.flag_list().
type flag struct {
	Key         string  `json:"key"`
	Version     int     `json:"version"`
	On          bool    `json:"on"`
	Weight      int     `json:"weight"` // of true, in thousandths of a percent
	ContextKind string  `json:"contextKind"`
	Targets     targets `json:"targets"`
	Salt        string  `json:"salt"`
}

// targets by kind and key: the value that is served.
type targets map[string]map[string]bool

// UnmarshalJSON reads {"user": {"true": ["a"], "false": ["b"]}}; false wins.
func (t *targets) UnmarshalJSON(raw []byte) error {
	var kinds map[string]struct{ True, False []string }
	if json.Unmarshal(raw, &kinds) != nil {
		return errors.New("malformed targets") // the decoder's own words may hold a target's key
	}
	*t = targets{}
	for kind, lists := range kinds {
		served := make(map[string]bool, len(lists.True)+len(lists.False))
		for _, key := range lists.True {
			served[key] = true
		}
		for _, key := range lists.False {
			served[key] = false
		}
		(*t)[kind] = served
	}
	return nil
}

// evaluate is contraflow.flag_is_on.
func (f *flag) evaluate(kind, key string) (bool, Reason) {
	if !f.On {
		return false, Off
	}
	if kind == "" {
		kind = defaultKind
	}
	if value, named := f.Targets[kind][key]; named {
		return value, Target
	}
	switch {
	case f.Weight >= fullWeight:
		return true, Everyone
	case f.Weight <= 0:
		return false, Everyone
	}
	return f.ContextKind == kind && place(f.Salt, key) < f.Weight, Split
}

// place is where a context stands among all: the first 60 bits of a hash, which leave no bias worth naming.
func place(salt, key string) int {
	sum := sha256.Sum256([]byte(salt + "." + key))
	return int(binary.BigEndian.Uint64(sum[:8]) >> 4 % fullWeight)
}

// Bits of served.
const (
	servedTrue uint32 = 1 << iota
	servedFalse
)

// seen is what was served since the last report.
type seen struct{ served atomic.Uint32 }

func (s *seen) add(value bool) {
	bit := servedFalse
	if value {
		bit = servedTrue
	}
	// Read first: a write by every evaluation would make processors fight over the line.
	if s.served.Load()&bit == 0 {
		s.served.Or(bit)
	}
}

// take returns what was served and forgets it: true, false, or nil for both; ok is false for nothing.
func (s *seen) take() (value *bool, ok bool) {
	switch s.served.Swap(0) {
	case 0:
		return nil, false
	case servedTrue:
		return new(true), true
	case servedFalse:
		return new(false), true
	}
	return nil, true
}
