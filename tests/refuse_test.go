package tests

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

// requireUntouched: unchanged to the byte, and nobody holds the plan.
func (b *bundle) requireUntouched() {
	b.t.Helper()
	b.requireUnchanged()
	for _, key := range flagKeys {
		flag, _ := b.flags.Snapshot(key)
		require.Equal(b.t, 1, flag.Version, "%s was changed", key)
	}
	if b.count(`select count(*) from pg_namespace where nspname = 'contraflow'`) > 0 {
		require.Zero(b.t, b.count(`select count(*) from contraflow.migration`))
		require.Zero(b.t, b.count(`select count(*) from contraflow.audit`))
		b.requireNothingKept()
	}
}

// refused starts a migration that must fail at once, and returns what it says.
func (b *bundle) refused(id string, input any) string {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), limit)
	defer cancel()
	var failure *temporal.ApplicationError
	require.ErrorAs(b.t, b.start(id, input).Get(ctx, nil), &failure, "it is not refused")
	require.True(b.t, failure.NonRetryable(), failure.Message())
	require.NotContains(b.t, failure.Message(), "postgres://")
	return failure.Message()
}

func TestWhatCannotRunIsRefusedAndChangesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, options{})
	b.exec(`create table keyless (a int); create table plain (id int primary key, a int)`)
	b.before = b.look()
	text := b.document()
	change := func(old, new string) any {
		require.Contains(t, text, old)
		return json.RawMessage(strings.Replace(text, old, new, 1))
	}
	edit := func(change func(p *plan.Plan)) any {
		p, err := plan.Decode("plan.json", []byte(text))
		require.NoError(t, err)
		change(p)
		raw, err := json.Marshal(p)
		require.NoError(t, err)
		return json.RawMessage(raw)
	}
	backfill := func(table, column, where string) any {
		return edit(func(p *plan.Plan) {
			p.Guard, p.Steps = nil, []plan.Step{{Name: "fill", Backfill: &plan.Backfill{Table: table, Set: map[string]string{column: "1"}, Where: where}}}
		})
	}
	for name, c := range map[string]struct {
		input any
		says  []string
	}{
		"an unknown verb":            {change(`"migrate":{"to":2}`, `"migrat":{"to":2}`), []string{"migrat", "input:1"}},
		"an unknown key":             {change(`"max":0`, `"maximum":0`), []string{"maximum", "input:1"}},
		"a wrong type":               {change(`"to":2`, `"to":"two"`), []string{"to", "input:1"}},
		"two steps of one name":      {change(`"name":"write-new"`, `"name":"expand"`), []string{`"expand" is there already`}},
		"irreversible, not verified": {edit(func(p *plan.Plan) { p.Steps = append(p.Steps[:3:3], p.Steps[4:]...) }), []string{"irreversible", "verify"}},
		"irreversible, not approved": {edit(func(p *plan.Plan) { p.Steps = append(p.Steps[:4:4], p.Steps[5], p.Steps[7], p.Steps[8]) }), []string{"irreversible", "approve"}},
		"no such version":            {change(`"to":3`, `"to":9`), []string{"9", "drop-old"}},
		"no such folder":             {change(`"migrations":"migrations"`, `"migrations":"elsewhere"`), []string{"elsewhere"}},
		"no such database":           {change(`"database":"shop"`, `"database":"stock"`), []string{`"stock"`, "it knows: shop"}},
		"no such flag":               {change(`"key":"customers-write-new"`, `"key":"customers-writ-new"`), []string{"customers-writ-new"}},
		"no such plan":               {signals.Input{Name: "nowhere"}, []string{`"nowhere"`, b.plan.Name}},
		"no such table":              {backfill("custumers", "street", ""), []string{"custumers"}},
		"no such column":             {backfill("plain", "street", ""), []string{"street"}},
		"a condition that is no SQL": {backfill("plain", "a", "a === 1"), []string{"fill"}},
		"a table without a key":      {backfill("keyless", "a", ""), []string{"keyless", "key"}},
		"a text":                     {"hello", []string{"the input of a migration is"}},
		"a list":                     {[]int{1, 2}, []string{"the input of a migration is"}},
		"nothing in it":              {map[string]any{}, []string{"the input of a migration is"}},
		"a number for a plan":        {map[string]any{"plan": 7}, []string{"the input of a migration is"}},
		"a plan without steps":       {map[string]any{"plan": map[string]any{"name": "x", "database": "shop"}}, []string{"steps"}},
		"no text at all":             {[]byte{0xff, 0xfe, 0x00}, []string{"the input of a migration is"}},
	} {
		t.Run(name, func(t *testing.T) {
			said := b.refused(b.plan.Name+"-"+strings.ReplaceAll(name, " ", "-"), c.input)
			for _, part := range c.says {
				require.Contains(t, said, part)
			}
		})
	}
	b.requireUntouched()
}

func TestAMissingFileIsRefusedAndChangesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, options{})
	require.NoError(t, os.Remove(filepath.Join(b.plans(), b.plan.Name, "migrations", "000002_add_street.down.sql")))
	said := b.refused(b.plan.Name, signals.Input{Name: b.plan.Name})
	require.Contains(t, said, "can't be undone")
	require.Contains(t, said, "expand")
	b.requireUntouched()
}

func TestASecondMigrationOfThePlanIsRefusedAndHarmsNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, options{})
	b.migrate()
	b.asks("cutover")
	said := b.refused(b.plan.Name+"-again", signals.Input{Name: b.plan.Name})
	require.Contains(t, said, "is being run by migration "+b.plan.Name)
	said = b.refused(b.plan.Name+"-whole", json.RawMessage(b.document()))
	require.Contains(t, said, "is being run by migration "+b.plan.Name)
	b.approve("cutover")
	b.approve("contract")
	b.completes()
	require.Equal(t, int64(1), b.count(`select count(distinct migration) from contraflow.audit`))
}

func TestAnArchivedFlagIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t, options{})
	b.patchFlag(flagKeys[0], map[string]any{"kind": "archiveFlag"})
	b.before = b.look()
	require.Contains(t, b.refused(b.plan.Name, signals.Input{Name: b.plan.Name}), flagKeys[0]+" is archived")
	require.Zero(t, b.count(`select count(*) from pg_tables where schemaname = 'contraflow'`))
	b.requireUnchanged()
}
