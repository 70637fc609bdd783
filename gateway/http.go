package gateway

import (
	"bytes"
	"errors"
	"io"
	"net/http"

	"github.com/slack-go/slack"

	"github.com/contraflow/contraflow/internal/slackcard"
)

// InteractionsPath is where Slack's "Request URL" for interactivity must point.
const InteractionsPath = "/slack/interactions"

// maxBody bounds a request: an interaction carries its whole message, at most 50 blocks, JSON in form encoding.
const maxBody = 1 << 20

// Handler serves InteractionsPath for Slack and /healthz, which answers 503 once Close was called.
func (g *Gateway) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+InteractionsPath, g.interaction)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if g.closing() {
			http.Error(w, "closing", http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ok\n")
	})
	return mux
}

// interaction verifies, accepts and answers; the work happens afterwards, because Slack waits 3 seconds only.
func (g *Gateway) interaction(w http.ResponseWriter, r *http.Request) {
	refuse := func(status int, why string) {
		g.cfg.Log.WarnContext(r.Context(), "refused a request to the Slack gateway", "status", status, "why", why)
		http.Error(w, why, status)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			refuse(http.StatusRequestEntityTooLarge, "the body is larger than any Slack interaction")
			return
		}
		refuse(http.StatusBadRequest, "the body could not be read")
		return
	}
	if why := g.verify(r.Header, body); why != "" {
		refuse(http.StatusUnauthorized, why)
		return
	}
	ic, err := parse(r, body)
	if err != nil {
		refuse(http.StatusBadRequest, "the body is not a form with a Slack interaction in its field payload")
		return
	}
	switch err := g.Interact(r.Context(), ic); {
	case err == nil, errors.Is(err, slackcard.ErrNotOurs):
		w.WriteHeader(http.StatusOK)
	case errors.Is(err, slackcard.ErrMalformed):
		refuse(http.StatusBadRequest, err.Error())
	default:
		refuse(http.StatusServiceUnavailable, ErrUnavailable.Error())
	}
}

// verify returns "" or what is wrong with the request's signature.
func (g *Gateway) verify(header http.Header, body []byte) string {
	verifier, err := slack.NewSecretsVerifier(header, g.cfg.SigningSecret)
	if errors.Is(err, slack.ErrExpiredTimestamp) {
		return "the request is more than 5 minutes old or new; compare this machine's clock"
	}
	if err == nil {
		if _, err = verifier.Write(body); err == nil {
			err = verifier.Ensure()
		}
	}
	if err != nil {
		return "the Slack signature is missing or wrong; compare the signing secret with the app's page"
	}
	return ""
}

func parse(r *http.Request, body []byte) (slack.InteractionCallback, error) {
	r.Body = io.NopCloser(bytes.NewReader(body))
	return slack.InteractionCallbackParse(r)
}
