// Package gateway takes people's clicks in Slack and turns them into decisions for running migrations.
//
// HTTP interactions arrive at Handler. What is independent of the transport (decoding, who may, once only, telling the person)
// stands behind Interact, so another transport needs only to verify its sender and call it.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/slack-go/slack"

	"github.com/contraflow/contraflow/internal/slackcard"
)

const (
	// workers is how many decisions are on their way at once; each only waits for the network.
	workers = 8
	// queueLength is how many more may wait; beyond it Slack shows the person an error, which is better than a late decision.
	queueLength = 64
	// handlingTimeout bounds one decision with all its attempts, so that Close ends in bounded time.
	handlingTimeout = 30 * time.Second
)

// ErrRefused, wrapped by an error of Decide, says that another attempt cannot change the answer. The person is shown the
// error's text; all other errors are only logged, because they may name hosts and users.
var ErrRefused = errors.New("decision refused")

// ErrUnavailable is returned by Interact while the gateway closes or has too much to do. The click was not taken.
var ErrUnavailable = errors.New("contraflow cannot take the click now, press again in a minute")

// Decision is one person's decision on one step of one plan hash.
type Decision struct {
	Migration string // workflow id
	Step      string
	PlanHash  string
	By        string // name of the person, as plans write it
	Decision  string // "approve" or "reject"
	Reason    string // may be empty
	ID        string // the same for every delivery of one click
}

// Decider hands a decision to its migration. It is called again, with the same ID, if it fails without ErrRefused.
type Decider interface {
	Decide(ctx context.Context, d Decision) error
}

// Config of a gateway. All fields but Log are required.
type Config struct {
	// SigningSecret of the Slack app.
	SigningSecret string
	// People maps Slack user ids to the names plans use.
	People map[string]string
	// Decider hands decisions to migrations.
	Decider Decider
	// Slack has a bot token with the scope chat:write; it tells people why their click had no effect.
	Slack *slack.Client
	// Log gets who decided what, and failures. Defaults to no log.
	Log *slog.Logger
}

// Gateway is ready after New; Close it to let accepted decisions finish.
type Gateway struct {
	cfg    Config
	poster *slackcard.Poster
	seen   *seen

	mu     sync.Mutex // guards seen and closed, and sending to queue against closing it
	closed bool
	queue  chan job
	abort  chan struct{} // closed when Close gives up waiting
	done   sync.WaitGroup
}

type job struct {
	ctx   context.Context
	click slackcard.Click
}

// New starts the gateway's workers. It fails if a required part of the configuration is missing.
func New(cfg Config) (*Gateway, error) {
	switch {
	case cfg.SigningSecret == "":
		return nil, errors.New("slack gateway: the signing secret is missing; it is on the app's page under Basic Information")
	case len(cfg.People) == 0:
		return nil, errors.New("slack gateway: nobody could decide; map Slack user ids to the names plans use")
	case cfg.Decider == nil || cfg.Slack == nil:
		return nil, errors.New("slack gateway: a Decider and a Slack client are required")
	}
	cfg.People = maps.Clone(cfg.People)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	g := &Gateway{
		cfg: cfg, poster: slackcard.NewPoster(cfg.Slack), seen: newSeen(maxSeen),
		queue: make(chan job, queueLength), abort: make(chan struct{}),
	}
	for range workers {
		g.done.Go(func() {
			for j := range g.queue {
				g.handle(j)
			}
		})
	}
	return g, nil
}

// Interact takes one interaction whose sender has been verified and returns at once; the work goes on after ctx ends. A click
// that was taken before is acknowledged and dropped. Errors: slackcard.ErrNotOurs, slackcard.ErrMalformed, ErrUnavailable.
func (g *Gateway) Interact(ctx context.Context, ic slack.InteractionCallback) error {
	click, err := slackcard.Decode(ic)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return ErrUnavailable
	}
	switch fresh, err := g.seen.add(click.ID(), time.Now()); {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case !fresh:
		g.cfg.Log.InfoContext(ctx, "dropped a click that was delivered again", "id", click.ID())
		return nil
	}
	select {
	case g.queue <- job{ctx: context.WithoutCancel(ctx), click: click}:
		return nil
	default:
		g.seen.undo()
		return ErrUnavailable
	}
}

// Close takes no more clicks and waits until the accepted ones are handled. When ctx ends first, it cancels what is left and
// returns ctx's error; those people have not been told.
func (g *Gateway) Close(ctx context.Context) error {
	g.mu.Lock()
	first := !g.closed
	g.closed = true
	if first {
		close(g.queue)
	}
	g.mu.Unlock()

	drained := make(chan struct{})
	go func() {
		g.done.Wait()
		close(drained)
	}()
	select {
	case <-drained:
		return nil
	case <-ctx.Done():
		if first {
			close(g.abort)
		}
		<-drained
		return fmt.Errorf("close the Slack gateway with decisions under way: %w", ctx.Err())
	}
}

func (g *Gateway) closing() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed
}
