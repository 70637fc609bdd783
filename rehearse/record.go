package rehearse

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/contraflow/contraflow/ddl"
)

// recorder runs one file as ddl would, and watches each statement.
type recorder struct {
	scratch *scratch
	conn    *pgx.Conn // runs the file
	watch   *pgx.Conn // sees which locks it takes
	script  ddl.Script
	// base is what stood before the file: only that can be in the application's use.
	base catalog
	// held are the locks that the file's transaction has taken so far.
	held map[lock]bool
	done []Statement
}

// record runs an up file. A statement that fails is the last one, and says why.
func (s *scratch) record(ctx context.Context, script ddl.Script) ([]Statement, error) {
	conn, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer closeConn(ctx, conn)
	watch, err := s.keep(ctx)
	if err != nil {
		return nil, err
	}
	defer closeConn(ctx, watch)
	r := &recorder{scratch: s, conn: conn, watch: watch, script: script, held: map[lock]bool{}}
	if r.base, err = readCatalog(ctx, conn); err != nil {
		return nil, fmt.Errorf("read the scratch database's catalog: %w", err)
	}
	err = r.inside(ctx)
	if script.NoTransaction && len(r.done) == 1 && needsNoTransaction(err) {
		r.done, r.held = nil, map[lock]bool{}
		err = r.outside(ctx)
	}
	if problem := problemOf(err); problem != "" && len(r.done) > 0 {
		r.done[len(r.done)-1].Problem = problem
		err = nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", script.Name, err)
	}
	return r.done, nil
}

// statement begins to tell of one.
func (r *recorder) statement(st ddl.Statement) *Statement {
	r.done = append(r.done, Statement{Version: r.script.Version, File: r.script.Name, Line: st.Line, Summary: summary(st.Text),
		NoTransaction: r.script.NoTransaction, Verdict: Instant})
	return &r.done[len(r.done)-1]
}

// inside runs the file in one transaction. A statement of its own that can run there does so too, since that shows more.
func (r *recorder) inside(ctx context.Context) error {
	tx, err := r.conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(ctx) }() // nothing after a commit; else the connection is closed soon
	before := r.base
	for _, st := range r.script.Statements {
		told := r.statement(st)
		if _, err := r.conn.Exec(ctx, st.Text, pgx.QueryExecModeSimpleProtocol); err != nil {
			return &refusal{st, err}
		}
		after, err := readCatalog(ctx, r.conn)
		if err != nil {
			return err
		}
		held, err := readLocks(ctx, r.watch, r.conn.PgConn().PID(), false)
		if err != nil {
			return err
		}
		r.judge(told, st, before, after, held)
		before = after
	}
	if err := tx.Commit(ctx); err != nil { // deferred constraints speak here
		return &refusal{ddl.Statement{}, err}
	}
	return nil
}

// judge what a statement has done.
func (r *recorder) judge(told *Statement, st ddl.Statement, before, after catalog, held map[lock]bool) {
	word := firstWord(st.Text)
	e := effects{truncates: word == "truncate", looksUp: slices.Contains(queries, word)}
	if e.looksUp {
		e.touched = touches(st.Text)
	}
	for l := range held { // a second one takes no new lock
		if l.strength == writesRows && r.base[l.relation].isTable() && (!r.held[l] || writes(st.Text)) {
			e.writes = true
		}
	}
	had := r.held
	r.held = held
	e.strongest = r.strongest()
	r.compare(&e, before, after)
	if word == "vacuum" || word == "analyze" { // which Postgres doesn't count as scans
		for l := range held {
			if rel := r.base[l.relation]; l.strength == maintains && rel.isTable() {
				e.scans = append(e.scans, l.relation)
			}
		}
	}
	if e.writes && e.strongest >= stopsWrites && !e.touched.few(r.base) {
		e.works = true // for as long as it has rows to write
	}
	if procedures := word == "call" || word == "do"; procedures && r.script.NoTransaction && e.strongest >= stopsWrites {
		e.works = true // it may have committed on its way, and taken what it did with it
	}
	told.Verdict = e.verdict()
	told.Locks = r.locks(had, told.Verdict)
	told.Rewrites, told.Builds = r.sized(after, e.rewrites), r.sized(after, e.builds)
	if told.Verdict != Changes { // how it finds its rows depends on their number, and here are none
		told.Scans = r.sized(after, e.scans)
	}
}

