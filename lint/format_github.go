package lint

import (
	"fmt"
	"strings"
)

// github are workflow commands, which GitHub shows at the lines of a pull request, and a line of counts for the log.
// Their form is documented in "Workflow commands for GitHub Actions", their escapes in actions/toolkit's command.ts.
func (r Report) github() string {
	var b strings.Builder
	for _, f := range r.Findings {
		text := f.Message + "\n" + f.Why
		if f.Safe != "" {
			text += "\n\n" + f.Safe
		}
		fmt.Fprintf(&b, "::%s file=%s,line=%d,col=%d,title=%s::%s\n", f.Severity.command(), property(f.File), f.Line, f.Column, property(f.Rule), data(text))
	}
	b.WriteString(r.Summary() + "\n")
	return b.String()
}

func (s Severity) command() string {
	if s == Note {
		return "notice"
	}
	return string(s)
}

func data(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(strings.TrimSpace(s))
}

func property(s string) string {
	return strings.NewReplacer(":", "%3A", ",", "%2C").Replace(data(s))
}
