package flagfile

import (
	"encoding/json"
	"fmt"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/internal/targeting"
)

// The members of the file that matter here.
const (
	flagsMember    = "flags"
	valuesMember   = "flagValues"
	archivedMember = "archivedFlags"
)

// document is the file, with everything it does not know kept as it stands.
type document struct {
	path     string
	members  map[string]json.RawMessage
	flags    map[string]json.RawMessage
	archived map[string]json.RawMessage
	values   map[string]json.RawMessage
}

func newDocument(path string) document {
	return document{
		path: path, members: map[string]json.RawMessage{},
		flags: map[string]json.RawMessage{}, archived: map[string]json.RawMessage{}, values: map[string]json.RawMessage{},
	}
}

func parse(path string, raw []byte) (document, error) {
	d := newDocument(path)
	if err := json.Unmarshal(raw, &d.members); err != nil || d.members == nil {
		return document{}, fmt.Errorf("%s is not a JSON object: mend it (the SDK keeps its last good data meanwhile)", path)
	}
	for member, into := range map[string]*map[string]json.RawMessage{
		flagsMember: &d.flags, archivedMember: &d.archived, valuesMember: &d.values,
	} {
		text, ok := d.members[member]
		if !ok || string(text) == "null" {
			continue
		}
		if err := json.Unmarshal(text, into); err != nil {
			return document{}, fmt.Errorf("%s: %q is not a JSON object: mend it", path, member)
		}
	}
	return d, nil
}

func (d document) encode() ([]byte, error) {
	for member, content := range map[string]map[string]json.RawMessage{flagsMember: d.flags, archivedMember: d.archived} {
		if len(content) == 0 && d.members[member] == nil {
			continue
		}
		raw, err := json.Marshal(content)
		if err != nil {
			return nil, fmt.Errorf("encode %q of %s: %w", member, d.path, err)
		}
		d.members[member] = raw
	}
	raw, err := json.MarshalIndent(d.members, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", d.path, err)
	}
	return append(raw, '\n'), nil
}

// entry is one flag of the file.
type entry struct {
	state     flags.State
	targeting targeting.Targeting
	boolean   targeting.Boolean
}

func (d document) find(key string) (entry, error) {
	raw, live := d.flags[key]
	if !live {
		var archived bool
		if raw, archived = d.archived[key]; !archived {
			return entry{}, d.missing(key)
		}
	}
	var model struct {
		Version    int   `json:"version"`
		Variations []any `json:"variations"`
	}
	if err := json.Unmarshal(raw, &model); err != nil {
		return entry{}, fmt.Errorf("flag %q in %s is not of the SDK's model: mend it: %w", key, d.path, flags.ErrInvalid)
	}
	var out entry
	var err error
	if out.targeting, err = targeting.Decode(raw); err != nil {
		return entry{}, fmt.Errorf("flag %q in %s: %w: %w", key, d.path, err, flags.ErrInvalid)
	}
	if out.boolean, err = targeting.NewBoolean(key, model.Variations); err != nil {
		return entry{}, fmt.Errorf("%s: %w", d.path, err)
	}
	out.state, err = out.boolean.State(Name, key, model.Version, !live, out.targeting)
	return out, err
}

func (d document) missing(key string) error {
	if _, ok := d.values[key]; ok {
		return fmt.Errorf("flag %q stands in %q of %s, where it can be neither rolled out nor versioned: make it a full flag "+
			"in %q: %w", key, valuesMember, d.path, flagsMember, flags.ErrNotFound)
	}
	return fmt.Errorf("flag %q is not in %q of %s: add it, or correct its key: %w", key, flagsMember, d.path, flags.ErrNotFound)
}

func (e entry) want(c flags.Change) (targeting.Targeting, error) {
	if e.state.Archived {
		return targeting.Targeting{}, fmt.Errorf("flag %q serves nothing: move it from %q back to %q first: %w",
			e.state.Key, archivedMember, flagsMember, flags.ErrArchived)
	}
	return e.boolean.Want(e.state.Key, e.targeting, c)
}

// setTargeting replaces the members of a flag that differ, so that rules keep their ids, and raises its version.
func (d document) setTargeting(current entry, want targeting.Targeting) error {
	key := current.state.Key
	var flag map[string]json.RawMessage
	if err := json.Unmarshal(d.flags[key], &flag); err != nil {
		return fmt.Errorf("flag %q in %s is not a JSON object: mend it: %w", key, d.path, flags.ErrInvalid)
	}
	now, then := current.targeting, want
	for member, pair := range map[string][2]any{
		"on":             {now.On, then.On},
		"offVariation":   {now.OffVariation, then.OffVariation},
		"fallthrough":    {now.Fallthrough, then.Fallthrough},
		"targets":        {now.Targets, then.Targets},
		"contextTargets": {now.SDKContextTargets(), then.SDKContextTargets()},
		"rules":          {now.Rules, then.Rules},
		"prerequisites":  {now.Prerequisites, then.Prerequisites},
		"version":        {current.state.Version, current.state.Version + 1},
	} {
		before, err := json.Marshal(pair[0])
		if err != nil {
			return fmt.Errorf("encode %s of flag %q: %w", member, key, err)
		}
		after, err := json.Marshal(pair[1])
		if err != nil {
			return fmt.Errorf("encode %s of flag %q: %w", member, key, err)
		}
		if string(before) != string(after) {
			flag[member] = after
		}
	}
	raw, err := json.Marshal(flag)
	if err != nil {
		return fmt.Errorf("encode flag %q: %w", key, err)
	}
	d.flags[key] = raw
	return nil
}
