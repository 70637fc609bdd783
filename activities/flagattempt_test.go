package activities

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/ledger"
)

// mishap kills the worker before or behind one of its calls to the flag service, or before one of its statements to the
// ledger: behind a statement is before the next call. The dead do nothing any more.
type mishap struct {
	mu   sync.Mutex
	left int // calls until then; below 0 for never
	dead bool
}

// in sets how many calls go well until then; below 0 all do. It tells whether the worker had died before.
func (m *mishap) in(calls int) (died bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	died = m.dead
	m.left, m.dead = calls, false
	return died
}

// met tells whether the worker is dead by now.
func (m *mishap) met() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead = m.dead || m.left == 0
	m.left--
	return m.dead
}

// TraceQueryStart lets the statements of the dead fail.
func (m *mishap) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return m.context(ctx)
}

func (m *mishap) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (m *mishap) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return m.context(ctx)
}

func (m *mishap) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

func (m *mishap) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

func (m *mishap) context(ctx context.Context) context.Context {
	if !m.met() {
		return ctx
	}
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	return ctx
}

// mortalDatabase is one whose statements the mishap counts.
func mortalDatabase(t *testing.T, dsn string, m *mishap) *Database {
	t.Helper()
	m.in(-1)
	whole, err := OpenDatabase(t.Context(), dsn)
	require.NoError(t, err)
	defer whole.Close()
	open := func(pool *pgxpool.Pool) *pgxpool.Pool {
		config := pool.Config()
		config.ConnConfig.Tracer = m
		traced, err := pgxpool.NewWithConfig(t.Context(), config)
		require.NoError(t, err)
		t.Cleanup(traced.Close)
		return traced
	}
	db := &Database{pool: open(whole.pool), control: open(whole.control)}
	db.ledger = ledger.New(db.control)
	require.NoError(t, db.ready(t.Context()))
	return db
}

// attempt is one attempt at an activity, and the flag service as it meets it: its worker may die at any call, or be frozen there
// while others go on, and each change that it makes is looked at from outside.
type attempt struct {
	flags.Provider
	flags.Creator
	history *history
	does    string // stage, undo or retire
	in      FlagInput
	pauses  int    // calls until it is frozen; below 1 for never
	frozen  func() // what others do meanwhile
	unseen  bool   // no service tells of them between its look and its change
	base    document
	aim     *reading // what it is about to make
}

// pause is a point at which a process may stand still.
func (a *attempt) pause() {
	if a.pauses--; a.pauses == 0 {
		died := a.history.mishap.in(-1)
		require.False(a.history, died)
		a.history.standing(a.frozen)
	}
	a.base = a.history.now()
}

func calling[Out any](a *attempt, call func() (Out, error)) (out Out, err error) {
	a.pause()
	return last(a, call)
}

// last is a call that is itself the last moment before a change: nothing can be asked behind it.
func last[Out any](a *attempt, call func() (Out, error)) (out Out, err error) {
	if a.history.mishap.met() {
		return out, errCrash
	}
	a.base = a.history.now()
	out, err = call()
	a.history.wrote(a)
	if a.history.mishap.met() {
		var none Out
		return none, errors.Join(err, errCrash)
	}
	return out, err
}

func (a *attempt) Get(ctx context.Context, key string) (flags.State, error) {
	return calling(a, func() (flags.State, error) { return a.Provider.Get(ctx, key) })
}

func (a *attempt) Preview(ctx context.Context, key string, c flags.Change) (flags.State, error) {
	return calling(a, func() (flags.State, error) {
		if far := c.Percent == 100 || c.Stage == flags.StageComplete; a.base != nil && (!far || a.in.isFull()) { // else it only looks ahead
			aim := a.base.says().with(c)
			a.aim = &aim
		}
		return a.Provider.Preview(ctx, key, c)
	})
}

func (a *attempt) Create(ctx context.Context, key string, f flags.NewFlag) error {
	_, err := last(a, func() (struct{}, error) { return struct{}{}, a.Creator.Create(ctx, key, f) })
	return err
}

func (a *attempt) Apply(ctx context.Context, key string, c flags.Change, note string, still flags.Still) (flags.State, error) {
	a.aims()
	return calling(a, func() (flags.State, error) {
		a.history.applied = true // also where others have come meanwhile
		return a.Provider.Apply(ctx, key, c, note, a.still(still))
	})
}

func (a *attempt) Restore(ctx context.Context, key string, before, ours flags.State, note string, still flags.Still) (flags.State, error) {
	return calling(a, func() (flags.State, error) { return a.Provider.Restore(ctx, key, before, ours, note, a.still(still)) })
}

func (a *attempt) Archive(ctx context.Context, key, note string) error {
	_, err := last(a, func() (struct{}, error) { return struct{}{}, a.Provider.Archive(ctx, key, note) })
	return err
}

// aims lets it be known: made by somebody else it is as good as ours.
func (a *attempt) aims() {
	if a.aim != nil {
		a.history.aims = append(a.history.aims, *a.aim)
	}
}

// still may die or stand still at the last moment before a change.
func (a *attempt) still(ask flags.Still) flags.Still {
	if ask == nil {
		return nil
	}
	return func(ctx context.Context, found flags.State) error {
		if a.history.mishap.met() {
			return errors.Join(errCrash, flags.ErrSuperseded) // so that it is not tried again
		}
		if !a.history.service.locks && !a.unseen {
			a.pause()
		}
		if err := ask(ctx, found); err != nil {
			return errors.Join(err, flags.ErrSuperseded)
		}
		return nil
	}
}
