package lint

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

var (
	downMissing = Rule{
		ID: "down-missing", Severity: Error, Title: "No down file for a step that a rollback takes back",
		Why:     "When a health check fails or an approval is refused, the migration takes back what it did, newest first. Without the file it gets stuck there.",
		Sources: []string{"contraflow"},
	}
	downNotInverse = Rule{
		ID: "down-not-inverse", Severity: Error, Title: "The down file doesn't take back what its up file does",
		Why:     "After a rollback the old version of the application meets a schema it doesn't know, and the next attempt fails at what is left over.",
		Sources: []string{"contraflow"},
	}
)

// undo looks whether a version's down file leads back to where its up file began.
func (c *check) undo(up *script, before *schema) {
	step := c.in.Plan.Steps[up.step]
	if step.Irreversible() {
		return
	}
	down, ok := c.downs[up.Version]
	if !ok {
		name := strings.TrimSuffix(up.Name, ".up.sql") + ".down.sql"
		c.step(downMissing, up.step, []any{"migrate", "to"}, fmt.Sprintf("version %d has no down file: add %s, or say irreversible: true", up.Version, name), "")
		return
	}
	after := c.rollback(&down)
	if opaque(up) || opaque(&down) {
		return
	}
	at := 0
	if len(down.statements) > 0 {
		at = down.statements[0].Start
	}
	var messages, safe []string
	for _, d := range differences(before, c.now, after) {
		messages = append(messages, d.message)
		if d.safe != "" {
			safe = append(safe, d.safe)
		}
	}
	if len(messages) > 0 { // one finding, however much there is
		c.found(downNotInverse, &down, at, strings.Join(messages, "; "), strings.Join(safe, "\n"))
	}
}

// opaque tells that a file can't be read, or does what can't be seen from outside.
func opaque(s *script) bool {
	alone := newSchema()
	for _, st := range s.statements {
		alone.apply(st)
	}
	return s.unread || alone.opaque
}

// difference between what was before a version, and what is after it came and went.
type difference struct{ message, safe string }

// differences compares before with after. What no file made is compared only as far as the two files themselves speak of it:
// up is the schema between them.
func differences(before, up, after *schema) (all []difference) {
	was, between, is := before.facts(), up.facts(), after.facts()
	var left []difference
	missing := map[string]bool{}
	for key := range was {
		if _, ok := is[key]; !ok {
			missing[key] = true
		}
	}
	for key := range after.gone {
		if !before.gone[key] {
			missing[key] = true
		}
	}
	for _, key := range slices.Sorted(maps.Keys(missing)) {
		if f := was[key]; !missing["table "+f.table] {
			all = append(all, difference{fmt.Sprintf("down doesn't bring back %s", key), f.create})
		}
	}
	for _, key := range slices.Sorted(maps.Keys(is)) {
		now := is[key]
		old, wasThere := was[key]
		_, made := between[key]
		_, wholeTable := was["table "+now.table]
		_, tableIs := is["table "+now.table]
		switch {
		case wasThere && old.text != now.text && old.text != "" && now.text != "":
			all = append(all, difference{fmt.Sprintf("down leaves %s as %s; it was %s", key, now.text, old.text), ""})
		case wasThere || now.perhaps:
		case tableIs && !wholeTable: // the table is what is left
		case made:
			left = append(left, difference{"down leaves " + key, now.drop})
		case wholeTable:
			all = append(all, difference{fmt.Sprintf("down makes %s, which was not there before", key), ""})
		}
	}
	slices.Reverse(left) // what stands on a column goes before the column
	return append(all, left...)
}

// fact is one thing that a schema holds.
type fact struct {
	text    string // what it is like; empty where that is not known
	table   string // that it belongs to
	perhaps bool   // it may have been there before
	// create and drop are statements that make it and take it away; empty where there is no single one.
	create, drop string
}

// facts are what can be compared, by kind and name. Whether a constraint is validated doesn't count: nothing takes that back,
// and it harms nobody.
func (s *schema) facts() map[string]fact {
	all := map[string]fact{}
	for name, t := range s.tables {
		table := quotedName(name)
		if t.known {
			all["table "+name] = fact{drop: "drop table " + table + ";"}
		}
		for _, c := range t.columns {
			all["column "+name+"."+c.name] = fact{
				text: c.text(), table: name,
				create: fmt.Sprintf("alter table %s add column %s %s;", table, quoted(c.name), typeSQL(c.typ)+strings.TrimPrefix(c.text(), c.typ)),
				drop:   fmt.Sprintf("alter table %s drop column %s;", table, quoted(c.name)),
			}
		}
		for _, k := range t.constraints {
			all["constraint "+name+"."+k.name] = fact{
				text: k.definition, table: name,
				create: fmt.Sprintf("alter table %s add constraint %s %s;", table, quoted(k.name), k.definition),
				drop:   fmt.Sprintf("alter table %s drop constraint %s;", table, quoted(k.name)),
			}
		}
		for _, i := range t.indexes {
			if i.definition == "" {
				continue // its constraint tells
			}
			qualifiedIndex := qualified(schemaOf(name), i.name)
			all["index "+qualifiedIndex] = fact{
				text: i.definition, table: name,
				create: strings.Replace(i.definition, "INDEX ON t ", fmt.Sprintf("INDEX %s ON %s ", quoted(i.name), table), 1) + ";",
				drop:   "drop index " + quotedName(qualifiedIndex) + ";",
			}
		}
	}
	for name, e := range s.types {
		all["type "+name] = fact{text: strings.Join(e.values, ", "), drop: "drop type " + quotedName(name) + ";"}
	}
	for key, made := range s.others {
		all[key] = fact{perhaps: !made, drop: "drop " + key + ";"}
	}
	return all
}

// text of a column behind its name.
func (c *column) text() string {
	if c.typ == "" {
		return ""
	}
	text := c.typ
	switch {
	case c.generated:
		text += fmt.Sprintf(" generated always as (%s) stored", c.standard)
	case c.identity:
		text += " generated by default as identity"
	case c.standard != "":
		text += " default " + c.standard
	}
	if c.notNull {
		text += " not null"
	}
	return text
}
