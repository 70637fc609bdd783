package repair_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/ddl"
	"github.com/contraflow/contraflow/internal/devstack/pgproxy"
	"github.com/contraflow/contraflow/internal/pg"
	"github.com/contraflow/contraflow/repair"
)

// shop is sound but for version 2, which can't be built while a holds duplicates.
func shop() map[string]string {
	return map[string]string{
		"1_a.up.sql":   "create table a (n int); insert into a values (1), (1);",
		"1_a.down.sql": "drop table a;",
		"2_b.up.sql":   "create table b (n int);\nalter table b add column m int;\ncreate unique index a_n on a (n);\n",
		"2_b.down.sql": "drop index a_n;\ndrop table b;\n",
		"3_c.up.sql":   "create table c ();",
		"3_c.down.sql": "drop table c;",
	}
}

const dedupe = "delete from a where ctid > (select min(ctid) from a)"

// sound makes the folder's files harmless on a fresh database, for the way back and forth at the end.
func (b bundle) sound(t *testing.T) bundle {
	t.Helper()
	files := shop()
	files["1_a.up.sql"] = "create table a (n int); insert into a values (1);"
	b.files = read(t, files)
	return b
}

func TestAFileThatFailedAsAWholeCountsAsUnapplied(t *testing.T) {
	t.Parallel()
	b := setup(t, shop())
	require.ErrorContains(t, b.stock(t, "").Up(), "could not create unique index")
	require.Equal(t, "2 dirty", b.version(t))

	r := b.inspect(t)
	require.True(t, r.Dirty)
	require.Equal(t, "2_b.up.sql", r.Failed)
	require.Equal(t, repair.AsUnapplied, r.Way)
	require.Equal(t, "Nothing of 2_b.up.sql stands.", r.Verdict)
	require.Equal(t, []repair.Standing{repair.NotApplied, repair.NotApplied, repair.NotApplied}, standings(r))
	require.Equal(t, "2 dirty", b.version(t), "looking changes nothing")

	b.refused(t, repair.AsApplied, "there is no table b")
	b.repaired(t, repair.AsUnapplied, "1")
	require.False(t, one[bool](t, b, "select exists (select from pg_namespace where nspname = 'contraflow')"), "never only for this")
	b.exec(t, dedupe)
	b.sound(t).goesOn(t)
}

func TestAHalfAppliedFileIsFinished(t *testing.T) {
	t.Parallel()
	b := setup(t, shop())
	require.ErrorContains(t, b.stock(t, multi).Up(), "could not create unique index")

	r := b.inspect(t)
	require.Equal(t, []repair.Standing{repair.Applied, repair.Applied, repair.NotApplied}, standings(r))
	require.Equal(t, repair.Finish, r.Way)
	require.Contains(t, r.Verdict, "2_b.up.sql:3")
	b.refused(t, repair.AsApplied, "there is no index a_n")
	b.refused(t, repair.AsUnapplied, "table b is there")

	_, err := b.do(t, repair.Finish)
	var failed *ddl.StatementError
	require.ErrorAs(t, err, &failed, "a still holds duplicates")
	require.Equal(t, 3, failed.Line)
	require.NotContains(t, err.Error(), "(1)", "no row values")
	require.Equal(t, "2 dirty", b.version(t))

	b.exec(t, dedupe)
	done := b.repaired(t, repair.Finish, "2")
	require.Len(t, done.Ran, 1)
	require.Equal(t, 3, done.Ran[0].Line)
	b.sound(t).goesOn(t)
}

