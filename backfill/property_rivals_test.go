package backfill_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/contraflow/contraflow/backfill"
	"github.com/contraflow/contraflow/internal/devstack/pgproxy"
)

// Two attempts at one lane, each of whose statements waits for its turn: one walks the lane to its end, the other is fenced, or
// comes when there is nothing left to do.
func TestPropertyOfTwoAttemptsAtOneLaneOneWins(t *testing.T) {
	property(t, func(t *rapid.T, b bundle) {
		m := newMigration(t, b, drawShape(t))
		m.spec.Lanes = 1
		m.engine = backfill.New(m.open(b.DSN, 200*time.Millisecond))
		m.prepare()

		turns := &turns{bursts: rapid.SliceOfN(rapid.IntRange(1, 25), 2, 40).Draw(t, "bursts")}
		turns.changed.L = &turns.mu
		defer context.AfterFunc(m.ctx, turns.stop)()
		var ends [2]error
		var wg sync.WaitGroup
		for i := range ends {
			proxy := pgproxy.Start(t, b.DSN)
			proxy.OnStatement(func(s pgproxy.Statement) {
				turns.wait(i)
				m.note("attempt %d %4d %.100s", i, s.N, s.SQL)
			})
			rival := backfill.New(m.open(proxy.DSN(), 200*time.Millisecond))
			wg.Go(func() {
				defer turns.end(i)
				ends[i] = m.untilDoneOrFenced(rival)
			})
		}
		wg.Wait()
		m.note("ends: %v", ends)

		winner := 0
		if ends[0] != nil {
			winner = 1
		}
		require.NoError(t, ends[winner], "neither has won")
		if loser := ends[1-winner]; loser != nil {
			require.ErrorIs(t, loser, backfill.ErrFenced)
		}
		m.verify() // of a backfill with a condition too: nobody has written meanwhile
		m.finish()
	})
}

// untilDoneOrFenced walks lane 0 as an activity would: contention passes.
func (m *migration) untilDoneOrFenced(e *backfill.Engine) error {
	for {
		_, err := e.RunLane(m.ctx, m.spec, 0, backfill.LaneOptions{})
		if err == nil || backfill.Permanent(err) || m.ctx.Err() != nil {
			return err
		}
		m.note("error: %v", err)
	}
}

// turns lets the statements of two attempts through in bursts. A statement has been executed when its attempt asks for the next.
type turns struct {
	mu      sync.Mutex
	changed sync.Cond
	bursts  []int // statements that an attempt and then the other may send, by turns, round and round
	count   int   // statements in the present burst
	turn    int
	sent    bool // the attempt whose turn it is has begun a statement
	ended   [2]bool
	stopped bool
}

func (t *turns) wait(i int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.turn == i && t.sent {
		t.sent = false
		if t.count++; t.count >= t.bursts[0] {
			t.bursts = append(t.bursts[1:], t.bursts[0])
			t.count = 0
			t.pass()
		}
	}
	for t.turn != i && !t.stopped {
		t.changed.Wait()
	}
	t.sent = true
}

// pass the turn on, unless the other has ended.
func (t *turns) pass() {
	if !t.ended[1-t.turn] {
		t.turn = 1 - t.turn
		t.sent = false
	}
	t.changed.Broadcast()
}

func (t *turns) end(i int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended[i] = true
	if t.turn == i {
		t.pass()
	}
}

func (t *turns) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = true
	t.changed.Broadcast()
}
