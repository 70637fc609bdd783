// Package rehearse tries a plan on a throwaway copy of the target's schema, on a scratch server: it applies the SQL files up, down
// and up again, and tells of each statement which locks it really took, what it rewrote and scanned, how large that is on the
// target, and whether the way down leads back. The target is only read.
package rehearse

import "time"

// Verdict of a statement, worst last.
type Verdict string

// The verdicts.
const (
	Instant      Verdict = "instant"                         // a lock for a moment at most, whatever the table's size
	Background   Verdict = "works beside traffic"            // scans or builds, and blocks neither reads nor writes
	Changes      Verdict = "changes rows in one transaction" // locks each row it changes until its end
	BlocksWrites Verdict = "blocks writes for a scan"        // reads go on
	BlocksScan   Verdict = "blocks everything for a scan"
	BlocksAll    Verdict = "blocks everything for a rewrite"
)

// Report of a rehearsal. It holds no value of any row, but for Sample.Failures, which the JSON leaves out.
type Report struct {
	Plan     string    `json:"plan"`
	PlanHash string    `json:"planHash"`
	Database string    `json:"database"`
	At       time.Time `json:"at"`
	// By is who rehearsed.
	By string `json:"by,omitempty"`
	// Cluster and DatabaseOID identify the target as pg.Identity does.
	Cluster     string `json:"cluster,omitempty"`
	DatabaseOID uint32 `json:"databaseOid,omitempty"`
	// Server and Scratch are the versions of the target's and of the scratch server, such as "15.14".
	Server  string `json:"server"`
	Scratch string `json:"scratch"`
	// From is the version that the target stands at, 0 for none.
	From uint `json:"from"`
	// Statements of the up files that the plan would apply, in order.
	Statements []Statement `json:"statements"`
	// Down tells how the way back went; nil if nothing of the plan can be taken down.
	Down *Down `json:"down,omitempty"`
	// Trials are the plan's own SQL, tried where it would run.
	Trials []Trial `json:"trials"`
	// Samples of rows on which backfills were tried; none unless asked for.
	Samples []Sample `json:"samples,omitempty"`
	// Notes on what could not be rehearsed, and why.
	Notes []string `json:"notes,omitempty"`
}

// Statement is one statement of an up file.
type Statement struct {
	Step    string `json:"step"` // of the plan, which applies it
	Version uint   `json:"version"`
	File    string `json:"file"`
	Line    int    `json:"line"`
	// Summary is its first words, without constants.
	Summary       string  `json:"summary"`
	NoTransaction bool    `json:"noTransaction,omitempty"`
	Verdict       Verdict `json:"verdict"`
	// Locks that it took, or made stronger, on relations that stood before its file, strongest first. Where it blocks or took none,
	// those that earlier statements of the file had taken to its end are among them.
	Locks []Lock `json:"locks,omitempty"`
	// Rewrites, Scans and Builds name tables with their sizes on the target. Builds are indexes, "NAME on TABLE" with the size of
	// the table, which is read for them; those that a rewrite builds anew belong to it.
	Rewrites []Size `json:"rewrites,omitempty"`
	Scans    []Size `json:"scans,omitempty"`
	Builds   []Size `json:"builds,omitempty"`
	// Problem is why it failed; the rehearsal then ends here.
	Problem string `json:"problem,omitempty"`
}

// Lock on a relation. A transaction holds it to the end of its file.
type Lock struct {
	Relation string `json:"relation"`
	Mode     string `json:"mode"` // as people write it: "ACCESS EXCLUSIVE"
	// Held says that an earlier statement of the file took it.
	Held bool `json:"held,omitempty"`
	Size
}

// Size of a relation on the target.
type Size struct {
	Name string `json:"name"`
	// Rows as Postgres estimates them, -1 if it has never looked; Bytes of the table with its TOAST, or of the index. Both are
	// -1 for what the target doesn't have yet.
	Rows  int64 `json:"rows"`
	Bytes int64 `json:"bytes"`
}

// Down is the way back of all versions that can be taken back.
type Down struct {
	// Versions taken down, newest first.
	Versions []uint `json:"versions"`
	// Identical says that the catalog was then what it had been before.
	Identical bool `json:"identical"`
	// Differences as lines of a unified diff of the schema's dump, - before, + after.
	Differences []string `json:"differences,omitempty"`
	// Problem is why a file failed.
	Problem string `json:"problem,omitempty"`
}

// Trial is a piece of the plan's SQL, explained where it would run.
type Trial struct {
	Step string `json:"step"` // "" for checks of the guard
	Kind string `json:"kind"` // as the constants Kind… say
	Name string `json:"name,omitempty"`
	// At lists the schema versions at which it was tried, 0 for none.
	At []uint `json:"at"`
	// Problem is Postgres's message; empty if it would run.
	Problem string `json:"problem,omitempty"`
}

// Sample of rows on which a backfill was tried.
type Sample struct {
	Step  string `json:"step"`
	Table string `json:"table"`
	// Rows copied, and how many of them were filled and refused.
	Rows    int64 `json:"rows"`
	Filled  int64 `json:"filled"`
	Refused int64 `json:"refused"`
	// Failures name the refused rows by key, for the terminal alone.
	Failures []Failure `json:"-"`
}

// Failure of one row. Its key is a value of the row.
type Failure struct {
	Key     []string
	Code    string // SQLSTATE
	Message string // values stripped
}
