package rehearse

import (
	"context"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/internal/devstack/postgres"
)

// as a superuser.
func super(t *testing.T, dsn, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	defer closeConn(t.Context(), conn)
	_, err = conn.Exec(t.Context(), sql)
	require.NoError(t, err)
}

// rehearsedOn a scratch server a plan of one step; "" starts one.
func rehearsedOn(t *testing.T, target pgtest.Database, scratch, up, down string) *Report {
	t.Helper()
	report, err := Run(t.Context(), Options{Plan: planOf(t, "  - name: x\n    migrate: {to: 2}"), Target: target.DSN, Scratch: scratch,
		Files: files(t, map[string]string{"1_base.up.sql": "select 1", "2_x.up.sql": up, "2_x.down.sql": down})})
	require.NoError(t, err)
	return report
}

func TestARehearsalReachesNoForeignServer(t *testing.T) {
	t.Parallel()
	for name, scratch := range map[string]func(*testing.T) string{"own": func(*testing.T) string { return "" }, "theirs": scratchFor} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			remote, target := pgtest.New(t), pgtest.New(t)
			remote.Exec(t, "create table ledger (id int)")
			target.Exec(t, shop)
			config, err := pgx.ParseConfig(remote.DSN)
			require.NoError(t, err)
			login := "server books options (\"user\" " + literal(config.User) + ", password " + literal(config.Password) + ")"
			super(t, target.SuperDSN, "create extension postgres_fdw; create server books foreign data wrapper postgres_fdw options (host '127.0.0.1', port "+
				literal(strconv.Itoa(pgtest.Cluster(t).Port))+", dbname "+literal(remote.Name)+"); create user mapping for public "+login+
				"; create user mapping for "+pgtest.Role+" "+login+"; create foreign table ledger (id int) server books; grant all on ledger to "+pgtest.Role)
			target.Exec(t, "insert into ledger values (1)")

			report := rehearsedOn(t, target, scratch(t), "insert into ledger values (42)", "select 1")
			require.Contains(t, report.Statements[0].Problem, "it uses a foreign table, and nothing here reaches a foreign server")
			require.Contains(t, report.Notes[0], "(books)")
			var n int
			require.NoError(t, remote.Connect(t).QueryRow(t.Context(), "select count(*) from ledger").Scan(&n))
			require.Equal(t, 1, n, "what the test itself has written")

			bin, err := postgres.ClientsOf(15)
			require.NoError(t, err)
			from, err := parseDSN(target.SuperDSN, "target")
			require.NoError(t, err)
			dump, err := clients(bin).dump(t.Context(), from, portions{owners: true, publications: true}, nil)
			require.NoError(t, err)
			require.Contains(t, dump, "CREATE SERVER books")
			require.NotContains(t, dump, "CREATE USER MAPPING")
			require.NotContains(t, dump, config.Password)
		})
	}
}

func TestOnAThrowawayServerFilesRunAsTheTargetsRole(t *testing.T) {
	t.Parallel()
	target := pgtest.New(t)
	target.Exec(t, shop+`create view vw as select id from customers; create publication mine for table events; create schema app`)
	super(t, target.SuperDSN, `create table of_others (id int); grant select on of_others to migrator; create publication cdc for all tables`)
	super(t, target.SuperDSN, "create role team; create role chief in role pg_monitor; grant team to migrator with admin option")
	t.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), pgtest.Cluster(t).DSN(postgres.Superuser, "postgres"))
		require.NoError(t, err)
		_, err = conn.Exec(context.Background(), "drop role team, chief")
		require.NoError(t, err)
		require.NoError(t, conn.Close(context.Background()))
	})
	for up, problem := range map[string]string{
		"copy (select 1) to program 'env > /tmp/never'":                  " to COPY to or from an external program (SQLSTATE 42501)", // each version puts it in other words before
		"select pg_read_file('/proc/self/environ')":                      "permission denied for function pg_read_file (SQLSTATE 42501)",
		"reset session authorization; select pg_read_file('/etc/fstab')": "permission denied for function pg_read_file (SQLSTATE 42501)",
		"alter table of_others add column z int":                         "must be owner of table of_others (SQLSTATE 42501)",
		"set track_counts = off":                                         `permission denied to set parameter "track_counts" (SQLSTATE 42501)`,
	} {
		t.Run(up, func(t *testing.T) {
			t.Parallel()
			report := rehearsedOn(t, target, "", up, "select 1")
			require.Len(t, report.Statements, strings.Count(up, ";")+1)
			require.True(t, strings.HasSuffix(report.Statements[len(report.Statements)-1].Problem, problem), "%+v", report.Statements)
		})
	}
	t.Run("what the role may do", func(t *testing.T) {
		t.Parallel()
		report := rehearsedOn(t, target, "", `drop view vw; create sequence numbers owned by customers.id; grant connect on database "`+target.Name+`" to migrator;
			alter publication mine add table customers; grant team to migrator; create extension pgcrypto; create table app.t (id int); alter role migrator password 'another'`,
			"create view vw as select id from customers; drop sequence numbers; alter publication mine drop table customers; drop extension pgcrypto; drop table app.t")
		for _, s := range report.Statements {
			require.Empty(t, s.Problem, s.Summary)
		}
		require.Equal(t, &Down{Versions: []uint{2}, Identical: true}, report.Down)
		require.Empty(t, report.Notes)
	})
}

