package flags

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// DefaultContextKind is the kind LaunchDarkly gives to a context that names none.
const DefaultContextKind = "user"

// Change is what a flag shall serve. It is made into the targeting that stands: what it does not speak of stays.
type Change struct {
	// Percent of contexts served true by the default rule of a boolean flag. 0 without Targets and Segments turns the flag
	// off; with them the flag is on and its default rule serves false. 100 serves everybody, anything between is a rollout.
	Percent int `json:"percent"`
	// ContextKind whose keys a percentage rollout distributes. Defaults to "user".
	ContextKind string `json:"contextKind,omitempty"`
	// Targets are the keys of contexts, by kind, that are served true by name, before any rule. Who is targeted already with
	// another value is moved.
	Targets map[string][]string `json:"targets,omitempty"`
	// Segments of contexts that are served true by one rule above all others.
	Segments []string `json:"segments,omitempty"`
	// Stage that a migration flag serves everybody. Alone: none of the others is set beside it.
	Stage Stage `json:"stage,omitempty"`
	// Exclude serves one context false, or the stage off, by name and before all rules, and changes nothing for anybody else.
	// Alone, too. Where a service keeps targets of several kinds in no order, a request that another of its contexts is served
	// true for by name may be so still.
	Exclude *Context `json:"exclude,omitempty"`
}

// Context is one of those that an application evaluates flags for.
type Context struct {
	Kind string `json:"kind"`
	Key  string `json:"key"`
}

// Stage of a migration flag.
type Stage string

// The stages of a migration flag in their order: https://launchdarkly.com/docs/home/flags/migration
const (
	StageOff       Stage = "off"
	StageDualWrite Stage = "dualwrite"
	StageShadow    Stage = "shadow"
	StageLive      Stage = "live"
	StageRampDown  Stage = "rampdown"
	StageComplete  Stage = "complete"
)

// Stages lists all stages in their order.
func Stages() []Stage {
	return []Stage{StageOff, StageDualWrite, StageShadow, StageLive, StageRampDown, StageComplete}
}

// Order of a stage, from 0; -1 for what is none.
func (s Stage) Order() int { return slices.Index(Stages(), s) }

// Named tells whether the change serves true to anybody by name, or to segments.
func (c Change) Named() bool {
	for _, keys := range c.Targets {
		if len(keys) > 0 {
			return true
		}
	}
	return len(c.Segments) > 0
}

var contextKind = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// Validate returns an ErrInvalid that says what to write instead. It never quotes a context's key.
func (c Change) Validate() error {
	if c.Percent < 0 || c.Percent > 100 {
		return fmt.Errorf("percent is %d, write a whole number from 0 (off) to 100 (everybody): %w", c.Percent, ErrInvalid)
	}
	kinds := slices.Sorted(maps.Keys(c.Targets))
	if c.ContextKind != "" {
		kinds = append(kinds, c.ContextKind)
	}
	alone := 0
	if c.Exclude != nil {
		alone++
		kinds = append(kinds, c.Exclude.Kind)
		if err := validKey("a context to exclude", c.Exclude.Key); err != nil {
			return err
		}
	}
	for _, kind := range kinds {
		if !contextKind.MatchString(kind) || kind == "kind" || kind == "multi" {
			return fmt.Errorf("context kind %q: write letters, digits, '.', '_' or '-', and neither \"kind\" nor \"multi\": %w", kind, ErrInvalid)
		}
		for _, key := range c.Targets[kind] {
			if err := validKey("a target of kind "+kind, key); err != nil {
				return err
			}
		}
	}
	if slices.ContainsFunc(c.Segments, func(s string) bool { return strings.TrimSpace(s) == "" }) {
		return fmt.Errorf("a segment has no key: %w", ErrInvalid)
	}
	if c.Stage != "" {
		alone++
		if c.Stage.Order() < 0 {
			return fmt.Errorf("%q is no stage of a migration flag, they are %v: %w", c.Stage, Stages(), ErrInvalid)
		}
	}
	if alone > 1 || alone == 1 && (c.Percent != 0 || c.ContextKind != "" || len(c.Targets) > 0 || len(c.Segments) > 0) {
		return fmt.Errorf("a stage, or a context to exclude, stands alone in a change: %w", ErrInvalid)
	}
	return nil
}

// validKey never quotes the key.
func validKey(whose, key string) error {
	switch {
	case key == "":
		return fmt.Errorf("%s needs a key: %w", whose, ErrInvalid)
	case !utf8.ValidString(key): // JSON has no way to write it, and would name somebody else
		return fmt.Errorf("the key of %s is no valid UTF-8: write it in UTF-8: %w", whose, ErrInvalid)
	}
	return nil
}
