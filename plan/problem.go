package plan

import (
	"fmt"
	"strings"
)

// Problem is one mistake in a plan: where it is, what is wrong and what to do.
type Problem struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
	// Path within the document, for example steps[2].backfill.table; "" for the document itself.
	Path    string `json:"path,omitempty"`
	Message string `json:"message"`
}

// Error is the problem as file:line:column: path: message.
func (p Problem) Error() string {
	where := fmt.Sprintf("%s:%d:%d: ", p.File, p.Line, p.Column)
	if p.Path != "" {
		where += p.Path + ": "
	}
	return where + p.Message
}

// Problems are all mistakes of a plan, in the order of the document.
type Problems []Problem

// Error is one line for each problem.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}
