package lint

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Format is a way to write a report.
type Format string

// The formats.
const (
	Text   Format = "text"   // for people
	JSON   Format = "json"   // a Report
	SARIF  Format = "sarif"  // version 2.1.0, for code scanning
	GitHub Format = "github" // commands of a GitHub workflow, which become annotations
)

// Formats in the order in which people hear of them.
func Formats() []Format { return []Format{Text, JSON, SARIF, GitHub} }

// Severities from the worst on.
func Severities() []Severity { return []Severity{Error, Warning, Note} }

// Write writes the report; colour is for text alone.
func (r Report) Write(to io.Writer, format Format, colour bool) error {
	switch format {
	case JSON:
		return writeJSON(to, r)
	case SARIF:
		return writeJSON(to, r.sarif())
	case GitHub:
		_, err := io.WriteString(to, r.github())
		return err
	}
	_, err := io.WriteString(to, r.text(colour))
	return err
}

func writeJSON(to io.Writer, v any) error {
	encoder := json.NewEncoder(to)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// Reaches tells whether anything was found that is as bad as least, or worse.
func (r Report) Reaches(least Severity) bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Severity.rank() <= least.rank() })
}

func (s Severity) rank() int { return slices.Index(Severities(), s) }

// Summary is one line of counts.
func (r Report) Summary() string {
	var counts []string
	for _, s := range Severities() {
		n := 0
		for _, f := range r.Findings {
			if f.Severity == s {
				n++
			}
		}
		if n > 0 {
			counts = append(counts, plural(n, string(s)))
		}
	}
	text := fmt.Sprintf("%s in %s, %s", cmp.Or(strings.Join(counts, ", "), "nothing found"), plural(r.Files, "SQL file"), plural(r.Statements, "statement"))
	if n := len(r.Ignored); n > 0 {
		text += fmt.Sprintf("; %d ignored", n)
	}
	return text
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
