package backfill

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/contraflow/contraflow/internal/pg"
)

// Engine runs backfills on one database. It may be used by several goroutines at once.
type Engine struct {
	pool       *pgxpool.Pool
	transforms map[string]Transform
}

// New makes an engine. The pool's connections should be called "contraflow backfill" and carry a lock timeout and a
// statement timeout of some multiples of the chunk time as connection parameters; the pool needs one connection per lane
// that runs here and one more. The tables of schema contraflow must be there (pg.EnsureSchema).
func New(pool *pgxpool.Pool, options ...Option) *Engine {
	e := &Engine{pool: pool}
	for _, set := range options {
		set(e)
	}
	return e
}

// Target is what a backfill will work on.
type Target struct {
	// Table with its schema, and Key columns, quoted where SQL needs it.
	Table string
	Key   []string
	// Rows of the table and Matching the condition: the planner's estimates.
	Rows, Matching int64
	// Bytes of the table's heap.
	Bytes int64
	// Lanes that suit the server and the table.
	Lanes int
}

// table is a Spec's table as the catalog knows it.
type table struct {
	relation pg.Relation
	key      []pg.Column
	set      []Assignment // with exact column names
	// transform computes the values of set; nil where its expressions do.
	transform *transformed
}

// stamp tells the table and the columns to set from others of the same names: a column that was dropped and added again is
// empty, whatever a checkpoint of the one before says.
func (t table) stamp(ctx context.Context, q pg.Querier) (string, error) {
	names := make([]string, len(t.set))
	for i, a := range t.set {
		names[i] = a.Column
	}
	var stamp string
	err := q.QueryRow(ctx, `select $1::oid || ' ' || coalesce(string_agg(attnum::text, ',' order by attnum), '')
		from pg_attribute where attrelid = $1 and attname = any($2) and not attisdropped`, t.relation.OID, names).Scan(&stamp)
	return stamp, err
}

// Inspect checks a spec against the database and changes nothing. Its errors wrap ErrSpec, ErrNoTable, ErrNoKey, ErrNoColumn,
// ErrNoTransform, ErrConnection, or are a *StatementError: what Postgres says against an expression.
func (e *Engine) Inspect(ctx context.Context, spec Spec) (Target, error) {
	target, _, err := e.inspect(ctx, spec)
	return target, err
}

func (e *Engine) inspect(ctx context.Context, spec Spec) (Target, table, error) {
	t, err := e.resolve(ctx, spec)
	if err != nil {
		return Target{}, table{}, err
	}
	s := newStatements(t, spec.Where)
	target := Target{Table: s.table, Key: s.key, Bytes: t.relation.Bytes, Lanes: defaultLanes(e.cores(ctx), t.relation.Bytes)}
	if spec.Vacuum {
		if err := e.mayVacuum(ctx, t); err != nil {
			return Target{}, table{}, e.failed(ctx, err)
		}
	}
	checking := spec.name() + ": check the expressions of set and where on " + s.table
	if err := e.selfContained(ctx, checking, s.plain(t), 0); err != nil {
		return Target{}, table{}, err
	}
	if err := e.check(ctx, s, t); err != nil {
		return Target{}, table{}, e.failed(ctx, planError(checking, err))
	}
	if err := e.inspectThrottles(ctx, spec, s.table); err != nil {
		return Target{}, table{}, err
	}
	if target.Rows, err = e.estimate(ctx, t, s.all("")); err == nil {
		target.Matching, err = e.estimate(ctx, t, s.all(spec.Where))
	}
	return target, t, e.failed(ctx, planError(spec.name()+": estimate the rows of "+s.table, err))
}

// plain is what will run, without parameters of ours.
func (s statements) plain(t table) string {
	if t.transform != nil {
		return s.all(s.where)
	}
	where := s.where
	if where == "" {
		where = "true"
	}
	return fmt.Sprintf("update %s set %s where (\n%s\n)", s.table, s.set, where)
}

// selfContained has Postgres parse a statement, and refuses one that asks for more parameters than are given: an expression has
// none of its own, and those of a chunk would be taken for them.
func (e *Engine) selfContained(ctx context.Context, doing, sql string, given int) error {
	conn, err := e.pool.Acquire(ctx)
	if err != nil {
		return e.failed(ctx, rowError(doing, err))
	}
	defer conn.Release()
	parsed, err := conn.Conn().Prepare(ctx, "", sql)
	if err != nil {
		return e.failed(ctx, planError(doing, err))
	}
	if len(parsed.ParamOIDs) > given {
		return fmt.Errorf("%s: %w: an expression holds a parameter ($%d), for which nothing is given; write the value itself", doing, ErrSpec, len(parsed.ParamOIDs))
	}
	return nil
}

