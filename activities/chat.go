package activities

import (
	"context"

	"go.temporal.io/sdk/activity"

	"github.com/contraflow/contraflow/internal/slackcard"
	"github.com/contraflow/contraflow/signals"
)

// PostCard asks people to decide. A second attempt first looks for the card of the one before.
func (a *Activities) PostCard(ctx context.Context, in Card) (CardRef, error) {
	defer beat(ctx, nothing)()
	if a.Chat == nil {
		return CardRef{}, nil
	}
	var ref slackcard.Ref
	var err error
	if info := activity.GetInfo(ctx); info.Attempt > 1 {
		ref, err = a.Chat.Poster.PostAgain(ctx, a.Chat.Channel, a.Chat.card(in), info.ScheduledTime)
	} else {
		ref, err = a.Chat.Poster.Post(ctx, a.Chat.Channel, a.Chat.card(in))
	}
	return CardRef{Channel: ref.Channel, TS: ref.TS}, fail(ctx, err)
}

// UpdateCard shows what has changed since the card was posted; on one that is decided it takes the buttons away.
func (a *Activities) UpdateCard(ctx context.Context, in Card) error {
	defer beat(ctx, nothing)()
	if a.Chat == nil {
		return nil
	}
	return fail(ctx, a.Chat.Poster.Update(ctx, slackcard.Ref{Channel: in.Ref.Channel, TS: in.Ref.TS}, a.Chat.card(in)))
}

// PostNotice tells people, in the thread of the card it belongs to if there is one.
func (a *Activities) PostNotice(ctx context.Context, in NoticeInput) error {
	if a.Chat == nil {
		return nil
	}
	notice := slackcard.Notice{Kind: noticeKinds[in.Kind], Text: in.Text, Migration: in.Origin.Migration, TemporalURL: a.Chat.url(in.Origin)}
	if in.Ref.TS != "" {
		_, err := a.Chat.Poster.Reply(ctx, slackcard.Ref{Channel: in.Ref.Channel, TS: in.Ref.TS}, notice)
		return fail(ctx, err)
	}
	_, err := a.Chat.Poster.Post(ctx, a.Chat.Channel, notice)
	return fail(ctx, err)
}

var noticeKinds = map[string]slackcard.NoticeKind{
	"completed":    slackcard.NoticeCompleted,
	"rolling_back": slackcard.NoticeProgress,
	"rolled_back":  slackcard.NoticeRolledBack,
	"stuck":        slackcard.NoticeStuck,
	"refused":      slackcard.NoticeRefused,
}

func (c *Chat) card(in Card) slackcard.Approval {
	card := slackcard.Approval{
		Migration: in.Origin.Migration, Plan: in.Origin.Plan, PlanHash: in.Origin.PlanHash, Step: in.Origin.Step,
		Description: in.Description, Approvers: in.Approval.By, Quorum: in.Approval.Quorum, Deadline: in.Approval.Deadline,
		State: slackcard.State(in.State), TemporalURL: c.url(in.Origin),
	}
	for _, e := range in.Evidence {
		card.Evidence = append(card.Evidence, slackcard.Field{Name: e.Name, Value: e.Value})
	}
	for _, d := range in.Approval.Decisions {
		verdict := slackcard.Approve
		if d.Verdict == signals.Rejected {
			verdict = slackcard.Reject
		}
		card.Decisions = append(card.Decisions, slackcard.Decision{By: d.By, Decision: verdict, Reason: d.Reason, At: d.At})
	}
	return card
}

func (c *Chat) url(o Origin) string {
	if c.WorkflowURL == nil {
		return ""
	}
	return c.WorkflowURL(o.Migration, o.FirstRun)
}
