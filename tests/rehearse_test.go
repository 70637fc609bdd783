package tests

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/chatserver"
	"github.com/contraflow/contraflow/internal/devstack/postgres"
	"github.com/contraflow/contraflow/rehearse"
	"github.com/contraflow/contraflow/signals"
)

func (b *bundle) rehearsalFile() string {
	return strings.TrimSuffix(b.planFile(), ".json") + signals.RehearsalSuffix
}

// addSQL appends a statement to a file of the plan.
func (b *bundle) addSQL(file, sql string) {
	b.t.Helper()
	name := filepath.Join(filepath.Dir(b.planFile()), "migrations", file)
	text, err := os.ReadFile(name)
	require.NoError(b.t, err)
	require.NoError(b.t, os.WriteFile(name, append(text, sql...), 0o600))
}

// card tells whether the card of a step holds all these texts.
func (b *bundle) card(step string, texts ...string) bool {
	return slices.ContainsFunc(b.chat.Messages(), func(m chatserver.Message) bool {
		raw := string(must(b.t, m.Blocks))
		return contains(raw, "Approval needed: "+step) && contains(raw, texts...)
	})
}

func TestARehearsalTravelsWithTheStartToTheFirstCard(t *testing.T) {
	t.Parallel()
	b := setup(t, options{prepare: poison, edit: tolerating(3)})
	b.addSQL("000002_add_street.up.sql", "\ncreate index customers_name on customers (name);\n")
	b.addSQL("000002_add_street.down.sql", "\ndrop index customers_name;\n")

	said := b.contraflow(1, "rehearse", b.planFile(), "--config", b.config(), "--sample", "5000", "--by", "dora")
	require.True(t, contains(said, "000002_add_street.up.sql:5", "create index customers_name", "blocks everything for a scan", "ACCESS EXCLUSIVE on customers, 2 k rows",
		"version 2 down: the schema is what it was before", "step fill, backfill at version 2 would run", "2,000 rows of customers: 1,997 filled, 3 refused",
		"KEY CODE WHY", "700 22P02", "This would fail: 1 problem. The worst verdict: blocks everything for a scan."), said)
	require.Equal(t, b.before, b.look())
	require.Zero(t, b.count(`select count(*) from pg_namespace where nspname = 'contraflow'`), "it is only read")
	raw, err := os.ReadFile(b.rehearsalFile())
	require.NoError(t, err)
	require.NotContains(t, string(raw), "1400", "no key leaves the terminal")
	info, err := os.Stat(b.rehearsalFile())
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
	var report rehearse.Report
	require.NoError(t, json.Unmarshal(raw, &report))
	require.Equal(t, rehearse.BlocksScan, report.Worst())
	require.NotEmpty(t, report.Cluster)
	require.NotZero(t, report.DatabaseOID)

	b.contraflow(0, "start", b.planFile(), "--task-queue", b.queue, "--by", "carol")
	s := b.asks("cutover")
	require.Equal(t, s.PlanHash, report.PlanHash)
	require.Equal(t, report.PlanHash, s.Rehearsal.PlanHash)
	require.Equal(t, report.Cluster, s.Rehearsal.Cluster)
	require.Equal(t, report.DatabaseOID, s.Rehearsal.DatabaseOID)
	require.Equal(t, uint(1), s.Rehearsal.From)
	require.Equal(t, []string{"step fill: 3 of 2000 sampled rows are refused"}, s.Rehearsal.Problems)
	require.True(t, s.Rehearsal.Reversible)
	require.Len(t, s.Rehearsal.Statements, len(report.Statements))
	b.eventually("the card tells of it", func() bool {
		return b.card("cutover", "by dora on shop "+report.Server, "statements, worst: blocks everything for a scan, 1 problem", "3 of 2000 sampled rows are refused",
			"000002_add_street.up.sql:5", "ACCESS EXCLUSIVE on customers, 2 k rows", "leads back to the same catalog")
	})
	b.statusSays("who rehearsed it, and how it went", "ago by dora on shop "+report.Server, "worst: blocks everything for a scan, 1 problem")
	b.approve("cutover")
	b.asks("contract")
	b.eventually("the next card is there", func() bool { return b.card("contract", "cutover") })
	require.False(t, b.card("contract", "sampled rows"), "once is enough")
	b.exec(mend)
	b.contraflow(0, "retry-rejects", b.plan.Name)
	b.approve("contract")
	b.completes()
	requireNoRow(t, b.history(""))
}

