package watch

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/mattn/go-runewidth"
)

// colour is a Select Graphic Rendition sequence; the terminal's own palette, so that it fits dark and light themes.
type colour string

const (
	plain   colour = ""
	bold    colour = "\x1b[1m"
	dim     colour = "\x1b[2m"
	red     colour = "\x1b[31m"
	green   colour = "\x1b[32m"
	yellow  colour = "\x1b[33m"
	magenta colour = "\x1b[35m"
	cyan    colour = "\x1b[36m"
	reset          = "\x1b[0m"
)

type span struct {
	text   string
	colour colour
}

// line is text whose width is known before it is coloured.
type line []span

func (l line) width() int {
	w := 0
	for _, s := range l {
		w += width(s.text)
	}
	return w
}

// fit cuts what does not fit and ends it with an ellipsis.
func (l line) fit(limit int) line {
	if l.width() <= limit {
		return l
	}
	var fitted line
	for _, s := range l {
		if w := width(s.text); w < limit {
			fitted, limit = append(fitted, s), limit-w
			continue
		}
		return append(fitted, span{cut(s.text, limit), s.colour})
	}
	return fitted
}

func (l line) render(colours bool) string {
	var b strings.Builder
	for _, s := range l {
		if !colours || s.colour == plain || s.text == "" {
			b.WriteString(s.text)
			continue
		}
		b.WriteString(string(s.colour) + s.text + reset)
	}
	if colours {
		return b.String()
	}
	return strings.TrimRight(b.String(), " ")
}

// cells measures as terminals do, whatever the locale: ambiguous characters are one cell wide.
func cells() *runewidth.Condition { return &runewidth.Condition{StrictEmojiNeutral: true} }

func width(s string) int { return cells().StringWidth(s) }

// cut shortens to limit cells, so that an ellipsis tells of the rest.
func cut(s string, limit int) string {
	if limit < 1 {
		return ""
	}
	if width(s) < limit {
		return s
	}
	return cells().Truncate(s+" ", limit, "…")
}

func pad(s string, to int) string { return s + strings.Repeat(" ", max(to-width(s), 0)) }

func padLeft(s string, to int) string { return strings.Repeat(" ", max(to-width(s), 0)) + s }

// clean makes a text of others safe for a terminal: one line, no control characters.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		if unicode.Is(unicode.Cf, r) { // bidirectional overrides and the like
			return -1
		}
		return r
	}, s)
	return strings.Join(strings.Fields(s), " ")
}

// points keeps apart what a migration writes one below the other, and is clean.
func points(s string) string { return clean(strings.ReplaceAll(strings.TrimSpace(s), "\n", "; ")) }

// wrap breaks a clean text into lines of at most limit cells, at spaces where there are any.
func wrap(s string, limit int) []string {
	limit = max(limit, 1)
	var lines []string
	current := ""
	for _, word := range strings.Fields(s) {
		for width(word) > limit {
			if current != "" {
				lines, current = append(lines, current), ""
			}
			head := cells().Truncate(word, limit, "")
			if head == "" {
				return append(lines, cut(word, limit))
			}
			lines, word = append(lines, head), word[len(head):]
		}
		switch {
		case word == "":
		case current == "":
			current = word
		case width(current)+1+width(word) <= limit:
			current += " " + word
		default:
			lines, current = append(lines, current), word
		}
	}
	if current != "" {
		lines = append(lines, current)
	}
	return lines
}

// span of time in at most two units.
func duration(d time.Duration) string {
	switch d = max(d, 0); {
	case d < 9950*time.Millisecond: // above, it would round to 10.0
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d d %d h", int(d.Hours())/24, int(d.Hours())%24)
}

// coarse is a duration of which tenths of a second would only flicker.
func coarse(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%d s", int(math.Ceil(max(d, 0).Seconds())))
	}
	return duration(d)
}

// roughly is a duration that is only an estimate, in one unit while that tells enough.
func roughly(d time.Duration) string {
	switch {
	case d < time.Minute:
		return coarse(d)
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(math.Round(d.Minutes())))
	}
	return duration(d.Round(time.Minute))
}

// number with commas at the thousands.
func number(n int64) string {
	digits, sign := strconv.FormatInt(n, 10), ""
	if n < 0 {
		digits, sign = digits[1:], "-"
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// clock shows a moment in the zone of now, with the day when it is another one.
func clock(at, now time.Time) string {
	at = at.In(now.Location())
	switch {
	case at.Format(time.DateOnly) == now.Format(time.DateOnly):
		return at.Format(time.TimeOnly)
	case at.Year() == now.Year():
		return at.Format("Mon 2 Jan 15:04")
	}
	return at.Format("2 Jan 2006 15:04")
}

// words turns the wire's spelling into people's.
func words(state string) string { return strings.ReplaceAll(state, "_", " ") }

// bar of the given number of cells, drawn in halves.
func bar(cells int, share float64, filled colour) line {
	halves := int(math.Round(min(max(share, 0), 1) * float64(2*cells)))
	full := strings.Repeat("━", halves/2)
	rest := cells - halves/2
	if halves%2 == 1 {
		full, rest = full+"╸", rest-1
	}
	return line{{full, filled}, {strings.Repeat("─", rest), dim}}
}
