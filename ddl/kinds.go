package ddl

import (
	"crypto/sha256"
	"encoding/hex"
)

// operation is a statement that runs outside a transaction, as far as the catalog tells what it has done.
type operation interface {
	// resume decides what an attempt whose end nobody saw has left to do, and clears away what would be in the way of a second.
	// same is false if the file isn't the one that was begun.
	resume(d *driver, same bool) (left, error)
	// withdraw takes back what such an attempt has done: none afterwards, or ask.
	withdraw(d *driver) (left, error)
	// waitsFor are the transactions it waits for with its work begun; false for none.
	waitsFor() (older, bool)
	// patient operations run without lock_timeout: a time-out would throw their work away, and the application's reads and writes
	// don't queue behind their waits.
	patient() bool
}

// left says what an interrupted statement has left to do.
type left int

const (
	none left = iota // it is done, or taken back
	due              // run it
	ask              // only a person can tell
)

// kinds recognize each its statement; the first that does decides.
var kinds = []func(*words) (operation, bool){
	parseBuild, parseDropIndex, parseReindex, parseValidate, parseAddValue, parseDetach, parseRepeatable,
}

// operation of a script's one statement.
func (s script) operation() operation {
	st := s.statements[0]
	for _, parse := range kinds {
		if op, ok := parse(&words{text: s.text, statement: st, rest: st.tokens}); ok {
			return op
		}
	}
	return unknown{st}
}

func (s script) sha256() string {
	sum := sha256.Sum256([]byte(s.text))
	return hex.EncodeToString(sum[:])
}

// inOneStep is what operations that wait for no transactions share: they are all or nothing, or may be repeated, so each wait for
// a lock has its time-out and the next attempt begins afresh.
type inOneStep struct{}

func (inOneStep) waitsFor() (older, bool) { return older{}, false }
func (inOneStep) patient() bool           { return false }

// repeatable statements do no harm a second time, and have nothing to take back.
type repeatable struct{ inOneStep }

func parseRepeatable(w *words) (operation, bool) {
	return repeatable{}, w.take("vacuum") || w.take("analyze") || w.take("refresh")
}

func (repeatable) resume(_ *driver, same bool) (left, error) { return mustBe(same, due), nil }
func (repeatable) withdraw(*driver) (left, error)            { return none, nil }

// unknown statements leave nothing by which the catalog could tell them.
type unknown struct{ st statement }

func (u unknown) resume(_ *driver, same bool) (left, error) {
	if u.st.has("if", "exists") || u.st.has("if", "not", "exists") {
		return mustBe(same, due), nil
	}
	return ask, nil
}
func (u unknown) withdraw(*driver) (left, error) { return ask, nil }
func (u unknown) waitsFor() (older, bool)        { return older{}, false }

// patient is REINDEX of a schema or a database CONCURRENTLY. What CALL and DO lock isn't known.
func (u unknown) patient() bool { return u.st.has("concurrently") }

// mustBe asks about a statement that isn't the one that was begun.
func mustBe(same bool, l left) left {
	if same {
		return l
	}
	return ask
}
