package rehearse

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// relation is a table, index, view or sequence as it stands on the scratch database.
type relation struct {
	name name
	kind string // pg_class.relkind
	// file that holds its rows; another one after a rewrite, 0 if it has none.
	file uint32
	// table of an index, and whether the index is unique.
	table  uint32
	unique bool
	// scans of it in this session, committed or not.
	scans int64
}

func (r relation) isTable() bool {
	return r.kind == "r" || r.kind == "p" || r.kind == "m" || r.kind == "f"
}
func (r relation) isIndex() bool { return r.kind == "i" || r.kind == "I" }

// rank puts first what people think of first.
func (r relation) rank() int {
	switch {
	case r.isTable():
		return 0
	case r.isIndex():
		return 2
	}
	return 1
}

// catalog lists relations by oid, which outlives renames and rewrites.
type catalog map[uint32]relation

// readCatalog leaves out what is Postgres's own, TOAST, and temporary tables.
func readCatalog(ctx context.Context, conn *pgx.Conn) (catalog, error) {
	rows, err := conn.Query(ctx, `select c.oid, n.nspname, c.relname, c.relkind::text, coalesce(pg_relation_filenode(c.oid), 0),
			coalesce(i.indrelid, 0), coalesce(i.indisunique, false), pg_stat_get_xact_numscans(c.oid)
		from pg_class c join pg_namespace n on n.oid = c.relnamespace left join pg_index i on i.indexrelid = c.oid
		where c.relkind in ('r', 'p', 'm', 'f', 'v', 'S', 'i', 'I') and c.relpersistence <> 't'
			and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname !~ '^pg_toast'`, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return nil, err
	}
	all := catalog{}
	var (
		oid uint32
		r   relation
	)
	_, err = pgx.ForEachRow(rows, []any{&oid, &r.name.schema, &r.name.relation, &r.kind, &r.file, &r.table, &r.unique, &r.scans}, func() error {
		all[oid] = r
		return nil
	})
	return all, err
}

// modes of locks, weakest first: as pg_locks writes them, and as people do.
var modes = []struct{ locks, people string }{
	{"", ""},
	{"AccessShareLock", "ACCESS SHARE"},
	{"RowShareLock", "ROW SHARE"},
	{"RowExclusiveLock", rowExclusive},
	{"ShareUpdateExclusiveLock", shareUpdateExclusive},
	{"ShareLock", "SHARE"},
	{"ShareRowExclusiveLock", "SHARE ROW EXCLUSIVE"},
	{"ExclusiveLock", "EXCLUSIVE"},
	{"AccessExclusiveLock", "ACCESS EXCLUSIVE"},
}

const (
	rowExclusive         = "ROW EXCLUSIVE"
	shareUpdateExclusive = "SHARE UPDATE EXCLUSIVE"
)

// Strengths are indexes of modes.
const (
	writesRows  = 3 // what every INSERT, UPDATE and DELETE takes
	maintains   = 4 // conflicts with itself and stronger ones only
	stopsWrites = 5 // and stronger ones
	stopsAll    = 8
)

// lock is a mode on a relation.
type lock struct {
	relation uint32
	strength int
}

// readLocks lists the relation locks that a session holds, or also those it waits for.
func readLocks(ctx context.Context, conn *pgx.Conn, pid uint32, waitedFor bool) (map[lock]bool, error) {
	rows, err := conn.Query(ctx, `select relation, mode from pg_locks where pid = $1 and locktype = 'relation' and (granted or $2)
		and database = (select oid from pg_database where datname = current_database())`, pgx.QueryExecModeSimpleProtocol, int64(pid), waitedFor)
	if err != nil {
		return nil, err
	}
	found := map[lock]bool{}
	var (
		l    lock
		mode string
	)
	_, err = pgx.ForEachRow(rows, []any{&l.relation, &mode}, func() error {
		for strength, m := range modes {
			if m.locks == mode {
				found[lock{l.relation, strength}] = true
			}
		}
		return nil
	})
	return found, err
}
