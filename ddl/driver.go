package ddl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/golang-migrate/migrate/v4/database"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// driver is a golang-migrate database.Driver on one session: for one file, or open for any. SetVersion(dirty) only remembers; Run opens a
// transaction and executes; SetVersion(clean) writes the version in the same transaction and commits. So a crash
// anywhere leaves the old version or the new one, never a dirty one.
type driver struct {
	ctx     context.Context // of the one operation; golang-migrate's interface has none
	session *session
	plan    string
	claim   string // empty: not checked
	file    *file  // what runs or, if open, what ran last

	open      bool // made by NewDriver: golang-migrate's library decides what runs, and when
	allowDrop bool

	locked  bool
	pending *int // what SetVersion(dirty) was told
	tx      pgx.Tx
}

// errNoURL is what golang-migrate's registry of drivers would get, in which this one isn't.
var errNoURL = errors.New("contraflow's driver isn't opened by URL: use ddl.NewDriver and migrate.NewWithInstance")

func (d *driver) Open(string) (database.Driver, error) { return nil, errNoURL }

func (d *driver) Close() error {
	d.rollback()
	d.session.close(d.ctx)
	return nil
}

func (d *driver) Lock() error {
	if d.locked {
		return database.ErrLocked
	}
	ctx, giveUp := context.WithCancelCause(d.ctx)
	defer giveUp(nil)
	began := time.Now()
	waiting := func() { // between two tries, so that giving up closes no connection
		if d.open && time.Since(began) > lockWithin {
			giveUp(fmt.Errorf("another migrator works on this database: %w", database.ErrLocked))
		}
	}
	if err := d.session.lock(ctx, waiting); err != nil {
		return err
	}
	d.locked = true
	return nil
}

// Unlock comes after a failed Run too, and no commit can follow then.
func (d *driver) Unlock() error {
	if !d.locked {
		return database.ErrNotLocked
	}
	d.rollback()
	d.locked = false
	return d.session.unlock(d.ctx)
}

func (d *driver) Version() (version int, dirty bool, err error) {
	if d.pending != nil {
		return *d.pending, true, nil
	}
	state, err := readState(d.ctx, d.session.conn, d.session.schema)
	if !state.Exists {
		return database.NilVersion, state.Dirty, err
	}
	return int(state.Version), state.Dirty, err
}

func (d *driver) Run(migration io.Reader) error {
	unannounced := d.open && d.pending == nil
	if unannounced { // nobody will write a version
		d.file = &file{name: "the migration"}
	}
	body, err := io.ReadAll(migration)
	if err != nil {
		return fmt.Errorf("%s: %w", d.file.name, err)
	}
	s, err := parseScript(string(body))
	if err != nil {
		return fmt.Errorf("%s: %w", d.file.name, err)
	}
	if err := d.checkClaim(d.file.direction); err != nil { // at the end again: this spares the work
		return err
	}
	if d.open {
		defer d.session.observer.watch(d.ctx, d.session)()
	}
	if s.noTransaction {
		return d.runOutside(s)
	}
	if err := d.runInside(s); err != nil || !unannounced {
		return err
	}
	return d.commit()
}

// runInside sends a file's statements one by one: what one of them has waited for its locks is taken off what the others may wait,
// while those locks are held. A lock_timeout that the file sets doesn't hold.
func (d *driver) runInside(s script) (err error) {
	if err := d.begin(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			d.rollback()
		}
	}()
	if err := d.dismissAutovacuum(); err != nil {
		return err
	}
	left := d.session.lockTimeout
	for i := range s.statements {
		waited, err := d.executeOne(s, i, left)
		if err != nil {
			return statementError(d.file.name, s, i, err)
		}
		left = max(left-waited, d.session.lockTimeout/leastShare)
		if d.session.conn.PgConn().TxStatus() != 'T' { // parseScript refuses what could end it: a guard against its errors
			return fmt.Errorf("%s: %w: it ended the transaction it runs in, so the version was not written; look at what it has changed", d.file.name, ErrInspect)
		}
	}
	if _, err := d.tx.Exec(d.ctx, limit(left)); err != nil { // for the version
		return statementError(d.file.name, script{}, 0, err)
	}
	return nil
}

// leastShare of lock_timeout is left to each statement when the others have waited all of it: without that a file could never
// end that works for long and then needs a lock of a busy table.
const leastShare = 10

func limit(left time.Duration) string {
	return fmt.Sprintf("set local lock_timeout = %d", max(left.Milliseconds(), 1)) // 0 would be for ever
}

