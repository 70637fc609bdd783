package watch

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/contraflow/contraflow/signals"
)

// Changes tells, a line each and oldest news first, what a person would want to know of now who last saw before (nil for
// nothing). It is what a log shows in place of a redrawn screen. Text that differs only in its numbers is no news.
func Changes(before *Snapshot, now Snapshot) []string {
	c := changes{now: now}
	if before == nil {
		before = &Snapshot{}
		c.say("%s started %s", now.ID, clock(now.Started, now.At))
	}
	c.old = *before
	if st := now.Status; st != nil {
		c.status(c.oldStatus(), st)
	}
	c.heldUp()
	if now.Closed && !c.old.Closed {
		text := now.endText()
		if o := now.Outcome; o == Completed || o == RolledBack { // the others name themselves
			text = words(string(o)) + ": " + text
		}
		c.say("%s", text)
	}
	return c.lines
}

type changes struct {
	old, now Snapshot
	lines    []string
}

func (c *changes) say(format string, args ...any) {
	c.lines = append(c.lines, c.now.At.Format(time.TimeOnly)+"  "+clean(fmt.Sprintf(format, args...)))
}

func (c *changes) oldStatus() *signals.Status {
	if c.old.Status != nil {
		return c.old.Status
	}
	return &signals.Status{}
}

func (c *changes) status(old, now *signals.Status) {
	if old.PlanHash != now.PlanHash && now.PlanHash != "" {
		c.say("plan %s, hash %s, database %s", now.Plan, shortHash(now.PlanHash), now.Database)
	}
	if old.Cause != now.Cause && now.Cause != "" {
		c.say("cause: %s", now.Cause)
	}
	for _, n := range now.Notices {
		if !slices.ContainsFunc(old.Notices, func(o signals.Notice) bool { return o.Text == n.Text && o.At.Equal(n.At) }) {
			c.say("notice: %s", n.Text)
		}
	}
	if old.State != now.State && !now.State.Final() {
		c.say("migration: %s", words(string(now.State)))
	}
	for i, step := range now.Steps {
		var was signals.StepStatus
		if i < len(old.Steps) {
			was = old.Steps[i]
		}
		c.step(was, step)
	}
	c.approval(old.Approval, now.Approval)
	if shape(old.Needs) != shape(now.Needs) && now.Needs != "" {
		c.say("needs: %s", points(now.Needs))
	}
	c.guard(old.Guard, now.Guard)
}

func (c *changes) step(old, now signals.StepStatus) {
	if now.State == signals.StepPending {
		return
	}
	if old.State != now.State || old.Percent != now.Percent || old.Stage != now.Stage ||
		len(old.Killed) != len(now.Killed) || old.Without != now.Without {
		text := fmt.Sprintf("%s %s: %s", now.Verb, now.Name, now.State)
		if _, reached := rollout(now); reached != "" {
			text += ", " + reached
		}
		if now.Rows > 0 {
			text += ", " + number(now.Rows) + " rows"
		}
		if now.Detail != "" {
			text += ", " + points(now.Detail)
		}
		if !now.Ended.IsZero() && !now.Started.IsZero() && !undone(now) {
			text += " (" + duration(now.Ended.Sub(now.Started)) + ")"
		}
		c.say("%s", text)
	}
	if c.now.Proving == now.Name && c.old.Proving != now.Name {
		c.say("%s %s: every lane is done; proving that no row is left", now.Verb, now.Name)
	}
	l := c.now.lanes(now.Name)
	if tenths(l) > tenths(c.old.lanes(old.Name)) {
		text := fmt.Sprintf("%s of ~%s rows, %s rows/s", number(l.scanned), number(l.total), number(int64(l.perSecond)))
		if left := l.left(); left > 0 {
			text += ", about " + roughly(left) + " left"
		}
		c.say("%s %s: %s", now.Verb, now.Name, text)
	}
	c.manual(now)
}

// manual tells each tenth of what people have done, and what is left the first time.
func (c *changes) manual(step signals.StepStatus) {
	now := c.now.Manual
	if now == nil || now.Step != step.Name {
		return
	}
	if old := c.old.Manual; old == nil || old.Step != now.Step || doneTenths(now) > doneTenths(old) {
		c.say("%s %s: %s", step.Verb, step.Name, leftToPeople(now.Left))
	}
}

// tenths: a backfill is worth a line at each tenth, whatever its size.
func tenths(l lanes) int { return int(l.share() * 10) }

func doneTenths(m *signals.Manual) int64 { return 10 * (m.AtFirst - m.Left) / max(m.AtFirst, 1) }

func (c *changes) approval(old, now *signals.ApprovalStatus) {
	if now == nil {
		return
	}
	if old == nil || old.Step != now.Step {
		c.say("approval %s: %d of %s must approve until %s: %s",
			now.Step, now.Quorum, strings.Join(now.By, ", "), clock(now.Deadline, c.now.At), c.now.approveCommand(now))
		old = &signals.ApprovalStatus{}
	}
	for _, d := range now.Decisions[min(len(old.Decisions), len(now.Decisions)):] {
		c.say("approval %s: %s says %s %s", now.Step, d.By, d.Verdict, d.Reason)
	}
}

func (c *changes) guard(old, now *signals.GuardStatus) {
	if now == nil {
		return
	}
	if old == nil || old.Verdict != now.Verdict {
		c.say("guard: %s %s", now.Verdict, now.Reading)
	}
	for _, reading := range c.now.Readings {
		i := slices.IndexFunc(c.old.Readings, func(o signals.Reading) bool { return o.Check == reading.Check })
		if wasGood := i < 0 || c.old.Readings[i].Outcome == "pass"; wasGood != (reading.Outcome == "pass") {
			c.say("guard: %s: %s %s", reading.Check, reading.Outcome, reading.Reading)
		}
	}
}

func (c *changes) heldUp() {
	was := shapes(c.old.holding())
	for _, text := range c.now.holding() {
		if !slices.Contains(was, shape(text)) {
			c.say("holding: %s", cut(text, maxHolding))
		}
	}
	if b := c.now.Blocked; b != nil {
		var was signals.Blocked
		if c.old.Blocked != nil {
			was = *c.old.Blocked
		}
		if b.Progress != "" && shape(was.Progress) != shape(b.Progress) {
			c.say("building: %s: %s", b.Step, b.Progress)
		}
		if b.Text != "" && shape(was.Text) != shape(b.Text) {
			c.say("blocked: %s: %s", b.Step, b.Text)
		}
	}
	r := renderer{Snapshot: c.now}
	for _, p := range c.now.Pending {
		known := slices.ContainsFunc(c.old.Pending, func(o Pending) bool {
			return o.Activity == p.Activity && shape(o.LastFailure) == shape(p.LastFailure)
		})
		if !known {
			c.say("waits: %s", r.pending(p))
		}
	}
	switch {
	case c.now.Closed:
	case c.now.NoWorker && !c.old.NoWorker:
		c.say("%s", noWorker)
	case !c.now.NoWorker && c.old.NoWorker:
		c.say("A worker answers again.")
	}
}

// shape of a text is the text without its numbers: readings and waiting times change, what they say does not.
func shape(text string) string {
	return regexp.MustCompile(`[0-9]+([.,][0-9]+)*`).ReplaceAllString(text, "#")
}

func shapes(texts []string) []string {
	all := make([]string, len(texts))
	for i, text := range texts {
		all[i] = shape(text)
	}
	return all
}