func TestARehearsalOfAnotherPlanIsLeftBehindOrRefused(t *testing.T) {
	t.Parallel()
	b := setup(t, options{})
	said := b.contraflow(0, "rehearse", b.planFile(), "--config", b.config())
	require.True(t, contains(said, "All of it would run, and every statement is instant."), said)
	kept, err := os.ReadFile(b.rehearsalFile())
	require.NoError(t, err)
	b.addSQL("000002_add_street.up.sql", "\n-- as reviewed\n")

	require.Contains(t, b.contraflow(2, "start", b.planFile(), "--task-queue", b.queue, "--rehearsal", b.rehearsalFile()), "is of plan hash")
	var short signals.Rehearsal
	require.NoError(t, json.Unmarshal(kept, &short))
	short.Statements = nil
	refusal := b.refused(b.plan.Name, signals.Input{Name: b.plan.Name, StartedBy: "carol", Rehearsal: &short})
	require.True(t, contains(refusal, "the rehearsal is of plan hash "+short.PlanHash[:12], "rehearse what the worker has"), refusal)
	b.requireUntouched()
	fresh := b.command(binaries.cli, "rehearse", b.planFile(), "--config", b.config(), "--out", "-", "--json", "--by", "dora")
	require.Zero(t, fresh.code(), fresh.stderr.String())
	for says, spoil := range map[string]func(*signals.Rehearsal){
		`another database that is called "shop" too: rehearse again`:      func(r *signals.Rehearsal) { r.Cluster = "1" + r.Cluster },
		"began at version 2, and the database now stands at version 1":    func(r *signals.Rehearsal) { r.From++ },
		"the rehearsal that came along holds 51 statements, and 50 is":    func(r *signals.Rehearsal) { r.Statements = make([]signals.RehearsedStatement, 51) },
		"the rehearsal that came along holds a control character, or one": func(r *signals.Rehearsal) { r.By = "alice\n" },
	} {
		var r signals.Rehearsal
		require.NoError(t, json.Unmarshal(fresh.stdout.Bytes(), &r))
		require.Equal(t, "dora", r.By)
		spoil(&r)
		refusal := b.refused(b.plan.Name, signals.Input{Name: b.plan.Name, StartedBy: "carol", Rehearsal: &r})
		require.Contains(t, refusal, says)
		b.requireUntouched()
	}

	said = b.contraflow(0, "start", b.planFile(), "--task-queue", b.queue, "--by", "carol")
	require.True(t, contains(said, "note: started without the rehearsal "+b.rehearsalFile(), "is of plan hash "+short.PlanHash[:12], "contraflow rehearse"), said)
	require.Nil(t, b.asks("cutover").Rehearsal)
	b.eventually("the card tells that there was none", func() bool { return b.card("cutover", "not rehearsed") })
}

func TestARehearsalIsForOneDatabaseAndSaysWhatItLacks(t *testing.T) {
	t.Parallel()
	b := setup(t, options{})
	for said, args := range map[string][]string{
		"--scratch must be env:NAME or file:PATH": {"--scratch", "postgres://me:S3CRET@db/postgres"},
		"names the environment variable NOBODY":   {"--scratch", "env:NOBODY"},
		"--sample is -1":                          {"--sample", "-1"},
	} {
		text := b.contraflow(2, append([]string{"rehearse", b.planFile(), "--config", b.config()}, args...)...)
		require.Contains(t, text, said)
		require.NotContains(t, text, "S3CRET")
	}
	require.Contains(t, b.contraflow(1, "rehearse", b.planFile(), "--config", b.config(), "--database", "stock"), `has no database "stock"`)
	require.Contains(t, b.contraflow(2, "rehearse", b.plan.Name), "name the plan's file")
	require.NoFileExists(t, b.rehearsalFile())

	var report rehearse.Report
	c := b.command(binaries.cli, "rehearse", b.planFile(), "--config", b.config(), "--out", "-", "--json")
	require.Zero(t, c.code(), c.stderr.String())
	require.NoError(t, json.Unmarshal(c.stdout.Bytes(), &report))
	require.Equal(t, uint(1), report.From)
	require.NotContains(t, c.stderr.String()+c.stdout.String(), "postgres://")
	require.NoFileExists(t, b.rehearsalFile())

	scratch := filepath.Join(b.folder, "scratch.dsn")
	require.NoError(t, os.WriteFile(scratch, []byte(fragile(t).DSN(postgres.Superuser, "postgres")), 0o600))
	said := b.contraflow(0, "rehearse", b.planFile(), "--config", b.config(), "--scratch", "file:"+scratch, "--sample", "50")
	require.True(t, contains(said, "50 rows of customers: 50 filled, 0 refused"), said)
}
