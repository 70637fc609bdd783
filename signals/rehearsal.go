package signals

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
)

// Rehearsal is what a rehearsal of the plan has found, short enough to travel with a start and to stand on a card. It holds no
// value of any row.
type Rehearsal struct {
	// PlanHash that was rehearsed; a start with another one is refused.
	PlanHash string `json:"planHash"`
	// Database is the name in the worker's configuration, Server its version, such as "15.14".
	Database string `json:"database"`
	Server   string `json:"server"`
	// Cluster is its system identifier, "" where the role could not read it, and DatabaseOID its oid in there, 0 for unknown. A start
	// on another one is refused.
	Cluster     string `json:"cluster,omitempty"`
	DatabaseOID uint32 `json:"databaseOid,omitempty"`
	// From is the version of the schema that was rehearsed, 0 for none. A start from another one is refused.
	From uint `json:"from"`
	// By is who rehearsed, and At when, as they say: nobody has checked it.
	By string    `json:"by,omitempty"`
	At time.Time `json:"at,omitzero"`
	// Count of all statements, and Worst verdict among them, "" where there are none.
	Count int    `json:"count"`
	Worst string `json:"worst,omitempty"`
	// Statements in order, each with its verdict: the worst ones where there are too many.
	Statements []RehearsedStatement `json:"statements,omitempty"`
	// Reversible says that the way down led back to the same catalog.
	Reversible bool `json:"reversible,omitempty"`
	// Problems are what would fail: checks, expressions, sampled rows. None is good.
	Problems []string `json:"problems,omitempty"`
}

// RehearsedStatement is one statement of a SQL file as it went.
type RehearsedStatement struct {
	Step string `json:"step"`
	// Where it stands, such as "000002_add_street.up.sql:3".
	Where   string `json:"where"`
	Verdict string `json:"verdict"`
	// Detail such as "ACCESS EXCLUSIVE on customers, 12.4 M rows, rewrites 3.1 GB".
	Detail string `json:"detail,omitempty"`
}

// RehearsalSuffix ends the name of the file beside a plan that holds its rehearsal.
const RehearsalSuffix = ".rehearsal.json"

// RehearsedInstant is the verdict that people need not look at.
const RehearsedInstant = "instant"

// Bounds of what travels with a start, stays in Temporal's history and is read by people. Texts are in bytes.
const (
	MaxRehearsal           = 32 << 10 // of the JSON in all: a start, and each status, are far below Temporal's 2 MB
	MaxRehearsedStatements = 50       // far more than a card shows
	MaxRehearsedProblems   = 21       // the last may tell how many more there are
	MaxRehearsedText       = 200
	MaxRehearsedProblem    = 300 // a message of Postgres's, and where
)

// Check tells what is out of bounds: anybody can write a rehearsal, and start with it.
func (r Rehearsal) Check() error {
	if len(r.Statements) > MaxRehearsedStatements {
		return fmt.Errorf("holds %d statements, and %d is the most", len(r.Statements), MaxRehearsedStatements)
	}
	if len(r.Problems) > MaxRehearsedProblems {
		return fmt.Errorf("holds %d problems, and %d is the most", len(r.Problems), MaxRehearsedProblems)
	}
	texts := []string{r.PlanHash, r.Database, r.Server, r.Cluster, r.By, r.Worst}
	for _, s := range r.Statements {
		texts = append(texts, s.Step, s.Where, s.Verdict, s.Detail)
	}
	for _, text := range texts {
		if err := checkText(text, MaxRehearsedText); err != nil {
			return err
		}
	}
	for _, problem := range r.Problems {
		if err := checkText(problem, MaxRehearsedProblem); err != nil {
			return err
		}
	}
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if len(raw) > MaxRehearsal {
		return fmt.Errorf("is of %d bytes as JSON, and %d is the most", len(raw), MaxRehearsal)
	}
	return nil
}

// checkText does not repeat what it refuses.
func checkText(text string, limit int) error {
	if len(text) > limit {
		return fmt.Errorf("holds a text of %d bytes, and %d is the most there", len(text), limit)
	}
	if strings.ContainsFunc(text, unprintable) {
		return errors.New("holds a control character, or one that is not seen")
	}
	return nil
}

// unprintable characters end a line, drive a terminal or turn the direction of writing.
func unprintable(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)
}

// Summary in a few words: by whom and where it was rehearsed, and the worst it met.
func (r Rehearsal) Summary() string {
	parts := []string{plural(r.Count, "statement")}
	if r.Worst != "" {
		parts = append(parts, "worst: "+r.Worst)
	}
	if len(r.Problems) > 0 {
		parts = append(parts, plural(len(r.Problems), "problem"))
	}
	by := ""
	if r.By != "" {
		by = "by " + r.By + " "
	}
	return fmt.Sprintf("%son %s %s: %s", by, r.Database, r.Server, strings.Join(parts, ", "))
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
