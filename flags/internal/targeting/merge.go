package targeting

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/contraflow/contraflow/flags"
)

// segmentMatch is the operator of a clause that looks at segments, and what LaunchDarkly writes as its attribute.
const segmentMatch = "segmentMatch"

// favoured marks the rule for segments, for people and to find it again: nobody else's rule is ever replaced.
const favoured = "contraflow: segments that go first"

// favour lets a rule above all others serve a variation to segments. It replaces rules that were made so for no other segments.
func (t Targeting) favour(segments []string, variation int) Targeting {
	var values []any
	for _, segment := range segments {
		values = append(values, segment)
	}
	rule := Rule{Serve: Serve{Variation: &variation}, Description: favoured, Clauses: []Clause{{
		ContextKind: flags.DefaultContextKind, Attribute: segmentMatch, Op: segmentMatch, Values: sortedValues(values),
	}}}
	if len(t.Rules) > 0 && t.Rules[0].does(rule) && slices.Equal(t.Rules[0].Clauses[0].Values, rule.Clauses[0].Values) {
		return t // whoever made it
	}
	rules := slices.DeleteFunc(slices.Clone(t.Rules), func(standing Rule) bool {
		return standing.Description == favoured && standing.does(rule) && !slices.ContainsFunc(standing.Clauses[0].Values,
			func(value any) bool { return !slices.Contains(rule.Clauses[0].Values, value) })
	})
	t.Rules = slices.Insert(rules, 0, rule)
	return t
}

// does tells whether r serves what other does, by one clause that is other's but for its values.
func (r Rule) does(other Rule) bool {
	if r.TrackEvents || len(r.Clauses) != 1 {
		return false
	}
	a, b := r.only(), other.only()
	mine, theirs := r.Clauses[0], other.Clauses[0]
	return a != nil && b != nil && *a == *b && mine.Op == theirs.Op && mine.ContextKind == theirs.ContextKind &&
		mine.Attribute == theirs.Attribute && mine.Negate == theirs.Negate
}

// Continues tells whether r is standing with other values.
func (r Rule) Continues(standing Rule) bool {
	return r.Description == standing.Description && standing.does(r)
}

// sortedValues of texts, each once.
func sortedValues(values []any) []any {
	slices.SortFunc(values, func(a, b any) int { return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	return slices.Compact(values)
}
