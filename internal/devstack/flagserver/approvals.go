package flagserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"
)

// ApprovalSettings say whether changes in the environment need approvals.
type ApprovalSettings struct {
	Required                         bool           `json:"required"`
	BypassApprovalsForPendingChanges bool           `json:"bypassApprovalsForPendingChanges"`
	MinNumApprovals                  int            `json:"minNumApprovals"`
	CanReviewOwnRequest              bool           `json:"canReviewOwnRequest"`
	CanApplyDeclinedChanges          bool           `json:"canApplyDeclinedChanges"`
	AutoApplyApprovedChanges         bool           `json:"autoApplyApprovedChanges"`
	ServiceKind                      string         `json:"serviceKind"`
	ServiceConfig                    map[string]any `json:"serviceConfig"`
	RequiredApprovalTags             []string       `json:"requiredApprovalTags"`
}

// Require sets how many approvals a change in the environment needs; 0 for none. With tags, only of flags that have one: then
// the settings don't say required, since LaunchDarkly takes either of the two ("Approval settings" of
// environments/patch-environment).
func (s *Server) Require(approvals int, tags ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.approvals = noApprovals()
	s.approvals.Required = approvals > 0 && len(tags) == 0
	s.approvals.MinNumApprovals = max(approvals, 1)
	s.approvals.RequiredApprovalTags = append(s.approvals.RequiredApprovalTags, tags...)
}

// ApproveBy lets another service than LaunchDarkly's own decide on approvals, as "servicenow", until the next Require. It wants
// fields of its own with each request: integrationConfig.
func (s *Server) ApproveBy(serviceKind string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.approvals.ServiceKind = serviceKind
}

const ownService = "launchdarkly"

func noApprovals() ApprovalSettings {
	return ApprovalSettings{
		MinNumApprovals: 1, ServiceKind: ownService, ServiceConfig: map[string]any{}, RequiredApprovalTags: []string{},
	}
}

// guarded tells whether a request may not change the flag without approval. The caller holds mu.
func (s *Server) guarded(flag Flag, r *http.Request) bool {
	bypass := s.options.BypassToken
	if bypass != "" && same(r.Header.Get("Authorization"), bypass) {
		return false
	}
	tagged := func(tag string) bool { return slices.Contains(s.approvals.RequiredApprovalTags, tag) }
	return s.approvals.Required || slices.ContainsFunc(flag.Tags, tagged)
}

// ApprovalRequest is the REST representation of one.
type ApprovalRequest struct {
	ID              string            `json:"_id"`
	Version         int               `json:"_version"`
	CreationDate    int64             `json:"creationDate"` // epoch ms
	ServiceKind     string            `json:"serviceKind"`
	RequestorID     string            `json:"requestorId"`
	Description     string            `json:"description"`
	ReviewStatus    string            `json:"reviewStatus"` // pending, approved, declined
	AllReviews      []Review          `json:"allReviews"`
	NotifyMemberIDs []string          `json:"notifyMemberIds"`
	AppliedDate     int64             `json:"appliedDate,omitempty"` // epoch ms
	Status          string            `json:"status"`                // pending, completed, failed, scheduled
	Instructions    []json.RawMessage `json:"instructions"`
	Conflicts       []any             `json:"conflicts"`
	Links           map[string]link   `json:"_links"`

	environment string
	patch       patch
}

// Review of an approval request.
type Review struct {
	ID           string `json:"_id"`
	Kind         string `json:"kind"`         // approve, comment, decline
	CreationDate int64  `json:"creationDate"` // epoch ms
	MemberID     string `json:"memberId"`
}

// Approvals returns copies of a flag's approval requests, oldest first.
func (s *Server) Approvals(key string) []ApprovalRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []ApprovalRequest{}
	for _, request := range s.requests[key] {
		out = append(out, *request)
	}
	return out
}

// Review gives a member's verdict, "approve" or "decline", on all requests for a flag that wait for one.
func (s *Server) Review(key, member, kind string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, request := range s.requests[key] {
		if request.Status != "pending" {
			continue
		}
		request.Version++
		request.AllReviews = append(request.AllReviews, Review{
			ID: objectID(uuid.NewString()), Kind: kind, CreationDate: time.Now().UnixMilli(), MemberID: objectID(member),
		})
		approvals := 0
		for _, review := range request.AllReviews {
			switch review.Kind {
			case "approve":
				approvals++
			case "decline":
				request.ReviewStatus = "declined"
			}
		}
		if request.ReviewStatus == "pending" && approvals >= s.approvals.MinNumApprovals {
			request.ReviewStatus = "approved"
		}
	}
}

