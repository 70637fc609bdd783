package demo

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// The catalog in lines that sort: everything a schema change could leave behind, without oids and without the holes that
// dropped columns leave in attnum.
const catalogQuery = `
with space as (
	select oid, nspname from pg_namespace
	where nspname not in ('pg_catalog', 'information_schema', 'contraflow') and nspname !~ '^pg_(toast|temp)'
), relation as (
	select c.*, format('%I.%I', s.nspname, c.relname) as name from pg_class c join space s on s.oid = c.relnamespace
)
select format('schema %I', nspname) from space
union all
select format('relation %s: kind %s, owner %s, options %s, rights %s, row security %s, replica identity %s',
	name, relkind, relowner::regrole, reloptions, relacl, relrowsecurity, relreplident) from relation
union all
select format('column %s %s %I: %s%s, default %s, identity "%s", generated "%s", collation %s, storage %s, statistics %s', r.name,
	row_number() over (partition by r.oid order by a.attnum), a.attname, format_type(a.atttypid, a.atttypmod),
	case when a.attnotnull then ' not null' end, pg_get_expr(d.adbin, d.adrelid), a.attidentity, a.attgenerated,
	a.attcollation, a.attstorage, coalesce(a.attstattarget, -1))
from relation r join pg_attribute a on a.attrelid = r.oid left join pg_attrdef d on d.adrelid = r.oid and d.adnum = a.attnum
where a.attnum > 0 and not a.attisdropped and r.relkind in ('r', 'p', 'v', 'm', 'f')
union all
select format('index %s: %s, valid %s', r.name, pg_get_indexdef(i.indexrelid), i.indisvalid and i.indisready)
from relation r join pg_index i on i.indexrelid = r.oid
union all
select format('constraint %s %I: %s, validated %s', r.name, k.conname, pg_get_constraintdef(k.oid), k.convalidated)
from relation r join pg_constraint k on k.conrelid = r.oid
union all
select format('trigger %s: %s, enabled %s', r.name, pg_get_triggerdef(t.oid), t.tgenabled)
from relation r join pg_trigger t on t.tgrelid = r.oid where not t.tgisinternal
union all
select format('sequence %s: %s', r.name, (q.seqtypid, q.seqstart, q.seqincrement, q.seqmax, q.seqmin, q.seqcycle))
from relation r join pg_sequence q on q.seqrelid = r.oid
union all
select format('function %s.%s(%s): %s', s.nspname, f.proname, pg_get_function_identity_arguments(f.oid), md5(f.prosrc))
from pg_proc f join space s on s.oid = f.pronamespace
union all
select format('type %s.%s: %s', s.nspname, t.typname, t.typtype)
from pg_type t join space s on s.oid = t.typnamespace`

// Catalog describes every table, column, index, constraint, default, trigger, sequence, function and type outside schema
// contraflow, one per line and sorted: two schemas are the same if their lines are.
func Catalog(ctx context.Context, pool *pgxpool.Pool) ([]string, error) {
	rows, err := pool.Query(ctx, catalogQuery)
	if err != nil {
		return nil, fmt.Errorf("read the catalog: %w", err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("read the catalog: %w", err)
	}
	slices.Sort(lines)
	return lines, nil
}

// Diff lists what went ("- …") and what came ("+ …") between two catalogs.
func Diff(before, after []string) []string {
	var changes []string
	for len(before) > 0 || len(after) > 0 {
		switch {
		case len(after) == 0 || len(before) > 0 && before[0] < after[0]:
			changes, before = append(changes, "- "+before[0]), before[1:]
		case len(before) == 0 || after[0] < before[0]:
			changes, after = append(changes, "+ "+after[0]), after[1:]
		default:
			before, after = before[1:], after[1:]
		}
	}
	return changes
}
