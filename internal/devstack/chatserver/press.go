package chatserver

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/slack-go/slack"
)

var (
	// ErrNoButton means that the message has no such button, or not any more.
	ErrNoButton = errors.New("there is no such button on this message now")
	// ErrUnknownPerson means that the user id is not one of the workspace's people.
	ErrUnknownPerson = errors.New("this person is not in the workspace")
)

// NotTakenError means that the interaction was not answered with 200 in time. Slack shows a warning sign then.
type NotTakenError struct {
	Status int    // HTTP status, 0 if there was no answer
	Detail string // the answer's first line, or the transport's error
}

func (e *NotTakenError) Error() string {
	if e.Status == 0 {
		return "the app did not answer: " + e.Detail
	}
	return fmt.Sprintf("the app answered %d: %s", e.Status, e.Detail)
}

// Press presses a button for a person and returns once the app has answered. Errors: ErrNoButton, ErrUnknownPerson, *NotTakenError.
func (s *Server) Press(ctx context.Context, messageTS, actionID, userID string) error {
	return s.PressWith(ctx, messageTS, actionID, userID, nil)
}

// PressWith is Press after typing into the message's input fields: action id of the field → text.
func (s *Server) PressWith(ctx context.Context, messageTS, actionID, userID string, inputs map[string]string) error {
	s.mu.Lock()
	target := s.interactionsURL
	payload, err := s.interaction(messageTS, actionID, userID, inputs)
	s.mu.Unlock()
	if err != nil {
		return fmt.Errorf("press %s: %w", actionID, err)
	}
	text, err := json.Marshal(payload)
	if err != nil {
		return fmt.Errorf("press %s: %w", actionID, err)
	}
	body := url.Values{"payload": {string(text)}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader(body))
	if err != nil {
		return fmt.Errorf("press %s: %w", actionID, err)
	}
	stamp := strconv.FormatInt(s.now().Unix(), 10)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("X-Slack-Request-Timestamp", stamp)
	req.Header.Set("X-Slack-Signature", Sign(s.secret, stamp, body))
	resp, err := s.client.Do(req)
	if err != nil {
		return fmt.Errorf("press %s: %w", actionID, &NotTakenError{Detail: err.Error()})
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		answer, _ := io.ReadAll(io.LimitReader(resp.Body, maxField))
		line, _, _ := strings.Cut(string(answer), "\n")
		return fmt.Errorf("press %s: %w", actionID, &NotTakenError{Status: resp.StatusCode, Detail: line})
	}
	return nil
}

// Sign is Slack's signature, version 0, of a request body sent at stamp (Unix seconds).
func Sign(secret, stamp, body string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = fmt.Fprintf(mac, "v0:%s:%s", stamp, body)
	return "v0=" + hex.EncodeToString(mac.Sum(nil))
}

// interaction is the payload of a block_actions interaction; the caller holds the lock.
func (s *Server) interaction(messageTS, actionID, userID string, inputs map[string]string) (answer, error) {
	person, ok := s.person(userID)
	if !ok {
		return nil, ErrUnknownPerson
	}
	m := s.find(messageTS)
	if m == nil || m.EphemeralTo != "" && m.EphemeralTo != userID {
		return nil, ErrNoButton
	}
	i := slices.IndexFunc(m.Buttons, func(b Button) bool { return b.ActionID == actionID })
	if i < 0 {
		return nil, ErrNoButton
	}
	button := m.Buttons[i]
	now := s.now()
	action := answer{
		"type": "button", "action_id": button.ActionID, "block_id": button.BlockID, "value": button.Value,
		"text":      answer{"type": "plain_text", "text": button.Text, "emoji": true},
		"action_ts": fmt.Sprintf("%d.%06d", now.Unix(), now.Nanosecond()/1000),
	}
	if button.Style != "" {
		action["style"] = button.Style
	}
	container := answer{"type": "message", "message_ts": m.TS, "channel_id": m.Channel, "is_ephemeral": m.EphemeralTo != ""}
	if m.ThreadTS != "" {
		container["thread_ts"] = m.ThreadTS
	}
	return answer{
		"type":         "block_actions",
		"team":         answer{"id": teamID, "domain": teamDomain},
		"user":         answer{"id": person.ID, "username": person.Name, "name": person.Name, "team_id": teamID},
		"api_app_id":   appID,
		"container":    container,
		"channel":      answer{"id": m.Channel, "name": s.channelName(m.Channel)},
		"message":      m.json(),
		"state":        answer{"values": state(m.Blocks, inputs)},
		"actions":      []answer{action},
		"trigger_id":   fmt.Sprintf("%d.%s", now.UnixNano(), rand.Text()),
		"response_url": s.url + "/response/" + rand.Text(),
		"enterprise":   nil, "is_enterprise_install": false,
	}, nil
}

// state is what the person typed: block id → action id → value, null for an empty field, as Slack sends it.
func state(blocks []slack.Block, inputs map[string]string) answer {
	values := answer{}
	for _, block := range blocks {
		in, ok := block.(*slack.InputBlock)
		if !ok {
			continue
		}
		field, ok := in.Element.(*slack.PlainTextInputBlockElement)
		if !ok {
			continue
		}
		var typed any
		if text := inputs[field.ActionID]; text != "" {
			typed = text
		}
		values[in.BlockID] = answer{field.ActionID: answer{"type": "plain_text_input", "value": typed}}
	}
	return values
}
