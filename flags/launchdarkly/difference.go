package launchdarkly

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/contraflow/contraflow/flags/internal/targeting"
)

// list is the individual targets of one kind for one variation.
type list struct {
	kind      string
	variation int
}

// lists are a targeting's individual targets, with their order.
func lists(t targeting.Targeting) (order []list, values map[list][]string) {
	values = map[list][]string{}
	for _, target := range slices.Concat(t.Targets, t.ContextTargets) {
		at := list{target.ContextKind, target.Variation}
		if values[at] == nil {
			order = append(order, at)
		}
		values[at] = append(values[at], target.Values...)
	}
	return order, values
}

// targets takes out who is targeted otherwise, and then puts in who is new: a key may stand in one list only.
func (v variations) targets(now, want targeting.Targeting) ([]any, error) {
	nowOrder, nowValues := lists(now)
	wantOrder, wantValues := lists(want)
	var out []any
	step := func(kind string, order []list, of, without map[list][]string) error {
		for _, at := range order {
			values := except(of[at], without[at])
			if len(values) == 0 {
				continue
			}
			id, err := v.id(at.variation)
			if err != nil {
				return err
			}
			out = append(out, targetsInstruction{kind, target{at.kind, id, values}})
		}
		return nil
	}
	if err := step("removeTargets", nowOrder, nowValues, wantValues); err != nil {
		return nil, err
	}
	return out, step("addTargets", wantOrder, wantValues, nowValues)
}

func except(values, without []string) []string {
	gone := map[string]bool{}
	for _, value := range without {
		gone[value] = true
	}
	return slices.DeleteFunc(slices.Clone(values), func(value string) bool { return gone[value] })
}

// rules takes out and puts in single rules. A rule that tracks events is brought back by replaceRules alone.
// https://launchdarkly.com/docs/api/feature-flags/patch-feature-flag
func (v variations) rules(now []targeting.Rule, ids []string, want []targeting.Rule) ([]any, error) {
	keep, err := common(now, want)
	if err != nil {
		return nil, fmt.Errorf("encode the rules of flag %q: %w", v.key, err)
	}
	var remove, add []any
	whole := slices.Contains(ids, "") // rules without ids can't be told apart
	for i := range now {
		if !slices.ContainsFunc(keep, func(pair [2]int) bool { return pair[0] == i }) {
			remove = append(remove, removeRuleInstruction{"removeRule", ids[i]})
		}
	}
	at := 0
	for i, r := range want {
		if at < len(keep) && keep[at][1] == i {
			at++
			continue
		}
		made, err := v.rule(r)
		if err != nil {
			return nil, err
		}
		before := ""
		if at < len(keep) {
			before = ids[keep[at][0]]
		}
		add = append(add, addRuleInstruction{"addRule", made, before})
		whole = whole || r.TrackEvents
	}
	if !whole {
		return append(remove, add...), nil
	}
	all := []rule{}
	for _, r := range want {
		made, err := v.rule(r)
		if err != nil {
			return nil, err
		}
		all = append(all, rule{made, r.TrackEvents})
	}
	return []any{rulesInstruction{"replaceRules", all}}, nil
}

func (v variations) rule(r targeting.Rule) (newRule, error) {
	serve, err := v.serve(r.Serve)
	return newRule{serve, r.Description, r.Clauses}, err
}

// common is the longest part of now that stands in want in the same order, as pairs of their indexes.
func common(now, want []targeting.Rule) ([][2]int, error) {
	a, err := encoded(now)
	if err != nil {
		return nil, err
	}
	b, err := encoded(want)
	if err != nil {
		return nil, err
	}
	longest := make([][]int, len(a)+1) // of a[i:] and b[j:]
	for i := range longest {
		longest[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			longest[i][j] = max(longest[i+1][j], longest[i][j+1])
			if a[i] == b[j] {
				longest[i][j] = longest[i+1][j+1] + 1
			}
		}
	}
	var out [][2]int
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i] == b[j]:
			out = append(out, [2]int{i, j})
			i, j = i+1, j+1
		case longest[i+1][j] >= longest[i][j+1]:
			i++
		default:
			j++
		}
	}
	return out, nil
}

func encoded(rules []targeting.Rule) ([]string, error) {
	var out []string
	for _, r := range rules {
		raw, err := json.Marshal(r)
		if err != nil {
			return nil, err
		}
		out = append(out, string(raw))
	}
	return out, nil
}
