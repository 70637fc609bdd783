package ddl

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// runOutside runs a one-statement file that can't run in a transaction. The intent is written first; after a crash it
// tells that the statement may have run, and the catalog or the statement itself tells what is left to do.
func (d *driver) runOutside(s script) error {
	sum := sha256.Sum256([]byte(s.text))
	sha := hex.EncodeToString(sum[:])
	before, err := d.readIntent()
	if err != nil {
		return err
	}
	due, stranger := true, false
	if before.sha != "" {
		due, err = d.resume(s, before.sha == sha)
	} else {
		stranger, err = d.isBuilt(s)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", d.file.name, err)
	}
	if due {
		if err := d.runWithIntent(s, sha, !stranger); err != nil {
			return err
		}
	}
	return d.checkBuilt(s)
}

// runWithIntent writes no intent where a stranger's index has the name already: Postgres refuses to build it, or passes over
// it, and a rollback must not take it for ours.
func (d *driver) runWithIntent(s script, sha string, intent bool) error {
	if intent {
		if err := d.writeIntent(sha); err != nil {
			return err
		}
	}
	err := d.runPatiently(s)
	var refused *StatementError
	if errors.As(err, &refused) && (s.statements[0].allOrNothing() || refused.SQLState == stateDuplicateTable) {
		return errors.Join(err, d.clearIntent()) // it surely did nothing
	}
	return err
}

// runPatiently runs without lock_timeout: a concurrent build waits for old snapshots by design, and a time-out would
// leave an invalid index.
func (d *driver) runPatiently(s script) error {
	if _, err := d.session.conn.Exec(d.ctx, "set lock_timeout = 0"); err != nil {
		return fmt.Errorf("%s: lift lock_timeout: %w", d.file.name, err)
	}
	if _, err := execute(d.ctx, d.session.conn, s.text); err != nil {
		return statementError(d.file.name, s, 0, err)
	}
	if _, err := d.session.conn.Exec(d.ctx, "reset lock_timeout"); err != nil { // back to the connection's parameter
		return fmt.Errorf("%s: restore lock_timeout: %w", d.file.name, err)
	}
	return nil
}

// resume decides what an interrupted statement still has to do.
func (d *driver) resume(s script, same bool) (due bool, err error) {
	st := s.statements[0]
	if name, on, ok := st.builtIndex(s.text); ok {
		index, err := d.findIndex(name, on)
		switch {
		case err != nil:
			return false, err
		case index == nil:
			return true, nil
		case index.valid && !same:
			return false, fmt.Errorf("%w: index %s was built from an earlier text of this file: drop it, or take its definition back into the file", ErrInspect, name)
		case index.valid:
			return false, nil
		}
		return true, d.drop(index)
	}
	if name, ok := st.droppedIndex(s.text); ok && same {
		var exists bool
		err := d.session.conn.QueryRow(d.ctx, "select to_regclass($1) is not null", name).Scan(&exists)
		return exists, err
	}
	if same && st.repeatable() {
		return true, nil
	}
	return false, d.unknown(st)
}

// unknown asks a person about an attempt that may have run or not.
func (d *driver) unknown(st statement) error {
	return fmt.Errorf("%w: an earlier attempt at %q may have run or not: look at the database, "+
		"undo by hand what it did, delete the row of version %d from contraflow.ddl_intent, then try again",
		ErrInspect, st.summary(), d.file.version)
}

// isBuilt tells whether the index that the statement builds is there, valid or not.
func (d *driver) isBuilt(s script) (bool, error) {
	name, on, ok := s.statements[0].builtIndex(s.text)
	if !ok {
		return false, nil
	}
	index, err := d.findIndex(name, on)
	return index != nil, err
}

// checkBuilt doesn't let IF NOT EXISTS pass over an invalid index that somebody else left.
func (d *driver) checkBuilt(s script) error {
	name, on, ok := s.statements[0].builtIndex(s.text)
	if !ok {
		return nil
	}
	index, err := d.findIndex(name, on)
	if err != nil {
		return fmt.Errorf("%s: %w", d.file.name, err)
	}
	if index == nil || !index.valid {
		return fmt.Errorf("%s: %w: index %s on %s is missing or invalid: drop it, then try again", d.file.name, ErrInspect, name, on)
	}
	return nil
}

type index struct {
	name  pgx.Identifier
	valid bool
}

// findIndex returns nil if the table has no such index; table is as written in the file.
func (d *driver) findIndex(name, table string) (*index, error) {
	var (
		schema string
		found  index
	)
	err := d.session.conn.QueryRow(d.ctx, `select n.nspname, i.indisvalid
		from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
		where c.relname = $1 and i.indrelid = to_regclass($2)`, name, table).Scan(&schema, &found.valid)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look up index %s: %w", name, err)
	}
	found.name = pgx.Identifier{schema, name}
	return &found, nil
}

func (d *driver) drop(i *index) error {
	drop, err := parseScript(noTransactionHeader + "\ndrop index concurrently " + i.name.Sanitize())
	if err != nil {
		return err
	}
	return d.runPatiently(drop)
}

// intent says that an attempt of a plan has begun a statement; empty if there is none.
type intent struct{ plan, sha string }

func (d *driver) readIntent() (found intent, err error) {
	err = d.session.conn.QueryRow(d.ctx, "select plan, statement_sha from contraflow.ddl_intent where schema_name = $1 and version = $2 and direction = $3",
		d.session.schema, int64(d.file.version), string(d.file.direction)).Scan(&found.plan, &found.sha)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return intent{}, fmt.Errorf("read the intent of %s: %w", d.file.name, err)
	}
	return found, nil
}

// writeIntent commits with the claim: who takes the plan over sees every intent of the run before.
func (d *driver) writeIntent(sha string) error {
	return pgx.BeginFunc(d.ctx, d.session.conn, func(tx pgx.Tx) error {
		if err := d.checkClaim(d.file.direction); err != nil {
			return err
		}
		_, err := tx.Exec(d.ctx, `insert into contraflow.ddl_intent (schema_name, version, direction, plan, statement_sha) values ($1, $2, $3, $4, $5)
			on conflict (schema_name, version, direction) do update set plan = excluded.plan, statement_sha = excluded.statement_sha, started_at = now()`,
			d.session.schema, int64(d.file.version), string(d.file.direction), d.plan, sha)
		if err != nil {
			return fmt.Errorf("write the intent of %s: %w", d.file.name, err)
		}
		return nil
	})
}

func (d *driver) clearIntent() error {
	_, err := d.session.conn.Exec(d.ctx, "delete from contraflow.ddl_intent where schema_name = $1 and version = $2 and direction = $3",
		d.session.schema, int64(d.file.version), string(d.file.direction))
	if err != nil {
		return fmt.Errorf("clear the intent of %s: %w", d.file.name, err)
	}
	return nil
}
