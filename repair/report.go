package repair

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/contraflow/contraflow/ddl"
)

// Way out of a dirty version.
type Way string

// The ways; empty where a person has to look first, or where nothing is dirty.
const (
	AsApplied   Way = "applied"   // the file counts as done
	AsUnapplied Way = "unapplied" // the file counts as never begun
	Finish      Way = "finish"    // what is missing of it is run
)

// Report is what stands in a database.
type Report struct {
	Schema string    `json:"schema"` // of the version table
	Rows   []ddl.Row `json:"rows"`
	Dirty  bool      `json:"dirty"`
	// Files that may have failed: of a dirty version its own up file, or the down file of the version after it.
	Files []File `json:"files,omitempty"`
	// Failed names the one that did, as far as the catalog or a person tells; else empty.
	Failed string `json:"failed,omitempty"`
	// Verdict in words, and what follows.
	Verdict string `json:"verdict"`
	Way     Way    `json:"way,omitempty"`
	// Notes are worth a look, dirty or not.
	Notes []string `json:"notes,omitempty"`
	// Holders of the migration lock: what stands may still be changing.
	Holders []string       `json:"holders,omitempty"`
	Invalid []InvalidIndex `json:"invalidIndexes,omitempty"`
	Begun   []Intent       `json:"interrupted,omitempty"`
	Above   []Version      `json:"versionsAbove,omitempty"`

	file *File // Failed
	// after is the up file of the version after the dirty one: what stands of it shows that this version stood.
	after *File
}

// Question is what to look at.
type Question struct {
	Files *ddl.Files
	// Direction of the failed file, where a person knows it. Empty lets the catalog tell.
	Direction ddl.Direction
}

// Inspect looks at the database and changes nothing. What it tells is of one moment.
func Inspect(ctx context.Context, pool *pgxpool.Pool, q Question) (*Report, error) {
	holders, err := ddl.New(pool, q.Files, ddl.Options{}).Holders(ctx)
	if err != nil {
		return nil, err
	}
	var r *Report
	tx, err := pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		return nil, fmt.Errorf("begin to look: %w", err)
	}
	defer rollback(ctx, tx)
	// a definition is read under the lock of a reader: where that has to wait, nothing is proved
	if _, err := tx.Exec(ctx, "select set_config('lock_timeout', $1, true)", lookTimeout); err != nil {
		return nil, err
	}
	record, err := ddl.ReadRecord(ctx, tx)
	if err != nil {
		return nil, err
	}
	if r, err = inspect(ctx, tx, record, q); err != nil {
		return nil, err
	}
	if err := r.leftovers(ctx, tx, q.Files); err != nil {
		return nil, err
	}
	for _, h := range holders {
		r.Holders = append(r.Holders, h.String())
	}
	if len(holders) > 0 && r.Dirty {
		r.Way = ""
		r.Verdict = "Not now: somebody holds the migration lock, so what stands may still be changing. Look again when that is over."
	}
	return r, nil
}

const (
	// lookTimeout for a lock: whoever queues behind a reader that waits, waits as long.
	lookTimeout = "500ms"
	// farewell is how long a rollback may take on a connection that hangs.
	farewell = 5 * time.Second
)

// rollback ends a look, also where ctx is done.
func rollback(ctx context.Context, tx pgx.Tx) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	_ = tx.Rollback(ctx) // a connection that can't is closed, which rolls back
}

// inspect is the part that a repair decides by.
func inspect(ctx context.Context, tx pgx.Tx, record ddl.Record, q Question) (*Report, error) {
	r := &Report{Schema: record.Schema, Rows: record.Rows}
	switch {
	case !record.Exists:
		r.Verdict = "There is no table schema_migrations, so no version was ever applied. Nothing to repair."
		return r, nil
	case len(record.Rows) > 1:
		r.Dirty = true
		r.Verdict = fmt.Sprintf("schema_migrations has %d rows where one is allowed: golang-migrate would take any of them. Find out which is right, delete the others, and look again.", len(record.Rows))
		return r, nil
	case len(record.Rows) == 0:
		r.Verdict = "No version stands. Nothing to repair."
		return r, nil
	}
	at := record.Rows[0]
	r.Dirty = at.Dirty
	known := at.Version < 0 || slices.Contains(q.Files.Versions(), uint(at.Version))
	if !at.Dirty {
		if !known {
			r.Notes = append(r.Notes, fmt.Sprintf("version %d has no file in this folder: versions of another folder stand here", at.Version))
		}
		r.Verdict = fmt.Sprintf("The database stands at %s. Nothing to repair.", at)
		return r, nil
	}
	if !known {
		r.Verdict = fmt.Sprintf("Version %d is dirty and has no file in this folder: look with the folder that it came from.", at.Version)
		return r, nil
	}
	if err := r.read(ctx, tx, record.Schema, at, q); err != nil {
		return nil, err
	}
	r.judge(at, q)
	return r, nil
}

// read inspects the files that may have failed: golang-migrate writes the version that it is bound for before it begins.
func (r *Report) read(ctx context.Context, tx pgx.Tx, schema string, at ddl.Row, q Question) error {
	for _, script := range candidates(q.Files, at.Version) {
		if q.Direction != "" && script.Direction != q.Direction {
			continue
		}
		f, err := inspectFile(ctx, tx, script, schema)
		if err != nil {
			return err
		}
		r.Files = append(r.Files, f)
	}
	if len(r.Files) < 2 {
		return nil
	}
	if script, ok := q.Files.Script(r.Files[1].Version, ddl.Up); ok {
		after, err := inspectFile(ctx, tx, script, schema)
		if err != nil {
			return err
		}
		r.after = &after
	}
	return nil
}

func candidates(files *ddl.Files, dirty int64) (all []ddl.Script) {
	versions := files.Versions()
	next := 0
	if dirty >= 0 {
		if script, ok := files.Script(uint(dirty), ddl.Up); ok {
			all = append(all, script)
		}
		at, _ := slices.BinarySearch(versions, uint(dirty))
		next = at + 1
	}
	if next < len(versions) {
		if script, ok := files.Script(versions[next], ddl.Down); ok {
			all = append(all, script)
		}
	}
	return all
}

// states that the version can be given: where the file counts as done, and where as never begun.
func (f *File) states(files *ddl.Files, at ddl.Row) (applied, unapplied ddl.State) {
	if at.Version >= 0 {
		applied = ddl.State{Version: uint(at.Version), Exists: true}
	}
	if f.Direction == ddl.Down {
		return applied, ddl.State{Version: f.Version, Exists: true}
	}
	if i, _ := slices.BinarySearch(files.Versions(), f.Version); i > 0 {
		unapplied = ddl.State{Version: files.Versions()[i-1], Exists: true}
	}
	return applied, unapplied
}
