package flagserver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	rfc6902 "github.com/evanphx/json-patch/v5"
)

// JSONPatches is how the server takes them.
type JSONPatches int

const (
	// Tested takes a patch if its conditions hold, as documented, and else answers 409.
	Tested JSONPatches = iota
	// TestedAs400 answers 400 if a condition doesn't hold: which status LaunchDarkly answers with is not documented.
	TestedAs400
	// Untested passes over conditions.
	Untested
	// Refused answers 400 to every JSON patch.
	Refused
)

// TakeJSONPatches sets how patches are taken from now on. A new server takes them Tested.
func (s *Server) TakeJSONPatches(taken JSONPatches) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken = taken
}

// jsonPatch is an array of operations, or such an array with a comment: https://launchdarkly.com/docs/api#updates-using-json-patch
// and "Updates with comments".
type jsonPatch struct {
	operations []json.RawMessage
	places     []place
}

// place is what an operation is about.
type place struct {
	op, path string
	parts    []string // of the path, unescaped
}

// UnmarshalJSON reads both forms.
func (p *jsonPatch) UnmarshalJSON(raw []byte) error {
	var commented struct {
		Comment string          `json:"comment"`
		Patch   json.RawMessage `json:"patch"`
	}
	if strictly(bytes.NewReader(raw), &commented) == nil {
		raw = commented.Patch
	}
	if err := json.Unmarshal(raw, &p.operations); err != nil || len(p.operations) == 0 {
		return errors.New("a JSON patch is an array of operations, or has one in patch")
	}
	for _, operation := range p.operations {
		var in struct {
			Op    string `json:"op"`
			Path  string `json:"path"`
			Value any    `json:"value"`
		}
		if err := strictly(bytes.NewReader(operation), &in); err != nil {
			return err
		}
		at := place{op: in.Op, path: in.Path}
		for part := range strings.SplitSeq(strings.TrimPrefix(in.Path, "/"), "/") {
			at.parts = append(at.parts, strings.NewReplacer("~1", "/", "~0", "~").Replace(part))
		}
		p.places = append(p.places, at)
	}
	return nil
}

// editable members of an environment, with the action that a role needs for them.
var editable = map[string]string{
	"on": "updateOn", "fallthrough": "updateFallthrough", "offVariation": "updateOffVariation", "targets": "updateTargets",
	"contextTargets": "updateTargets",
}

// member that an operation edits; "" for none.
func (p place) member(environment string) string {
	if len(p.parts) < 3 || p.parts[0] != "environments" || p.parts[1] != environment {
		return ""
	}
	return p.parts[2]
}

func (p *jsonPatch) actions() []string {
	var out []string
	for _, at := range p.places {
		if at.op != "test" && len(at.parts) > 2 {
			out = append(out, editable[at.parts[2]])
		}
	}
	return out
}

// errCondition is of a test that fails.
var errCondition = errors.New("a condition does not hold")

func (p *jsonPatch) apply(s *Server, flag Flag) (Flag, error) {
	if s.taken == Refused {
		return Flag{}, errors.New("only semantic patches are understood")
	}
	var operations []json.RawMessage
	for i, at := range p.places {
		if at.op == "test" {
			if s.taken != Untested {
				operations = append(operations, p.operations[i])
			}
			continue
		}
		if editable[at.member(s.options.Environment)] == "" {
			return Flag{}, fmt.Errorf("operation %d: %s cannot be edited", i, at.path)
		}
		if flag.Archived {
			return Flag{}, errors.New("the flag is archived")
		}
		operations = append(operations, p.operations[i])
	}
	out, err := flag.clone()
	if err != nil {
		return Flag{}, err
	}
	if out.Environments[s.options.Environment], err = s.edited(flag, operations); err != nil {
		return Flag{}, err
	}
	if err := out.sound(out.Environments[s.options.Environment]); err != nil {
		return Flag{}, err
	}
	return s.counted(flag, out)
}

// edited applies the operations to the flag as it is shown.
func (s *Server) edited(flag Flag, operations []json.RawMessage) (*Environment, error) {
	shown, err := json.Marshal(s.flagAnswer(flag, view{}))
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(operations)
	if err != nil {
		return nil, err
	}
	if len(operations) > 0 {
		patch, err := rfc6902.DecodePatch(raw)
		if err != nil {
			return nil, err
		}
		shown, err = patch.Apply(shown)
		if errors.Is(err, rfc6902.ErrTestFailed) && s.taken == Tested {
			return nil, errCondition
		}
		if err != nil {
			return nil, fmt.Errorf("the patch cannot be applied: %w", err)
		}
	}
	var became struct {
		Environments map[string]*Environment `json:"environments"`
	}
	if err := json.Unmarshal(shown, &became); err != nil {
		return nil, errors.New("the patch makes something else of the flag than a flag")
	}
	return became.Environments[s.options.Environment], nil
}

// sound checks what instructions can't make, and completes what may be left out.
func (f Flag) sound(e *Environment) error {
	if e.OffVariation != nil && !f.has(*e.OffVariation) {
		return errors.New("unknown offVariation")
	}
	if err := f.soundServe(e.Fallthrough); err != nil {
		return err
	}
	named := map[[2]string]bool{}
	for _, list := range []*[]Target{&e.Targets, &e.ContextTargets} {
		*list = append([]Target{}, *list...)
		for i := range *list {
			t := &(*list)[i]
			t.ContextKind = kind(t.ContextKind)
			if e.list(t.ContextKind) != list && len(t.Values) > 0 || !f.has(t.Variation) {
				return errors.New("a target of a kind that stands elsewhere, or of an unknown variation")
			}
			for _, value := range t.Values {
				who := [2]string{t.ContextKind, value}
				if named[who] {
					return errors.New("a context is targeted twice")
				}
				named[who] = true
			}
		}
		*list = slices.DeleteFunc(*list, func(t Target) bool { return len(t.Values) == 0 })
	}
	return f.soundStages(e)
}

func (f Flag) has(variation int) bool { return variation >= 0 && variation < len(f.Variations) }

func (f Flag) soundServe(serve Serve) error {
	if (serve.Variation == nil) == (serve.Rollout == nil) {
		return errors.New("give either variation or rollout")
	}
	if serve.Variation != nil {
		if !f.has(*serve.Variation) {
			return errors.New("unknown variation")
		}
		return nil
	}
	serve.Rollout.ContextKind = kind(serve.Rollout.ContextKind)
	sum := 0
	for _, w := range serve.Rollout.Variations {
		if !f.has(w.Variation) || w.Weight < 0 {
			return errors.New("unknown variation, or a negative weight")
		}
		sum += w.Weight
	}
	if sum != fullWeight {
		return fmt.Errorf("weights must add up to %d", fullWeight)
	}
	return nil
}

// soundStages holds a migration flag to what its instructions are held to.
func (f Flag) soundStages(e *Environment) error {
	if f.Purpose != purposeMigration {
		return nil
	}
	if len(e.Targets)+len(e.ContextTargets) > 0 {
		return errTargeted
	}
	if e.OffVariation == nil || f.Variations[*e.OffVariation].Value != "off" {
		return errOffStage
	}
	if e.Fallthrough.Rollout == nil {
		return errNoCohort
	}
	return f.cohort(served{RolloutContextKind: e.Fallthrough.Rollout.ContextKind}, nil)
}
