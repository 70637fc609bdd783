package activities

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/contraflow/contraflow/ddl"
	"github.com/contraflow/contraflow/internal/slackcard"
	"github.com/contraflow/contraflow/signals"
)

const (
	// longWait is when the chat hears of a wait: most are over before a person could have looked.
	longWait = 15 * time.Second
	// noticeEvery bounds how often it hears of others who block: readers may take turns in the way.
	noticeEvery = time.Minute
	// chatPatience bounds one notice, so that a silent chat doesn't keep the step from ending.
	chatPatience = 5 * time.Second
	// auditPatience bounds the record of who is about to be ended: the next look tries again.
	auditPatience = 5 * time.Second
)

// waits tells what a change of the schema waits for: the status at once, the audit who was ended, the chat what lasts.
type waits struct {
	db     *Database
	origin Origin
	chat   *Chat // nil for none
	status latest[signals.Blocked]
	now    latest[ddl.Waiting]
}

// hear is the engine's OnWait.
func (w *waits) hear(now ddl.Waiting) {
	w.status.set(signals.Blocked{Step: w.origin.Step, Text: now.String(), Progress: now.Progress})
	w.now.set(now)
}

// ends is the engine's OnEnd: the audit comes first, so that nobody is ended of whom it doesn't tell.
func (w *waits) ends(ctx context.Context, e ddl.Ended) error {
	ctx, cancel := context.WithTimeout(ctx, auditPatience)
	defer cancel()
	return audit(ctx, w.db, w.origin, "session", fmt.Sprintf("ends %s, because it stands in the way", e))
}

// follow posts to the chat until stop, which returns when the last notice is out.
func (w *waits) follow(ctx context.Context) (stop func()) {
	if w.chat == nil {
		return func() {}
	}
	following, cancel := context.WithCancel(ctx)
	var (
		done  sync.WaitGroup
		story waitStory
	)
	done.Go(func() {
		ticker := time.NewTicker(heartbeatEvery)
		defer ticker.Stop()
		for {
			select {
			case <-following.Done():
				return
			case at := <-ticker.C:
				w.post(ctx, story.news(at, w.now.get()))
			}
		}
	})
	return func() {
		cancel()
		done.Wait()
		if now := w.now.get(); !now.Waits() {
			w.post(ctx, story.news(time.Now(), now))
		}
	}
}

// cancelled brings along what a change that was cancelled, as by its step's timeout, was waiting for.
func (w *waits) cancelled(ctx context.Context, err error) error {
	if now := w.now.get(); now.Waits() && temporal.IsCanceledError(context.Cause(ctx)) {
		return temporal.NewCanceledError(now.String())
	}
	return err
}

// failed is fail, for changes of the schema: what cancelled has said stays.
func failed(ctx context.Context, err error) error {
	if ended, ok := errors.AsType[*temporal.CanceledError](err); ok && ended.HasDetails() {
		return ended
	}
	return fail(ctx, err)
}

// post tells people what is worth it; a chat that fails is no reason to fail.
func (w *waits) post(ctx context.Context, text string) {
	if text == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(w.chat.patience, chatPatience))
	defer cancel()
	_, _ = w.chat.Poster.Post(ctx, w.chat.Channel, slackcard.Notice{Kind: slackcard.NoticeProgress,
		Text: fmt.Sprintf("%s: %s", w.origin.Step, text), Migration: w.origin.Migration, TemporalURL: w.chat.url(w.origin)})
}

// waitStory is what the chat has heard of one wait.
type waitStory struct {
	since, told time.Time
	who         []int // who was named as blocking
}

// news is what to tell people at a moment; "" for nothing.
func (s *waitStory) news(at time.Time, w ddl.Waiting) string {
	if !w.Waits() {
		text := ""
		if !s.told.IsZero() {
			text = fmt.Sprintf("the wait is over after %s", at.Sub(s.since).Round(time.Second))
		}
		*s = waitStory{}
		return text
	}
	if s.since.IsZero() {
		s.since = at
	}
	who := make([]int, len(w.Blockers))
	for i, b := range w.Blockers {
		who[i] = b.PID
	}
	known := !s.told.IsZero() && (len(who) == 0 || slices.Equal(who, s.who) || at.Sub(s.told) < noticeEvery)
	if at.Sub(s.since) < longWait || known {
		return ""
	}
	s.told, s.who = at, who
	return fmt.Sprintf("has waited %s for %s", at.Sub(s.since).Round(time.Second), w)
}
