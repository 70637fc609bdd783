package signals

import (
	"fmt"
	"strings"
	"time"
)

// Rehearsal is what a rehearsal of the plan has found, short enough to travel with a start and to stand on a card. It holds no
// value of any row.
type Rehearsal struct {
	// PlanHash that was rehearsed; a start with another one is refused.
	PlanHash string `json:"planHash"`
	// Database is the name in the worker's configuration, Server its version, such as "15.14".
	Database string    `json:"database"`
	Server   string    `json:"server"`
	At       time.Time `json:"at,omitzero"`
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

// Summary in a few words: where it was rehearsed, and the worst it met.
func (r Rehearsal) Summary() string {
	parts := []string{plural(r.Count, "statement")}
	if r.Worst != "" {
		parts = append(parts, "worst: "+r.Worst)
	}
	if len(r.Problems) > 0 {
		parts = append(parts, plural(len(r.Problems), "problem"))
	}
	return fmt.Sprintf("on %s %s: %s", r.Database, r.Server, strings.Join(parts, ", "))
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
