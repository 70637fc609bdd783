package rehearse

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// relation is a table, index, view or sequence as it stands on the scratch database.
type relation struct {
	name name
	kind string // pg_class.relkind
	// file that holds its rows; another one after a rewrite, 0 if it has none.
	file uint32
	// table of an index, its columns, and whether no two rows of the table have the same.
	table  uint32
	key    []string
	unique bool
	// triggers of somebody's on a table.
	triggers bool
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

// Only the file's own session sees what its transaction has made and how often it has scanned, and a file may have set what it
// likes there: while we look, no time-out ends the look, and names come as Go has them.
const (
	undisturbed = `select set_config('contraflow.timeout', current_setting('statement_timeout'), false), set_config('statement_timeout', '0', false),
		set_config('contraflow.encoding', current_setting('client_encoding'), false), set_config('client_encoding', 'UTF8', false), current_setting('track_counts')`
	asBefore = `select set_config('statement_timeout', current_setting('contraflow.timeout'), false), set_config('client_encoding', current_setting('contraflow.encoding'), false)`
	// relations without what is Postgres's own, TOAST, and temporary tables.
	relations = `select c.oid, n.nspname, c.relname, c.relkind, coalesce(pg_relation_filenode(c.oid), 0),
			coalesce(i.indrelid, 0), coalesce(i.indisunique and i.indpred is null and i.indexprs is null, false),
			(select string_agg(a.attname, chr(1)) from pg_attribute a where a.attrelid = i.indrelid and a.attnum = any((i.indkey::int2[])[0:i.indnkeyatts-1])),
			exists (select from pg_trigger t where t.tgrelid = c.oid and not t.tgisinternal), pg_stat_get_xact_numscans(c.oid)
		from pg_class c join pg_namespace n on n.oid = c.relnamespace left join pg_index i on i.indexrelid = c.oid
		where c.relkind in ('r', 'p', 'm', 'f', 'v', 'S', 'i', 'I') and c.relpersistence <> 't'
			and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname !~ '^pg_toast'`
)

// errUncounted says that a session of the file's can't show what it scans.
var errUncounted = errors.New("track_counts is off in the session, so nobody sees what is scanned: leave it on, in the file as on the scratch server")

func readCatalog(ctx context.Context, conn *pgx.Conn) (catalog, error) {
	// Not by pgx, which refuses to quote for a session whose strings have another syntax.
	results, err := conn.PgConn().Exec(ctx, undisturbed+";"+relations+";"+asBefore).ReadAll()
	if err != nil {
		return nil, err
	}
	if len(results) != 3 || len(results[0].Rows) != 1 {
		return nil, fmt.Errorf("%d answers where three were asked for", len(results))
	}
	if string(results[0].Rows[0][4]) != "on" {
		return nil, errUncounted
	}
	all := catalog{}
	for _, row := range results[1].Rows {
		var failed error
		number := func(column int) uint64 {
			n, err := strconv.ParseUint(string(row[column]), 10, 63)
			failed = errors.Join(failed, err)
			return n
		}
		r := relation{name: name{string(row[1]), string(row[2])}, kind: string(row[3]), file: uint32(number(4)), table: uint32(number(5)),
			unique: string(row[6]) == "t", triggers: string(row[8]) == "t", scans: int64(number(9))}
		if row[7] != nil {
			r.key = strings.Split(string(row[7]), "\x01")
		}
		if all[uint32(number(0))] = r; failed != nil {
			return nil, failed
		}
	}
	return all, nil
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
