package tests

import (
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/demo"
	"github.com/contraflow/contraflow/internal/devstack/flagserver"
)

// world is what a rolled back migration must leave as it was.
type world struct {
	catalog []string
	version string // of the schema, as golang-migrate keeps it
	flags   map[string]flagserver.Flag
}

func (b *bundle) look() world {
	b.t.Helper()
	w := world{flags: map[string]flagserver.Flag{}, version: b.version()}
	var err error
	w.catalog, err = demo.Catalog(b.t.Context(), b.pool)
	require.NoError(b.t, err)
	for _, key := range flagKeys {
		w.flags[key] = b.flagNow(key)
	}
	return w
}

func (b *bundle) version() (text string) {
	b.t.Helper()
	require.NoError(b.t, b.pool.QueryRow(b.t.Context(),
		`select string_agg(version || case when dirty then ', dirty' else '' end, '; ') from schema_migrations`).Scan(&text))
	return text
}

// flagNow is a flag without what every change changes: versions and dates.
func (b *bundle) flagNow(key string) flagserver.Flag {
	b.t.Helper()
	f, ok := b.flags.Snapshot(key)
	require.True(b.t, ok, key)
	f.Version, f.ArchivedDate = 0, 0
	for _, e := range f.Environments {
		e.Version, e.LastModified = 0, 0
	}
	return f
}

// percent that a flag serves true to; 0 when it is off.
func (b *bundle) percent(key string) int {
	e := b.flagNow(key).Environments["production"]
	switch {
	case !e.On:
		return 0
	case e.Fallthrough.Variation != nil:
		return 100 * (1 - *e.Fallthrough.Variation) // variation 0 is true
	}
	for _, w := range e.Fallthrough.Rollout.Variations {
		if w.Variation == 0 {
			return w.Weight / 1000
		}
	}
	return 0
}

// requireMigrated: the plan has been carried out in full, and no row was committed twice on the way.
func (b *bundle) requireMigrated() {
	b.t.Helper()
	require.Equal(b.t, "3", b.version())
	require.Zero(b.t, b.count(`select count(*) from pg_attribute where attrelid = 'customers'::regclass and attname = 'address' and not attisdropped`))
	require.Equal(b.t, b.rows, b.count(`select count(*) from customers`))
	require.Equal(b.t, b.rows, b.count(`select count(*) from customers
		where street_number = (id % 999)::text and street = 'Some Street Number ' || (id % 1000)`), "rows that follow the formula")
	for _, key := range flagKeys {
		flag, _ := b.flags.Snapshot(key)
		require.True(b.t, flag.Archived, key)
		require.Equal(b.t, 100, b.percent(key))
	}
	b.requireOnce()
	require.Equal(b.t, int64(1), b.count(`select count(*) from contraflow.migration where plan = $1 and outcome = 'completed'`, b.plan.Name))
	require.Equal(b.t, int64(2), b.count(`select count(distinct step) from contraflow.audit where event = 'approve' and actor <> ''`))
	b.requireNothingKept()
}

// requireOnce: backfills have committed every row exactly once.
func (b *bundle) requireOnce() {
	b.t.Helper()
	seen, err := b.witness.Ask(b.t.Context())
	require.NoError(b.t, err)
	require.Equal(b.t, demo.Testimony{Changes: b.rows}, seen)
}

// requireUnchanged: catalog, schema version, flags and rows are exactly what they were.
func (b *bundle) requireUnchanged() {
	b.t.Helper()
	now := b.look()
	require.Empty(b.t, demo.Diff(b.before.catalog, now.catalog))
	require.Equal(b.t, b.before.version, now.version)
	require.Equal(b.t, b.before.flags, now.flags)
	require.Equal(b.t, b.rows, b.count(`select count(*) from customers
		where address = (id % 999) || ' Some Street Number ' || (id % 1000)`), "rows that follow the formula")
}

// requireRolledBack: unchanged, nobody holds the plan, and nothing is left that a next run could mistake for its own.
func (b *bundle) requireRolledBack() {
	b.t.Helper()
	b.requireUnchanged()
	require.Equal(b.t, int64(1), b.count(`select count(*) from contraflow.migration where plan = $1 and outcome = 'rolled_back'`, b.plan.Name))
	b.requireNothingKept()
}

func (b *bundle) requireNothingKept() {
	b.t.Helper()
	for _, table := range []string{"flag_record", "ddl_version", "ddl_intent", "backfill_lane", "backfill_control", "backfill_reading"} {
		require.Zero(b.t, b.count(`select count(*) from contraflow.`+table), table)
	}
}
