// Package backfill changes every row of a big table in small transactions while the application keeps working.
//
// A backfill is split into lanes, contiguous ranges of a unique key. A lane is walked in chunks; one transaction changes a
// chunk's rows and moves the lane's cursor, so that a crash anywhere loses both or neither and no row is changed twice.
// Cursors live in the database that is changed (table contraflow.backfill_lane), under the names of the plan and the step and
// a hash of what the step does: whoever comes back with the same Spec goes on where the last attempt stopped.
//
// An Engine knows its database and nothing else. The usual order of calls is Inspect, Prepare, RunLane for every lane (also
// several at once, also on several machines), Finish; Reset forgets everything.
package backfill

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

const (
	// DefaultChunkTime keeps the rows of a chunk locked for less than a person notices.
	DefaultChunkTime = 200 * time.Millisecond
	// DefaultChunkRows is the first chunk: well below DefaultChunkTime on slow disks, some doublings from the usual pace.
	DefaultChunkRows = 250
	// maxLanes is far above where lanes still help: each keeps a connection and a core of the database busy.
	maxLanes = 64
)

// Spec says what a backfill does. Names of tables and columns are written as in SQL: `customers`, `shop.customers`,
// `"My Table"`; without double quotes they are folded to lower case.
type Spec struct {
	// Plan and Step name the checkpoints.
	Plan, Step string
	// Table to change, with its schema where the search path does not lead to it.
	Table string
	// Key columns, over exactly which a unique index exists, none of them nullable. Defaults to the primary key.
	Key []string
	// Set is what to assign, in the order of the plan. Either Set or Transform is given.
	Set []Assignment
	// Transform names a function that computes the new values in Go: see WithTransforms.
	Transform string
	// Where is the condition that a row still has to be changed, an SQL expression over the table's columns that Set makes
	// untrue. Defaults to none: every row is changed once, and Finish can prove only that all lanes were walked.
	Where string
	// Lanes to split the table into. Existing checkpoints keep the number they were made with. Defaults to what suits the
	// server's cores and the table's size: see Target.Lanes.
	Lanes int
	// ChunkTime to aim at for one chunk. Defaults to DefaultChunkTime.
	ChunkTime time.Duration
	// ChunkRows walked by the first chunk; later ones find their size by ChunkTime. Defaults to DefaultChunkRows.
	ChunkRows int
	// RowsPerSecond changed at most, by all lanes together, unless Control says otherwise. Defaults to no cap.
	RowsPerSecond int
	// Windows are the times of day at which the lanes may work. Defaults to always.
	Windows []Window
	// Throttles hold all lanes while a reading is too high. Defaults to none; an autovacuum that prevents wraparound on the
	// table always goes first.
	Throttles []Throttle
	// Protect keeps a latency of the application under a bound by choosing speed and size of chunks. Defaults to nil: full speed.
	Protect *Protect
	// Vacuum makes room for new row versions while the lanes walk, so that the table does not grow to twice its size.
	Vacuum bool
	// MaxRejects is how many rows may be set aside because Postgres (or the transform) refuses their new values; one more fails the backfill.
	MaxRejects int
}

// Assignment of an SQL expression to a column.
type Assignment struct{ Column, Expr string }

// Hash of what the backfill does to the rows: table, key, assignments and condition, as written. How fast it goes does not count.
func (s Spec) Hash() string {
	key := s.Key
	if key == nil {
		key = []string{}
	}
	// Strings alone cannot fail to marshal.
	canonical, _ := json.Marshal(struct {
		Version   int
		Table     string
		Key       []string
		Set       []Assignment
		Transform string
		Where     string
	}{1, s.Table, key, s.Set, s.Transform, s.Where})
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:])
}

func (s Spec) withDefaults() Spec {
	if s.ChunkTime == 0 {
		s.ChunkTime = DefaultChunkTime
	}
	if s.ChunkRows == 0 {
		s.ChunkRows = DefaultChunkRows
	}
	return s
}

func (s Spec) check() error {
	switch {
	case s.Plan == "" || s.Step == "":
		return fmt.Errorf("%w: plan and step must have a name, it is the name of the checkpoints", ErrSpec)
	case s.Table == "":
		return fmt.Errorf("%w: table is missing", ErrSpec)
	case len(s.Set) == 0 && s.Transform == "":
		return fmt.Errorf("%w: neither set nor transform is given, so there is nothing to change", ErrSpec)
	case len(s.Set) > 0 && s.Transform != "":
		return fmt.Errorf("%w: both set and transform are given; one of them computes the new values", ErrSpec)
	case s.Lanes < 0 || s.Lanes > maxLanes:
		return fmt.Errorf("%w: lanes is %d; give 1 to %d", ErrSpec, s.Lanes, maxLanes)
	case s.ChunkTime < 0 || s.ChunkRows < 0 || s.ChunkRows > maxChunkRows || s.RowsPerSecond < 0 || s.MaxRejects < 0:
		return fmt.Errorf("%w: chunk time, chunk rows (at most %d), rows per second and max rejects cannot be negative", ErrSpec, maxChunkRows)
	}
	return s.checkPace()
}

// name of the backfill in errors.
func (s Spec) name() string { return fmt.Sprintf("backfill step %q of plan %q", s.Step, s.Plan) }
