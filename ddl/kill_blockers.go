package ddl

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Ended is a session that was ended because it stood in the way and had done nothing for too long inside a transaction.
type Ended struct {
	PID         int
	Application string        // application_name
	Idle        time.Duration // since its last statement, to the second
}

func (e Ended) String() string {
	return Blocker{PID: e.PID, Application: e.Application, State: "idle in transaction", Age: e.Idle}.String()
}

// idleStates are those of a session that does nothing and keeps its locks.
var idleStates = []string{"idle in transaction", "idle in transaction (aborted)"}

// endSession looks once more in the statement that ends: the backend may have gone, its pid may be another's, or it may be at
// work again.
const endSession = `
select coalesce(a.application_name, ''), extract(epoch from clock_timestamp() - a.state_change)::float8, pg_terminate_backend(a.pid)
from pg_stat_activity a
where a.pid = $1 and a.backend_start = $2 and a.state_change = $3 and a.state = any($4)
  and a.state_change < clock_timestamp() - make_interval(secs => $5)`

// endIdle ends those of the blockers that may be ended, and says what keeps it from doing so.
func (o *observer) endIdle(ctx context.Context, blockers []Blocker) (hint string) {
	after := o.engine.options.KillIdleAfter
	if after <= 0 {
		return ""
	}
	for _, b := range blockers {
		switch {
		case b.PID == 0 || b.autovacuum || o.engine.isOwn(b.PID):
		case b.State == "":
			hint = o.grant("see what pid %d does", b.PID)
		case slices.Contains(idleStates, b.State) && b.unchanged >= after:
			if o.engine.announce(ctx, b) != nil {
				hint = fmt.Sprintf("killBlockers: pid %d isn't ended, because that can't be recorded", b.PID)
				continue
			}
			ended, err := o.engine.end(ctx, b)
			var pgErr *pgconn.PgError
			switch {
			case err == nil:
				o.ended = append(slices.Clip(o.ended), ended)
			case errors.As(err, &pgErr) && pgErr.Code == stateInsufficientPrivilege:
				hint = o.grant("end pid %d", b.PID)
			}
		}
	}
	return hint
}

// grant is the way out where our role may not do something. Superusers' sessions stay closed to it.
func (o *observer) grant(what string, pid int) string {
	role := pgx.Identifier{o.engine.pool.Config().ConnConfig.User}.Sanitize()
	return fmt.Sprintf("killBlockers: our role may not "+what+": have a superuser run GRANT pg_signal_backend, pg_read_all_stats TO %s, or end it by hand", pid, role)
}

// standstill is a session that has done nothing since a moment.
type standstill struct {
	pid            int
	began, changed int64 // Unix time in microseconds
}

// announce tells of the session that is about to be ended, once.
func (e *Engine) announce(ctx context.Context, b Blocker) error {
	s := standstill{b.PID, b.began.UnixMicro(), b.changed.UnixMicro()}
	e.mu.Lock()
	told := e.announced[s]
	e.mu.Unlock()
	if e.options.OnEnd == nil || told {
		return nil
	}
	if err := e.options.OnEnd(ctx, Ended{PID: b.PID, Application: b.Application, Idle: b.unchanged.Round(time.Second)}); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.announced[s] = true
	return nil
}

// end fails with pgx.ErrNoRows if the session isn't idle any more. The change may get through before the answer is here, and who was
// ended must be known all the same.
func (e *Engine) end(ctx context.Context, b Blocker) (Ended, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	ended := Ended{PID: b.PID}
	var (
		idle  float64
		found bool
	)
	err := e.pool.QueryRow(ctx, endSession, int32(b.PID), b.began, b.changed, idleStates, e.options.KillIdleAfter.Seconds()).
		Scan(&ended.Application, &idle, &found)
	if err == nil && !found {
		err = pgx.ErrNoRows
	}
	ended.Idle = seconds(idle).Round(time.Second)
	return ended, err
}

// isOwn tells whether a backend is one of our sessions.
func (e *Engine) isOwn(pid int) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.own[uint32(pid)] > 0
}

// own counts a session as ours until release.
func (e *Engine) hold(s *session) (release func()) {
	pid := s.pid()
	count := func(n int) {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.own[pid] += n; e.own[pid] == 0 {
			delete(e.own, pid)
		}
	}
	count(1)
	return func() { count(-1) }
}
