package lint

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/ddl"
	"github.com/contraflow/contraflow/internal/sqltree"
	"github.com/contraflow/contraflow/plan"
)

// base is what stands in the database before the file that is looked at.
const base = `
create table orders (id bigint primary key, customer bigint, note varchar(20), amount numeric(10,2) not null default 0, state text,
  placed timestamptz(3), code char(4), tags text[], address cidr, shipped timestamp, lasting interval(3), limited varchar(30) check (length(limited) > 1),
  constraint state_known check (state is not null), constraint amount_positive check (amount > 0));
create index orders_state on orders (state);
create index orders_lower on orders (lower(note));
create unique index orders_customer on orders (customer);
create unique index orders_amount on orders (amount);
alter table orders add constraint orders_old check (id > 1) not valid;
create table customers (id bigint primary key, name text);
create table items (order_id bigint references orders, n int, primary key (order_id, n));
create table events (id bigint, at date not null, primary key (id, at)) partition by range (at);
create table events_1 partition of events for values from ('2024-01-01') to ('2024-02-01');
create table events_2 (id bigint not null, at date not null, primary key (id, at), constraint b check (at >= '2024-02-01' and at < '2024-03-01'));
create table events_3 (id bigint not null, at date not null, primary key (id, at));
create table spare (id bigint, kind text) partition by list (kind);
create table spare_rest partition of spare default;
create table plots (id bigint, kind text) partition by list (kind);
create table plots_a (id bigint, kind text, constraint k check (kind = 'a'));
create table widths (id bigint primary key, v varchar(20), n numeric(10,2), b bit varying(3), t time(2), w varchar(9), ts timestamp(2), f text, m int not null);
create index widths_v on widths (v);
create index widths_w on widths (v) where w = 'a';
alter table widths add constraint widths_n check (id > 0 and f is not null);
create unique index widths_f on widths (f);
create type mood as enum ('sad', 'happy');
create domain positive as int check (value > 0);
create domain label as text;
create type pair as (a int, b int);
create view open_orders as select id from orders;
create materialized view totals as select count(*) from orders;
create function helper() returns int language sql as 'select 1';
create function tell() returns trigger language plpgsql as 'begin return new; end';
`

// judged is one file, and what a rule says of it.
type judged struct {
	sql  string
	line int      // of the finding; 0 for the line of the last statement
	as   Severity // "" for the rule's own
}

// judgements of all tests, by rule.
func judgements() map[string]judgement {
	all := map[string]judgement{}
	for _, table := range []map[string]judgement{columnJudgements, constraintJudgements, indexJudgements, objectJudgements, lockJudgements, habitJudgements} {
		maps.Copy(all, table)
	}
	return all
}

// lintFiles judges files that stand on the base, each with a step of its own.
func lintFiles(t *testing.T, irreversible bool, files map[string]string) Report {
	t.Helper()
	fs := fstest.MapFS{"000001_base.up.sql": {Data: []byte(base)}}
	for name, text := range files {
		fs[name] = &fstest.MapFile{Data: []byte(text)}
	}
	read, err := ddl.ReadFiles(fs)
	require.NoError(t, err)
	p, document := &plan.Plan{Name: "rules"}, "name: rules\nsteps:\n"
	for _, v := range read.Versions()[1:] {
		document += fmt.Sprintf("  - name: to-%d\n    migrate: {to: %d, irreversible: %t}\n", v, v, irreversible)
		p.Steps = append(p.Steps, plan.Step{Name: fmt.Sprintf("to-%d", v), Migrate: &plan.Migrate{To: v, Irreversible: irreversible}})
	}
	return Check(Input{Plan: p, File: "plan.yaml", Document: []byte(document), Files: read, Folder: "."})
}

// of keeps the findings of one rule.
func of(r Report, id string) []Finding {
	return slices.DeleteFunc(slices.Clone(r.Findings), func(f Finding) bool { return f.Rule != id })
}

type judgement struct{ hits, misses []judged }

// hit and miss are files as they stand.
func hit(files ...string) (all []judged) {
	for _, f := range files {
		all = append(all, judged{sql: f})
	}
	return all
}

