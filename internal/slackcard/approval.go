// Package slackcard builds the Block Kit cards and notices contraflow shows in Slack, posts them, and decodes the clicks on them.
// Everything it is given is plain text: it escapes, and cuts at Slack's limits with "…".
package slackcard

import (
	"fmt"
	"strings"
	"time"

	"github.com/slack-go/slack"
)

// State of an approval.
type State string

// The states of an approval; only a waiting one has buttons.
const (
	StateWaiting   State = "waiting"
	StateApproved  State = "approved"
	StateRejected  State = "rejected"
	StateExpired   State = "expired"
	StateCancelled State = "cancelled"
)

// The two decisions a person can take.
const (
	Approve = "approve"
	Reject  = "reject"
)

// Decision is what one person decided.
type Decision struct {
	By       string
	Decision string // Approve or Reject
	Reason   string // may be empty
	At       time.Time
}

// Approval is the card that asks people to decide on one step of one plan hash.
type Approval struct {
	Migration   string // workflow id
	Plan        string
	PlanHash    string
	Step        string
	Description string // of the plan; may be empty
	Evidence    []Field
	Approvers   []string // names of the people who may decide
	Quorum      int      // how many of them must approve
	Deadline    time.Time
	Decisions   []Decision
	State       State
	TemporalURL string // of the workflow in the Temporal UI; may be empty
}

// Blocks renders the card. A card whose names are too long for Slack's button value has no buttons and names the command line instead.
func (a Approval) Blocks() []slack.Block {
	blocks := []slack.Block{slack.NewHeaderBlock(plain(a.headline(), maxHeader))}
	if a.Description != "" {
		blocks = append(blocks, section(escape(a.Description, maxSection)))
	}
	blocks = append(blocks, a.facts())
	blocks = append(blocks, a.evidence()...)
	if len(a.Decisions) > 0 {
		blocks = append(blocks, section(a.decided()))
	}
	if a.State == StateWaiting {
		blocks = append(blocks, a.ask()...)
	}
	return append(blocks, footer("plan hash "+code(short(a.PlanHash)), temporalLink(a.TemporalURL))...)
}

// Fallback is what notifications and screen readers get.
func (a Approval) Fallback() string {
	text := fmt.Sprintf("%s (plan %s, migration %s)", a.headline(), a.Plan, a.Migration)
	if a.State == StateWaiting {
		text += ": decide before " + a.Deadline.UTC().Format("2006-01-02 15:04 UTC")
	}
	return escape(text, maxFallback)
}

func (a Approval) headline() string {
	switch a.State {
	case StateApproved:
		return "✅ Approved: " + a.Step
	case StateRejected:
		return "⛔ Rejected: " + a.Step
	case StateExpired:
		return "⌛ Expired without a decision: " + a.Step
	case StateCancelled:
		return "⚪ No longer needed: " + a.Step
	default:
		return "🚦 Approval needed: " + a.Step
	}
}

func (a Approval) facts() slack.Block {
	approved := 0
	for _, d := range a.Decisions {
		if d.Decision == Approve {
			approved++
		}
	}
	cells := []*slack.TextBlockObject{
		mrkdwn("*Plan*\n" + escape(a.Plan, maxName)),
		mrkdwn("*Step*\n" + escape(a.Step, maxName)),
		mrkdwn("*Migration*\n" + code(a.Migration)),
		mrkdwn(fmt.Sprintf("*Approvals*\n%d of %d needed", approved, a.Quorum)),
		mrkdwn("*May decide*\n" + escape(strings.Join(a.Approvers, ", "), maxFieldValue)),
	}
	switch a.State {
	case StateWaiting:
		cells = append(cells, mrkdwn("*Decide before*\n"+date(a.Deadline)))
	case StateExpired:
		cells = append(cells, mrkdwn("*Deadline was*\n"+date(a.Deadline)))
	}
	return slack.NewSectionBlock(nil, cells, nil)
}

func (a Approval) evidence() []slack.Block {
	shown := a.Evidence
	if len(shown) > maxEvidence {
		rest := len(shown) - maxEvidence + 1
		shown = append(shown[:maxEvidence-1:maxEvidence-1], Field{Name: "…", Value: fmt.Sprintf("and %d more, in Temporal", rest)})
	}
	if len(shown) == 0 {
		return nil
	}
	return append([]slack.Block{slack.NewDividerBlock()}, facts("*Evidence*", shown)...)
}

// decided lists who decided what, oldest first, as many as fit into one section.
func (a Approval) decided() string {
	var b strings.Builder
	b.WriteString("*Decisions*")
	for i, d := range a.Decisions {
		verb := "✅ approved"
		if d.Decision == Reject {
			verb = "⛔ rejected"
		}
		line := fmt.Sprintf("\n%s by %s, %s", verb, escape(d.By, maxName), date(d.At))
		if d.Reason != "" {
			line += "\n>" + strings.ReplaceAll(escape(d.Reason, maxReason), "\n", "\n>")
		}
		more := fmt.Sprintf("\n… and %d more", len(a.Decisions)-i)
		if b.Len()+len(line)+len(more) > maxSection {
			b.WriteString(more)
			break
		}
		b.WriteString(line)
	}
	return b.String()
}

// ask is the part that goes away with the decision: an optional reason and the two buttons.
func (a Approval) ask() []slack.Block {
	approve, okApprove := a.value(Approve)
	reject, okReject := a.value(Reject)
	if !okApprove || !okReject {
		return []slack.Block{section("The names of this migration are too long for a Slack button: decide with the `contraflow` command line.")}
	}
	reason := slack.NewPlainTextInputBlockElement(plain("Kept with the decision in the audit table", maxHeader), reasonID).WithMaxLength(maxReason)
	return []slack.Block{
		slack.NewInputBlock(reasonID, plain("Reason", maxHeader), nil, reason).WithOptional(true),
		slack.NewActionBlock("contraflow_decision",
			slack.NewButtonBlockElement(approveID, approve, plain("Approve", maxHeader)).
				WithStyle(slack.StylePrimary).
				WithConfirm(a.confirm("Approve this step?", "The migration goes on past it as soon as enough people have approved.", "Approve", slack.StylePrimary)),
			slack.NewButtonBlockElement(rejectID, reject, plain("Reject", maxHeader)).
				WithStyle(slack.StyleDanger).
				WithConfirm(a.confirm("Reject this step?", "One rejection is enough: the migration rolls back what it did, newest first.", "Reject", slack.StyleDanger)),
		),
	}
}

func (a Approval) confirm(title, consequence, verb string, style slack.Style) *slack.ConfirmationBlockObject {
	// The names come last and are cut, so the consequence is always readable.
	text := fmt.Sprintf("%s Step %s of plan %s.", consequence, clip(a.Step, 60), clip(a.Plan, 60))
	return slack.NewConfirmationBlockObject(plain(title, maxHeader), plain(text, maxConfirmText), plain(verb, maxHeader), plain("Cancel", maxHeader)).WithStyle(style)
}

func (a Approval) metadata() (slack.SlackMetadata, bool) {
	return slack.SlackMetadata{
		EventType:    cardEvent,
		EventPayload: map[string]any{"migration": a.Migration, "step": a.Step, "plan_hash": a.PlanHash},
	}, true
}

// short cuts a hash, with or without its algorithm's name in front, to what people compare by eye.
func short(hash string) string {
	hash = hash[strings.LastIndexByte(hash, ':')+1:]
	return hash[:min(len(hash), shortHash)]
}
