package backfill

import (
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Ranges of keys are half open: above the lower end, up to and including the upper end. Ends travel as text[] and are cast
// to the key's types inside the statement, so that one form serves every type and the planner still sees index ranges.

// Settings of one transaction alone. Row comparisons of composite keys are estimated so badly that the planner would scan the
// whole table for every chunk, which enable_seqscan prevents; JIT would take the inflated costs for a reason to compile.
// None of them changes what an expression yields, but for those of keyFormats, where none is evaluated.
const (
	// keyFormats make Postgres write keys so that it reads them back as they were, whatever the role's own formats are.
	keyFormats    = `set_config('datestyle', 'ISO', true), set_config('intervalstyle', 'iso_8601', true), set_config('extra_float_digits', '1', true)`
	probeSettings = `select set_config('statement_timeout', $1::text, true), set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true), set_config('jit', 'off', true), ` + keyFormats
	splitSettings = `select ` + keyFormats
	chunkSettings = `select set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true), ` + durability
	// durability of the commit: $1 asks for a synchronous one, whatever the role's own setting is.
	durability = `set_config('synchronous_commit', case when not $1::boolean then 'off'
		when current_setting('synchronous_commit') = 'off' then 'on' else current_setting('synchronous_commit') end, true)`
	commitSettings = `select ` + durability
)

// statements of one spec on one table.
type statements struct {
	table string // quoted, with schema
	key   []string
	types []string
	set   string
	where string
}

func newStatements(t table, where string) statements {
	s := statements{table: t.relation.Identifier().Sanitize(), where: where}
	for _, c := range t.key {
		s.key = append(s.key, pgx.Identifier{c.Name}.Sanitize())
		s.types = append(s.types, c.Type)
	}
	assignments := make([]string, len(t.set))
	for i, a := range t.set {
		// Lines of their own, so that a comment in an expression ends there.
		assignments[i] = pgx.Identifier{a.Column}.Sanitize() + " = (\n" + a.Expr + "\n)"
	}
	s.set = strings.Join(assignments, ", ")
	return s
}

func (s statements) columns() string { return strings.Join(s.key, ", ") }

// texts is the key as text[].
func (s statements) texts() string { return "array[" + strings.Join(s.key, "::text, ") + "::text]" }

// end is the key that text[] parameter n holds.
func (s statements) end(n int) []string {
	ends := make([]string, len(s.key))
	for i, typ := range s.types {
		ends[i] = fmt.Sprintf("(($%d::text[])[%d])::%s", n, i+1, typ)
	}
	return ends
}

// within is the condition of a range whose lower end is parameter $1 and whose upper end $2; nil means open.
func (s statements) within(r keyRange) string {
	var conditions []string
	bound := func(operator string, n int) {
		end := s.end(n)
		if len(s.key) > 1 {
			// Implied by the row comparison, but the planner can estimate only this one.
			conditions = append(conditions, s.key[0]+" "+operator[:1]+"= "+end[0])
		}
		conditions = append(conditions, "("+s.columns()+") "+operator+" ("+strings.Join(end, ", ")+")")
	}
	if r.lower != nil {
		bound(">", 1)
	}
	if r.upper != nil {
		bound("<=", 2)
	}
	if conditions == nil {
		return "true"
	}
	return strings.Join(conditions, " and ")
}

// unused mentions the parameters that an open range leaves unused; Postgres has to know the type of each.
const unused = "$1::text[] is null and $2::text[] is null"

// probe finds the last key of the chunk after r.lower that skips $3 keys; no row: fewer keys are left.
func (s statements) probe(r keyRange) string {
	return fmt.Sprintf("select %s from (select %s from %s where %s and (%s or true) order by %s offset $3::bigint limit 1) k",
		s.texts(), s.columns(), s.table, s.within(r), unused, s.columns())
}

// count tells how many keys a range holds, $3 at most.
func (s statements) count(r keyRange) string {
	return fmt.Sprintf("select count(*) from (select from %s where %s and (%s or true) limit $3::bigint) k", s.table, s.within(r), unused)
}

// chunk changes the rows of a range and moves the lane on, in one statement: parameters $3 to $13 are advance's.
func (s statements) chunk(r keyRange) string {
	where := ""
	if s.where != "" {
		where = " and (\n" + s.where + "\n)"
	}
	return fmt.Sprintf(`with contraflow_chunk as (update %s set %s where %s%s returning 1)
select n, a.rows, a.scanned from (select count(*) as n from contraflow_chunk where %s or true) c,
contraflow.backfill_advance($3, $4, $5, $6, $7, $8, $9, n, $10, $11, $12, $13) a`, s.table, s.set, s.within(r), where, unused)
}

// remaining counts the rows that still have to be changed.
func (s statements) remaining() string {
	return "select count(*) from " + s.table + " where (\n" + s.where + "\n)"
}

// remainingAside leaves out the rows set aside by step $2 of plan $1. Their condition is not evaluated: it may be what they fail on.
func (s statements) remainingAside() string {
	return fmt.Sprintf(`select count(*) from %s where case when (%s) in (select %s from contraflow.backfill_reject contraflow_reject
where contraflow_reject.plan = $1 and contraflow_reject.step = $2) then false else (
%s
) end`, s.table, s.columns(), strings.Join(s.rejected(), ", "), s.where)
}

// forgive forgets the rows set aside by step $2 of plan $1 that are gone, or do not match the condition any more.
func (s statements) forgive() string {
	where := ""
	if s.where != "" {
		where = " and (\n" + s.where + "\n)"
	}
	return fmt.Sprintf(`delete from contraflow.backfill_reject contraflow_reject where contraflow_reject.plan = $1 and contraflow_reject.step = $2
and not exists (select from %s where (%s) = (%s)%s)`, s.table, s.columns(), strings.Join(s.rejected(), ", "), where)
}

// rejected is the key of a row set aside, in the key's types.
func (s statements) rejected() []string {
	keys := make([]string, len(s.types))
	for i, typ := range s.types {
		keys[i] = fmt.Sprintf("(contraflow_reject.key[%d])::%s", i+1, typ)
	}
	return keys
}

// all selects every row, or every row still to change: for the planner's estimate.
func (s statements) all(where string) string {
	if where == "" {
		return "select from " + s.table
	}
	return "select from " + s.table + " where (\n" + where + "\n)"
}

// split samples the key, from $1 percent of the pages a share of $3 of the rows, and cuts the sample into $2 equal parts; it
// yields the keys at the cuts.
func (s statements) split() string {
	return fmt.Sprintf(`select %s from (
	select %s, row_number() over (order by %s) as contraflow_n, count(*) over () as contraflow_all
	from %s tablesample system ($1::float8) where random() < $3::float8) k
where contraflow_n in (select contraflow_all * i / $2::bigint from generate_series(1, $2::bigint - 1) i) order by contraflow_n`,
		s.texts(), s.columns(), s.columns(), s.table)
}

// middle samples $3 percent of the table and yields the key in the middle of what falls into a range.
func (s statements) middle(r keyRange) string {
	return fmt.Sprintf(`select %s from (
	select %s, row_number() over (order by %s) as contraflow_n, count(*) over () as contraflow_all
	from %s tablesample system ($3::float8) where %s and (%s or true)) k where contraflow_n = (contraflow_all + 1) / 2`,
		s.texts(), s.columns(), s.columns(), s.table, s.within(r), unused)
}

// keyRange is half open; a nil end is open.
type keyRange struct{ lower, upper []string }
