package backfill

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/contraflow/contraflow/internal/pg"
)

// syncFunction is the function called $1 in our schema.
const syncFunction = `pg_proc f where f.pronamespace = (select n.oid from pg_namespace n where n.nspname = '` + pg.Schema + `') and f.proname = $1`

// syncTrigger is what keeps the new columns of one step right: a function and up to two triggers, made of these SQL texts.
type syncTrigger struct {
	plan, step string
	relation   pg.Relation
	settings   string // of the function: what the backfill's own session has
	set        []syncColumn
	reads      []syncRead
	checks     []string // conditions of the CHECK constraints that a computed value could break
	// others tells of other BEFORE UPDATE triggers on the table. What they change stands in no update's list of columns.
	others bool
}

// syncColumn is assigned by the trigger.
type syncColumn struct {
	name     string // quoted
	expr     string
	absent   string // what the column holds where an insert leaves it out
	fallback string // what it gets where the expression yields nothing that it may hold
	notNull  bool
}

// syncRead is read by an expression.
type syncRead struct{ name, typ string }

// syncName has only harmless characters, leaves room for more within 63, and is the same for every spec of a step.
func syncName(plan, step string) string {
	sum := sha256.Sum256([]byte(plan + "\x00" + step))
	return "sync_" + hex.EncodeToString(sum[:12])
}

func syncIdentifier(plan, step string) string {
	return pgx.Identifier{pg.Schema, syncName(plan, step)}.Sanitize()
}

// statements make what is not there, but that they replace the function.
func (s syncTrigger) statements() []string {
	comment := "comment on function " + syncIdentifier(s.plan, s.step) + "() is " + literal(s.comment())
	return append(s.definition(), comment)
}

func (s syncTrigger) definition() []string {
	all := []string{fmt.Sprintf("create or replace function %s() returns trigger language plpgsql %s as %s",
		syncIdentifier(s.plan, s.step), s.settings, literal(s.body()))}
	for _, t := range s.triggers() {
		// Postgres fires triggers in the order of their names: this one after those that change what the expressions read.
		name := pgx.Identifier{"zz_contraflow_" + syncName(s.plan, s.step) + "_" + t.suffix}.Sanitize()
		table := s.relation.Identifier().Sanitize()
		all = append(all,
			fmt.Sprintf("create trigger %s before %s on %s for each row when (%s) execute function %s()", name, t.event, table, t.when, syncIdentifier(s.plan, s.step)),
			fmt.Sprintf("comment on trigger %s on %s is %s", name, table, literal(s.purpose())))
	}
	return all
}

// rowTrigger fires at an event for the rows for which when holds.
type rowTrigger struct{ suffix, event, when string }

// triggers guard in WHEN, where a row that is none of ours costs no call. Images are compared, not values: what is equal by
// its type's own operator may still differ for an expression (1.0 and 1.00), and some types have no such operator.
func (s syncTrigger) triggers() []rowTrigger {
	var before, after, absent []string
	for _, c := range s.set {
		before, after, absent = append(before, "old."+c.name), append(after, "new."+c.name), append(absent, c.absent)
	}
	all := []rowTrigger{{"insert", "insert", image("eq", after, absent)}}
	if len(s.reads) == 0 {
		return all // what the columns should hold never changes
	}
	var names, was, is []string
	for _, r := range s.reads {
		names, was, is = append(names, r.name), append(was, "old."+r.name), append(is, "new."+r.name)
	}
	event := "update of " + strings.Join(names, ", ")
	if s.others {
		event = "update"
	}
	return append(all, rowTrigger{"update", event, image("ne", was, is) + " and " + image("eq", before, after)})
}

func image(operation string, a, b []string) string {
	return fmt.Sprintf("pg_catalog.record_image_%s(row(%s), row(%s))", operation, strings.Join(a, ", "), strings.Join(b, ", "))
}

// body never fails the application's statement: where an expression fails, or a column has been renamed, the columns are left so
// that the backfill finds the row. The columns that are read become variables of their own names, because an expression is
// written out with these. They are declared in a block of their own: no block catches what fails in its own declarations.
func (s syncTrigger) body() string {
	var b strings.Builder
	fmt.Fprintf(&b, "-- %s\n#variable_conflict use_column\nbegin\n    begin\n        declare\n", strings.ReplaceAll(s.purpose(), "\n", " "))
	for _, r := range s.reads {
		fmt.Fprintf(&b, "            %s %s := new.%s;\n", r.name, r.typ, r.name)
	}
	b.WriteString("        begin\n")
	for _, c := range s.set {
		expr := c.expr
		if c.notNull {
			expr = "coalesce((" + expr + "), " + c.fallback + ")"
		}
		fmt.Fprintf(&b, "            new.%s := (%s);\n", c.name, expr)
	}
	for _, check := range s.checks {
		fmt.Fprintf(&b, "            if exists (select from (select new.*) %s where not (%s)) then raise check_violation; end if;\n",
			pgx.Identifier{s.relation.Name}.Sanitize(), check)
	}
	b.WriteString("        end;\n    exception when others then\n")
	for _, c := range s.set {
		fmt.Fprintf(&b, "        begin\n            new.%s := %s;\n        exception when others then null;\n        end;\n", c.name, c.fallback)
	}
	b.WriteString("    end;\n    return new;\nend")
	return b.String()
}

// purpose is for people who meet the trigger.
func (s syncTrigger) purpose() string {
	return fmt.Sprintf("contraflow: fills the new columns of backfill step %q of plan %q for an application that does not write them; the migration removes it",
		s.step, s.plan)
}

// comment tells this trigger on this table from any other of the step.
func (s syncTrigger) comment() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %q", s.relation.OID, s.definition()))
	return s.purpose() + " [" + hex.EncodeToString(sum[:]) + "]"
}

// intact tells that nothing is to be done. A trigger of a partitioned table has copies in its partitions, each of which can be
// disabled alone.
func (s syncTrigger) intact(ctx context.Context, conn *pgxpool.Conn) (intact bool, err error) {
	err = conn.QueryRow(ctx, `select exists (select from `+syncFunction+` and obj_description(f.oid, 'pg_proc') = $2 and (
			select count(*) filter (where t.tgparentid = 0) = $3 and bool_and(t.tgenabled = 'O' and (t.tgrelid = $4 or t.tgparentid <> 0))
			from pg_trigger t where t.tgfoid = f.oid))`,
		syncName(s.plan, s.step), s.comment(), len(s.triggers()), s.relation.OID).Scan(&intact)
	return intact, err
}

// literal is a string constant that means the same under every setting of standard_conforming_strings.
func literal(text string) string {
	return " E'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(text) + "'"
}
