package flagfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/launchdarkly/go-server-sdk-evaluation/v3/ldmodel"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/internal/targeting"
)

// The members of the file that matter here.
const (
	flagsMember    = "flags"
	valuesMember   = "flagValues"
	segmentsMember = "segments"
	archivedMember = "archivedFlags"
)

// document is the file, with everything it does not know kept as it stands.
type document struct {
	path     string
	raw      []byte // as it was read; nil where there is no file
	members  map[string]json.RawMessage
	flags    map[string]json.RawMessage
	archived map[string]json.RawMessage
	values   map[string]json.RawMessage
	segments map[string]json.RawMessage
}

func newDocument(path string) document {
	return document{
		path: path, members: map[string]json.RawMessage{}, flags: map[string]json.RawMessage{},
		archived: map[string]json.RawMessage{}, values: map[string]json.RawMessage{}, segments: map[string]json.RawMessage{},
	}
}

func parse(path string, raw []byte) (document, error) {
	d := newDocument(path)
	d.raw = raw
	if text := bytes.TrimSpace(raw); len(text) > 0 && text[0] != '{' { // no edit under way, which is awaited
		return document{}, fmt.Errorf("%s is not a JSON object: SDKs read YAML as well, contraflow changes JSON alone, without a byte order mark: "+
			"write it so: %w", path, flags.ErrInvalid)
	}
	if err := json.Unmarshal(raw, &d.members); err != nil || d.members == nil {
		return document{}, fmt.Errorf("%s is not a JSON object: mend it (the SDK keeps its last good data meanwhile)", path)
	}
	for member, into := range map[string]*map[string]json.RawMessage{
		flagsMember: &d.flags, archivedMember: &d.archived, valuesMember: &d.values, segmentsMember: &d.segments,
	} {
		text, ok := d.members[member]
		if !ok || string(text) == "null" {
			continue
		}
		if err := json.Unmarshal(text, into); err != nil {
			return document{}, fmt.Errorf("%s: %q is not a JSON object: mend it", path, member)
		}
	}
	return d, d.legible()
}

