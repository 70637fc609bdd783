package slackcard

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/slack-go/slack"
)

// Names of the card's elements, by which a click is recognised.
const (
	approveID = "contraflow_approve"
	rejectID  = "contraflow_reject"
	reasonID  = "contraflow_reason"
	cardEvent = "contraflow_approval"
)

var (
	// ErrNotOurs marks an interaction with something that is not one of our cards: acknowledge and forget it.
	ErrNotOurs = errors.New("not a click on a contraflow card")
	// ErrMalformed marks a click on one of our cards that cannot be read.
	ErrMalformed = errors.New("malformed click on a contraflow card")
)

// Click is a person's press of one of the card's buttons.
type Click struct {
	Migration string
	Step      string
	PlanHash  string
	Decision  string // Approve or Reject
	Reason    string // what the person typed; may be empty
	UserID    string
	UserName  string
	ActionTS  string // Slack's own time stamp of the click; unique for a person
	ChannelID string
	MessageTS string
}

// ID is the same for every delivery of one click and different for any other click.
func (c Click) ID() string {
	return fmt.Sprintf("slack:%s:%s:%s:%s:%s", c.ChannelID, c.MessageTS, c.UserID, c.ActionTS, c.Decision)
}

// value is what a button carries. encoding/json writes <, > and & as \u escapes, so Slack's own escaping cannot change it.
type value struct {
	Migration string `json:"migration"`
	Step      string `json:"step"`
	PlanHash  string `json:"planHash"`
	Decision  string `json:"decision"`
}

// value encodes the button's value; false if it is longer than Slack accepts.
func (a Approval) value(decision string) (string, bool) {
	b, err := json.Marshal(value{Migration: a.Migration, Step: a.Step, PlanHash: a.PlanHash, Decision: decision})
	return string(b), err == nil && len(b) <= maxButtonValue
}

// Decode reads a click out of a Slack interaction, however it arrived. The error is ErrNotOurs or wraps ErrMalformed.
func Decode(ic slack.InteractionCallback) (Click, error) {
	if ic.Type != slack.InteractionTypeBlockActions {
		return Click{}, ErrNotOurs
	}
	var pressed *slack.BlockAction
	var want string
	for _, a := range ic.ActionCallback.BlockActions {
		switch a.ActionID {
		case approveID:
			pressed, want = a, Approve
		case rejectID:
			pressed, want = a, Reject
		}
	}
	if pressed == nil {
		return Click{}, ErrNotOurs
	}
	var v value
	if err := json.Unmarshal([]byte(pressed.Value), &v); err != nil {
		return Click{}, fmt.Errorf("%w: the button's value is not JSON", ErrMalformed)
	}
	c := Click{
		Migration: v.Migration, Step: v.Step, PlanHash: v.PlanHash, Decision: v.Decision,
		UserID: ic.User.ID, UserName: ic.User.Name,
		ActionTS: pressed.ActionTs, ChannelID: ic.Container.ChannelID, MessageTS: ic.Container.MessageTs,
	}
	if ic.BlockActionState != nil {
		c.Reason = ic.BlockActionState.Values[reasonID][reasonID].Value
	}
	switch {
	case c.Decision != want:
		return Click{}, fmt.Errorf("%w: the button says %s, its value does not", ErrMalformed, want)
	case c.Migration == "" || c.Step == "" || c.PlanHash == "":
		return Click{}, fmt.Errorf("%w: the button's value lacks the migration, the step or the plan hash", ErrMalformed)
	case c.UserID == "" || c.ActionTS == "" || c.ChannelID == "" || c.MessageTS == "":
		return Click{}, fmt.Errorf("%w: user, time stamp, channel or message is missing", ErrMalformed)
	}
	return c, nil
}