// check lets the planner check names, types and rights of what will run, with parameters that are null, and runs nothing.
func (e *Engine) check(ctx context.Context, s statements, t table) error {
	if t.transform != nil {
		return e.checkTransform(ctx, s, t.transform)
	}
	rows, err := e.pool.Query(ctx, "explain "+s.chunk(keyRange{lower: []string{}, upper: []string{}}),
		nil, nil, nil, nil, 0, 0, 0, nil, false, 0, 0, 0, 0)
	if err != nil {
		return err
	}
	rows.Close()
	return rows.Err()
}

// estimate asks the planner, who knows the table's present size; a table without pages has no rows, whatever he assumes.
func (e *Engine) estimate(ctx context.Context, t table, query string) (int64, error) {
	if t.relation.Bytes == 0 {
		return 0, nil
	}
	var plans []struct {
		Plan struct {
			Rows int64 `json:"Plan Rows"`
		}
	}
	err := e.pool.QueryRow(ctx, "explain (format json) "+query).Scan(&plans)
	if err != nil || len(plans) == 0 {
		return 0, err
	}
	return plans[0].Plan.Rows, nil
}

// resolve finds the table, its key and its columns.
func (e *Engine) resolve(ctx context.Context, spec Spec) (table, error) {
	if err := spec.check(); err != nil {
		return table{}, err
	}
	f, err := e.transform(spec) // looked up first: the table may be one that an earlier step has still to create
	if err != nil {
		return table{}, err
	}
	relation, err := e.relation(ctx, spec.Table)
	if err != nil {
		return table{}, err
	}
	if relation.Inherited {
		return table{}, fmt.Errorf("%w: other tables inherit from %s, and a unique index never holds over all of them; give each table below it a step of its own",
			ErrNoKey, relation.Identifier().Sanitize())
	}
	// A partitioned table is walked through the parent: ranges of keys hold whichever partition a row lives in, so that rows that
	// move are neither missed nor met twice, and partitions attached meanwhile are included.
	t := table{relation: relation}
	if t.key, err = e.key(ctx, relation, spec.Key); err != nil {
		return table{}, err
	}
	if spec.Transform != "" {
		t.transform, t.set, err = e.transformed(ctx, spec.Transform, f, relation, t.key)
	} else {
		t.set, err = assignments(relation, t.key, spec.Set)
	}
	if err != nil {
		return table{}, err
	}
	return t, e.stays(ctx, t)
}

// relation finds a table by its name as written in SQL.
func (e *Engine) relation(ctx context.Context, written string) (pg.Relation, error) {
	name, err := pg.ParseName(written)
	if err != nil || len(name) > 2 {
		return pg.Relation{}, fmt.Errorf("%w: table %q is not a name, or not one of the form schema.table (names with capitals, blanks or dots go in double quotes)", ErrSpec, written)
	}
	relation, err := pg.ReadRelation(ctx, e.pool, name)
	if errors.Is(err, pg.ErrNoRelation) {
		return pg.Relation{}, fmt.Errorf("%w: %s does not exist; check the schema and the spelling (without double quotes names are folded to lower case)", ErrNoTable, name.Sanitize())
	}
	if err != nil {
		return pg.Relation{}, e.failed(ctx, planError("look up table "+name.Sanitize(), err))
	}
	if relation.Kind != "r" && relation.Kind != "p" {
		return pg.Relation{}, fmt.Errorf("%w: %s is neither an ordinary nor a partitioned table; name the table underneath", ErrNoTable, name.Sanitize())
	}
	return relation, nil
}

func (e *Engine) key(ctx context.Context, r pg.Relation, names []string) ([]pg.Column, error) {
	wanted, err := columns(r, names)
	if err != nil {
		return nil, err
	}
	indexes, err := pg.UniqueIndexes(ctx, e.pool, r.OID)
	if err != nil {
		return nil, e.failed(ctx, planError("look up the unique indexes of "+r.Identifier().Sanitize(), err))
	}
	var others, unfit []string
	for _, index := range indexes {
		key := make([]pg.Column, len(index.Columns))
		nullable := false
		for i, name := range index.Columns {
			key[i], _ = r.Column(name)
			nullable = nullable || !key[i].NotNull
		}
		switch {
		case index.Unfit != "":
			unfit = append(unfit, fmt.Sprintf("unique index %q %s", index.Name, index.Unfit))
		case wanted == nil && index.Primary, wanted != nil && !nullable && sameColumns(key, wanted):
			return key, nil
		case wanted != nil && sameColumns(key, wanted):
			return nil, fmt.Errorf("%w: unique index %q of %s has nullable columns; make %s not null first", ErrNoKey, index.Name, r.Identifier().Sanitize(), quoted(wanted))
		case !nullable:
			others = append(others, "("+quoted(key)+")")
		}
	}
	return nil, noKey(r, wanted, others, unfit)
}

