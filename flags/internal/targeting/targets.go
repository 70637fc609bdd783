package targeting

import (
	"cmp"
	"slices"

	"github.com/contraflow/contraflow/flags"
)

// DecodeFile reads the shape that SDKs read from a file, with the individual targets in the order in which they look at them.
// Those that no SDK looks at are none.
func DecodeFile(raw []byte) (Targeting, error) {
	t, err := shaped(raw)
	if err != nil {
		return Targeting{}, err
	}
	t.Ordered, t.Targets, t.ContextTargets = true, lookedAt(t.Targets, t.ContextTargets), nil
	t.normalize()
	return t, nil
}

// lookedAt are the lists as SDKs go through them: once there are contextTargets, those of users count only where an empty entry
// points to them, and of two with one variation only the first.
func lookedAt(users, all []Target) []Target {
	if len(all) == 0 {
		return users
	}
	var out []Target
	for _, list := range all {
		if cmp.Or(list.ContextKind, flags.DefaultContextKind) == flags.DefaultContextKind && len(list.Values) == 0 {
			at := slices.IndexFunc(users, func(user Target) bool { return user.Variation == list.Variation })
			if at < 0 {
				continue
			}
			list = users[at]
		}
		out = append(out, list)
	}
	return out
}

// InFile are the members targets and contextTargets by which SDKs look at the lists in the order of t.
func (t Targeting) InFile() (users, all []Target) {
	users, all = []Target{}, []Target{}
	if !slices.ContainsFunc(t.Targets, func(list Target) bool { return list.ContextKind != flags.DefaultContextKind }) {
		return t.Targets, all
	}
	for _, list := range t.Targets {
		again := slices.ContainsFunc(users, func(user Target) bool { return user.Variation == list.Variation })
		if list.ContextKind == flags.DefaultContextKind && !again {
			users = append(users, list)
			list.Values = []string{}
		}
		all = append(all, list)
	}
	return users, all
}

// normalTargets drops the empty placeholders that LaunchDarkly keeps for every variation. Where there is no order, lists are sorted
// and there is one of each sort.
func (t Targeting) normalTargets(lists []Target) []Target {
	type named struct{ kind, key string }
	seen := map[named]bool{}
	out := []Target{}
	for _, list := range lists {
		list.ContextKind = cmp.Or(list.ContextKind, flags.DefaultContextKind)
		if t.Ordered { // the first one to name a context decides
			list.Values = slices.DeleteFunc(slices.Clone(list.Values), func(key string) bool {
				who := named{list.ContextKind, key}
				again := seen[who]
				seen[who] = true
				return again
			})
		}
		if len(list.Values) == 0 {
			continue
		}
		if at := t.alike(out, list); at >= 0 {
			list.Values = slices.Concat(out[at].Values, list.Values)
			out[at].Values = slices.Compact(slices.Sorted(slices.Values(list.Values)))
			continue
		}
		list.Values = slices.Compact(slices.Sorted(slices.Values(list.Values)))
		out = append(out, list)
	}
	if !t.Ordered {
		slices.SortFunc(out, func(a, b Target) int {
			return cmp.Or(cmp.Compare(a.ContextKind, b.ContextKind), cmp.Compare(a.Variation, b.Variation))
		})
	}
	return out
}

// alike finds the list that this one can be put into, -1 for none: in an order nothing of another kind stands in between.
func (t Targeting) alike(lists []Target, list Target) int {
	for i, other := range slices.Backward(lists) {
		switch {
		case other.ContextKind == list.ContextKind && other.Variation == list.Variation:
			return i
		case other.ContextKind != list.ContextKind && t.Ordered:
			return -1
		}
	}
	return -1
}

// aim moves contexts of a kind into the individual targets of one variation, out of those of all others.
func (t Targeting) aim(kind string, keys []string, variation int) Targeting {
	if len(keys) == 0 {
		return t
	}
	t = t.without(kind, keys)
	list := &t.ContextTargets
	if kind == flags.DefaultContextKind || t.Ordered {
		list = &t.Targets
	}
	*list = t.put(*list, Target{ContextKind: kind, Variation: variation, Values: keys}, len(*list))
	return t
}

// aimFirst is aim for one context before all who are served anything else, of whatever kind. Without an order it is aim.
func (t Targeting) aimFirst(kind, key string, variation int) Targeting {
	if !t.Ordered {
		return t.aim(kind, []string{key}, variation)
	}
	isFirst := func(lists []Target) bool {
		for _, list := range lists {
			if list.Variation != variation {
				return false
			}
			if list.ContextKind == kind && slices.Contains(list.Values, key) {
				return true
			}
		}
		return false
	}
	if isFirst(t.Targets) {
		return t
	}
	t = t.without(kind, []string{key})
	first := slices.IndexFunc(t.Targets, func(list Target) bool { return list.Variation != variation })
	if first < 0 {
		first = len(t.Targets)
	}
	one := Target{ContextKind: kind, Variation: variation, Values: []string{key}}
	t.Targets = slices.Concat(t.put(t.Targets[:first], one, 0), t.Targets[first:])
	t.Targets = t.normalTargets(t.Targets)
	return t
}

// put adds to the first list of the sort, or at a place of its own.
func (t Targeting) put(lists []Target, more Target, at int) []Target {
	lists = slices.Clone(lists)
	standing := slices.IndexFunc(lists, func(list Target) bool {
		return list.ContextKind == more.ContextKind && list.Variation == more.Variation
	})
	if standing < 0 {
		lists = slices.Insert(lists, at, more)
	} else {
		lists[standing].Values = slices.Concat(lists[standing].Values, more.Values)
	}
	return t.normalTargets(lists)
}

// without is t with these contexts in no list.
func (t Targeting) without(kind string, keys []string) Targeting {
	gone := map[string]bool{}
	for _, key := range keys {
		gone[key] = true
	}
	for _, lists := range []*[]Target{&t.Targets, &t.ContextTargets} {
		left := slices.Clone(*lists)
		for i := range left {
			if left[i].ContextKind == kind {
				left[i].Values = slices.DeleteFunc(slices.Clone(left[i].Values), func(key string) bool { return gone[key] })
			}
		}
		*lists = t.normalTargets(left)
	}
	return t
}
