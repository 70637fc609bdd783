package signals

import "time"

// Rehearsal is what a rehearsal of the plan has found, short enough to travel with a start and to stand on a card. It holds no
// value of any row.
type Rehearsal struct {
	// PlanHash that was rehearsed; a start with another one is refused.
	PlanHash string `json:"planHash"`
	// Database is the name in the worker's configuration, Server its version, such as "15.14".
	Database string    `json:"database"`
	Server   string    `json:"server"`
	At       time.Time `json:"at"`
	// Statements in order, each with its verdict.
	Statements []RehearsedStatement `json:"statements"`
	// Reversible says that the way down led back to the same catalog.
	Reversible bool `json:"reversible"`
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
