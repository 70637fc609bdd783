package launchdarkly

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/internal/targeting"
)

// approvalRequest is the part of one that matters here:
// https://launchdarkly.com/docs/api/approvals/get-approval-for-flag
type approvalRequest struct {
	ID           string `json:"_id"`
	Description  string `json:"description"`
	ServiceKind  string `json:"serviceKind"`
	ReviewStatus string `json:"reviewStatus"` // pending, approved, declined
	Status       string `json:"status"`       // pending, completed, failed, scheduled
}

// filing is the body of a new one: https://launchdarkly.com/docs/api/approvals/post-approval-request-for-flag
type filing struct {
	Description     string   `json:"description"`
	Comment         string   `json:"comment,omitempty"`
	Instructions    []any    `json:"instructions"`
	NotifyMemberIDs []string `json:"notifyMemberIds,omitempty"`
	NotifyTeamKeys  []string `json:"notifyTeamKeys,omitempty"`
}

// digestLength in hex digits tells the requests of one step apart, of which there are a handful.
const digestLength = 8

// described names a request by who asks for what: the note, and a digest of the instructions. By that it is found again
// after a crash; LaunchDarkly may add to instructions that it returns, so they are not compared.
func described(note string, instructions []any) (string, error) {
	raw, err := json.Marshal(instructions)
	if err != nil {
		return "", fmt.Errorf("encode the instructions: %w", err)
	}
	sum := sha256.Sum256(raw)
	return fmt.Sprintf("%schange %s", mark(note), hex.EncodeToString(sum[:])[:digestLength]), nil
}

// mark begins the description of every request that is filed under a note, and of no other.
func mark(note string) string { return note + ": " }

// asking is what is known of the approval of one change.
type asking struct {
	description string
	request     *approvalRequest // that asks for it, and is not carried out; nil for none
	settings    *settings        // nil where they were not looked at, or the token may not
}

// asked looks for a request for this change, and where there is one whether approvals are required still: then the change is not
// tried without, since one that might make an approval request fail is refused. A request stays where it is until the change
// has been made: that settings seem to want no approval is no proof.
func (p *Provider) asked(ctx context.Context, current snapshot, instructions []any, note string) (a asking, waits bool, err error) {
	if !p.config.RequestApprovals {
		return a, false, nil
	}
	if a.description, err = described(note, instructions); err != nil {
		return a, false, err
	}
	all, err := p.requests(ctx, current.state.Key)
	if err != nil {
		return a, false, err
	}
	if a.request = open(all, a.description); a.request == nil {
		return a, false, nil
	}
	settings, err := p.environment(ctx, current.state.Key)
	if err != nil {
		return a, true, nil
	}
	a.settings = &settings
	return a, settings.guard(current.tags), nil
}

// open finds the request of this description that is not carried out yet; of several, as lost answers and lists that lag make them,
// one that is approved.
func open(all []approvalRequest, description string) *approvalRequest {
	var first *approvalRequest
	for i, found := range all {
		if found.Description != description || found.Status == "completed" {
			continue
		}
		if first == nil || found.approved() && !first.approved() {
			first = &all[i]
		}
	}
	return first
}

func (a approvalRequest) approved() bool {
	return a.Status == "pending" && a.ReviewStatus == "approved"
}

// petition takes a change that LaunchDarkly wants approved one step further. It returns the flag as it is once the change is
// made, and an ApprovalRequired while people have to act.
func (p *Provider) petition(
	ctx context.Context, current snapshot, want targeting.Targeting, instructions []any, note string, still flags.Still, asked asking,
) (snapshot, error) {
	key := current.state.Key
	known, request := asked.settings, asked.request
	if known == nil {
		known = p.settings(ctx, key)
	}
	required := &flags.ApprovalRequired{Key: key, Who: p.who(current, known)}
	switch {
	case !p.config.RequestApprovals:
		required.Who += "; make the change there, or let the API token's role bypass approvals, and the migration goes on"
		return snapshot{}, required
	case request == nil && known != nil && known.service() != Name: // its form may want fields that nobody here can fill in
		required.Who += fmt.Sprintf("; contraflow files requests with LaunchDarkly's own service alone: ask %s there for the change, or let the API "+
			"token's role bypass approvals, and the migration goes on", known.service())
		return snapshot{}, required
	}
	if request == nil {
		var err error
		if request, err = p.filed(ctx, current, asked.description, note, instructions); err != nil {
			return snapshot{}, err
		}
	}
	required.Who += "; approve the request " + request.ID + " there, and the migration goes on"
	switch {
	case request.Status == "failed": // it would stand in the way of a retry
		if err := p.remove(ctx, key, request.ID); err != nil {
			return snapshot{}, err
		}
		return snapshot{}, fmt.Errorf("flag %q: LaunchDarkly could not apply the approved request %s, because the flag was changed meanwhile, "+
			"so it was taken back: look at the flag, then retry to ask anew, or roll back: %w", key, request.ID, flags.ErrInvalid)
	case request.ReviewStatus == "declined":
		return snapshot{}, fmt.Errorf("flag %q: the approval request %s was declined in LaunchDarkly: %w", key, request.ID, flags.ErrDeclined)
	case !request.approved():
		return snapshot{}, required
	}
	// The request may have waited for days, and looking it up has taken a while.
	now, err := p.read(ctx, key)
	if err == nil && !now.targeting.Equal(current.targeting) {
		err = overtaken(key)
	}
	if err == nil {
		err = still.Ask(ctx, now.state)
	}
	if err != nil {
		return snapshot{}, err
	}
	err = p.carryOut(ctx, key, request.ID, note)
	if errors.Is(err, flags.ErrUnauthorized) { // people who approved may apply it as well
		required.Who += "; it is approved, and the API token may not apply it: apply it there, or give the token's role the action applyApprovalRequest"
		return snapshot{}, required
	}
	if err != nil {
		return snapshot{}, err
	}
	after, err := p.read(ctx, key)
	if err == nil && !after.targeting.Equal(want) {
		err = overtaken(key)
	}
	return after, err
}