// The client was killed after it had sent the file; the server has finished it.
func TestAKilledClientWhoseServerFinished(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{
		"1_a.up.sql": "create table a (n int);", "1_a.down.sql": "drop table a;",
		"2_b.up.sql": "create table b (n int); alter table a add column m text not null default 'x';", "2_b.down.sql": "alter table a drop column m; drop table b;",
	})
	require.NoError(t, b.stock(t, "").Steps(1))
	proxy := pgproxy.Start(t, b.db.DSN)
	d := driver(t, proxy.DSN(), "")
	require.NoError(t, d.Lock())
	require.NoError(t, d.SetVersion(2, true))
	proxy.CutAt(proxy.Statements()+1, pgproxy.Cut{When: pgproxy.Orphaned})
	up, _, err := b.files.Source().ReadUp(2)
	require.NoError(t, err)
	require.Error(t, d.Run(up))
	require.Eventually(t, func() bool { return one[bool](t, b, "select to_regclass('b') is not null") }, patience, look)
	require.Eventually(t, func() bool { return len(b.inspect(t).Holders) == 0 }, patience, look, "its backend ends")

	r := b.inspect(t)
	require.Equal(t, repair.AsApplied, r.Way, r.Verdict)
	require.Equal(t, "All of 2_b.up.sql stands.", r.Verdict)
	b.refused(t, repair.AsUnapplied, "table b is there")
	b.refused(t, repair.Finish, "nothing left to run")
	b.repaired(t, repair.AsApplied, "2")
	b.goesOn(t)
}

func TestAFailedDownFile(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"1_a.up.sql": "create table a (n int);", "1_a.down.sql": "drop table a;",
		"2_b.up.sql":   "create table b (n int); create index a_n on a (n); create table c (n int);",
		"2_b.down.sql": "drop table c;\ndrop index a_n;\ndrop table b;\n",
	}
	inTheWay := "create view v as select * from b" // drop table b is refused
	for name, test := range map[string]struct {
		options string
		way     repair.Way
		version string
	}{
		"as a whole":             {"", repair.AsUnapplied, "2"},
		"statement by statement": {multi, repair.Finish, "1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, files)
			require.NoError(t, b.stock(t, "").Up())
			b.exec(t, inTheWay)
			require.ErrorContains(t, b.stock(t, test.options).Steps(-1), "depend")
			require.Equal(t, "1 dirty", b.version(t))
			r := b.inspect(t)
			require.Equal(t, "2_b.down.sql", r.Failed, r.Verdict)
			require.Equal(t, test.way, r.Way, r.Verdict)
			b.refused(t, repair.AsApplied, "2_b.down.sql is not applied")
			b.exec(t, "drop view v")
			b.repaired(t, test.way, test.version)
			b.goesOn(t)
		})
	}
}

func TestTheFirstVersionsDownFile(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{"4_a.up.sql": "create table a (n int);", "4_a.down.sql": "drop table a;"})
	require.NoError(t, b.stock(t, "").Up())
	b.exec(t, "create view v as select * from a")
	require.ErrorContains(t, b.stock(t, "").Down(), "depend")
	require.Equal(t, "-1 dirty", b.version(t))
	r := b.inspect(t)
	require.Equal(t, "4_a.down.sql", r.Failed)
	require.Equal(t, repair.AsUnapplied, r.Way)
	b.repaired(t, repair.AsUnapplied, "4")
	b.exec(t, "drop view v")

	b.exec(t, "update schema_migrations set version = -1, dirty = true")
	b.exec(t, "drop table a")
	require.Equal(t, repair.AsApplied, b.inspect(t).Way)
	b.repaired(t, repair.AsApplied, "none")
	b.goesOn(t)
}

func TestAPersonsWordCountsWhereTheCatalogCantTell(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{
		"1_a.up.sql": "create table a (n int);", "1_a.down.sql": "drop table a;",
		"2_b.up.sql": "insert into a values (1);\nupdate a set n = 1 / (n - 1);\n", "2_b.down.sql": "delete from a;",
	})
	require.NoError(t, pg.EnsureSchema(t.Context(), b.pool))
	require.ErrorContains(t, b.stock(t, multi).Up(), "division by zero")
	r := b.inspect(t)
	require.Empty(t, r.Way)
	require.Contains(t, r.Verdict, "2 statements (2_b.up.sql:1, 2_b.up.sql:2)")
	b.refused(t, repair.Finish, "can't tell")
	b.exec(t, "truncate a")
	done := b.repaired(t, repair.AsUnapplied, "1")
	require.True(t, done.Word)

	require.Equal(t, "carol of p: 2_b.up.sql counts as unapplied; schema_migrations was at version 2, dirty and is at version 1 now; "+
		"the person's word stands for what the catalog can't tell",
		one[string](t, b, "select string_agg(actor || ' of ' || plan || ': ' || detail, E'\\n') from contraflow.audit where event = 'repaired'"))
}

