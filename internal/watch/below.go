package watch

import (
	"fmt"
	"slices"
	"strings"

	"github.com/contraflow/contraflow/signals"
)

// below is everything under the table: the guard, people, what holds the migration up, and how it ended.
func (r *renderer) below() {
	table := len(r.lines)
	if st := r.Status; st != nil && !r.Closed {
		r.guard(st.Guard)
		r.approval(st.Approval)
		r.labelled("cause", red, points(st.Cause))
		if len(st.Killed) > 0 {
			r.labelled("killed", red, clean(strings.Join(st.Killed, ", ")+" off for everybody"))
		}
		r.labelled("needs", yellow, points(st.Needs))
		for _, answer := range st.Answers {
			command := fmt.Sprintf("contraflow %s %s", clean(answer), clean(r.ID))
			if st.Question > 0 { // what is asked next is another matter
				command += fmt.Sprintf(" --question %d", st.Question)
			}
			r.item("", plain, span{command, dim})
		}
	}
	r.heldUp()
	if r.Status != nil {
		r.notices(r.Status.Notices)
	}
	r.ending()
	if len(r.lines) > table { // an empty line between the table and the rest
		r.lines = slices.Insert(r.lines, table, line{})
	}
}

// labelled writes a text behind a label, wrapped.
func (r *renderer) labelled(label string, c colour, text string) {
	for i, part := range wrap(text, r.width-2-labelWidth) {
		if i > 0 {
			label = ""
		}
		r.add(span{"  " + pad(label, labelWidth), c}, span{part, plain})
	}
}

// item writes spans below a label, cut to the width.
func (r *renderer) item(label string, c colour, spans ...span) {
	r.add(append(line{{"  " + pad(label, labelWidth), c}}, spans...)...)
}

func (r *renderer) guard(g *signals.GuardStatus) {
	if g == nil {
		return
	}
	c := map[string]colour{"healthy": green, "failed": red, "inconclusive": yellow}[g.Verdict]
	verdict := clean(g.Verdict)
	if g.Reading != "" && g.Verdict != "healthy" {
		verdict += ": " + clean(g.Reading)
	}
	r.item("guard", c, span{verdict, c})
	name := 0
	for _, check := range g.Watching {
		name = max(name, min(width(clean(check)), r.width/2))
	}
	for _, check := range g.Watching {
		glyph, c, reading := "·", dim, "not read yet"
		if i := slices.IndexFunc(r.Readings, func(x signals.Reading) bool { return x.Check == check }); i >= 0 {
			glyph, c = outcomeGlyph(r.Readings[i].Outcome)
			reading = clean(r.Readings[i].Reading)
		}
		r.item("", plain, span{glyph + " ", c}, span{pad(cut(clean(check), r.width/2+1), name+2), plain}, span{reading, dim})
	}
}

func outcomeGlyph(outcome string) (string, colour) {
	switch outcome {
	case "pass":
		return "✓", green
	case "fail":
		return "✗", red
	}
	return "?", yellow
}

func (r *renderer) approval(a *signals.ApprovalStatus) {
	if a == nil {
		return
	}
	approvals := 0
	for _, d := range a.Decisions {
		if d.Verdict == signals.Approved {
			approvals++
		}
	}
	text := fmt.Sprintf("%s: %d of %d approvals; may decide: %s", clean(a.Step), approvals, a.Quorum, clean(strings.Join(a.By, ", ")))
	if !a.Deadline.IsZero() {
		text += fmt.Sprintf("; %s left, until %s", coarse(a.Deadline.Sub(r.At)), clock(a.Deadline, r.At))
	}
	r.labelled("approval", yellow, text)
	for _, d := range a.Decisions {
		r.decision(d)
	}
	r.item("", plain, span{r.approveCommand(a), dim})
}

// approveCommand is what the first of those types who may decide and has not; who started the migration may not.
func (s Snapshot) approveCommand(a *signals.ApprovalStatus) string {
	command := fmt.Sprintf("contraflow approve %s %s", clean(s.ID), clean(a.Step))
	for _, by := range a.By {
		decided := slices.ContainsFunc(a.Decisions, func(d signals.Decision) bool { return d.By == by })
		if !decided && (s.Status == nil || by != s.Status.StartedBy) {
			return command + " --by " + shellWord(clean(by))
		}
	}
	return command
}

// shellWord is a name that a shell takes for one word.
func shellWord(name string) string {
	if strings.ContainsAny(name, " '\"$`\\!*?&|;<>(){}[]#~") {
		return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
	}
	return name
}

func (r *renderer) decision(d signals.Decision) {
	glyph, c, said := "✓", green, "approved"
	if d.Verdict == signals.Rejected {
		glyph, c, said = "✗", red, "rejected"
	}
	text := clean(d.By) + " " + said
	if !d.At.IsZero() {
		text += " at " + clock(d.At, r.At)
	}
	if d.Via != "" {
		text += " via " + clean(d.Via)
	}
	if d.Reason != "" {
		text += ": " + clean(d.Reason)
	}
	r.item("", plain, span{glyph + " ", c}, span{text, plain})
}

// heldUp tells what the migration waits for that is no person.
func (r *renderer) heldUp() {
	if r.Closed {
		return
	}
	for _, text := range r.holding() {
		r.labelled("holding", yellow, cut(text, maxHolding))
	}
	if b := r.Blocked; b != nil {
		if b.Progress != "" {
			r.labelled("building", plain, clean(b.Step)+": "+clean(b.Progress))
		}
		if b.Text != "" {
			r.labelled("blocked", yellow, clean(b.Step)+": "+clean(b.Text))
		}
	}
	for _, p := range r.Pending {
		r.labelled("waits", yellow, r.pending(p))
	}
	if r.NoWorker {
		r.labelled("no worker", red, noWorker)
	}
}