// locks are those that the statement has taken or made stronger, and, where it blocks or has taken none, those from before it that
// stop others: strongest first, tables before their indexes.
func (r *recorder) locks(had map[lock]bool, v Verdict) []Lock {
	was, is := strengths(had), strengths(r.held)
	var taken, held []lock
	for oid, strength := range is {
		switch _, ok := r.base[oid]; {
		case ok && strength > was[oid]:
			taken = append(taken, lock{oid, strength})
		case ok && strength >= stopsWrites:
			held = append(held, lock{oid, strength})
		}
	}
	all := taken
	if v.Compare(BlocksWrites) >= 0 || len(taken) == 0 {
		all = append(all, held...)
	}
	size := func(l lock) Size { return r.scratch.size(l.relation, r.base[l.relation]) }
	slices.SortFunc(all, func(a, b lock) int {
		return cmp.Or(cmp.Compare(b.strength, a.strength), cmp.Compare(r.base[a.relation].rank(), r.base[b.relation].rank()), bySize(size(a), size(b)))
	})
	var locks []Lock
	for _, l := range all {
		locks = append(locks, Lock{Relation: size(l).Name, Mode: modes[l.strength].people, Size: size(l), Held: slices.Contains(held, l)})
	}
	return locks
}

// bySize puts the largest first.
func bySize(a, b Size) int {
	return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), strings.Compare(a.Name, b.Name))
}

func strengths(locks map[lock]bool) map[uint32]int {
	strongest := map[uint32]int{}
	for l := range locks {
		strongest[l.relation] = max(strongest[l.relation], l.strength)
	}
	return strongest
}

// strongest lock held on anything that the application may use. Nobody writes to a materialized view but who refreshes it.
func (r *recorder) strongest() int {
	strongest := 0
	for oid, strength := range strengths(r.held) {
		rel, ok := r.base[oid]
		if !ok || rel.kind == "S" || rel.kind == "m" && strength < stopsAll {
			continue
		}
		strongest = max(strongest, strength)
	}
	return strongest
}

// compare tells rewrites, builds and scans of what stood before the file.
func (r *recorder) compare(e *effects, before, after catalog) {
	files := map[uint32]bool{} // an index made anew may take its old file over
	for _, rel := range before {
		files[rel.file] = true
	}
	busy := map[uint32]bool{}
	for oid, rel := range after {
		if was, ok := before[oid]; ok && r.base[oid].isTable() && rel.file != was.file && rel.file != 0 && !e.truncates {
			e.rewrites = append(e.rewrites, oid)
			busy[oid] = true
		}
	}
	for oid, rel := range after {
		_, stood := r.base[rel.table]
		if rel.kind == "i" && stood && rel.file != 0 && !files[rel.file] && !e.truncates && !busy[rel.table] {
			e.builds = append(e.builds, oid)
		}
	}
	for _, index := range e.builds {
		busy[after[index].table] = true
	}
	for oid, rel := range after {
		base, ok := r.base[oid]
		if !ok || rel.scans <= before[oid].scans || e.truncates {
			continue
		}
		table := oid
		switch {
		case base.isIndex() && e.looksUp:
			e.works = e.works || !e.touched.finds(r.base, base)
			continue
		case base.isIndex(): // a foreign key may be proved along one
			table = base.table
		}
		if !busy[table] {
			e.scans = append(e.scans, table)
			busy[table] = true
		}
	}
}

// sized names relations with their sizes, largest first; an index as what has to be read for it.
func (r *recorder) sized(now catalog, oids []uint32) []Size {
	var sizes []Size
	for _, oid := range oids {
		rel := now[oid]
		if base, ok := r.base[oid]; ok {
			rel.name = base.name // as the target has it
		}
		size := r.scratch.size(oid, rel)
		if rel.isIndex() {
			table := r.scratch.size(rel.table, r.base[rel.table])
			size = Size{Name: size.Name + " on " + table.Name, Rows: table.Rows, Bytes: table.Bytes}
		}
		sizes = append(sizes, size)
	}
	slices.SortFunc(sizes, bySize)
	return sizes
}

// size of a relation on the target, with -1 for what the target doesn't have.
func (s *scratch) size(oid uint32, rel relation) Size {
	size, ok := s.relations[oid]
	if !ok {
		size, ok = s.sizes[rel.name]
	}
	if !ok {
		size = Size{Rows: -1, Bytes: -1}
	}
	size.Name = rel.name.relation
	if !slices.Contains(s.path, rel.name.schema) {
		size.Name = rel.name.schema + "." + size.Name
	}
	return size
}