func TestEveryRuleHitsAndMisses(t *testing.T) {
	t.Parallel()
	all := judgements()
	for _, r := range statementRules {
		require.NotEmpty(t, all[r.ID].hits, "%s is never hit", r.ID)
		require.NotEmpty(t, all[r.ID].misses, "%s is never missed", r.ID)
		t.Run(r.ID, func(t *testing.T) {
			t.Parallel()
			for _, j := range all[r.ID].hits {
				report := lintFiles(t, false, map[string]string{"000002_change.up.sql": j.sql})
				found := of(report, r.ID)
				require.NotEmpty(t, found, "%s\n%v", j.sql, report.Findings)
				line := j.line
				if line == 0 {
					statements, err := sqltree.Parse(j.sql)
					require.NoError(t, err)
					line = statements[len(statements)-1].Line
				}
				require.Equal(t, line, found[0].Line, j.sql)
				severity := j.as
				if severity == "" {
					severity = r.Severity
				}
				require.Equal(t, severity, found[0].Severity, "%s: %s", j.sql, found[0].Message)
				require.NotContains(t, found[0].Message, "%!")
				for _, f := range found {
					requireSafe(t, j.sql, f, report)
				}
			}
			for _, j := range all[r.ID].misses {
				require.Empty(t, of(lintFiles(t, false, map[string]string{"000002_change.up.sql": j.sql}), r.ID), j.sql)
			}
		})
	}
}

// requireSafe pastes a safe form: it must parse, have less of what the rule is about, and bring no error of another rule.
func requireSafe(t *testing.T, original string, f Finding, before Report) {
	t.Helper()
	requirePlan(t, f.Safe)
	if f.Safe == "" || strings.HasPrefix(f.Safe, "- name: ") {
		return
	}
	files := map[string]string{}
	for _, p := range paste(t, original, f) {
		require.NotContains(t, files, p.name, "two files of one name: %s", f.Safe)
		files[p.name] = p.sql
		_, err := sqltree.Parse(p.sql)
		require.NoError(t, err, f.Safe)
	}
	report := lintFiles(t, true, files)
	require.Less(t, len(of(report, f.Rule)), len(of(before, f.Rule)), "%s\n%v", f.Safe, of(report, f.Rule))
	for _, other := range report.Findings {
		ours := slices.ContainsFunc(statementRules, func(r statementRule) bool { return r.ID == other.Rule })
		brought := (ours || other.Rule == "script-refused") && len(of(before, other.Rule)) == 0
		require.False(t, brought && other.Severity == Error, "%s: %s in\n%s", other.Rule, other.Message, f.Safe)
	}
}

// What others know has a rule here, or a reason why not.
func TestTheRulesCoverWhatOthersKnow(t *testing.T) {
	t.Parallel()
	var sources []string
	for _, r := range Rules() {
		sources = append(sources, r.Sources...)
	}
	for _, e := range Elsewhere() {
		sources = append(sources, e.Source)
		require.NotEmpty(t, e.Why)
	}
	for _, id := range strings.Fields(`adding-field-with-default adding-foreign-key-constraint adding-not-nullable-field adding-required-field
		adding-serial-primary-key-field ban-alter-domain-with-add-constraint ban-char-field ban-concurrent-index-creation-in-transaction
		ban-create-domain-with-constraint ban-drop-column ban-drop-database ban-drop-not-null ban-drop-table ban-duplicate-column-assignments
		ban-truncate-cascade ban-uncommitted-transaction changing-column-type constraint-missing-not-valid disallowed-unique-constraint
		identifier-too-long prefer-bigint-over-int prefer-bigint-over-smallint prefer-identity prefer-repack prefer-robust-stmts prefer-text-field
		prefer-timestamptz renaming-column renaming-table require-concurrent-index-creation require-concurrent-index-deletion require-concurrent-reindex
		require-concurrent-partition-detach require-enum-value-ordering require-lock-timeout require-statement-timeout require-table-schema
		transaction-nesting syntax-error`) {
		require.Contains(t, sources, "squawk: "+id)
	}
	for _, id := range strings.Fields(`remove_column change_column change_column_constraint change_column_with_not_null rename_column rename_table rename_schema
		rename_enum_value add_column_auto_incrementing add_column_generated_stored add_foreign_key add_check_constraint
		validate_check_constraint validate_foreign_key execute change_table add_index remove_index add_reference add_unique_constraint
		add_exclusion_constraint add_column_json add_column_default_callable change_column_null change_column_default add_index_columns`) {
		require.Contains(t, sources, "strong_migrations: "+id)
	}
}

func TestRulesExplainThemselves(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, r := range Rules() {
		require.False(t, seen[r.ID], "two rules are called %s", r.ID)
		seen[r.ID] = true
		require.Regexp(t, `^[a-z][a-z-]*[a-z]$`, r.ID)
		require.NotEmpty(t, r.Title, r.ID)
		require.Regexp(t, `\.$`, r.Why, r.ID)
		require.Contains(t, []Severity{Error, Warning, Note}, r.Severity)
	}
}
