package signals

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// Input starts a migration. Its JSON is either {"plan": "name"} for a plan the worker knows, {"plan": {…}} for a whole one,
// or the plan itself; startedBy and rehearsal may stand beside plan.
type Input struct {
	// Name of a plan the worker knows; "" when Document is given.
	Name string
	// Document is the plan as JSON.
	Document json.RawMessage
	// StartedBy may not approve. "" when unknown.
	StartedBy string
	// Rehearsal of exactly this plan; nil for none.
	Rehearsal *Rehearsal
}

type inputJSON struct {
	Plan      json.RawMessage `json:"plan"`
	StartedBy string          `json:"startedBy,omitempty"`
	Rehearsal *Rehearsal      `json:"rehearsal,omitempty"`
}

// MarshalJSON writes the form with the key plan.
func (in Input) MarshalJSON() ([]byte, error) {
	body := inputJSON{Plan: in.Document, StartedBy: in.StartedBy, Rehearsal: in.Rehearsal}
	if in.Name != "" {
		name, err := json.Marshal(in.Name)
		if err != nil {
			return nil, err
		}
		body.Plan = name
	}
	return json.Marshal(body)
}

// UnmarshalJSON reads any of the three forms: an Input stays the same in every payload it travels in.
func (in *Input) UnmarshalJSON(raw []byte) error {
	parsed, err := ParseInput(bytes.Clone(raw)) // the caller's buffer is not ours to keep
	if err != nil {
		return err
	}
	*in = parsed
	return nil
}

// ErrInput says how a migration is started.
var ErrInput = errors.New(`the input of a migration is {"plan": "name"}, {"plan": {…the whole plan…}} or the plan itself`)

// ParseInput reads any of the three forms, and checks the bounds of a rehearsal. It does not look into the plan.
func ParseInput(raw []byte) (Input, error) {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(raw, &keys); err != nil {
		return Input{}, ErrInput
	}
	if _, wrapped := keys["plan"]; !wrapped {
		if _, is := keys["steps"]; !is {
			return Input{}, fmt.Errorf("%w: neither plan nor steps is there", ErrInput)
		}
		return Input{Document: raw}, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	var body inputJSON
	if err := decoder.Decode(&body); err != nil {
		return Input{}, fmt.Errorf("%w: %w", ErrInput, err)
	}
	if body.Rehearsal != nil {
		if err := body.Rehearsal.Check(); err != nil {
			return Input{}, fmt.Errorf("the rehearsal that came along %w: start with the file that contraflow rehearse wrote, or without one", err)
		}
	}
	in := Input{StartedBy: body.StartedBy, Rehearsal: body.Rehearsal}
	if json.Unmarshal(body.Plan, &in.Name) == nil && in.Name != "" {
		return in, nil
	}
	if !bytes.HasPrefix(bytes.TrimSpace(body.Plan), []byte("{")) {
		return Input{}, fmt.Errorf("%w: plan is neither a name nor a plan", ErrInput)
	}
	in.Document = body.Plan
	return in, nil
}
