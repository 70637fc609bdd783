package flags

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// What can go wrong with a flag. All but ErrConflict stay wrong until a person acts.
var (
	ErrNotFound         = errors.New("flag not found")
	ErrUnauthorized     = errors.New("not authorized")
	ErrApprovalRequired = errors.New("approval required")
	ErrConflict         = errors.New("conflicting change under way")
	ErrNotBoolean       = errors.New("not a boolean flag")
	ErrArchived         = errors.New("flag is archived")
	ErrNotRestorable    = errors.New("configuration could not be put back")
	ErrInvalid          = errors.New("invalid request")
	ErrStranger         = errors.New("changed by someone else")
	ErrSuperseded       = errors.New("superseded")
	ErrDeclined         = errors.New("approval declined")
)

// ApprovalRequired says that people must approve a change in the flag service before it can be made. It matches
// ErrApprovalRequired. The same call succeeds once they have, or once somebody made the change.
type ApprovalRequired struct {
	Key string
	// Who must approve what and where, in words: "1 approval, …".
	Who string
}

func (e *ApprovalRequired) Error() string {
	return fmt.Sprintf("flag %q waits for an approval in the flag service: %s", e.Key, e.Who)
}

// Is makes errors.Is(err, ErrApprovalRequired) true.
func (e *ApprovalRequired) Is(target error) bool { return target == ErrApprovalRequired }

// RateLimited says that the service refuses requests until a moment.
type RateLimited struct{ Until time.Time }

func (e *RateLimited) Error() string {
	return "rate limited until " + e.Until.UTC().Format(time.RFC3339Nano)
}

// Stranger is the refusal to overwrite a change that someone else made. It matches ErrStranger.
type Stranger struct {
	Key string
	// Differs names, in words and never with a target's key, what differs from the state this migration left.
	Differs []string
	// Ours and Theirs are the Summary of the state that this migration left, "" where it left none, and of the present one.
	Ours, Theirs string
}

func (e *Stranger) Error() string {
	text := fmt.Sprintf("flag %q was changed by someone else (%s)", e.Key, strings.Join(e.Differs, ", "))
	if e.Ours != "" {
		text += fmt.Sprintf(": this migration left it %q", e.Ours)
	}
	if e.Theirs != "" {
		text += fmt.Sprintf("; it is %q now", e.Theirs)
	}
	return text
}

// Is makes errors.Is(err, ErrStranger) true.
func (e *Stranger) Is(target error) bool { return target == ErrStranger }

// Permanent reports whether a retry of the same call cannot help. After an ApprovalRequired it helps only once people acted.
func Permanent(err error) bool {
	for _, permanent := range []error{
		ErrNotFound, ErrUnauthorized, ErrApprovalRequired, ErrNotBoolean,
		ErrArchived, ErrNotRestorable, ErrInvalid, ErrStranger, ErrSuperseded, ErrDeclined,
	} {
		if errors.Is(err, permanent) {
			return true
		}
	}
	return false
}
