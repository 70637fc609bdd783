// Package lint reads a plan and its SQL files with Postgres's own grammar, without any database, and tells what would stop
// traffic, break the application's other version, or not be undone.
package lint

// Severity of a finding.
type Severity string

// The severities. An error makes the command fail.
const (
	Error   Severity = "error"   // stops traffic, breaks a version of the application, or loses data
	Warning Severity = "warning" // may do so on a large or busy table, or later
	Note    Severity = "note"    // a better habit
)

// Rule is one kind of hazard.
type Rule struct {
	// ID is what findings and ignore comments call it, in lower case with hyphens.
	ID       string
	Severity Severity
	// Title is the hazard in a few words.
	Title string
	// Why it is one: which lock, what is rewritten or scanned, who breaks. One or two sentences.
	Why string
	// Sources are what other linters call it ("squawk: adding-required-field", "strong_migrations: add_check_constraint"), or
	// Postgres's documentation.
	Sources []string
}

// Finding is a hazard in its place.
type Finding struct {
	Rule     string   `json:"rule"`
	Severity Severity `json:"severity"`
	// File is relative to the plan's folder; the plan itself for what concerns its steps.
	File   string `json:"file"`
	Line   int    `json:"line"` // from 1
	Column int    `json:"column"`
	// Message says what happens here, to which table: one line.
	Message string `json:"message"`
	// Why is the rule's.
	Why string `json:"why"`
	// Safe form as SQL (or lines of the plan) to paste, perhaps with "-- file: name" lines where it takes several files; empty
	// where there is none.
	Safe string `json:"safe,omitempty"`
	// Ignored is the reason an ignore comment gives; empty for a finding that counts.
	Ignored string `json:"ignored,omitempty"`
}

// Report of one plan.
type Report struct {
	Plan string `json:"plan"`
	// Files and Statements that were read.
	Files      int `json:"files"`
	Statements int `json:"statements"`
	// Findings in order of file and line; ignored ones stand in Ignored.
	Findings []Finding `json:"findings"`
	Ignored  []Finding `json:"ignored"`
}
