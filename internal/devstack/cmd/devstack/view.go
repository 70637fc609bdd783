package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/term"

	"github.com/contraflow/contraflow/examples/shop/app"
	"github.com/contraflow/contraflow/examples/shop/load"
	"github.com/contraflow/contraflow/internal/watch"
)

const (
	// followInterval: twice a second looks alive.
	followInterval = 500 * time.Millisecond
	// tellInterval of the counters where lines are written and nothing is redrawn.
	tellInterval = 5 * time.Second
	// hopelessFor is how long a migration may wait for people when nobody is there but alice, who takes a second.
	hopelessFor = 30 * time.Second
	// plainWidth is the width of lines where there is no terminal to ask.
	plainWidth = 100
)

// view is what one sees while the migration runs.
type view struct {
	*show
	live     *watch.Live
	terminal *os.File // nil where there is none
	shop     atomic.Pointer[app.Stats]
	backfill time.Duration // how long it took; its compensation, if one comes, forgets that

	mu      sync.Mutex
	killsAt []string
	inChunk int // kills that met a chunk
	// revivals of a worker that somebody else killed.
	revivals int
	presses  []string
}

func newView(d *show) *view {
	v := &view{show: d}
	if f, ok := d.stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		v.terminal = f
	}
	v.live = watch.NewLive(d.stderr, v.extra)
	v.shop.Store(&app.Stats{})
	return v
}

// ask keeps the shop's own counters fresh until ctx ends.
func (v *view) ask(ctx context.Context) {
	for {
		if stats, err := v.stack.ShopStats(ctx); err == nil { // the last answer stays; the load notices what fails
			v.shop.Store(&stats)
		}
		if !pause(ctx, followInterval) {
			return
		}
	}
}

// follow shows the migration until it has ended. Without a person in the house it gives up when one is needed.
func (v *view) follow(ctx context.Context, id, runID string) (last watch.Snapshot, err error) {
	defer func() { _ = v.live.Close() }()
	var hopelessSince time.Time
	told := time.Now()
	for {
		s, err := watch.Fetch(ctx, v.stack.Client, id, runID)
		if err != nil {
			return last, err
		}
		if s.Status == nil && !s.Closed { // while no worker answers, the table as it was is better than none
			s.Status = last.Status
		}
		last = s
		if took := backfillTime(s); took > 0 {
			v.backfill = took
		}
		if err := v.live.Show(s); err != nil {
			return last, err
		}
		if s.Closed {
			return last, nil
		}
		if v.terminal == nil && time.Since(told) >= tellInterval {
			told = time.Now()
			v.tell(v.counters())
		}
		switch why := hopeless(s); {
		case why == "" || v.interactive:
			hopelessSince = time.Time{}
		case hopelessSince.IsZero():
			hopelessSince = time.Now()
		case time.Since(hopelessSince) > hopelessFor:
			return last, fmt.Errorf("the migration does not go on: %s", why)
		}
		if !pause(ctx, followInterval) {
			return last, ctx.Err()
		}
	}
}

// tell writes a line where lines are written; on a terminal the drawing tells it.
func (v *view) tell(text string) {
	if v.terminal == nil {
		v.say("%s  %s", time.Now().Format(time.TimeOnly), text)
	}
}

func (v *view) killed(share float64, inChunk bool) {
	at := fmt.Sprintf("%.0f %%", share*100)
	v.mu.Lock()
	v.killsAt = append(v.killsAt, at)
	if inChunk {
		v.inChunk++
	}
	v.mu.Unlock()
	v.tell("killed the worker at " + at + " of the backfill, and started it again")
}

func (v *view) revived() {
	v.mu.Lock()
	v.revivals++
	v.mu.Unlock()
	v.tell("the worker was killed and started again")
}

func (v *view) kills() (n, inChunk, revivals int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.killsAt), v.inChunk, v.revivals
}

func (v *view) pressed(step string) {
	v.mu.Lock()
	v.presses = append(v.presses, step)
	v.mu.Unlock()
	v.tell("alice pressed Approve on the card of step " + step)
}

// extra are the lines below the drawing.
func (v *view) extra() []string {
	s := v.shop.Load()
	lines := []string{
		"",
		labelled("load", v.counters()),
		labelled("shop", fmt.Sprintf("reads: old %s, new %s · writes: old %s, both %s, new %s",
			number(s.ReadsOld), number(s.ReadsNew), number(s.WritesOld), number(s.WritesBoth), number(s.WritesNew))),
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.killsAt) > 0 {
		lines = append(lines, labelled("worker", fmt.Sprintf("killed %s, at %s", times(len(v.killsAt)), strings.Join(v.killsAt, ", "))))
	}
	if v.revivals > 0 {
		lines = append(lines, labelled("worker", "the worker was killed and started again, "+times(v.revivals)))
	}
	if len(v.presses) > 0 {
		lines = append(lines, labelled("alice", "pressed Approve on "+strings.Join(v.presses, ", ")))
	}
	width := plainWidth
	if w, _, err := term.GetSize(int(v.terminal.Fd())); err == nil {
		width = w
	}
	for i, line := range lines {
		if cells := []rune(line); len(cells) > width { // a line that wraps would break the redrawing
			lines[i] = string(cells[:width-1]) + "…"
		}
	}
	return lines
}

func (v *view) counters() string { return loadLine(v.load.Stats()) }

func loadLine(s load.Stats) string {
	return fmt.Sprintf("%s requests, %s failed · %s wrong reads · p99 %s",
		number(s.Requests), number(s.Failed), number(s.WrongReads), milliseconds(s.P99))
}

// labelled is a line in the manner of the drawing above it.
func labelled(label, text string) string { return fmt.Sprintf("  %-11s%s", label, text) }

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
