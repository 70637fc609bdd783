package watch

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// Live shows one snapshot after the other: on a terminal by redrawing in place, elsewhere by a line for each change.
// It is not safe for concurrent use. Close it when done.
type Live struct {
	out io.Writer
	// terminal is nil where there is none.
	terminal *os.File
	style    Style
	extra    func() []string
	drawn    int // lines of the last drawing, which the next one overwrites
	last     *Snapshot
	trouble  string
}

const (
	hideCursor = "\x1b[?25l"
	showCursor = "\x1b[?25h"
	clearLine  = "\x1b[K"
	clearBelow = "\x1b[J"
)

// NewLive shows on out. A terminal's own width is used; extra lines, or nil, are asked for at every drawing there.
func NewLive(out io.Writer, extra func() []string) *Live {
	l := &Live{out: out, extra: extra}
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		l.terminal, l.style.Color = f, true
	}
	return l
}

// Show draws a snapshot, or tells what changed since the last one.
func (l *Live) Show(s Snapshot) error {
	before := l.last
	remember(before, &s)
	recovered := l.trouble != ""
	l.last, l.trouble = &s, ""
	if l.terminal != nil {
		return l.draw(s.Closed)
	}
	if recovered {
		if _, err := fmt.Fprintf(l.out, "%s  Temporal answers again\n", s.At.Format(time.TimeOnly)); err != nil {
			return err
		}
	}
	for _, text := range Changes(before, s) {
		if _, err := fmt.Fprintln(l.out, text); err != nil {
			return err
		}
	}
	return nil
}

// Trouble tells that there is no news, and why; the last drawing stays. The same text is told once.
func (l *Live) Trouble(text string) error {
	told := l.trouble == text
	l.trouble = text
	if l.terminal != nil {
		return l.draw(false)
	}
	if told {
		return nil
	}
	_, err := fmt.Fprintf(l.out, "%s  %s\n", time.Now().Format(time.TimeOnly), text)
	return err
}

// Close gives the cursor back.
func (l *Live) Close() error {
	if l.terminal == nil || l.drawn == 0 {
		return nil
	}
	_, err := io.WriteString(l.out, showCursor)
	return err
}

// draw overwrites the last drawing. The last one of all is shown whole, others as far as the screen is high:
// the cursor can't go back above the top.
func (l *Live) draw(whole bool) error {
	style, height := l.style, 0
	if w, h, err := term.GetSize(int(l.terminal.Fd())); err == nil {
		style.Width, height = w, h
	}
	if l.extra != nil {
		style.Extra = l.extra()
	}
	var lines []string
	if l.last != nil {
		lines = Render(*l.last, style)
	}
	if l.trouble != "" {
		lines = append(lines, line{{l.trouble, yellow}}.fit(max(style.Width, minWidth)).render(style.Color))
	}
	_, err := io.WriteString(l.out, redraw(lines, l.drawn, height, whole))
	l.drawn = len(lines)
	if !whole && height > 1 {
		l.drawn = min(l.drawn, height-1)
	}
	return err
}

// redraw is one write, so that a terminal never shows half a drawing.
func redraw(lines []string, drawn, height int, whole bool) string {
	if fits := height - 1; !whole && height > 1 && len(lines) > fits {
		more := len(lines) - fits + 1
		lines = append(lines[:fits-1:fits-1], fmt.Sprintf("  … %d more lines: make the window higher", more))
	}
	var b strings.Builder
	b.WriteString(hideCursor)
	if drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", drawn)
	}
	b.WriteString("\r")
	for _, text := range lines {
		b.WriteString(text + clearLine + "\n")
	}
	b.WriteString(clearBelow)
	return b.String()
}