func noKey(r pg.Relation, wanted []pg.Column, others, unfit []string) error {
	name := r.Identifier().Sanitize()
	reasons := ""
	if others != nil {
		reasons = "; key columns that would do: " + strings.Join(others, " or ")
	}
	for _, u := range unfit {
		reasons += "; " + u
	}
	columns := "…"
	if wanted != nil {
		columns = quoted(wanted)
	}
	create := fmt.Sprintf("create unique index concurrently on %s (%s)", name, columns)
	if r.Kind == "p" { // where Postgres builds none concurrently
		create = fmt.Sprintf("create unique index on only %s (%s), with the columns that it is partitioned by, then concurrently on every partition, and attach these; or name each partition as the table of a step of its own",
			name, columns)
	}
	if wanted == nil {
		return fmt.Errorf("%w: %s has no primary key%s; give the step a key, over which a unique index exists and whose columns are not null (%s)",
			ErrNoKey, name, reasons, create)
	}
	return fmt.Errorf("%w: %s has no valid unique btree index over exactly (%s)%s; create one: %s", ErrNoKey, name, columns, reasons, create)
}

func assignments(r pg.Relation, key []pg.Column, set []Assignment) ([]Assignment, error) {
	exact := make([]Assignment, len(set))
	for i, a := range set {
		found, err := columns(r, []string{a.Column})
		if err != nil {
			return nil, err
		}
		if slices.Contains(key, found[0]) {
			return nil, fmt.Errorf("%w: set changes %s, by which the table is walked; rows would be met twice or missed", ErrSpec, quoted(found))
		}
		if found[0].Generated {
			return nil, fmt.Errorf("%w: set changes %s, which Postgres generates always; set the columns that it is computed from", ErrSpec, quoted(found))
		}
		exact[i] = Assignment{found[0].Name, a.Expr}
	}
	return exact, nil
}

// stays tells whether the key stays as it is when set changes its columns: it may be computed from them.
func (e *Engine) stays(ctx context.Context, t table) error {
	var generated []string
	for _, c := range t.key {
		if c.Generated {
			generated = append(generated, c.Name)
		}
	}
	if generated == nil {
		return nil
	}
	sources, err := pg.Sources(ctx, e.pool, t.relation.OID, generated)
	if err != nil {
		return e.failed(ctx, planError("look up what the key of "+t.relation.Identifier().Sanitize()+" is computed from", err))
	}
	for _, a := range t.set {
		if slices.Contains(sources, a.Column) {
			return fmt.Errorf("%w: set changes %s, from which the key that the table is walked by is computed; rows would be met twice or missed",
				ErrSpec, pgx.Identifier{a.Column}.Sanitize())
		}
	}
	return nil
}

// columns finds columns by their names as written in SQL; nil for none.
func columns(r pg.Relation, names []string) ([]pg.Column, error) {
	var found []pg.Column
	for _, text := range names {
		name, err := pg.ParseName(text)
		if err != nil || len(name) != 1 {
			return nil, fmt.Errorf("%w: column %q is not a name (names with capitals, blanks or dots go in double quotes)", ErrSpec, text)
		}
		c, ok := r.Column(name[0])
		if !ok {
			return nil, fmt.Errorf("%w: table %s has no column %s%s", ErrNoColumn, r.Identifier().Sanitize(), name.Sanitize(), suggest(r, name[0]))
		}
		found = append(found, c)
	}
	return found, nil
}

func suggest(r pg.Relation, name string) string {
	for _, c := range r.Columns {
		if strings.EqualFold(c.Name, name) {
			return "; write " + quoted([]pg.Column{c}) + " with its double quotes"
		}
	}
	return "; add it in a migrate step before this one, or check the spelling"
}

func sameColumns(a, b []pg.Column) bool {
	byName := func(a, b pg.Column) int { return strings.Compare(a.Name, b.Name) }
	return slices.Equal(slices.SortedFunc(slices.Values(a), byName), slices.SortedFunc(slices.Values(b), byName))
}

func quoted(columns []pg.Column) string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = pgx.Identifier{c.Name}.Sanitize()
	}
	return strings.Join(names, ", ")
}

// failed prefers the reason for which ctx ended to what that did to a query.
func (e *Engine) failed(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