// executeOne sends it with its limit, so that it takes one message. An error's position is that in the file.
func (d *driver) executeOne(s script, i int, left time.Duration) (waited time.Duration, err error) {
	st, first, o := s.statements[i], limit(left)+"; ", d.session.observer
	if o != nil {
		o.begins()
	}
	began := time.Now()
	_, err = execute(d.ctx, d.session.conn, first+s.text[st.start:st.end])
	if failed, ok := errors.AsType[*pgconn.PgError](err); ok && failed.Position > 0 {
		failed.Position += int32(utf8.RuneCountInString(s.text[:st.start]) - len(first))
	}
	waited = time.Since(began)
	if o != nil {
		waited = o.hasWaited(waited)
	}
	return waited, err
}

// execute sends a whole script at once, as psql -f would not: done counts the statements that succeeded.
func execute(ctx context.Context, conn *pgx.Conn, sql string) (done int, err error) {
	results := conn.PgConn().Exec(ctx, sql)
	for results.NextResult() {
		if _, err := results.ResultReader().Close(); err == nil {
			done++
		}
	}
	return done, results.Close()
}

func (d *driver) begin() (err error) {
	if d.tx == nil {
		if d.tx, err = d.session.conn.Begin(d.ctx); err != nil {
			return fmt.Errorf("begin the transaction of %s: %w", d.file.name, err)
		}
	}
	return nil
}

// rollback works on a cancelled context too; a closed connection has rolled back.
func (d *driver) rollback() {
	d.pending = nil
	if d.tx == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(d.ctx), farewell)
	defer cancel()
	_ = d.tx.Rollback(ctx)
	d.tx = nil
}

func (d *driver) SetVersion(version int, dirty bool) error {
	if d.open && dirty {
		if err := d.announce(version); err != nil {
			return err
		}
	}
	if dirty {
		d.pending = &version
		return nil
	}
	if d.open && d.pending == nil { // golang-migrate's force: nothing was applied
		d.file = &file{name: fmt.Sprintf("force version %d", version), version: uint(max(version, 0))}
		if err := d.session.reset(d.ctx); err != nil { // what the last file has SET
			return err
		}
	}
	if err := d.begin(); err != nil {
		return err
	}
	err := d.checkClaim(d.file.direction)
	if err == nil {
		err = d.writeVersion(version)
	}
	if err != nil {
		d.rollback()
		return statementError(d.file.name, script{}, 0, err)
	}
	return d.commit()
}

func (d *driver) commit() error {
	if err := d.tx.Commit(d.ctx); err != nil { // deferred constraints speak here
		d.rollback()
		return statementError(d.file.name, script{}, 0, err)
	}
	d.tx, d.pending = nil, nil
	return nil
}

// checkClaim fails with ErrSuperseded once the run may not change the schema in this direction any more: the plan has passed
// to another run, or its rollback has begun. In a transaction the answer holds until its end.
func (d *driver) checkClaim(direction Direction) error {
	if d.claim == "" {
		return nil
	}
	var held bool
	err := d.session.conn.QueryRow(d.ctx, `select true from contraflow.migration
		where plan = $1 and first_run = $2 and ended_at is null and ($3 or not undoing) for share`,
		d.plan, d.claim, direction == Down).Scan(&held)
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("%s: %w", d.file.name, ErrSuperseded)
	}
	if err != nil {
		return fmt.Errorf("%s: see whether run %s still holds plan %q: %w", d.file.name, d.claim, d.plan, err)
	}
	return nil
}

// writeVersion also keeps our own books: who applied the version, none for versions that no longer stand, and the end
// of the intent. No TRUNCATE, unlike the stock driver: readers of the version needn't wait.
func (d *driver) writeVersion(version int) error {
	type write struct {
		sql  string
		args []any
	}
	var exists bool
	if err := d.tx.QueryRow(d.ctx, "select to_regclass($1) is not null", table(d.session.schema)).Scan(&exists); err != nil {
		return err
	}
	var writes []write
	if !exists { // CREATE … IF NOT EXISTS would ask for the right to create even so
		writes = append(writes, write{sql: "create table " + table(d.session.schema) + " (version bigint not null primary key, dirty boolean not null)"})
	}
	below := version // what an earlier life of this version has left goes too
	if d.file.direction == Up {
		below--
	}
	writes = append(writes,
		write{"delete from " + table(d.session.schema), nil},
		write{"delete from contraflow.ddl_version where schema_name = $1 and version > $2", []any{d.session.schema, below}},
		write{"delete from contraflow.ddl_intent where schema_name = $1 and version = $2", []any{d.session.schema, int64(d.file.version)}})
	if version >= 0 {
		writes = append(writes, write{"insert into " + table(d.session.schema) + " (version, dirty) values ($1, false)", []any{version}})
	}
	if d.file.direction == Up && d.plan != "" {
		writes = append(writes, write{"insert into contraflow.ddl_version (schema_name, version, plan) values ($1, $2, $3)",
			[]any{d.session.schema, version, d.plan}})
	}
	for _, w := range writes {
		if _, err := d.tx.Exec(d.ctx, w.sql, w.args...); err != nil {
			return err
		}
	}
	return nil
}