// filed finds the request, or files it. What was asked for under the same note before and is asked for no more is taken back.
func (p *Provider) filed(
	ctx context.Context, current snapshot, description, note string, instructions []any,
) (*approvalRequest, error) {
	key := current.state.Key
	all, err := p.requests(ctx, key)
	if err != nil {
		return nil, err
	}
	if found := open(all, description); found != nil {
		return found, nil
	}
	if err := p.withdraw(ctx, key, note, all); err != nil {
		return nil, err
	}
	if err := flags.Late(ctx); err != nil {
		return nil, fmt.Errorf("too late to ask for a change of flag %q: %w", key, err)
	}
	body := filing{Description: description, Comment: note, Instructions: instructions, NotifyTeamKeys: p.teams(current)}
	if current.maintainer != "" {
		body.NotifyMemberIDs = []string{current.maintainer}
	}
	var made approvalRequest
	err = p.do(ctx, request{method: http.MethodPost, key: key, path: p.requestsPath(key), body: body, discreet: true}, &made)
	return &made, err
}

// carryOut applies an approved request: https://launchdarkly.com/docs/api/approvals/post-approval-request-apply-for-flag
func (p *Provider) carryOut(ctx context.Context, key, id, note string) error {
	if err := flags.Late(ctx); err != nil {
		return fmt.Errorf("too late to change flag %q: %w", key, err)
	}
	body := struct {
		Comment string `json:"comment,omitempty"`
	}{note}
	path := p.requestsPath(key) + "/" + escape(id) + "/apply"
	err := p.do(ctx, request{method: http.MethodPost, key: key, path: path, body: body, discreet: true}, &approvalRequest{})
	if errors.Is(err, flags.ErrInvalid) || errors.Is(err, flags.ErrNotFound) {
		// Somebody applied it or took it back in this moment, or it cannot be applied any more: reading again tells.
		return fmt.Errorf("%s: %w", err, flags.ErrConflict)
	}
	return err
}

// Withdraw deletes the requests under this note that nobody has applied, declined ones among them, so that a migration that is
// started again asks anew: https://launchdarkly.com/docs/api/approvals/delete-approval-request-for-flag
func (p *Provider) Withdraw(ctx context.Context, key, note string) error {
	if !p.config.RequestApprovals {
		return nil
	}
	_, err := retry(ctx, func() (struct{}, error) {
		all, err := p.requests(ctx, key)
		if err == nil {
			err = p.withdraw(ctx, key, note, all)
		}
		if errors.Is(err, flags.ErrNotFound) { // the flag is gone, and its requests with it
			err = nil
		}
		return struct{}{}, err
	})
	return err
}

func (p *Provider) withdraw(ctx context.Context, key, note string, all []approvalRequest) error {
	for _, found := range all {
		if !strings.HasPrefix(found.Description, mark(note)) || found.Status == "completed" {
			continue
		}
		if err := p.remove(ctx, key, found.ID); err != nil {
			return err
		}
	}
	return nil
}

func (p *Provider) remove(ctx context.Context, key, id string) error {
	err := p.do(ctx, request{method: http.MethodDelete, key: key, path: p.requestsPath(key) + "/" + escape(id), discreet: true}, nil)
	if err != nil && !errors.Is(err, flags.ErrNotFound) {
		return fmt.Errorf("take the approval request %s back: %w", id, err)
	}
	return nil
}

// requests are all of the flag's in this environment: https://launchdarkly.com/docs/api/approvals/get-approvals-for-flag
func (p *Provider) requests(ctx context.Context, key string) ([]approvalRequest, error) {
	var answer struct {
		Items []approvalRequest `json:"items"`
	}
	err := p.do(ctx, request{method: http.MethodGet, key: key, path: p.requestsPath(key)}, &answer)
	return answer.Items, err
}

// who says who must approve, as far as the API tells: it knows how many and by which service, and whom it notifies; anybody
// whose role has the action reviewApprovalRequest may.
func (p *Provider) who(current snapshot, known *settings) string {
	out := "approval"
	if known != nil {
		out = fmt.Sprintf("%s (service %s)", approvals(known.Approval.MinNumApprovals), known.service())
	}
	out += fmt.Sprintf(" of people who may review changes in environment %q", p.config.Environment)
	if teams := p.teams(current); len(teams) > 0 {
		out += " (team " + strings.Join(teams, ", ") + ")"
	}
	if strings.HasPrefix(current.page, "/") {
		out += ", at " + p.api.Redacted() + current.page
	}
	return out
}

// teams that are notified: those of the configuration, and the one that maintains the flag.
func (p *Provider) teams(current snapshot) []string {
	team := current.maintainerTeam
	if team == "" || slices.Contains(p.config.NotifyTeams, team) {
		return p.config.NotifyTeams
	}
	return append(slices.Clone(p.config.NotifyTeams), team)
}

func approvals(n int) string {
	if n <= 1 {
		return "1 approval"
	}
	return fmt.Sprintf("%d approvals", n)
}

// moment of a date in epoch milliseconds.
func moment(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }
