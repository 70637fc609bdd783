package lint

import (
	"regexp"
	"slices"
	"strings"

	tree "github.com/pganalyze/pg_query_go/v6"

	"github.com/contraflow/contraflow/ddl"
)

// downRules look at down files too: a rollback runs by itself, in the worst hour, and what stops traffic stops it then as well.
// How things are named, and whether the running version likes what comes back, is no matter there.
var downRules = slices.DeleteFunc(
	slices.Concat(columnRules, rewriteRules, constraintRules, partitionRules, indexRules, outsideRules, dropRules, objectRules, lockRules, rowRules, sessionRules),
	func(r statementRule) bool { return slices.Contains(upOnly, r.ID) })

// upOnly are rules about what is right where it takes back what an up file did.
var upOnly = []string{
	"ban-drop-not-null", "changing-column-default", "ban-create-domain-with-constraint", "index-over-many-columns", "ban-disable-trigger",
	"enabling-row-security", "creating-rule", "changing-owner", "ban-replica-identity", "ban-replace-view-function", "altering-composite-type",
	"require-enum-value-ordering", "ban-revoke",
}

// rollback looks at a down file, which finds what its up file has left, and returns what it leaves itself.
func (c *check) rollback(s *script) (after *schema) {
	up := c.now
	c.now, c.locks = up.clone(), locks{}
	c.now.settle()
	for _, st := range s.statements {
		for _, r := range downRules {
			r.look(c, s, st)
		}
		c.take(s, st)
		c.now.apply(st)
	}
	after, c.now = c.now, up
	return after
}

// down tells that the statement stands in a down file.
func (g glance) down() bool { return g.s.Direction == ddl.Down }

// takesBack tells that the statement stands in a down file, and what it drops wasn't there before the plan.
func (g glance) takesBack(existed func(before *schema) bool) bool {
	return g.down() && !existed(g.at[0])
}

// planned tells that an up file of the plan has a statement that fits.
func (g glance) planned(fits func(*tree.Node) bool) bool {
	return slices.ContainsFunc(g.met, func(m met) bool { return fits(m.st.Node) })
}

var fileName = regexp.MustCompile(`(?m)^-- file: (\d+)_(.*)\.up\.sql$`)

// downForm is a safe form for a down file; "" for one that takes more than SQL: there is no time for a flag, a backfill or an
// approval then. Down files run newest first.
func downForm(safe string) string {
	for line := range strings.Lines(safe) {
		comment := strings.HasPrefix(line, "--") && !strings.HasPrefix(line, "-- file: ") && !strings.HasPrefix(line, "-- contraflow: ")
		if step := strings.HasPrefix(line, "- name: "); comment || step && !strings.HasPrefix(line, "- name: migrate\n") {
			return ""
		}
	}
	names := fileName.FindAllStringSubmatch(safe, -1)
	return fileName.ReplaceAllStringFunc(safe, func(header string) string {
		title := fileName.FindStringSubmatch(header)[2]
		version := names[len(names)-1][1]
		names = names[:len(names)-1]
		return "-- file: " + version + "_" + title + ".down.sql"
	})
}
