package repair_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/ddl"
	"github.com/contraflow/contraflow/internal/pg"
	"github.com/contraflow/contraflow/repair"
)

func TestACleanDatabaseHasNothingToRepair(t *testing.T) {
	t.Parallel()
	b := setup(t, shop())
	require.Contains(t, b.inspect(t).Verdict, "no table schema_migrations")
	require.NoError(t, b.stock(t, "").Steps(1))
	r := b.inspect(t)
	require.Equal(t, "The database stands at version 1, clean. Nothing to repair.", r.Verdict)
	require.False(t, r.Dirty)
	for _, way := range []repair.Way{repair.AsApplied, repair.AsUnapplied, repair.Finish} {
		b.refused(t, way, "Nothing to repair")
	}
	require.NoError(t, b.stock(t, "").Down())
	require.Equal(t, "No version stands. Nothing to repair.", b.inspect(t).Verdict)
}

func TestATableThatSomebodyWroteByHand(t *testing.T) {
	t.Parallel()
	b := setup(t, shop())
	require.NoError(t, b.stock(t, "").Steps(1))
	b.exec(t, "insert into schema_migrations values (2, true)")
	require.Contains(t, b.inspect(t).Verdict, "has 2 rows where one is allowed")
	b.refused(t, repair.AsApplied, "has 2 rows")

	b.exec(t, "truncate schema_migrations")
	b.exec(t, "insert into schema_migrations values (9, true)")
	require.Equal(t, "Version 9 is dirty and has no file in this folder: look with the folder that it came from.", b.inspect(t).Verdict)
	b.refused(t, repair.AsUnapplied, "has no file")

	b.exec(t, "update schema_migrations set dirty = false")
	require.Equal(t, []string{"version 9 has no file in this folder: versions of another folder stand here"}, b.inspect(t).Notes)
}

// Either version 1's index was not built, or version 2's way back has not built it again.
func TestWhichFileFailedAPersonSaysWhereTheCatalogCant(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{
		"1_a.up.sql": "create table a (n int); create index a_n on a (n);", "1_a.down.sql": "drop table a;",
		"2_b.up.sql": "drop index a_n;", "2_b.down.sql": "create index a_n on a (n);",
	})
	require.NoError(t, b.stock(t, "").Up())
	b.exec(t, "update schema_migrations set version = 1, dirty = true")
	r := b.inspect(t)
	require.Empty(t, r.Failed)
	require.Len(t, r.Files, 2)
	require.Contains(t, r.Verdict, "Either 1_a.up.sql failed or 2_b.down.sql did")
	for _, way := range []repair.Way{repair.AsApplied, repair.AsUnapplied, repair.Finish} {
		b.refused(t, way, "--direction")
	}
	done, err := repair.Do(t.Context(), b.pool, repair.Order{Question: repair.Question{Files: b.files, Direction: ddl.Down}, Way: repair.AsUnapplied, By: "carol", Plan: "p"})
	require.NoError(t, err)
	require.Equal(t, "2_b.down.sql", done.File)
	require.Equal(t, "2", b.version(t))
	b.goesOn(t)
}

// Either way the version stands: which file it was doesn't matter.
func TestBothFilesDone(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{
		"1_a.up.sql": "create table a (n int); insert into a values (1);", "1_a.down.sql": "drop table a;",
		"2_b.up.sql": "create table b (n int);", "2_b.down.sql": "insert into a values (2); drop table b;",
	})
	require.NoError(t, b.stock(t, "").Steps(1))
	b.exec(t, "update schema_migrations set dirty = true")
	require.Empty(t, b.inspect(t).Failed)
	b.refused(t, repair.AsUnapplied, "--direction")
	b.repaired(t, repair.AsApplied, "1")
	b.goesOn(t)
}