// legible refuses a file that SDKs refuse as a whole: whatever was written into it, no application would see it. The errors
// repeat nothing of a flag or segment, which may hold the keys of contexts.
func (d document) legible() error {
	for _, key := range slices.Sorted(maps.Keys(d.flags)) {
		if _, twice := d.values[key]; twice {
			return fmt.Errorf("flag %q stands both in %q and in %q of %s, and no SDK reads a file with that: remove one: %w",
				key, flagsMember, valuesMember, d.path, flags.ErrInvalid)
		}
		if json.Unmarshal(d.flags[key], &ldmodel.FeatureFlag{}) != nil {
			return fmt.Errorf("flag %q in %s is not of the SDK's model%s, and no SDK reads a file with that: mend it: %w",
				key, d.path, because(targeting.DecodeFile(d.flags[key])), flags.ErrInvalid)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(d.segments)) {
		if json.Unmarshal(d.segments[key], &ldmodel.Segment{}) != nil {
			return fmt.Errorf("segment %q in %s is not of the SDK's model, and no SDK reads a file with that: mend it: %w",
				key, d.path, flags.ErrInvalid)
		}
	}
	return nil
}

// because is what is known of the place, in brackets.
func because(_ targeting.Targeting, err error) string {
	if err == nil {
		return ""
	}
	return " (" + err.Error() + ")"
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
	state      flags.State
	targeting  targeting.Targeting
	variations targeting.Variations
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
	if out.targeting, err = targeting.DecodeFile(raw); err != nil {
		return entry{}, fmt.Errorf("flag %q in %s: %w: %w", key, d.path, err, flags.ErrInvalid)
	}
	if out.variations, err = targeting.New(key, model.Variations); err != nil {
		return entry{}, fmt.Errorf("%s: %w", d.path, err)
	}
	out.state, err = out.variations.State(Name, key, model.Version, !live, out.targeting)
	return out, err
}

func (d document) missing(key string) error {
	if _, ok := d.values[key]; ok {
		return fmt.Errorf("flag %q stands in %q of %s, where it can be neither rolled out nor versioned: make it a full flag "+
			"in %q: %w", key, valuesMember, d.path, flagsMember, flags.ErrNotFound)
	}
	return fmt.Errorf("flag %q is not in %q of %s: add it, or correct its key: %w", key, flagsMember, d.path, flags.ErrNotFound)
}

// want is the targeting in which c is served.
func (d document) want(e entry, c flags.Change) (targeting.Targeting, error) {
	key := e.state.Key
	if e.state.Archived {
		return targeting.Targeting{}, fmt.Errorf("flag %q serves nothing: move it from %q back to %q first: %w",
			key, archivedMember, flagsMember, flags.ErrArchived)
	}
	want, err := e.variations.Want(key, e.targeting, c)
	if err != nil {
		return targeting.Targeting{}, err
	}
	for _, segment := range c.Segments {
		if _, ok := d.segments[segment]; !ok {
			return targeting.Targeting{}, fmt.Errorf("flag %q: segment %q is not in %q of %s: add it, or correct its key: %w",
				key, segment, segmentsMember, d.path, flags.ErrInvalid)
		}
	}
	return want, nil
}

// setTargeting replaces the members of a flag that differ, and raises its version.
func (d document) setTargeting(current entry, want targeting.Targeting) error {
	key := current.state.Key
	var flag map[string]json.RawMessage
	if err := json.Unmarshal(d.flags[key], &flag); err != nil {
		return fmt.Errorf("flag %q in %s is not a JSON object: mend it: %w", key, d.path, flags.ErrInvalid)
	}
	now, then := current.targeting, want
	rules, err := keepRules(flag["rules"], now.Rules, then.Rules)
	if err != nil {
		return fmt.Errorf("encode the rules of flag %q: %w", key, err)
	}
	for member, pair := range map[string][2]any{
		"on":            {now.On, then.On},
		"offVariation":  {now.OffVariation, then.OffVariation},
		"fallthrough":   {now.Fallthrough, then.Fallthrough},
		"prerequisites": {now.Prerequisites, then.Prerequisites},
		"version":       {current.state.Version, current.state.Version + 1},
	} {
		if reflect.DeepEqual(pair[0], pair[1]) {
			continue
		}
		if flag[member], err = json.Marshal(pair[1]); err != nil {
			return fmt.Errorf("encode %s of flag %q: %w", member, key, err)
		}
	}
	if !reflect.DeepEqual(now.Rules, then.Rules) {
		flag["rules"] = rules
	}
	if !reflect.DeepEqual(now.Targets, then.Targets) {
		users, all := then.InFile()
		for member, lists := range map[string][]targeting.Target{"targets": users, "contextTargets": all} {
			if flag[member], err = json.Marshal(lists); err != nil {
				return fmt.Errorf("encode %s of flag %q: %w", member, key, err)
			}
		}
	}
	if d.flags[key], err = json.Marshal(flag); err != nil {
		return fmt.Errorf("encode flag %q: %w", key, err)
	}
	return nil
}

// keepRules are the rules wanted; those that stand there already, or did with other values,
// keep what only the file knows of them, such as their ids.
func keepRules(raw json.RawMessage, now, want []targeting.Rule) (json.RawMessage, error) {
	var standing []json.RawMessage
	if len(now) > 0 {
		if err := json.Unmarshal(raw, &standing); err != nil || len(standing) != len(now) {
			return nil, errors.New("the rules are not a list")
		}
	}
	used := make([]bool, len(now))
	out := make([]json.RawMessage, len(want))
	for i, rule := range want {
		if j := free(now, used, func(standing targeting.Rule) bool { return reflect.DeepEqual(standing, rule) }); j >= 0 {
			used[j], out[i] = true, standing[j]
		}
	}
	for i, rule := range want {
		if out[i] != nil {
			continue
		}
		members := map[string]json.RawMessage{}
		if j := free(now, used, rule.Continues); j >= 0 {
			used[j] = true
			if err := json.Unmarshal(standing[j], &members); err != nil {
				return nil, errors.New("a rule is not an object")
			}
			delete(members, "variation")
			delete(members, "rollout")
		}
		own, err := json.Marshal(rule)
		if err == nil {
			err = json.Unmarshal(own, &members)
		}
		if err == nil {
			out[i], err = json.Marshal(members)
		}
		if err != nil {
			return nil, errors.New("a rule is not an object")
		}
	}
	return json.Marshal(out)
}

// free is the first rule that is so and not used, -1 for none.
func free(rules []targeting.Rule, used []bool, so func(targeting.Rule) bool) int {
	for i, rule := range rules {
		if !used[i] && so(rule) {
			return i
		}
	}
	return -1
}
