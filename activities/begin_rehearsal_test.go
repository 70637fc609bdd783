package activities

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/ddl"
	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/internal/pg"
	"github.com/contraflow/contraflow/signals"
)

// rehearsed is what a rehearsal of the shop's plan would bring along now.
func (b *bundle) rehearsed(t *testing.T) signals.Rehearsal {
	t.Helper()
	known, err := b.acts.Plans.find(shopPlan)
	require.NoError(t, err)
	_, files, err := b.acts.Plans.schema(known)
	require.NoError(t, err)
	hash, err := known.plan.Hash(Sums(files, 3))
	require.NoError(t, err)
	here, err := pg.ReadIdentity(t.Context(), b.acts.Databases["shop"].pool)
	require.NoError(t, err)
	require.NotEmpty(t, here.Cluster)
	return signals.Rehearsal{PlanHash: hash, Database: "shop", Cluster: here.Cluster, DatabaseOID: here.OID,
		From: uint(one[int](t, b, "select version::int from schema_migrations"))}
}

func (b *bundle) beginRehearsed(t *testing.T, r signals.Rehearsal, firstRun string) (Begun, error) {
	t.Helper()
	return b.beginWith(t, signals.Input{Name: shopPlan, Rehearsal: &r}, firstRun)
}

func TestBeginTakesTheRehearsalOfThisPlanAndDatabaseAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.stock(t, 1, false)
	good := b.rehearsed(t)
	for said, spoil := range map[string]func(*signals.Rehearsal){
		"rehearsal is of plan hash 000000000000, and here the plan and its SQL files have " + good.PlanHash[:12]: func(r *signals.Rehearsal) { r.PlanHash = strings.Repeat("0", 64) },
		`rehearsal is of database "stock", and the plan changes "shop"`:                                          func(r *signals.Rehearsal) { r.Database = "stock" },
		`of another database that is called "shop" too: rehearse again`:                                          func(r *signals.Rehearsal) { r.DatabaseOID++ },
		`database that is called "shop" too: rehearse again`:                                                     func(r *signals.Rehearsal) { r.Cluster = "1" },
		"rehearsal began at no version, and the database now stands at version 1: rehearse again":                func(r *signals.Rehearsal) { r.From = 0 },
		"rehearsal began at version 2, and the database now stands at version 1: rehearse again":                 func(r *signals.Rehearsal) { r.From = 2 },
	} {
		r := good
		spoil(&r)
		_, err := b.beginRehearsed(t, r, "run-1")
		requirePermanent(t, err, "BadInput", said)
	}
	b.untouched(t)
	begun, err := b.beginRehearsed(t, good, "run-1")
	require.NoError(t, err)
	require.Equal(t, good.PlanHash, begun.Hash)
}

func TestBeginComparesADatabaseAsFarAsItIsKnown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.stock(t, 1, false)
	good := b.rehearsed(t)
	pgtest.Database{DSN: b.db.SuperDSN}.Exec(t, "revoke execute on function pg_control_system() from public")

	r := good
	r.DatabaseOID++
	_, err := b.beginRehearsed(t, r, "run-1")
	requirePermanent(t, err, "BadInput", "another database")
	r = good
	r.Cluster = "1"
	_, err = b.beginRehearsed(t, r, "run-1")
	require.NoError(t, err, "the worker's role can't read it")
	r.Cluster, r.DatabaseOID = "", 0
	_, err = b.beginRehearsed(t, r, "run-1")
	require.NoError(t, err, "nor could who rehearsed")
}

// A plan that is started again stands higher than where it was rehearsed from: by its own doing alone.
func TestBeginTakesARehearsalFromBeforeThePlansOwnVersions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.stock(t, 1, false)
	before := b.rehearsed(t)
	begun, err := b.beginRehearsed(t, before, "run-1")
	require.NoError(t, err)
	_, err = b.migrate(t, begun, "expand", 2)
	require.NoError(t, err)
	b.acts.Alive = dead

	_, err = b.beginRehearsed(t, before, "run-2")
	require.NoError(t, err)
	_, err = b.beginRehearsed(t, b.rehearsed(t), "run-2")
	require.NoError(t, err, "rehearsed where it stands now")
	before.From = 0
	_, err = b.beginRehearsed(t, before, "run-2")
	requirePermanent(t, err, "BadInput", "began at no version, and the database now stands at version 2")

	before.From = 1
	b.exec(t, "update contraflow.ddl_version set plan = 'another'")
	_, err = b.beginRehearsed(t, before, "run-2")
	requirePermanent(t, err, "BadInput", "began at version 1, and the database now stands at version 2: rehearse again")
}

func TestOnlyThePlansOwnVersionsLeadOn(t *testing.T) {
	t.Parallel()
	folder := fstest.MapFS{}
	for _, name := range []string{"1_a.up.sql", "2_b.up.sql", "4_c.up.sql", "6_d.up.sql"} {
		folder[name] = &fstest.MapFile{Data: []byte("select 1")}
	}
	files, err := ddl.ReadFiles(folder)
	require.NoError(t, err)
	for _, c := range []struct {
		from, at uint
		applied  []uint
		leads    bool
	}{
		{0, 0, nil, true},
		{2, 2, nil, true},
		{1, 4, []uint{2, 4}, true},
		{0, 2, []uint{1, 2}, true},
		{2, 4, []uint{2, 4}, true},
		{4, 2, []uint{2}, false}, // taken back since
		{1, 4, []uint{2}, false}, // somebody on top of ours
		{1, 4, []uint{4}, false}, // somebody below
		{0, 1, nil, false},
		{4, 5, []uint{4}, false}, // of which there is no file here
	} {
		state := ddl.State{Version: c.at, Exists: c.at > 0}
		require.Equal(t, c.leads, leadsTo(c.from, state, files, c.applied), "%+v", c)
	}
}
