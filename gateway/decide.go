package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/slack-go/slack"

	"github.com/contraflow/contraflow/internal/slackcard"
)

const (
	// attempts to hand over a decision, and to tell a person: with the pauses below about 4 s, what someone watching the card accepts.
	attempts = 4
	// firstPause between attempts; it doubles.
	firstPause = 500 * time.Millisecond
)

// handle works on one click from the queue until the decision is handed over or the person knows that it was not.
func (g *Gateway) handle(j job) {
	ctx, cancel := context.WithTimeout(j.ctx, handlingTimeout)
	defer cancel()
	go func() {
		select {
		case <-g.abort:
			cancel()
		case <-ctx.Done():
		}
	}()

	log := g.cfg.Log.With("migration", j.click.Migration, "step", j.click.Step, "decision", j.click.Decision, "user", j.click.UserID)
	person, known := g.cfg.People[j.click.UserID]
	if !known {
		log.WarnContext(ctx, "refused a click of an unknown person")
		g.tell(ctx, j.click, "contraflow does not know you, so you may not decide.",
			fmt.Sprintf("Ask whoever runs contraflow to add your Slack user id %s to its people.", j.click.UserID))
		return
	}
	decision := Decision{
		Migration: j.click.Migration, Step: j.click.Step, PlanHash: j.click.PlanHash,
		By: person, Decision: j.click.Decision, Reason: j.click.Reason, ID: j.click.ID(),
	}
	err := again(ctx, func() error { return g.cfg.Decider.Decide(ctx, decision) })
	switch {
	case err == nil:
		log.InfoContext(ctx, "handed over a decision", "person", person)
	case errors.Is(err, ErrRefused):
		log.WarnContext(ctx, "a decision was refused", "person", person, "error", err)
		g.tell(ctx, j.click, err.Error(), "")
	default:
		log.ErrorContext(ctx, "could not hand over a decision", "person", person, "error", err)
		g.tell(ctx, j.click, fmt.Sprintf("The migration could not be reached, so your decision (%s) may not have arrived.", decision.Decision),
			"Press the button again in a minute; a decision counts once. If that fails too, decide with the contraflow command line, "+
				"and ask whoever runs contraflow whether Temporal answers.")
	}
}

// tell shows the person, and nobody else, why the click had no effect.
func (g *Gateway) tell(ctx context.Context, c slackcard.Click, what, needs string) {
	notice := slackcard.Notice{Kind: slackcard.NoticeRefused, Text: what, Needs: needs, Migration: c.Migration}
	if err := again(ctx, func() error { return g.poster.Whisper(ctx, c.ChannelID, c.UserID, notice) }); err != nil {
		g.cfg.Log.ErrorContext(ctx, "could not tell a person about a click without effect", "user", c.UserID, "error", err)
	}
}

// again calls do until it succeeds, fails for good, or has had its attempts. A rate limit of Slack's sets the pause.
func again(ctx context.Context, do func() error) error {
	pause := firstPause
	for attempt := 1; ; attempt++ {
		err := do()
		if err == nil || attempt == attempts || errors.Is(err, ErrRefused) || errors.Is(err, slackcard.ErrSetup) {
			return err
		}
		wait := pause
		if limited, ok := errors.AsType[*slack.RateLimitedError](err); ok {
			wait = max(wait, limited.RetryAfter)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return errors.Join(err, ctx.Err())
		}
		pause *= 2
	}
}
