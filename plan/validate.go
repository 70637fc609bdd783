package plan

import (
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// name of plans and steps: they appear in workflow ids, URLs and command lines.
var name = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

const nameRule = "use lower-case letters, digits and hyphens, 63 at most"

func (d *decoder) validate(p *Plan) {
	if d.isBroken("") {
		return
	}
	d.name("name", p.Name)
	d.required("database", p.Database, "name the database as the worker's configuration calls it")
	if strings.Contains(p.Database, "://") || strings.Contains(p.Database, "=") {
		d.report("database", "must be a name in the worker's configuration, never a connection string")
	}
	if p.Migrations != "" {
		d.beside("migrations", p.Migrations)
	}
	if p.Flags != nil {
		d.required("flags.project", p.Flags.Project, "name the flag service's project")
		d.required("flags.environment", p.Flags.Environment, "name the flag service's environment")
	}
	if len(p.Steps) == 0 && !d.isBroken("steps") {
		d.report("steps", "a plan needs at least one step")
	}
	d.steps(p)
	if p.Guard != nil {
		d.guard(p)
	}
}

// beside wants a folder that is reached from the plan's own without leaving it.
func (d *decoder) beside(at, folder string) {
	clean := path.Clean(folder)
	if path.IsAbs(folder) || clean == ".." || strings.HasPrefix(clean, "../") {
		d.report(at, "must be a folder beside the plan, without .. and not absolute")
	}
}

func (d *decoder) steps(p *Plan) {
	first := map[string]int{}
	var version uint
	verified, approved := false, false
	synced := "" // the last step whose trigger stands here
	for i, s := range p.Steps {
		at := "steps[" + strconv.Itoa(i) + "]"
		if d.isBroken(at) {
			continue
		}
		d.name(at+".name", s.Name)
		if j, twice := first[s.Name]; twice && s.Name != "" {
			d.report(at+".name", "step %q is there already as steps[%d]: give each step a name of its own", s.Name, j)
		} else {
			first[s.Name] = i
		}
		if n := d.count(at, "migrate", "flag", "backfill", "verify", "approve", "soak", "retire"); n != 1 {
			d.report(at, "a step has exactly one verb of migrate, flag, backfill, verify, approve, soak, retire; this one has %d", n)
			continue
		}
		verb := at + "." + string(s.Verb())
		if d.isBroken(verb) {
			continue
		}
		switch s.Verb() {
		case VerbMigrate:
			d.migrate(verb, p, s.Migrate, version)
			version = max(version, s.Migrate.To)
			if s.Migrate.Irreversible && (!verified || !approved) {
				d.report(verb+".irreversible", "an irreversible step must stand behind a verify step and an approve step: %s", missing(verified, approved))
			}
			if synced != "" && !s.Irreversible() && !d.isBroken(verb+".irreversible") {
				d.report(verb, "the sync trigger of step %q stands until the next irreversible migrate, and fails the application's writes "+
					"where a schema is changed below it: put this step before that one, or behind the irreversible migrate, or mark it irreversible", synced)
			}
			if s.Irreversible() {
				synced = ""
			}
		case VerbFlag:
			d.flag(verb, p, p.Steps[:i], s.Flag)
		case VerbBackfill:
			d.backfill(verb, s.Backfill)
			verified = false // what it fills is still to be proven
			if s.Backfill.Sync == SyncTrigger {
				synced = s.Name
			}
		case VerbVerify:
			d.bounds(verb, s.Verify.Query, s.Verify.Max, s.Verify.Min)
			verified = true
		case VerbApprove:
			d.approve(verb, s.Approve)
			approved = true
		case VerbSoak:
			if *s.Soak <= 0 {
				d.report(verb, "must be longer than zero")
			}
		case VerbRetire:
			d.retire(verb, p, s.Retire)
		}
	}
}

func missing(verified, approved bool) string {
	switch {
	case !verified && !approved:
		return "put both before it, the verify behind the last backfill"
	case !verified:
		return "put a verify before it, behind the last backfill"
	default:
		return "put an approve before it"
	}
}

// count tells how many of these keys stand in the document at a path.
func (d *decoder) count(at string, keys ...string) (n int) {
	for _, key := range keys {
		if d.stands(at + "." + key) {
			n++
		}
	}
	return n
}

func (d *decoder) bounds(at, query string, maximum, minimum *float64) {
	d.required(at+".query", query, "give a query that returns one number")
	if maximum == nil && minimum == nil && !d.isBroken(at+".max") && !d.isBroken(at+".min") {
		d.report(at, "says nothing of the number: give max, min or both")
	}
	if maximum != nil && minimum != nil && *minimum > *maximum {
		d.report(at+".min", "is above max: no number fits")
	}
}

func (d *decoder) approve(at string, a *Approve) {
	if len(a.By) == 0 && !d.isBroken(at+".by") {
		d.report(at+".by", "is empty: list who may decide")
	}
	d.distinct(at+".by", a.By, "person")
	if a.Quorum > len(a.By) && len(a.By) > 0 {
		d.report(at+".quorum", "%d people must approve but only %d are listed in by", a.Quorum, len(a.By))
	}
	if d.given(at+".quorum") && a.Quorum == 0 {
		d.report(at+".quorum", "must be 1 or more")
	}
}

func (d *decoder) guard(p *Plan) {
	if len(p.Guard.Checks) == 0 && !d.isBroken("guard") && !d.isBroken("guard.checks") {
		d.report("guard.checks", "a guard needs at least one check: list one, or remove the guard")
	}
	seen := map[string]bool{}
	for i, c := range p.Guard.Checks {
		at := "guard.checks[" + strconv.Itoa(i) + "]"
		if d.isBroken(at) {
			continue
		}
		d.required(at+".name", c.Name, "name the check as it shall be reported")
		if seen[c.Name] && c.Name != "" {
			d.report(at+".name", "check %q is there already: give each check a name of its own", c.Name)
		}
		seen[c.Name] = true
		if c.From != "" && p.StepIndex(c.From) < 0 {
			d.report(at+".from", "there is no step %q", c.From)
		}
		if c.ConsecutiveErrorLimit != nil && *c.ConsecutiveErrorLimit == 0 && d.given(at+".consecutiveErrorLimit") {
			d.report(at+".consecutiveErrorLimit", "must be 1 or more: a single reading that can't be taken is weather")
		}
		if (c.SQL == nil) == (c.HTTP == nil) {
			d.report(at, "a check has exactly one probe: sql or http")
			continue
		}
		if c.SQL != nil && !d.isBroken(at+".sql") {
			d.bounds(at+".sql", c.SQL.Query, c.SQL.Max, c.SQL.Min)
		}
		if c.HTTP != nil && !d.isBroken(at+".http") {
			d.http(at+".http", c.HTTP)
		}
	}
}

func (d *decoder) http(at string, h *HTTPProbe) {
	d.url(at+".url", h.URL, "http://127.0.0.1:8080/healthz")
	if d.given(at+".status") && (h.Status < 200 || h.Status > 599) {
		d.report(at+".status", "must be an HTTP status from 200 to 599")
	}
}

func (d *decoder) url(at, value, example string) {
	if d.isBroken(at) {
		return
	}
	switch u, err := url.Parse(value); {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		d.report(at, "must be a URL such as %s", example)
	case u.User != nil:
		d.report(at, "must not hold a user or password: plans are stored in Temporal and shown to people")
	}
}

func (d *decoder) name(at, value string) {
	if d.isBroken(at) {
		return
	}
	if value == "" {
		d.report(at, "is missing: %s", nameRule)
	} else if !name.MatchString(value) {
		d.report(at, "%q is no good name: %s", value, nameRule)
	}
}

// given tells whether the key stands in the document, with a value that could be read.
func (d *decoder) given(at string) bool { return d.stands(at) && !d.isBroken(at) }

// stands tells whether the key stands in the document.
func (d *decoder) stands(at string) bool {
	_, stands := d.places[at]
	return stands
}

func (d *decoder) required(at, value, todo string) {
	if strings.TrimSpace(value) == "" && !d.isBroken(at) {
		d.report(at, "is missing: %s", todo)
	}
}

func (d *decoder) distinct(at string, values []string, what string) {
	seen := map[string]bool{}
	for i, v := range values {
		item := at + "[" + strconv.Itoa(i) + "]"
		switch {
		case d.isBroken(item):
		case strings.TrimSpace(v) == "":
			d.report(item, "is empty: name a %s", what)
		case seen[v]:
			d.report(item, "%s %q is listed twice", what, v)
		}
		seen[v] = true
	}
}