func TestWhatContraflowHasBegunAndAppliedIsTold(t *testing.T) {
	t.Parallel()
	const header = "-- contraflow: no-transaction\n"
	b := setup(t, map[string]string{
		"1_a.up.sql": "create table a (n int);", "1_a.down.sql": "drop table a;",
		"2_b.up.sql": header + "create index concurrently a_n on a (n);", "2_b.down.sql": "drop index a_n;",
		"3_c.up.sql": header + "vacuum a;", "4_d.up.sql": header + "call nothing();", "5_e.up.sql": header + "alter table a validate constraint c;",
	})
	require.NoError(t, pg.EnsureSchema(t.Context(), b.pool))
	require.NoError(t, ddl.New(b.pool, b.files, ddl.Options{Plan: "p"}).Up(t.Context(), 1, ""))
	require.NoError(t, ddl.New(b.pool, b.files, ddl.Options{Plan: "p"}).Up(t.Context(), 2, ""))
	require.NoError(t, b.stock(t, "").Steps(-1))
	b.exec(t, "update schema_migrations set dirty = true")
	for version := uint(2); version <= 5; version++ {
		b.exec(t, "insert into contraflow.ddl_intent (schema_name, version, direction, plan, statement_sha) values ('public', $1, 'up', 'p', $2)",
			version, b.files.SHA256(version, ddl.Up))
	}
	b.exec(t, "insert into contraflow.ddl_intent (schema_name, version, direction, plan, statement_sha) values ('public', 2, 'down', 'p', 'another'), ('other', 1, 'up', 'p', 'x')")

	r := b.inspect(t)
	var next []string
	for _, i := range r.Begun {
		require.Equal(t, "p", i.Plan)
		require.NotZero(t, i.Since)
		next = append(next, fmt.Sprintf("%d %s: %s", i.Version, i.Direction, i.Next))
	}
	require.Equal(t, []string{
		"2 down: the next attempt asks a person",
		"2 up: the next attempt takes a valid index as done, and drops and rebuilds an invalid one",
		"3 up: the next attempt runs it again, which does no harm",
		"4 up: the next attempt asks a person",
		"5 up: the next attempt sees in the catalog whether it is done, and runs it if not",
	}, next)
	require.Len(t, r.Above, 1)
	require.Equal(t, uint(2), r.Above[0].Version)

	require.Equal(t, repair.AsApplied, r.Way, r.Verdict)
	b.repaired(t, repair.AsApplied, "1")
	r = b.inspect(t)
	require.Empty(t, r.Above, "it doesn't stand")
	require.Len(t, r.Begun, 5, "of other versions")
}

func TestFinishingKeepsTheSettingsAndTheEnvelopeOfTheFile(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{
		"1_a.up.sql": "begin;\nset local search_path_note.x = '1';\ncreate table a (n int); -- of contraflow\ncreate table c (m text default current_setting('search_path_note.x', true));\ncommit;\n", "1_a.down.sql": "drop table c; drop table a;",
	})
	b.exec(t, "create table a (n int)")
	b.dirty(t)
	r := b.inspect(t)
	require.Equal(t, []repair.Standing{repair.Traceless, repair.Traceless, repair.Applied, repair.NotApplied, repair.Traceless}, standings(r))
	b.repaired(t, repair.Finish, "1")
	require.True(t, one[bool](t, b, "select to_regclass('c') is not null"))
	b.goesOn(t)
}

func TestFinishingGivesWayToOthers(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{"1_a.up.sql": "create table b (n int);\nalter table a add column m int;", "1_a.down.sql": "drop table b; alter table a drop column m;"})
	b.exec(t, "create table a (n int); create table b (n int)")
	b.dirty(t)
	reader := b.db.Connect(t)
	tx, err := reader.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "select * from a")
	require.NoError(t, err)
	gaveWay := make(chan ddl.Waiting, 100)
	finished := make(chan error, 1)
	go func() {
		_, err := repair.Do(t.Context(), b.pool, repair.Order{Question: repair.Question{Files: b.files}, Way: repair.Finish, By: "carol", Plan: "p",
			OnWait: func(w ddl.Waiting) { gaveWay <- w }})
		finished <- err
	}()
	select {
	case w := <-gaveWay:
		require.Contains(t, w.String(), "pid")
	case err := <-finished:
		require.FailNow(t, "it did not wait", "%v", err)
	}
	require.NoError(t, tx.Rollback(t.Context()))
	require.NoError(t, <-finished)
	require.Equal(t, "1", b.version(t))
}

// The way back builds an index that version 1 never had: that it is missing doesn't show that version 2 ever stood.
func TestAWayBackThatIsNoneProvesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{
		"1_a.up.sql": "create table a (n int);\ninsert into a values (1);", "1_a.down.sql": "drop table a;",
		"2_b.up.sql": "drop index if exists a_n;", "2_b.down.sql": "create index a_n on a (n);",
	})
	require.NoError(t, b.stock(t, "").Steps(1))
	b.exec(t, "update schema_migrations set dirty = true")
	require.Empty(t, b.inspect(t).Failed)
	b.refused(t, repair.AsUnapplied, "--direction")
}

func TestAMarkThatIsNullCountsAsDirty(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{"1_a.up.sql": "create table a (n int);", "1_a.down.sql": "drop table a;"})
	b.exec(t, "create table schema_migrations (version bigint, dirty boolean); insert into schema_migrations values (1, null)")
	r := b.inspect(t)
	require.True(t, r.Dirty)
	require.Equal(t, "version 1, dirty (its mark is null)", r.Rows[0].String())
	require.Equal(t, repair.AsUnapplied, r.Way)
	b.repaired(t, repair.AsUnapplied, "none")
	b.exec(t, "alter table schema_migrations alter dirty set not null, alter version set not null")
	b.goesOn(t)
}
