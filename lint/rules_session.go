package lint

import (
	"fmt"
	"slices"
	"strings"

	tree "github.com/pganalyze/pg_query_go/v6"
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
	if n.GetName() == "lock_timeout" || everything || g.setsConfig("lock_timeout") {
		g.hit(fmt.Sprintf("- name: migrate\n  migrate: {to: %d, lockTimeout: 500ms}\n", g.s.Version), "the file sets lock_timeout: take the statement out, and say it in the plan if another bound is needed")
	}
}

// setsConfig tells that the statement calls set_config for a setting.
func (g glance) setsConfig(setting string) bool {
	for _, target := range g.st.Node.GetSelectStmt().GetTargetList() {
		f := target.GetResTarget().GetVal().GetFuncCall()
		if f != nil && bare(listName(f.GetFuncname())) == "set_config" && len(f.GetArgs()) > 0 && f.GetArgs()[0].GetAConst().GetSval().GetSval() == setting {
			return true
		}
	}
	return false
}

// identity are the settings that make names and rights mean other things, even for one transaction.
var identity = []string{"role", "session_authorization", "search_path", "session_replication_role", "row_security"}

func changingSession(g glance) {
	n := g.st.Node.GetVariableSetStmt()
	switch {
	case n == nil || n.GetName() == "lock_timeout" || n.GetKind() == tree.VariableSetKind_VAR_RESET_ALL:
	case slices.Contains(identity, n.GetName()):
		g.hit("", "%s is changed: write names with their schema, and give the migration's role what it needs", n.GetName())
	case !n.GetIsLocal() && n.GetKind() != tree.VariableSetKind_VAR_RESET && n.GetName() != "":
		words := strings.Fields(g.st.Text)
		rest := strings.Join(words[1:], " ")
		if strings.EqualFold(words[1], "session") {
			rest = strings.Join(words[2:], " ")
		}
		g.hit("SET LOCAL "+rest+";", "%s stays changed for the files behind", n.GetName())
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
	if n := g.st.Node.GetGrantStmt(); n != nil && !n.GetIsGrant() && !g.declared() {
		if n.GetTargtype() != tree.GrantTargetType_ACL_TARGET_OBJECT {
			return
		}
		for _, o := range n.GetObjects() {
			if r := o.GetRangeVar(); r != nil && !g.now.table(r).fresh {
				g.hit("", "a right on %s is taken away from roles that may be using it", relationName(r))
			}
		}
	}
}
