package slackcard

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/slack-go/slack"
)

// historyPage is how many messages one look into a channel returns; Slack recommends at most 200.
const historyPage = 200

// historyPages bounds the search for a lost card: 2,000 messages since the first attempt are more than a retry leaves room for.
const historyPages = 10

// clockSkew is how far this machine's clock may be ahead of Slack's without a lost card being missed.
const clockSkew = time.Minute

// ErrSetup marks an answer of Slack that no retry changes: the token, its scopes or the channel must be put right first.
var ErrSetup = errors.New("slack is not set up for contraflow")

// Card is anything that can be posted: an Approval or a Notice.
type Card interface {
	Blocks() []slack.Block
	Fallback() string
	metadata() (slack.SlackMetadata, bool)
}

// Ref finds a posted message again.
type Ref struct {
	Channel string // id, also if the message was posted to a channel's name
	TS      string
}

// Poster writes to Slack. Its errors wrap *slack.RateLimitedError (wait RetryAfter, then call again), ErrSetup (do not call
// again), or the transport's error (call again).
type Poster struct {
	client *slack.Client
}

// NewPoster takes a client with a bot token that has the scope chat:write, and channels:history (groups:history for private
// channels) for PostAgain.
func NewPoster(client *slack.Client) *Poster {
	return &Poster{client: client}
}

// Post posts a card to a channel (id or name). Slack has no idempotency key for messages, so a call whose answer was lost may
// have posted: follow it with PostAgain.
func (p *Poster) Post(ctx context.Context, channel string, card Card) (Ref, error) {
	return p.post(ctx, channel, card)
}

// PostAgain is Post for every attempt after the first. It looks for the card an earlier attempt left since then (each card
// carries its migration, step and plan hash as message metadata) and brings that one up to date. Where Slack does not allow the
// look, because the scope is missing or the channel is given by name, it posts a second card; both then work, and the
// migration takes each person's decision once.
func (p *Poster) PostAgain(ctx context.Context, channel string, card Approval, since time.Time) (Ref, error) {
	ref, err := p.find(ctx, channel, card, since)
	switch {
	case err != nil && !errors.Is(err, ErrSetup):
		return Ref{}, err
	case ref.TS != "":
		return ref, p.Update(ctx, ref, card)
	}
	return p.post(ctx, channel, card)
}

// Update replaces a posted card in place. Text and blocks always travel together: Slack takes a missing one for an empty one.
func (p *Poster) Update(ctx context.Context, ref Ref, card Card) error {
	_, _, _, err := p.client.UpdateMessageContext(ctx, ref.Channel, ref.TS, content(card)...)
	return explain(err, "update the card in Slack channel "+ref.Channel)
}

// Reply posts a notice into the thread of a card.
func (p *Poster) Reply(ctx context.Context, ref Ref, n Notice) (Ref, error) {
	return p.post(ctx, ref.Channel, n, slack.MsgOptionTS(ref.TS))
}

// Whisper shows a notice to one person only, in the channel.
func (p *Poster) Whisper(ctx context.Context, channel, userID string, n Notice) error {
	_, err := p.client.PostEphemeralContext(ctx, channel, userID, content(n)...)
	return explain(err, "tell a person in Slack channel "+channel)
}

func (p *Poster) post(ctx context.Context, channel string, card Card, more ...slack.MsgOption) (Ref, error) {
	options := append(content(card), slack.MsgOptionDisableLinkUnfurl(), slack.MsgOptionDisableMediaUnfurl())
	id, ts, err := p.client.PostMessageContext(ctx, channel, append(options, more...)...)
	if err != nil {
		return Ref{}, explain(err, "post to Slack channel "+channel)
	}
	return Ref{Channel: id, TS: ts}, nil
}

func content(card Card) []slack.MsgOption {
	options := []slack.MsgOption{slack.MsgOptionText(card.Fallback(), false), slack.MsgOptionBlocks(card.Blocks()...)}
	if meta, ok := card.metadata(); ok {
		options = append(options, slack.MsgOptionMetadata(meta))
	}
	return options
}

// find returns the newest message since the given time that carries the card's metadata, or a zero Ref.
func (p *Poster) find(ctx context.Context, channel string, card Approval, since time.Time) (Ref, error) {
	want, _ := card.metadata()
	query := &slack.GetConversationHistoryParameters{
		ChannelID: channel, Oldest: strconv.FormatInt(since.Add(-clockSkew).Unix(), 10), Inclusive: true, Limit: historyPage, IncludeAllMetadata: true,
	}
	for range historyPages {
		page, err := p.client.GetConversationHistoryContext(ctx, query)
		if err != nil {
			return Ref{}, explain(err, "look for the card in Slack channel "+channel)
		}
		for _, m := range page.Messages {
			if m.Metadata.EventType == want.EventType && maps.Equal(m.Metadata.EventPayload, want.EventPayload) {
				return Ref{Channel: channel, TS: m.Timestamp}, nil
			}
		}
		if query.Cursor = page.ResponseMetaData.NextCursor; !page.HasMore || query.Cursor == "" {
			break
		}
	}
	return Ref{}, nil
}

// wayOut says, for the answers of Slack that only a person can change, what to do.
var wayOut = map[string]string{
	"invalid_auth":        "put a valid bot token (xoxb-…) into the configuration",
	"not_authed":          "put a valid bot token (xoxb-…) into the configuration",
	"token_revoked":       "install the app again and configure its new bot token",
	"token_expired":       "configure a fresh bot token",
	"account_inactive":    "the bot was removed: install the app again",
	"missing_scope":       "add the scope to the app and install it again",
	"channel_not_found":   "check the channel's id, and invite the bot if the channel is private",
	"not_in_channel":      "invite the bot into the channel",
	"is_archived":         "unarchive the channel or configure another one",
	"user_not_in_channel": "invite the person into the channel",
	"message_not_found":   "somebody deleted the card: decide on the command line",
}

func explain(err error, doing string) error {
	if err == nil {
		return nil
	}
	if refused, ok := errors.AsType[slack.SlackErrorResponse](err); ok {
		if hint, ok := wayOut[refused.Err]; ok {
			needed := ""
			if refused.Needed != "" {
				needed = " (needed: " + refused.Needed + ")"
			}
			return fmt.Errorf("%s: %w: %w%s: %s", doing, ErrSetup, err, needed, hint)
		}
	}
	return fmt.Errorf("%s: %w", doing, err)
}