const noWorker = "No worker answers. The migration waits and loses nothing: start a worker and it goes on."

// maxHolding cells of what holds a lane: some three lines, which name a handful of throttles with their readings.
const maxHolding = 240

// holding lists what the lanes wait for, each once.
func (s Snapshot) holding() []string {
	var all []string
	for _, p := range s.Progress {
		if text := clean(p.Holding); text != "" && !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return all
}

func (r *renderer) pending(p Pending) string {
	if p.Activity == "" {
		return fmt.Sprintf("the worker fails to take the next step (attempt %d): its log tells why", p.Attempt)
	}
	text := activityWords(p.Activity)
	switch failure := clean(p.LastFailure); {
	case strings.Contains(failure, "Heartbeat timeout"): // the SDK's words for a worker that is gone
		text += ": its worker is gone, another goes on"
	case failure != "":
		text = failure
	}
	if p.NextAttempt.IsZero() {
		return fmt.Sprintf("%s (attempt %d, trying now)", text, p.Attempt)
	}
	return fmt.Sprintf("%s (attempt %d, next in %s)", text, p.Attempt, coarse(p.NextAttempt.Sub(r.At)))
}

// Waits says in words what holds a migration up that is no person; "" when nothing does.
func (s Snapshot) Waits() string {
	if s.NoWorker {
		return noWorker
	}
	r := renderer{Snapshot: s}
	var all []string
	for _, p := range s.Pending {
		all = append(all, r.pending(p))
	}
	return strings.Join(all, "; ")
}

// activityWords is what people call an activity; one of a newer worker keeps its own name.
func activityWords(activity string) string {
	switch activity {
	case "Begin":
		return "the check before the first step"
	case "Finish":
		return "the end of the run"
	case activityMigrate, "SchemaVersion":
		return "the schema change"
	case "MigrateDown":
		return "undoing the schema change"
	case activityFlag:
		return "the flag"
	case activityUnflag:
		return "undoing the flag"
	case activityMayRetire:
		return "the look whether the flags may go"
	case activityRetire:
		return "retiring the flag"
	case "PrepareBackfill", "ControlBackfill", activityLane:
		return "the backfill"
	case activityProof:
		return "the backfill's proof"
	case activityManual:
		return "the count of what people have left"
	case activitySync:
		return "the sync trigger"
	case activityUnsync:
		return "removing the sync trigger"
	case "RetryRejects":
		return "the rows set aside"
	case "ResetBackfill":
		return "undoing the backfill"
	case "Verify":
		return "the verification"
	case activityGuard:
		return "the guard"
	case "PostCard", "UpdateCard", "PostNotice":
		return "the chat"
	case "Audit":
		return "the audit"
	}
	return activity
}

func (r *renderer) notices(all []signals.Notice) {
	for i, n := range all[max(len(all)-lastNotices, 0):] {
		label := "notices"
		if i > 0 {
			label = ""
		}
		at := clock(n.At, r.At) + "  "
		for j, part := range wrap(clean(n.Text), r.width-2-labelWidth-width(at)) {
			if j > 0 {
				label, at = "", strings.Repeat(" ", width(at))
			}
			r.item(label, dim, span{at, dim}, span{part, plain})
		}
	}
}

func (r *renderer) ending() {
	if !r.Closed {
		return
	}
	_, c := stateGlyph(r.state())
	r.labelled(endLabel(r.Outcome), c, clean(r.endText()))
	if r.Report != nil && r.Status == nil { // the table tells it already
		for _, done := range r.Report.Compensations {
			glyph, c := stepGlyph(done.Outcome)
			r.item("", plain, span{glyph + " ", c}, span{clean(done.Step) + " ", plain}, span{clean(done.Detail), dim})
		}
	}
}

func endLabel(o Outcome) string {
	switch o {
	case Completed:
		return "result"
	case RolledBack:
		return "cause"
	}
	return "end"
}

// endText says how the migration ended and, where something is to do, what.
func (s Snapshot) endText() string {
	const again = "Start the same plan again: it does only what is missing."
	reason := s.Failure
	if reason == "" {
		reason = "no reason given"
	}
	switch s.Outcome {
	case Completed:
		text := "every step is done"
		if s.Result != nil && s.Result.Rows > 0 {
			text += ", " + number(s.Result.Rows) + " rows changed"
		}
		return text + " in " + duration(s.Ended.Sub(s.Started))
	case RolledBack:
		if s.Report == nil {
			return reason
		}
		undone := 0
		for _, c := range s.Report.Compensations {
			if c.Outcome != signals.StepSkipped { // which a person has left as it is
				undone++
			}
		}
		text := fmt.Sprintf("%s (steps undone: %d", s.Report.Cause, undone)
		if all := len(s.Report.Compensations); undone < all {
			text += fmt.Sprintf(" of %d", all)
		}
		return text + ")"
	case Failed:
		return "failed: " + reason
	case Terminated:
		return "terminated: " + reason + ". Nothing was undone. " + again
	case Cancelled:
		return "cancelled. " + again
	case TimedOut:
		return "timed out in Temporal. Nothing was undone. " + again
	}
	return ""
}
