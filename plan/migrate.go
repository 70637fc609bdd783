package plan

import (
	"fmt"
	"regexp"
	"time"
)

// Migrate brings the schema up to a version.
type Migrate struct {
	To uint `json:"to"`
	// Irreversible marks the point of no return: after it nothing is compensated automatically.
	Irreversible bool `json:"irreversible,omitempty"`
	// LockTimeout bounds each wait for a lock, and so how long the application may queue behind the change at a time.
	// Defaults to 500ms.
	LockTimeout Duration `json:"lockTimeout,omitempty"`
	// KillBlockers ends sessions that stand in the way: "idle in transaction > 5m" those that have done nothing for so long
	// inside an open transaction. Defaults to ending nobody's.
	KillBlockers string `json:"killBlockers,omitempty"`
}

const (
	// leastLockTimeout is what Postgres counts in.
	leastLockTimeout = time.Millisecond
	// mostLockTimeout is already longer than most clients wait for an answer.
	mostLockTimeout = time.Minute
	// leastIdle is longer than any application that is well does nothing inside a transaction.
	leastIdle = time.Second
)

var killBlockers = regexp.MustCompile(`^idle in transaction > (\S+)$`)

// KillIdleAfter is how long a session must have been idle in its transaction to be ended when it stands in the way; 0 ends
// nobody's.
func (m *Migrate) KillIdleAfter() (time.Duration, error) {
	if m.KillBlockers == "" {
		return 0, nil
	}
	words := killBlockers.FindStringSubmatch(m.KillBlockers)
	if words == nil {
		return 0, fmt.Errorf(`must be of the form "idle in transaction > 5m"; other sessions are never ended`)
	}
	after, err := time.ParseDuration(words[1])
	if err != nil || after < leastIdle {
		return 0, fmt.Errorf("must end in a duration of 1s or more, such as 5m")
	}
	return after, nil
}

func (d *decoder) migrate(at string, p *Plan, m *Migrate, reached uint) {
	if at := at + ".lockTimeout"; d.given(at) && (m.LockTimeout.Std() < leastLockTimeout || m.LockTimeout.Std() > mostLockTimeout) {
		d.report(at, "must be from %s to %s: so long the application may queue behind the change at a time", leastLockTimeout, mostLockTimeout)
	}
	if at := at + ".killBlockers"; d.given(at) {
		_, err := m.KillIdleAfter()
		switch {
		case m.KillBlockers == "":
			d.report(at, "is empty: remove it, or say whose sessions may be ended, such as %q", "idle in transaction > 5m")
		case err != nil:
			d.report(at, "%v", err)
		}
	}
	if d.isBroken(at + ".to") {
		return
	}
	switch {
	case m.To == 0:
		d.report(at+".to", "name the schema version to go to, 1 or more")
	case m.To <= reached:
		d.report(at+".to", "version %d is reached by an earlier step: versions only rise", m.To)
	}
	if p.Migrations == "" {
		d.report(at, "the plan has no migrations folder: add `migrations: FOLDER` at the top")
	}
}
