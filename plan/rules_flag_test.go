package plan

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func retire(keys string) string { return flagScope + steps("{name: r, retire: {"+keys+"}}") }

// flagSteps is a plan of a step for each of these.
func flagSteps(flags ...string) string {
	for i, keys := range flags {
		flags[i] = fmt.Sprintf("{name: f%d, flag: {%s}}", i, keys)
	}
	return flagScope + steps(flags...)
}

const kindRule = `write letters, digits, '.', '_' or '-', and neither "kind" nor "multi"`

// More of the rules: what may be said of flags.
var flagRules = []rule{
	{"a flag has a key", flag("soak: 1s"), "steps[0].flag: name the flag with key, or those that move together with keys", flag("key: k, soak: 1s")},
	{"a key is no blank", flag("key: ' '"), "steps[0].flag.key: is missing: name the flag", flag("key: k")},
	{"one flag or several", flag("key: k, keys: [l]"), "steps[0].flag: name the flag with key, or those that move together with keys", flag("keys: [k, l]")},
	{"several are listed with keys", flag("key: [k, l]"), "steps[0].flag.key: must be a text, not a list: list flags that move together with keys", flag("keys: [k, l]")},
	{"several are some", flag("keys: []"), "steps[0].flag.keys: is empty: name at least one flag", flag("keys: [k]")},
	{"flags that move together are distinct", flag("keys: [k, l, k]"), `steps[0].flag.keys[2]: flag "k" is listed twice`, flag("keys: [k, l]")},
	{"a flag needs a scope", steps("{name: turn, flag: {key: k}}"),
		"steps[0].flag: the plan says nothing of its flags: add `flags: {project: …, environment: …}` at the top", flag("key: k")},
	{"a rollout has stages", flag("key: k, rollout: []"), "steps[0].flag.rollout: is empty: give at least one percentage, or remove it for 100", flag("key: k, rollout: [5]")},
	{"a stage is above 0", flag("key: k, rollout: [0, 1]"),
		"steps[0].flag.rollout[0]: must be a percentage from 1 to 100; 0 is for targets and segments alone, and this step has none",
		flag("key: k, rollout: [0, 1], segments: [beta]")},
	{"a stage is 100 at most", flag("key: k, rollout: [50, 101, 100]"), "steps[0].flag.rollout[1]: must be a percentage from 1 to 100", flag("key: k, rollout: [50, 100]")},
	{"stages rise", flag("key: k, rollout: [5, 5]"), "steps[0].flag.rollout[1]: percentages rise: 5 does not come after 5", flag("key: k, rollout: [5, 6]")},
	{"the named come first", flag("key: k, rollout: [5, 0], segments: [s]"), "steps[0].flag.rollout[1]: percentages rise: 0 does not come after 5", flag("key: k, rollout: [0, 5], segments: [s]")},
	{"a stage is a whole number", flag("key: k, rollout: [5, 6.5, 7]"), "steps[0].flag.rollout[1]: must be a whole number from 0 to 2147483647 in decimal digits", flag("key: k, rollout: [5, 6, 7]")},
	{"a target has a kind", flag("key: k, rollout: [0], targets: {}"), "steps[0].flag.targets: is empty: list keys of contexts by their kind, such as {account: [acme]}",
		flag("key: k, rollout: [0], targets: {account: [acme, globex], user: [u-1]}")},
	{"a kind has targets", flag("key: k, rollout: [0], targets: {account: []}"), "steps[0].flag.targets.account: is empty: name at least one context",
		flag("key: k, rollout: [0], targets: {account: [acme]}")},
	{"targets are distinct", flag("key: k, rollout: [0], targets: {account: [a, a]}"), `steps[0].flag.targets.account[1]: context "a" is listed twice`,
		flag("key: k, rollout: [0], targets: {account: [a], user: [a]}")},
	{"the others are said beside targets", flag("key: k, targets: {account: [acme]}"),
		"steps[0].flag: say with rollout what the others are served: [0] for the named contexts alone, [0, 100] for these first and everybody after them",
		flag("key: k, targets: {account: [acme]}, rollout: [0, 100]")},
	{"the others are said beside segments", flag("key: k, segments: [beta]"),
		"steps[0].flag: say with rollout what the others are served: [0] for the named contexts alone, [0, 100] for these first and everybody after them",
		flag("key: k, segments: [beta], rollout: [10]")},
	{"segments are some", flag("key: k, rollout: [5], segments: []"), "steps[0].flag.segments: is empty: name at least one segment", flag("key: k, rollout: [5], segments: [s]")},
	{"a migration flag has stages", flag("key: k, stages: []"), "steps[0].flag.stages: is empty: give at least one stage of off, dualwrite, shadow, live, rampdown, complete",
		flag("key: k, stages: [off]")},
	{"a stage is known", flag("key: k, stages: [dual]"), `steps[0].flag.stages[0]: "dual" is no stage of a migration flag: they are off, dualwrite, shadow, live, rampdown, complete`,
		flag("key: k, stages: [dualwrite]")},
	{"stages go on", flag("key: k, stages: [live, shadow]"), "steps[0].flag.stages[1]: stages go on: shadow does not come after live", flag("key: k, stages: [shadow, live, complete]")},
	{"a stage comes once", flag("key: k, stages: [live, live]"), "steps[0].flag.stages[1]: stages go on: live does not come after live", flag("key: k, stages: [live]")},
	{"a migration flag has no percentage", flag("key: k, stages: [live], rollout: [5]"),
		"steps[0].flag.stages: a migration flag moves by stages alone: remove rollout, targets, segments and contextKind", flag("key: k, stages: [live], soak: 1s")},
	{"an instance lives from report to report", flag("key: k, attest: {within: 9s}"),
		"steps[0].flag.attest.within: must be 10s or more, and three times the interval of the reports: between two of them an instance must not count as dead",
		flag("key: k, attest: {within: 10s}")},
	{"somebody attests", flag("key: k, attest: {instances: 0}"), "steps[0].flag.attest.instances: must be 1 or more: to ask no instance, remove attest",
		flag("key: k, attest: {instances: 2}")},
	{"a new flag's tags are distinct", flag("key: k, create: {tags: [a, a]}"), `steps[0].flag.create.tags[1]: tag "a" is listed twice`,
		flag("key: k, create: {name: K, description: d, tags: [a, b]}")},
	{"a kind of context is a word", flag("key: k, contextKind: big account"), `steps[0].flag.contextKind: "big account" is no kind of context: ` + kindRule, flag("key: k, contextKind: Big.account_1-2")},
	{"a kind of context is something", flag("key: k, contextKind: ''"), `steps[0].flag.contextKind: "" is no kind of context: ` + kindRule, flag("key: k")},
	{"several contexts are no kind", flag("key: k, contextKind: multi"), `steps[0].flag.contextKind: "multi" is no kind of context: ` + kindRule, flag("key: k, contextKind: multiple")},
	{"targets have kinds", flag("key: k, rollout: [0], targets: {user: [a], kind: [b]}"), `steps[0].flag.targets.kind: "kind" is no kind of context: ` + kindRule,
		flag("key: k, rollout: [0], targets: {user: [a], kinds: [b]}")},

	{"a flag moves in one way", flagSteps("key: k, stages: [live]", "keys: [l, k], rollout: [10]"),
		`steps[1].flag: step "f0" moves flag "k" by stages, and this one by percentages: a flag is a migration flag or a boolean one`,
		flagSteps("key: k, stages: [live]", "keys: [l, k], stages: [complete]")},
	{"a flag moves in one way from its first step on", flagSteps("key: k", "key: l", "key: k, stages: [live]"),
		`steps[2].flag: step "f0" moves flag "k" by percentages, and this one by stages: a flag is a migration flag or a boolean one`,
		flagSteps("key: k", "key: l", "key: m, stages: [live]", "key: m, stages: [complete]")},
	{"a part of one kind is no part of another", flagSteps("key: k, rollout: [10]", "key: k, rollout: [50, 100], contextKind: account"),
		`steps[1].flag: step "f0" leaves flag "k" at 10 % by user, and by account others would be served it: give both the same contextKind`,
		flagSteps("key: k, rollout: [10]", "key: k, rollout: [50, 100], contextKind: user")},
	{"also where the next is for the named alone", flagSteps("key: k, rollout: [5], contextKind: device", "key: l", "key: k, rollout: [0], segments: [beta]"),
		`steps[2].flag: step "f0" leaves flag "k" at 5 % by device, and by user others would be served it: give both the same contextKind`,
		flagSteps("key: k, rollout: [0], segments: [beta], contextKind: device", "key: l", "key: k, rollout: [7]")},
	{"everybody is everybody by any kind", flagSteps("key: k, rollout: [10, 99]", "key: k, rollout: [99], contextKind: account"),
		`steps[1].flag: step "f0" leaves flag "k" at 99 % by user, and by account others would be served it: give both the same contextKind`,
		flagSteps("key: k, rollout: [10, 100]", "key: k, rollout: [99], contextKind: account", "key: k, rollout: [50]", "key: l, rollout: [99]", "key: l, contextKind: account")},

	{"a flag is moved before it is retired", flagScope + steps("{name: r, retire: {flags: [f, g]}}", "{name: turn, flag: {keys: [k, g]}}"),
		`steps[1].flag: flag "g" is archived by step "r": put this step before that one`,
		flagScope + steps("{name: turn, flag: {keys: [k, g]}}", "{name: r, retire: {flags: [f, g]}}")},
	{"retire names flags", retire("flags: []"), "steps[0].retire.flags: is empty: list the flags to retire", retire("flags: [f]")},
	{"retired flags are distinct", retire("flags: [f, f]"), `steps[0].retire.flags[1]: flag "f" is listed twice`, retire("flags: [f, g]")},
	{"retired flags have names", retire("flags: ['']"), "steps[0].retire.flags[0]: is empty: name a flag", retire("flags: [f]")},
	{"retire needs a scope", steps("{name: r, retire: {flags: [f]}}"), "steps[0].retire: the plan says nothing of its flags: add `flags: {project: …, environment: …}` at the top", retire("flags: [f]")},
	{"code lies beside the plan", retire("flags: [f], code: [../app]"), "steps[0].retire.code[0]: must be a folder beside the plan, without .. and not absolute", retire("flags: [f], code: [app]")},
	{"code is somewhere", retire("flags: [f], code: []"), "steps[0].retire.code: is empty: name at least one folder", retire("flags: [f], code: [.]")},
	{"code is looked through once", retire("flags: [f], code: [a, a]"), `steps[0].retire.code[1]: folder "a" is listed twice`, retire("flags: [f], code: [a, b]")},
	{"a flag that can't be retired is asked about or waited for", retire("flags: [f], otherwise: skip"),
		`steps[0].retire.otherwise: "skip" is neither ask nor wait: say what to do while a flag can't be retired`, retire("flags: [f], otherwise: wait")},
}

func TestEachRuleOfFlagsRefusesAndAccepts(t *testing.T) {
	t.Parallel()
	checkRules(t, flagRules)
}

// An editor tells of a kind as well.
func TestTheSchemaRefusesWhatIsNoKindOfContext(t *testing.T) {
	t.Parallel()
	conforms := conformity(t)
	for _, kind := range []string{"big account", "", "multi", "kind", "ä"} {
		require.Error(t, conforms(asJSON(t, flag("key: k, contextKind: '"+kind+"'"))), kind)
		require.Error(t, conforms(asJSON(t, flag("key: k, rollout: [0], targets: {'"+kind+"': [a]}"))), kind)
	}
}
