package lint

import "slices"

// Absent is a rule of another linter that has no counterpart among Rules, and why.
type Absent struct {
	Source string // such as "squawk: require-table-schema"
	Why    string
}

// Elsewhere lists what other linters know and this one leaves out, with the reason.
func Elsewhere() []Absent { return slices.Clone(elsewhere) }

var elsewhere = []Absent{
	{"squawk: ban-uncommitted-transaction", "script-refused: each file is one transaction of contraflow's, and BEGIN or COMMIT in it is refused"},
	{"squawk: transaction-nesting", "script-refused: each file is one transaction of contraflow's, and BEGIN or COMMIT in it is refused"},
	{"squawk: prefer-robust-stmts", "a file is applied wholly or not at all, and outside of transactions the catalog tells after a crash: IF NOT EXISTS would only hide that something else is there"},
	{"squawk: require-table-schema", "opt-in there too; contraflow's connections have one search_path, and a file that changes it is found (changes-session)"},
	{"squawk: ban-add-column", "opt-in there; to add a column is what expand is for"},
	{"squawk: ban-add-enum-value", "opt-in there; to add a value is what expand is for"},
	{"squawk: ban-drop-generated-expression", "opt-in there; the column keeps its values"},
	{"squawk: ban-create-policy", "opt-in there; a policy works only where row security is switched on (enabling-row-security)"},
	{"squawk: ban-drop-policy", "opt-in there; a policy works only where row security is switched on (enabling-row-security)"},
	{"squawk: ban-alter-policy-condition", "opt-in there; a policy works only where row security is switched on (enabling-row-security)"},
	{"squawk: ban-alter-policy-roles", "opt-in there; a policy works only where row security is switched on (enabling-row-security)"},
	{"squawk: ban-drop-trigger", "opt-in there; to drop the trigger that kept two columns in step is part of every contract step"},
	{"squawk: ban-alter-extension", "opt-in there; what a new version of an extension does is not written in the file"},
	{"squawk: ban-alter-function-options", "opt-in there; the body stays the same"},
	{"squawk: ban-alter-view-options", "opt-in there; the query stays the same"},
	{"strong_migrations: force", "Ruby's create_table(force: true) is a DROP TABLE in SQL (ban-drop-table)"},
}
