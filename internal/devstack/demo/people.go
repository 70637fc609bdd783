package demo

import (
	"context"
	"encoding/json"
	"time"

	"github.com/contraflow/contraflow/internal/devstack/chatserver"
	"github.com/contraflow/contraflow/internal/slackcard"
)

// The people of the chat, by Slack user id; the example's plan lets both decide.
const (
	Alice = "U0ALICE"
	Bob   = "U0BOB"
)

// lookInterval at the chat for new cards: quick for a person, nothing for a machine.
const lookInterval = 100 * time.Millisecond

// Card is an approval that waits in the chat.
type Card struct {
	TS, Step string
	approve  string // action id of the button
}

// Waiting lists the approvals that can be decided now, oldest first.
func (s *Stack) Waiting() []Card {
	var cards []Card
	for _, m := range s.Chat.Messages() {
		for _, b := range m.Buttons {
			if step, ok := approves(b); ok {
				cards = append(cards, Card{TS: m.TS, Step: step, approve: b.ActionID})
			}
		}
	}
	return cards
}

// approves tells for which step a button is the one that approves.
func approves(b chatserver.Button) (step string, ok bool) {
	var value struct {
		Step     string `json:"step"`
		Decision string `json:"decision"`
	}
	err := json.Unmarshal([]byte(b.Value), &value)
	return value.Step, err == nil && value.Decision == slackcard.Approve
}

// ApproveAll presses Approve on every card that comes, as a person would: after a pause, and again if nobody took the press.
// It returns when ctx ends. pressed, or nil, is told each step that was approved.
func (s *Stack) ApproveAll(ctx context.Context, userID string, pause time.Duration, pressed func(step string)) {
	done := map[string]bool{}
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	for {
		for _, card := range s.Waiting() {
			if done[card.TS] || !wait(ctx, pause) {
				continue
			}
			// A press that is not taken, while the worker is being killed for one, is tried again at the next look.
			if s.Chat.Press(ctx, card.TS, card.approve, userID) == nil {
				done[card.TS] = true
				if pressed != nil {
					pressed(card.Step)
				}
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// wait returns true after d, or false when ctx ends first.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
