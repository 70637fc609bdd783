package watch

import (
	"fmt"
	"slices"
	"strings"

	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

// Style of a rendering.
type Style struct {
	// Width in cells; no line is wider. Defaults to 100; below 20 it is taken as 20.
	Width int
	Color bool
	// Extra lines below, as they are.
	Extra []string
}

const (
	defaultWidth = 100
	minWidth     = 20 // narrower than that nothing is readable
	maxWidth     = 140
	maxName      = 28 // of a step; longer names are cut
	flagBar      = 12
	maxBar       = 40
	minBar       = 6
	labelWidth   = 11
	lastNotices  = 5 // older ones are told by `contraflow status --json`
)

type renderer struct {
	Snapshot
	width int
	lines []line
}

// Render draws a snapshot as lines for a terminal. It depends on its arguments alone.
func Render(s Snapshot, style Style) []string {
	if style.Width == 0 {
		style.Width = defaultWidth
	}
	r := &renderer{Snapshot: s, width: min(max(style.Width, minWidth), maxWidth)}
	r.headline()
	if s.Status != nil && len(s.Status.Steps) > 0 {
		r.steps(s.Status)
	}
	r.below()
	drawn := make([]string, 0, len(r.lines)+len(style.Extra))
	for _, l := range r.lines {
		drawn = append(drawn, l.fit(r.width).render(style.Color))
	}
	return append(drawn, style.Extra...)
}

func (r *renderer) add(spans ...span) { r.lines = append(r.lines, spans) }

// apart puts right at the right edge, and cuts left for it.
func (r *renderer) apart(left line, right span) {
	room := r.width - width(right.text) - 1
	left = left.fit(room)
	r.add(append(left, span{strings.Repeat(" ", max(room-left.width(), 0)+1), plain}, right)...)
}

func (r *renderer) headline() {
	glyph, c := stateGlyph(r.state())
	title := line{{clean(r.ID), bold}, {"  ", plain}, {glyph + " " + words(r.state()), c}}
	ended := r.Ended
	if ended.IsZero() {
		ended = r.At
	}
	r.apart(title, span{duration(ended.Sub(r.Started)), dim})
	var about []string
	if plan := clean(r.plan()); plan != "" && plan != r.ID {
		about = append(about, "plan "+plan)
	}
	started := "started " + clock(r.Started, r.At)
	if st := r.Status; st != nil {
		if st.PlanHash != "" {
			about = append(about, "plan hash "+shortHash(st.PlanHash))
		}
		if st.Database != "" {
			about = append(about, "database "+clean(st.Database))
		}
		if st.StartedBy != "" {
			started += " by " + clean(st.StartedBy)
		}
	}
	about = append(about, started, number(r.HistoryEvents)+" events")
	r.add(span{strings.Join(about, " · "), dim})
	r.rehearsal()
}

// rehearsal is told in short: the first card holds the rest.
func (r *renderer) rehearsal() {
	if r.Status == nil || r.Status.Rehearsal == nil {
		return
	}
	done := r.Status.Rehearsal
	tone := dim
	if len(done.Problems) > 0 {
		tone = yellow
	}
	for _, part := range wrap(clean(fmt.Sprintf("rehearsed %s ago %s", roughly(r.At.Sub(done.At)), done.Summary())), r.width) {
		r.add(span{part, tone})
	}
}

func shortHash(hash string) string {
	const people = 12 // digits that people compare
	return hash[:min(len(hash), people)]
}

func stateGlyph(state string) (string, colour) {
	switch signals.State(state) {
	case signals.Running:
		return "●", cyan
	case signals.Waiting:
		return "◆", yellow
	case signals.Paused:
		return "‖", yellow
	case signals.RollingBack:
		return "↺", magenta
	case signals.RolledBack:
		return "↶", magenta
	case signals.Completed:
		return "✓", green
	}
	return "✗", red // stuck, failed, terminated and the like
}

func stepGlyph(state signals.StepState) (string, colour) {
	switch state {
	case signals.StepRunning:
		return "●", cyan
	case signals.StepWaiting:
		return "◆", yellow
	case signals.StepDone:
		return "✓", green
	case signals.StepFailed:
		return "✗", red
	case signals.StepCompensating:
		return "↺", magenta
	case signals.StepCompensated:
		return "↶", magenta
	case signals.StepSkipped:
		return "⊘", red
	}
	return "○", dim
}

func (r *renderer) steps(st *signals.Status) {
	r.add()
	name, verb, took := 0, 0, 0
	for _, step := range st.Steps {
		name = max(name, min(width(clean(step.Name)), maxName))
		verb = max(verb, width(step.Verb))
		took = max(took, width(r.took(step)))
	}
	for _, step := range st.Steps {
		glyph, c := stepGlyph(step.State)
		text := plain
		if step.State == signals.StepPending {
			text = dim
		}
		switch {
		case len(step.Killed) > 0:
			glyph, c = "⊘", red
		case step.Without && c == green:
			c = yellow
		}
		left := line{
			{"  " + glyph + " ", c}, {pad(cut(clean(step.Name), maxName+1), name+2), text}, {pad(step.Verb, verb+2), dim},
		}
		if share, reached := rollout(step); reached != "" {
			left = append(left, bar(flagBar, share, c)...)
			left = append(left, span{fmt.Sprintf(" %5s  ", reached), text})
		}
		detail := points(step.Detail)
		if step.Rows > 0 && step.State == signals.StepDone {
			detail = strings.TrimSuffix(number(step.Rows)+" rows, "+detail, ", ")
		}
		r.apart(append(left, span{detail, text}), span{padLeft(r.took(step), took), dim})
		r.backfillBar(step)
	}
}

// rollout is how far a flag step has come, 0 to 1, and in words; "" for any other.
func rollout(step signals.StepStatus) (share float64, reached string) {
	switch {
	case step.State == signals.StepPending:
		return 0, ""
	case len(step.Killed) > 0:
		return 0, "off"
	case step.Stage != "":
		stages := plan.MigrationStages
		return float64(max(slices.Index(stages, step.Stage), 0)) / float64(len(stages)-1), clean(step.Stage)
	case step.Percent == 100 && step.Without:
		return 1, "<100 %"
	case step.Percent > 0:
		return float64(step.Percent) / 100, fmt.Sprintf("%d %%", step.Percent)
	}
	return 0, ""
}

// took is how long the step took, or has taken so far. Of a step that was undone nobody knows: it ended with its compensation,
// and all that came between is in that span.
func (r *renderer) took(step signals.StepStatus) string {
	switch {
	case step.Started.IsZero(), undone(step):
		return ""
	case !step.Ended.IsZero():
		return duration(step.Ended.Sub(step.Started))
	case r.Closed:
		return ""
	}
	return duration(r.At.Sub(step.Started))
}

func undone(step signals.StepStatus) bool {
	return step.State == signals.StepCompensated || step.State == signals.StepSkipped
}

func (r *renderer) backfillBar(step signals.StepStatus) {
	const indent = "      "
	l := r.lanes(step.Name)
	if l.count == 0 {
		if r.Proving == step.Name {
			r.add(span{indent + "every lane is done; proving that no row is left", plain})
		}
		return
	}
	drawn := line{{indent, plain}}
	numbers := []string{number(l.rows) + " rows"}
	if l.total > 0 {
		// Short of the proof at the end it is never 100.
		numbers = []string{fmt.Sprintf("%2d %%", min(int(l.share()*100), 99)), fmt.Sprintf("%s of ~%s rows", number(l.scanned), number(l.total))}
	}
	if l.perSecond > 0 {
		numbers = append(numbers, number(int64(l.perSecond))+" rows/s")
	}
	if left := l.left(); left > 0 {
		numbers = append(numbers, "about "+roughly(left)+" left")
	}
	const gap = "  "
	if room := r.width - len(indent) - len(gap) - width(strings.Join(numbers, gap)); l.total > 0 && room >= minBar {
		drawn = append(append(drawn, bar(min(room, maxBar), l.share(), cyan)...), span{gap, plain})
	}
	drawn = append(drawn, span{strings.Join(numbers, gap), plain})
	// Nice to know, where there is room.
	if l.total > 0 && l.rows != l.scanned {
		drawn = r.ifRoom(drawn, gap+number(l.rows)+" changed")
	}
	if l.count > 1 {
		drawn = r.ifRoom(drawn, fmt.Sprintf("%s%d lanes", gap, l.count))
	}
	r.add(drawn...)
}

func (r *renderer) ifRoom(l line, text string) line {
	if l.width()+width(text) > r.width {
		return l
	}
	return append(l, span{text, dim})
}
