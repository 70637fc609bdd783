package lint

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	tree "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"

	"github.com/contraflow/contraflow/ddl"
)

var sessionRules = []statementRule{
	rule(Rule{
		ID: "lifts-lock-timeout", Severity: Error, Title: "lock_timeout set by the file",
		Why:     "contraflow bounds every wait for a lock and tries again; a file that sets another bound, or none, makes everybody queue behind it. The plan has a key for it: migrate.lockTimeout.",
		Sources: []string{"squawk: require-lock-timeout", "squawk: require-timeout-settings", "strong_migrations: lock timeout"},
	}, liftingLockTimeout),
	rule(Rule{
		ID: "changes-session", Severity: Warning, Title: "Session setting changed by the file",
		Why:     "SET without LOCAL stays on the connection for the files behind; another role or search_path makes names mean other things, the table of versions among them.",
		Sources: []string{"squawk: require-statement-timeout", "Postgres: SET"},
	}, changingSession),
	rule(Rule{
		ID: "reaches-beyond-database", Severity: Warning, Title: "Change to the whole server",
		Why:     "Roles, databases, tablespaces and server settings are shared by every database, and no down file of this one can know who else needs them.",
		Sources: []string{"squawk: ban-alter-system-options", "squawk: ban-alter-database-options", "squawk: ban-alter-role-options"},
	}, reachingBeyond),
	rule(Rule{
		ID: "ban-drop-database", Severity: Error, Title: "Database dropped",
		Why:     "Everything in it is gone, and no down file brings it back.",
		Sources: []string{"squawk: ban-drop-database"},
	}, droppingDatabase),
	rule(Rule{
		ID: "ban-revoke", Severity: Warning, Title: "Right taken away",
		Why:     "The version of the application that runs may need it in its next statement.",
		Sources: []string{"squawk: ban-revoke"},
	}, revoking),
}

func liftingLockTimeout(g glance) {
	n := g.st.Node.GetVariableSetStmt()
	everything := n.GetKind() == tree.VariableSetKind_VAR_RESET_ALL || g.st.Node.GetDiscardStmt().GetTarget() == tree.DiscardMode_DISCARD_ALL
	for _, set := range settings(g.st.Node) {
		if set.name != lockTimeout || set.local && set.bounded(g.lockTimeout()) {
			continue
		}
		everything = true
	}
	if everything {
		g.hit(fmt.Sprintf("- name: migrate\n  migrate: {to: %d, lockTimeout: 500ms}\n", g.s.Version), "the file sets lock_timeout: take the statement out, and say it in the plan if another bound is needed")
	}
}

const lockTimeout = "lock_timeout"

// lockTimeout is how long the file's statements wait for a lock, as the plan has it.
func (g glance) lockTimeout() time.Duration {
	if g.s.step >= 0 && g.s.step < len(g.in.Plan.Steps) && g.in.Plan.Steps[g.s.step].Migrate != nil {
		if own := time.Duration(g.in.Plan.Steps[g.s.step].Migrate.LockTimeout); own > 0 {
			return own
		}
	}
	return ddl.DefaultLockTimeout
}

// setting is one that a statement sets, by SET or by set_config.
type setting struct {
	name  string // lower case
	value string // "" for none, as of RESET
	local bool   // only to the end of the transaction
	reset bool
}

// settings that a statement sets.
func settings(n *tree.Node) (all []setting) {
	if v := n.GetVariableSetStmt(); v.GetName() != "" && v.GetName() != "TRANSACTION" {
		set := setting{name: strings.ToLower(v.GetName()), local: v.GetIsLocal(), reset: v.GetKind() == tree.VariableSetKind_VAR_RESET}
		if len(v.GetArgs()) == 1 {
			set.value = constant(v.GetArgs()[0])
		}
		return []setting{set}
	}
	if _, function := n.GetNode().(*tree.Node_CreateFunctionStmt); function {
		return nil // what it sets, it sets when it is called
	}
	inspect(n, func(m proto.Message) {
		f, ok := m.(*tree.FuncCall)
		if !ok || bare(listName(f.GetFuncname())) != "set_config" || len(f.GetArgs()) != 3 {
			return
		}
		args := f.GetArgs()
		all = append(all, setting{name: strings.ToLower(constant(args[0])), value: constant(args[1]), local: constant(args[2]) == "true"})
	})
	return all
}