func (s *Server) listApprovals(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if flag, ok := s.find(w, r); ok && s.ours(w, r) {
		answer(w, http.StatusOK, map[string]any{
			"items":  append([]*ApprovalRequest{}, s.requests[flag.Key]...),
			"_links": map[string]link{"self": jsonLink(r.URL.Path)},
		})
	}
}

// filing is what a request is made from: https://launchdarkly.com/docs/api/approvals/post-approval-request-for-flag
type filing struct {
	Description     string            `json:"description"`
	Comment         string            `json:"comment"`
	Instructions    []json.RawMessage `json:"instructions"`
	NotifyMemberIDs []string          `json:"notifyMemberIds"`
	NotifyTeamKeys  []string          `json:"notifyTeamKeys"`
	Integration     map[string]any    `json:"integrationConfig"`
}

func (s *Server) createApproval(w http.ResponseWriter, r *http.Request) {
	var body filing
	if strictly(r.Body, &body) != nil || body.Description == "" {
		refuse(w, http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	flag, ok := s.find(w, r)
	if !ok || !s.ours(w, r) || !s.allowed(w, flag.Key, "createApprovalRequest") {
		return
	}
	if s.approvals.ServiceKind != ownService && len(body.Integration) == 0 {
		explain(w, http.StatusBadRequest, "integrationConfig lacks required fields")
		return
	}
	request := &ApprovalRequest{
		ID: objectID(uuid.NewString()), Version: 1, CreationDate: time.Now().UnixMilli(), ServiceKind: s.approvals.ServiceKind,
		RequestorID: objectID("contraflow"), Description: body.Description, ReviewStatus: "pending", AllReviews: []Review{},
		NotifyMemberIDs: append([]string{}, body.NotifyMemberIDs...), Status: "pending", Instructions: body.Instructions, Conflicts: []any{},
		environment: r.PathValue("environment"),
	}
	request.Links = map[string]link{"self": jsonLink(r.URL.Path + "/" + request.ID)}
	if err := request.read(); err != nil {
		refuse(w, http.StatusBadRequest)
		return
	}
	if _, err := s.apply(flag, request.patch); err != nil {
		explain(w, http.StatusBadRequest, err.Error())
		return
	}
	s.requests[flag.Key] = append(s.requests[flag.Key], request)
	answer(w, http.StatusCreated, request)
}

// read takes the instructions apart.
func (a *ApprovalRequest) read() error {
	a.patch = patch{EnvironmentKey: a.environment}
	for _, raw := range a.Instructions {
		var in instruction
		if err := json.Unmarshal(raw, &in); err != nil {
			return err
		}
		a.patch.Instructions = append(a.patch.Instructions, in)
	}
	return nil
}

// approval answers 404 itself. The caller holds mu.
func (s *Server) approval(w http.ResponseWriter, r *http.Request) (Flag, *ApprovalRequest, bool) {
	flag, ok := s.find(w, r)
	if !ok || !s.ours(w, r) {
		return Flag{}, nil, false
	}
	for _, request := range s.requests[flag.Key] {
		if request.ID == r.PathValue("id") {
			return flag, request, true
		}
	}
	refuse(w, http.StatusNotFound)
	return Flag{}, nil, false
}

func (s *Server) getApproval(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, request, ok := s.approval(w, r); ok {
		answer(w, http.StatusOK, request)
	}
}

func (s *Server) deleteApproval(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	flag, request, ok := s.approval(w, r)
	if !ok || !s.allowed(w, flag.Key, "deleteApprovalRequest") {
		return
	}
	s.requests[flag.Key] = slices.DeleteFunc(s.requests[flag.Key], func(a *ApprovalRequest) bool { return a == request })
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) applyApproval(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	flag, request, ok := s.approval(w, r)
	if !ok || !s.allowed(w, flag.Key, "applyApprovalRequest") {
		return
	}
	if err := s.applyRequest(flag, request); err != nil {
		explain(w, http.StatusBadRequest, err.Error())
		return
	}
	answer(w, http.StatusOK, request)
}

var errNotApproved = errors.New("the request is not approved, or was applied before")

func (s *Server) applyRequest(flag Flag, request *ApprovalRequest) error {
	if request.ReviewStatus != "approved" || request.Status != "pending" {
		return errNotApproved
	}
	request.Version++
	changed, err := s.apply(flag, request.patch)
	if err == nil {
		err = s.put(changed)
	}
	if err != nil {
		request.Status = "failed"
		return fmt.Errorf("the request cannot be applied any more: %w", err)
	}
	request.Status, request.AppliedDate = "completed", time.Now().UnixMilli()
	return nil
}

// Fail lets the flag's open requests end as if they could not be applied.
func (s *Server) Fail(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, request := range s.requests[key] {
		if request.Status == "pending" {
			request.Status = "failed"
		}
	}
}
