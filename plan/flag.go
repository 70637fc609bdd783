package plan

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// Flag moves flags in stages: boolean ones by percentage, migration flags by the names of their stages.
type Flag struct {
	// Key names the flag. Keys names several instead, which move together: in this order forward, and back in the other one.
	Key  string   `json:"key,omitempty"`
	Keys []string `json:"keys,omitempty"`
	// Rollout is the percentage of each stage, rising. It may begin with 0: then only Targets and Segments are served true.
	// Defaults to [100].
	Rollout []int `json:"rollout,omitempty"`
	// Stages of a migration flag instead of Rollout, in the order of MigrationStages.
	Stages []string `json:"stages,omitempty"`
	// Targets are the keys of contexts, by their kind, that are served true from the first stage on.
	Targets map[string][]string `json:"targets,omitempty"`
	// Segments of contexts, as the flag service calls them, that are served true from the first stage on.
	Segments []string `json:"segments,omitempty"`
	// ContextKind the percentage is taken over. Defaults to "user".
	ContextKind string `json:"contextKind,omitempty"`
	// Soak is the time under guard after each stage.
	Soak Duration `json:"soak,omitempty"`
	// Attest makes each stage wait until the application's own instances report it. Defaults to not asking them.
	Attest *Attest `json:"attest,omitempty"`
	// Create makes flags that are missing. Defaults to refusing a plan whose flags are missing.
	Create *Create `json:"create,omitempty"`
}

// Attest says which instances of the application must report that they evaluate a flag as the stage has left it.
type Attest struct {
	// Within is the age of a report up to which its instance counts as alive: at least three times the interval of the reports.
	// Defaults to 30s.
	Within Duration `json:"within,omitempty"`
	// Instances is how many must be alive at least. Defaults to 1.
	Instances int `json:"instances,omitempty"`
}

// Create says what a new flag is called; the key and the plan's name say the rest.
type Create struct {
	Name        string   `json:"name,omitempty"`
	Description string   `json:"description,omitempty"`
	Tags        []string `json:"tags,omitempty"`
}

// Retire archives flags that have done their work.
type Retire struct {
	Flags []string `json:"flags"`
	// Code lists folders beside the plan in which no flag's key may be left. Defaults to looking nowhere.
	Code []string `json:"code,omitempty"`
	// Otherwise says what to do while a flag can't be retired: OtherwiseAsk or OtherwiseWait. Defaults to asking.
	Otherwise string `json:"otherwise,omitempty"`
}

// What Retire.Otherwise may say.
const (
	OtherwiseAsk  = "ask"
	OtherwiseWait = "wait"
)

const (
	// DefaultAttestWithin is three reports of the helper in package attest, which reports every 10s.
	DefaultAttestWithin = 30 * time.Second
	// leastAttestWithin is one report of that helper: with less, an instance that hangs would count as dead between its reports.
	leastAttestWithin = 10 * time.Second
	// DefaultAttestInstances makes silence no consent: an application that reports nothing at all attests nothing.
	DefaultAttestInstances = 1
)

// MigrationStages are the stages of a LaunchDarkly migration flag, in their order:
// https://launchdarkly.com/docs/home/flags/migration
var MigrationStages = []string{"off", "dualwrite", "shadow", "live", "rampdown", "complete"}

// All lists the step's flags in the order in which they move forward.
func (f *Flag) All() []string {
	if f.Key != "" {
		return []string{f.Key}
	}
	return f.Keys
}

// Move is one stage of a flag: a percentage, or the stage of a migration flag.
type Move struct {
	Percent int    `json:"percent,omitempty"`
	Stage   string `json:"stage,omitempty"`
}

// String is how people read it: "10 %", "shadow", or "the named contexts alone".
func (m Move) String() string {
	switch {
	case m.Stage != "":
		return m.Stage
	case m.Percent == 0:
		return "the named contexts alone"
	}
	return strconv.Itoa(m.Percent) + " %"
}

// Moves lists the stages in their order; there is always one.
func (f *Flag) Moves() []Move {
	var moves []Move
	for _, stage := range f.Stages {
		moves = append(moves, Move{Stage: stage})
	}
	for _, percent := range f.Rollout {
		moves = append(moves, Move{Percent: percent})
	}
	if len(moves) == 0 {
		return []Move{{Percent: 100}}
	}
	return moves
}

func (d *decoder) flagFields(f *Flag) fields {
	return fields{
		"key": func(path string, n *yaml.Node) {
			if kindOf(n) == aList {
				d.reportBroken(path, "must be a text, not a list: list flags that move together with keys")
				return
			}
			text(d, &f.Key)(path, n)
		},
		"keys":        texts(d, &f.Keys),
		"stages":      texts(d, &f.Stages),
		"segments":    texts(d, &f.Segments),
		"contextKind": text(d, &f.ContextKind),
		"soak":        duration(d, &f.Soak),
		"rollout": func(path string, n *yaml.Node) {
			f.Rollout = []int{}
			d.list(path, n, func(path string, n *yaml.Node) {
				var percent int
				integer(d, &percent)(path, n)
				f.Rollout = append(f.Rollout, percent)
			})
		},
		"targets": func(path string, n *yaml.Node) {
			pairs, ok := d.pairs(path, n)
			if !ok {
				return
			}
			f.Targets = map[string][]string{}
			for _, kv := range pairs {
				keys := []string{}
				texts(d, &keys)(kv.path, kv.value)
				f.Targets[kv.key] = keys
			}
		},
		"attest": func(path string, n *yaml.Node) {
			f.Attest = &Attest{}
			d.object(path, n, fields{"within": duration(d, &f.Attest.Within), "instances": integer(d, &f.Attest.Instances)})
		},
		"create": func(path string, n *yaml.Node) {
			f.Create = &Create{}
			d.object(path, n, fields{
				"name": text(d, &f.Create.Name), "description": text(d, &f.Create.Description), "tags": texts(d, &f.Create.Tags),
			})
		},
	}
}

func (d *decoder) flag(at string, p *Plan, earlier []Step, f *Flag) {
	if d.count(at, "key", "keys") != 1 {
		d.report(at, "name the flag with key, or those that move together with keys")
	} else if d.stands(at + ".key") {
		d.required(at+".key", f.Key, "name the flag")
	} else {
		d.listed(at+".keys", f.Keys, "flag")
	}
	if p.Flags == nil {
		d.report(at, "the plan says nothing of its flags: add `flags: {project: …, environment: …}` at the top")
	}
	d.follows(at, earlier, f)
	named := d.stands(at+".targets") || d.stands(at+".segments")
	switch {
	case d.stands(at+".stages") && d.count(at, "rollout", "targets", "segments", "contextKind") > 0:
		d.report(at+".stages", "a migration flag moves by stages alone: remove rollout, targets, segments and contextKind")
	case named && !d.stands(at+".rollout"):
		d.report(at, "say with rollout what the others are served: [0] for the named contexts alone, [0, 100] for these first and everybody after them")
	}
	d.rollout(at+".rollout", f.Rollout, named)
	d.stages(at+".stages", f.Stages)
	if at := at + ".contextKind"; d.given(at) {
		d.kind(at, f.ContextKind)
	}
	d.targets(at+".targets", f.Targets)
	if d.stands(at + ".segments") {
		d.listed(at+".segments", f.Segments, "segment")
	}
	if f.Attest != nil {
		if at := at + ".attest.within"; d.given(at) && f.Attest.Within.Std() < leastAttestWithin {
			d.report(at, "must be %s or more, and three times the interval of the reports: between two of them an instance must not count as dead", leastAttestWithin)
		}
		if at := at + ".attest.instances"; d.given(at) && f.Attest.Instances == 0 {
			d.report(at, "must be 1 or more: to ask no instance, remove attest")
		}
	}
	if f.Create != nil {
		d.distinct(at+".create.tags", f.Create.Tags, "tag")
	}
}

func (d *decoder) rollout(at string, rollout []int, named bool) {
	if rollout != nil && len(rollout) == 0 && !d.isBroken(at) {
		d.report(at, "is empty: give at least one percentage, or remove it for 100")
	}
	before := -1
	for i, percent := range rollout {
		stage := at + "[" + strconv.Itoa(i) + "]"
		switch {
		case d.isBroken(stage):
			continue
		case percent == 0 && !named:
			d.report(stage, "must be a percentage from 1 to 100; 0 is for targets and segments alone, and this step has none")
			continue
		case percent > 100:
			d.report(stage, "must be a percentage from 1 to 100")
			continue
		case percent <= before:
			d.report(stage, "percentages rise: %d does not come after %d", percent, before)
		}
		before = percent
	}
}

func (d *decoder) stages(at string, stages []string) {
	if d.stands(at) && len(stages) == 0 && !d.isBroken(at) {
		d.report(at, "is empty: give at least one stage of %s", strings.Join(MigrationStages, ", "))
	}
	before := -1
	for i, stage := range stages {
		item := at + "[" + strconv.Itoa(i) + "]"
		order := slices.Index(MigrationStages, stage)
		switch {
		case d.isBroken(item):
		case order < 0:
			d.report(item, "%q is no stage of a migration flag: they are %s", stage, strings.Join(MigrationStages, ", "))
		case order <= before:
			d.report(item, "stages go on: %s does not come after %s", stage, MigrationStages[before])
		default:
			before = order
		}
	}
}

func (d *decoder) targets(at string, targets map[string][]string) {
	if d.stands(at) && len(targets) == 0 && !d.isBroken(at) {
		d.report(at, "is empty: list keys of contexts by their kind, such as {account: [acme]}")
	}
	for _, kind := range slices.Sorted(maps.Keys(targets)) {
		d.kind(join(at, kind), kind)
		d.listed(join(at, kind), targets[kind], "context")
	}
}

// listed wants a list of distinct names, with at least one.
func (d *decoder) listed(at string, values []string, what string) {
	if len(values) == 0 && !d.isBroken(at) {
		d.report(at, "is empty: name at least one %s", what)
	}
	d.distinct(at, values, what)
}

// contextKind is what every flag service takes; "kind" and "multi" are words of LaunchDarkly's own:
// https://launchdarkly.com/docs/home/flags/context-kinds
var contextKind = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

func (d *decoder) kind(at, kind string) {
	if !contextKind.MatchString(kind) || kind == "kind" || kind == "multi" {
		d.report(at, "%q is no kind of context: write letters, digits, '.', '_' or '-', and neither \"kind\" nor \"multi\"", kind)
	}
}

// follows wants flags that the plan's earlier steps leave as this one can move them.
func (d *decoder) follows(at string, earlier []Step, f *Flag) {
	for _, key := range f.All() {
		var most Step // of those that move the flag, the one that leaves it at most: no stage lowers a flag
		var left Move
		for _, s := range earlier {
			switch {
			case s.Retire != nil && slices.Contains(s.Retire.Flags, key):
				d.report(at, "flag %q is archived by step %q: put this step before that one", key, s.Name)
			case s.Flag == nil || !slices.Contains(s.Flag.All(), key):
			case s.Flag.way() != f.way():
				d.report(at, "step %q moves flag %q by %s, and this one by %s: a flag is a migration flag or a boolean one", s.Name, key, s.Flag.way(), f.way())
			default:
				if moves := s.Flag.Moves(); moves[len(moves)-1].Percent > left.Percent {
					most, left = s, moves[len(moves)-1]
				}
			}
		}
		if left.Percent < 100 && most.Flag != nil && most.Flag.kind() != f.kind() && f.Moves()[0].Percent < 100 {
			d.report(at, "step %q leaves flag %q at %s by %s, and by %s others would be served it: give both the same contextKind",
				most.Name, key, left, most.Flag.kind(), f.kind())
		}
	}
}

// way in which the flag moves, as people read it.
func (f *Flag) way() string {
	if f.Stages != nil {
		return "stages"
	}
	return "percentages"
}

// kind whose contexts a percentage is of.
func (f *Flag) kind() string { return cmp.Or(f.ContextKind, DefaultContextKind) }

func (d *decoder) retire(at string, p *Plan, r *Retire) {
	if len(r.Flags) == 0 && !d.isBroken(at+".flags") {
		d.report(at+".flags", "is empty: list the flags to retire")
	}
	d.distinct(at+".flags", r.Flags, "flag")
	if p.Flags == nil {
		d.report(at, "the plan says nothing of its flags: add `flags: {project: …, environment: …}` at the top")
	}
	if d.stands(at + ".code") {
		d.listed(at+".code", r.Code, "folder")
	}
	for i, folder := range r.Code {
		if item := fmt.Sprintf("%s.code[%d]", at, i); folder != "" && !d.isBroken(item) {
			d.beside(item, folder)
		}
	}
	if at := at + ".otherwise"; d.given(at) && r.Otherwise != OtherwiseAsk && r.Otherwise != OtherwiseWait {
		d.report(at, "%q is neither %s nor %s: say what to do while a flag can't be retired", r.Otherwise, OtherwiseAsk, OtherwiseWait)
	}
}