func TestALeftoverOfAConcurrentBuildIsNotTakenForAnIndex(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{
		"1_a.up.sql": "create table a (n int);", "1_a.down.sql": "drop table a;",
		"2_b.up.sql":   "-- contraflow: no-transaction\ncreate unique index concurrently a_n on a (n);",
		"2_b.down.sql": "drop index a_n;",
	})
	require.NoError(t, b.stock(t, "").Steps(1))
	b.exec(t, "insert into a values (1), (1)")
	require.ErrorContains(t, b.stock(t, "").Steps(1), "could not create unique index")
	r := b.inspect(t)
	require.Equal(t, repair.AsUnapplied, r.Way, r.Verdict)
	require.Contains(t, r.Verdict, "First drop what is left of its index")
	require.Equal(t, []repair.InvalidIndex{{Index: "public.a_n", Table: "public.a", Drop: "DROP INDEX CONCURRENTLY public.a_n;"}}, r.Invalid)
	b.refused(t, repair.AsApplied, "not valid")
	b.refused(t, repair.Finish, "outside a transaction")
	b.repaired(t, repair.AsUnapplied, "1")
	b.exec(t, r.Invalid[0].Drop)
	b.exec(t, "truncate a")
	require.Empty(t, b.inspect(t).Invalid)
	b.goesOn(t)
}

func TestNothingIsRepairedWhileSomebodyHoldsTheLock(t *testing.T) {
	t.Parallel()
	b := setup(t, shop())
	require.Error(t, b.stock(t, "").Up())
	d := driver(t, b.db.DSN, "")
	require.NoError(t, d.Lock())
	r := b.inspect(t)
	require.Len(t, r.Holders, 1)
	require.Empty(t, r.Way)
	require.Contains(t, r.Verdict, "Not now")
	_, err := b.do(t, repair.AsUnapplied)
	var busy *ddl.BusyError
	require.ErrorAs(t, err, &busy)
	require.Len(t, busy.Holders, 1)
	require.Equal(t, "2 dirty", b.version(t))
	require.NoError(t, d.Unlock())
	b.repaired(t, repair.AsUnapplied, "1")
	require.NoError(t, d.Lock(), "the repair has freed both locks")
}

// Whatever the moment, the version and what was missing are written together or not at all.
func TestACutRepairHasHappenedOrNot(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{"1_a.up.sql": "create table a (n int);\ncreate table b (n int);", "1_a.down.sql": "drop table a, b;"})
	b.exec(t, "create table a (n int)")
	b.dirty(t)
	done := 0
	for n := 1; ; n++ {
		proxy := pgproxy.Start(t, b.db.DSN)
		proxy.CutAt(n, pgproxy.Cut{When: pgproxy.Unanswered})
		pool, err := pg.Open(t.Context(), proxy.DSN(), pg.Settings{})
		require.NoError(t, err)
		_, err = repair.Do(t.Context(), pool, repair.Order{Question: repair.Question{Files: b.files}, Way: repair.Finish, By: "carol", Plan: "p"})
		reached := proxy.Statements() >= n
		pool.Close()
		proxy.Close()
		finished := one[bool](t, b, "select to_regclass('b') is not null")
		require.Equal(t, map[bool]string{false: "1 dirty", true: "1"}[finished], b.version(t), "cut at statement %d", n)
		if !reached {
			require.NoError(t, err)
			break
		}
		require.Eventually(t, func() bool { return len(b.inspect(t).Holders) == 0 }, patience, look)
		if finished {
			done++
			b.exec(t, "drop table b")
			b.exec(t, "update schema_migrations set dirty = true")
		}
	}
	require.NotZero(t, done, "it was cut behind the commit, too")
}