func TestASuperuserOfTheTargetIsNoneHere(t *testing.T) {
	t.Parallel()
	target := pgtest.New(t)
	target.DSN = target.SuperDSN
	super(t, target.DSN, shop+`create function noted() returns event_trigger language plpgsql as 'begin end';
		create event trigger noted on sql_drop execute function noted()`)
	report := rehearsedOn(t, target, "", "alter table customers add street text; copy customers from program 'true'", "alter table customers drop street")
	require.Empty(t, report.Statements[0].Problem)
	require.Contains(t, report.Statements[1].Problem, "42501")
	require.Contains(t, report.Notes[0], "what only superusers may do fails here")
}

func TestNothingOfAFileRunsInTheKeepersSession(t *testing.T) {
	t.Parallel()
	target := pgtest.New(t)
	target.Exec(t, shop+`create function noted() returns event_trigger language plpgsql as 'begin end'`)
	super(t, target.SuperDSN, `create event trigger noted on ddl_command_end execute function noted()`)
	const trap = `create or replace function noted() returns event_trigger language plpgsql as $$ begin
			if exists (select from pg_roles where rolname = current_user and rolsuper) then create table public.caught (); end if; end $$;
		create function public.gather(state text, name, text) returns text language plpgsql as $$ begin
			if exists (select from pg_roles where rolname = current_user and rolsuper) then raise exception 'caught'; end if; return ''; end $$;
		create aggregate public.string_agg(name, text) (sfunc = gather, stype = text, initcond = '');`
	report, err := Run(t.Context(), Options{Sample: 5, Target: target.DSN, Plan: planOf(t, `
  - {name: x, migrate: {to: 3}}
  - {name: fill, backfill: {table: customers, set: {code: "'7'"}, where: code is null}}`),
		Files: files(t, map[string]string{"1_base.up.sql": "select 1", "2_x.up.sql": trap, "2_x.down.sql": "select 1",
			"3_y.up.sql": "-- contraflow: no-transaction\ncreate index concurrently x on customers (code)", "3_y.down.sql": "-- contraflow: no-transaction\ndrop index concurrently x"})})
	require.NoError(t, err)
	for _, s := range report.Statements {
		require.Empty(t, s.Problem)
	}
	require.NotContains(t, report.Down.Differences, "+CREATE TABLE public.caught (")
	require.Empty(t, report.Problems()[1:], report.Problems()) // its way down leads nowhere
}

func TestOnSomebodysServerNothingBeyondTheDatabaseIsTried(t *testing.T) {
	t.Parallel()
	target := pgtest.New(t)
	target.Exec(t, shop)
	for _, sql := range []string{"create role never_there", "alter role postgres set work_mem = '7MB'", "alter database postgres set work_mem = '7MB'", "alter system set work_mem = '7MB'",
		"grant connect on database postgres to public", "comment on database postgres is 'x'", "alter database postgres owner to postgres",
		"create subscription s connection 'host=nowhere' publication p"} {
		report := rehearsedOn(t, target, scratchFor(t), "alter table customers add street text;\n"+sql, "select 1")
		require.Empty(t, report.Statements, sql)
		require.Contains(t, report.Notes[1], "2_x.up.sql:2 changes more than its database", sql)
	}
	report := rehearsedOn(t, target, scratchFor(t), "alter table customers add street text", "drop role never_there")
	require.Contains(t, report.Notes[1], "2_x.down.sql:1 changes more than its database")
	require.Contains(t, report.Notes[0], "owners and rights were neither copied nor compared")
}

func TestWhatAFileSetsDoesNotBlindTheRehearsal(t *testing.T) {
	t.Parallel()
	target := pgtest.New(t)
	target.Exec(t, shop)
	report := rehearsedOn(t, target, scratchFor(t), `set standard_conforming_strings = off; set client_encoding = 'LATIN1'; set statement_timeout = '1h'; set search_path = '';
		set statement_timeout = '1min'; alter table public.customers alter code set not null`, "alter table customers alter code drop not null")
	require.Len(t, report.Statements, 6)
	require.Equal(t, BlocksScan, report.Statements[5].Verdict)

	_, err := Run(t.Context(), Options{Plan: planOf(t, "  - name: x\n    migrate: {to: 2}"), Target: target.DSN, Scratch: scratchFor(t),
		Files: files(t, map[string]string{"1_base.up.sql": "select 1", "2_x.up.sql": "set track_counts = off; select 1", "2_x.down.sql": "select 1"})})
	require.ErrorIs(t, err, errUncounted)
}

// A file's time-out doesn't hold for our look at the catalog in its session, and holds again behind it.
func TestATimeOutOfAFileEndsNoLook(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	conn := db.Connect(t)
	_, err := conn.Exec(t.Context(), "set statement_timeout = '2s'")
	require.NoError(t, err)
	keeper, err := pgx.Connect(t.Context(), db.SuperDSN)
	require.NoError(t, err)
	defer closeConn(t.Context(), keeper)
	_, err = keeper.Exec(t.Context(), "begin; lock table pg_trigger") // which the look reads
	require.NoError(t, err)
	looked := make(chan error, 1)
	go func() {
		_, err := readCatalog(t.Context(), conn)
		looked <- err
	}()
	blocked(t, db, 1)
	_, err = keeper.Exec(t.Context(), "select pg_sleep(3); commit")
	require.NoError(t, err)
	require.NoError(t, <-looked)
	var timeout string
	require.NoError(t, conn.QueryRow(t.Context(), "show statement_timeout").Scan(&timeout))
	require.Equal(t, "2s", timeout)
}