// constant is the text of a constant; "" for anything else.
func constant(n *tree.Node) string {
	c := n.GetAConst()
	switch {
	case n.GetTypeCast() != nil:
		return constant(n.GetTypeCast().GetArg())
	case c.GetSval() != nil:
		return c.GetSval().GetSval()
	case c.GetIval() != nil:
		return strconv.Itoa(int(c.GetIval().GetIval()))
	case c.GetBoolval() != nil:
		return strconv.FormatBool(c.GetBoolval().GetBoolval())
	}
	return ""
}

// bounded tells that a time is set that is at most as long as another, and not without end.
func (s setting) bounded(by time.Duration) bool {
	value := strings.ReplaceAll(s.value, " ", "")
	if strings.Trim(value, "0123456789") == "" { // in milliseconds, as Postgres has it
		value += "ms"
	}
	value = strings.Replace(value, "min", "m", 1)
	d, err := time.ParseDuration(value)
	return err == nil && d > 0 && d <= by
}

// identity are the settings that make names and rights mean other things, even for one transaction.
var identity = []string{"role", "session_authorization", "search_path", "session_replication_role", "row_security"}

func changingSession(g glance) {
	n := g.st.Node.GetVariableSetStmt()
	for _, set := range settings(g.st.Node) {
		switch {
		case set.name == lockTimeout || n.GetKind() == tree.VariableSetKind_VAR_RESET_ALL:
		case slices.Contains(identity, set.name):
			g.hit("", "%s is changed: write names with their schema, and give the migration's role what it needs", set.name)
		case set.local || set.reset:
		case n == nil:
			g.hit("", "%s stays changed for the files behind: give set_config true as its third argument", set.name)
		default:
			words := strings.Fields(g.st.Text)
			rest := strings.Join(words[1:], " ")
			if strings.EqualFold(words[1], "session") {
				rest = strings.Join(words[2:], " ")
			}
			g.hit("SET LOCAL "+rest+";", "%s stays changed for the files behind", set.name)
		}
	}
}

func reachingBeyond(g glance) {
	switch g.st.Node.GetNode().(type) {
	case *tree.Node_AlterSystemStmt, *tree.Node_CreatedbStmt, *tree.Node_AlterDatabaseStmt, *tree.Node_AlterDatabaseSetStmt, *tree.Node_CreateRoleStmt, *tree.Node_AlterRoleStmt,
		*tree.Node_AlterRoleSetStmt, *tree.Node_DropRoleStmt, *tree.Node_CreateTableSpaceStmt, *tree.Node_DropTableSpaceStmt, *tree.Node_GrantRoleStmt:
		words := strings.Fields(g.st.Text)
		g.hit("", "%s reaches beyond this database: leave it to whoever runs the server", strings.ToUpper(strings.Join(words[:min(2, len(words))], " ")))
	}
}

func droppingDatabase(g glance) {
	if n := g.st.Node.GetDropdbStmt(); n != nil {
		g.hit("", "database %s is dropped", n.GetDbname())
	}
}

func revoking(g glance) {
	if g.declared() {
		return
	}
	if d := g.st.Node.GetAlterDefaultPrivilegesStmt(); d != nil && !d.GetAction().GetIsGrant() {
		g.hit("", "objects that come later don't give a right any more")
	}
	n := g.st.Node.GetGrantStmt()
	if n == nil || n.GetIsGrant() {
		return
	}
	for _, o := range n.GetObjects() {
		what := objectName(o)
		switch r := o.GetRangeVar(); {
		case r != nil && g.now.table(r).fresh:
			continue
		case n.GetTargtype() == tree.GrantTargetType_ACL_TARGET_ALL_IN_SCHEMA:
			what = "everything in schema " + what
		case n.GetObjtype() == tree.ObjectType_OBJECT_SCHEMA:
			what = "schema " + what
		case r == nil && g.madeHere(func(m *tree.Node) bool { return makes(m) == what }): // public may use what is new, which people take back
			continue
		}
		g.hit("", "a right on %s is taken away from roles that may be using it", what)
	}
}
