package gateway

import (
	"fmt"
	"time"
)

const (
	// replayWindow is how long a click is remembered: a signed request is valid from 5 minutes before to 5 minutes after its
	// time stamp, so a copy of it passes the signature check for at most 10; one minute is spare.
	replayWindow = 11 * time.Minute
	// maxSeen bounds the memory: about a megabyte, and fifteen clicks a second over the whole window.
	maxSeen = 10_000
)

// seen remembers the ids of recent clicks. Slack's signature says nothing about how often a request arrives.
type seen struct {
	limit int
	at    map[string]time.Time
	order []string // oldest first
}

func newSeen(limit int) *seen {
	return &seen{limit: limit, at: map[string]time.Time{}}
}

// add reports whether id is new within the window. When it is full it remembers nothing and returns an error: forgetting an
// older click instead would let its copy through.
func (s *seen) add(id string, now time.Time) (bool, error) {
	for len(s.order) > 0 {
		if now.Sub(s.at[s.order[0]]) < replayWindow {
			break
		}
		delete(s.at, s.order[0])
		s.order = s.order[1:]
	}
	if _, ok := s.at[id]; ok {
		return false, nil
	}
	if len(s.at) >= s.limit {
		return false, fmt.Errorf("%d clicks in %s are too many", s.limit, replayWindow)
	}
	s.at[id] = now
	s.order = append(s.order, id)
	return true, nil
}

// undo takes back the last successful add, for a click that was not taken after all.
func (s *seen) undo() {
	last := len(s.order) - 1
	delete(s.at, s.order[last])
	s.order = s.order[:last]
}
