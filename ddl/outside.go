package ddl

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// runOutside runs a one-statement file that can't run in a transaction. The intent is written first; after a crash it
// tells that the statement may have run, and the catalog or the statement itself tells what is left to do.
func (d *driver) runOutside(s script) error {
	op, sha := s.operation(), s.sha256()
	before, err := d.readIntent()
	if err != nil {
		return err
	}
	left, stranger := due, false
	if before.sha != "" {
		if left, err = op.resume(d, before.sha == sha); err == nil && left == ask {
			err = d.unknown(s.statements[0])
		}
	} else if built, ok := op.(*build); ok {
		stranger, err = built.stands(d)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", d.file.name, err)
	}
	if left == due {
		if err := d.runWithIntent(s, op, sha, !stranger); err != nil {
			return err
		}
	}
	if built, ok := op.(*build); ok {
		if err := built.check(d); err != nil {
			return fmt.Errorf("%s: %w", d.file.name, err)
		}
	}
	return nil
}

// runWithIntent writes no intent where a stranger's index has the name already: Postgres refuses to build it, or passes over
// it, and a rollback must not take it for ours.
func (d *driver) runWithIntent(s script, op operation, sha string, intent bool) error {
	if err := d.awaitOlder(op); err != nil {
		return err
	}
	if err := d.dismissBefore(); err != nil {
		return err
	}
	if intent {
		if err := d.writeIntent(sha); err != nil {
			return err
		}
	}
	err := d.send(s, op.patient())
	var refused *StatementError
	if _, asks := op.(unknown); asks && gaveWay(err) && !s.statements[0].allOrNothing() {
		return fmt.Errorf("%w; Postgres said: %s", d.unknown(s.statements[0]), err) // again by itself it must not begin
	}
	if !errors.As(err, &refused) {
		return err
	}
	if s.statements[0].allOrNothing() || refused.SQLState == stateDuplicateTable {
		return errors.Join(err, d.clearIntent()) // it surely did nothing
	}
	switch op.(type) {
	case *build, *reindex:
		if intent {
			return d.cleared(op, err)
		}
	}
	return err
}

// cleared drops at once what a failed build has left: an invalid unique index refuses the application's writes all the same.
func (d *driver) cleared(op operation, failed error) error {
	if _, err := op.withdraw(d); err != nil {
		return fmt.Errorf("%w; the invalid index that it has left could not be dropped and may refuse what the application writes: "+
			"drop it now, if the next attempt or a rollback doesn't (%s)", failed, err)
	}
	if err := d.clearIntent(); err != nil {
		return errors.Join(failed, err)
	}
	return fmt.Errorf("%w; the invalid index that it had left was dropped", failed)
}

// awaitOlder lets the transactions end that the statement would wait for, before anything is begun.
func (d *driver) awaitOlder(op operation) error {
	what, waits := op.waitsFor()
	if !waits || d.open {
		return nil
	}
	return d.session.observer.await(d.ctx, d.session, what)
}

// send runs a statement; a patient one without lock_timeout.
func (d *driver) send(s script, patient bool) error {
	if patient {
		if _, err := d.session.conn.Exec(d.ctx, "set lock_timeout = 0"); err != nil {
			return fmt.Errorf("%s: lift lock_timeout: %w", d.file.name, err)
		}
	}
	if d.session.observer != nil {
		d.session.observer.begins()
	}
	_, err := execute(d.ctx, d.session.conn, s.text)
	if err != nil {
		err = statementError(d.file.name, s, 0, err)
	}
	if patient && !d.session.conn.IsClosed() {
		if _, failed := d.session.conn.Exec(d.ctx, "reset lock_timeout"); failed != nil { // back to the connection's parameter
			return errors.Join(err, fmt.Errorf("%s: restore lock_timeout: %w", d.file.name, failed))
		}
	}
	return err
}

// unknown asks a person about an attempt that may have run or not.
func (d *driver) unknown(st statement) error {
	return fmt.Errorf("%w: an earlier attempt at %q may have run or not: look at the database, "+
		"undo by hand what it did, delete the row of version %d from contraflow.ddl_intent, then try again",
		ErrInspect, st.summary(), d.file.version)
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
