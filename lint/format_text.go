package lint

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Lines of prose are no longer than that: more is hard to read, and SQL is often as wide.
const textWidth = 100

// Select Graphic Rendition, in the terminal's own palette, so that it fits dark and light themes.
const (
	bold   = "\x1b[1m"
	dim    = "\x1b[2m"
	red    = "\x1b[31m"
	yellow = "\x1b[33m"
	cyan   = "\x1b[36m"
	reset  = "\x1b[0m"
)

func (s Severity) colour() string {
	return map[Severity]string{Error: red, Warning: yellow, Note: cyan}[s]
}

// text is a paragraph for each finding, its place first, so that editors and terminals make a link of it. Why is told once
// for findings of one rule that follow each other.
func (r Report) text(colour bool) string {
	var b strings.Builder
	paint := func(sgr, s string) string {
		if !colour {
			return s
		}
		return sgr + s + reset
	}
	for i, f := range r.Findings {
		fmt.Fprintf(&b, "%s  %s  %s\n", paint(bold, fmt.Sprintf("%s:%d:%d", printable(f.File), f.Line, f.Column)), paint(f.Severity.colour(), string(f.Severity)), f.Rule)
		for _, line := range wrap(printable(f.Message), textWidth-2) {
			fmt.Fprintf(&b, "  %s\n", line)
		}
		if i == 0 || r.Findings[i-1].Why != f.Why {
			for _, line := range wrap(printable(f.Why), textWidth-2) {
				fmt.Fprintf(&b, "  %s\n", paint(dim, line))
			}
		}
		if f.Safe != "" {
			b.WriteByte('\n')
			for line := range strings.Lines(strings.TrimSpace(f.Safe)) {
				b.WriteString(strings.TrimRight("      "+printable(strings.TrimRight(line, "\n")), " ") + "\n")
			}
		}
		b.WriteByte('\n')
	}
	b.WriteString(r.Summary() + "\n")
	return b.String()
}

// printable is a line that is safe for a terminal, whatever names a file holds.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case unicode.IsControl(c) || c == '\u2028' || c == '\u2029':
			return ' '
		case unicode.Is(unicode.Cf, c): // bidirectional overrides and the like
			return -1
		}
		return c
	}, s)
}

// wrap breaks a text at spaces into lines of at most width characters; longer words stand alone.
func wrap(text string, width int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
