package pg_test

import (
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/internal/pg"
)

func exec(t *testing.T, pool *pgxpool.Pool, sql string) {
	t.Helper()
	_, err := pool.Exec(t.Context(), sql)
	require.NoError(t, err, sql)
}

func versions(t *testing.T, pool *pgxpool.Pool) (n, highest int) {
	t.Helper()
	require.NoError(t, pool.QueryRow(t.Context(), "select count(*), max(version) from contraflow.schema_version").Scan(&n, &highest))
	return n, highest
}

func TestTheSchemaIsInstalledOnceByManyAtATime(t *testing.T) {
	t.Parallel()
	for range 10 { // each on a database of its own, since only the first installation races
		installTogether(t)
	}
}

func installTogether(t *testing.T) {
	t.Helper()
	db := pgtest.New(t)
	const installers = 8
	errs := make([]error, installers)
	pools := make([]*pgxpool.Pool, installers)
	for i := range pools {
		pools[i] = open(t, db.DSN, pg.Settings{})
	}
	var all sync.WaitGroup
	for i, pool := range pools {
		all.Go(func() { errs[i] = pg.EnsureSchema(t.Context(), pool) })
	}
	all.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	n, highest := versions(t, pools[0])
	require.Positive(t, n)
	require.Equal(t, n, highest)

	require.NoError(t, pg.EnsureSchema(t.Context(), pools[0]))
	again, _ := versions(t, pools[0])
	require.Equal(t, n, again)
}

func TestAnOlderSchemaIsUpgraded(t *testing.T) {
	t.Parallel()
	pool := open(t, pgtest.New(t).DSN, pg.Settings{})
	require.NoError(t, pg.EnsureSchema(t.Context(), pool))
	_, highest := versions(t, pool)
	exec(t, pool, `do $$
		declare
			own record;
		begin
			for own in select oid::regclass as name from pg_class where relnamespace = 'contraflow'::regnamespace and relkind = 'r'
				and relname not in ('schema_version', 'audit') loop
				execute 'drop table ' || own.name || ' cascade';
			end loop;
			for own in select oid::regprocedure as name from pg_proc where pronamespace = 'contraflow'::regnamespace loop
				execute 'drop function ' || own.name;
			end loop;
			drop sequence if exists contraflow.backfill_fence;
		end $$;
		delete from contraflow.schema_version where version > 1`)
	require.NoError(t, pg.EnsureSchema(t.Context(), pool))
	_, now := versions(t, pool)
	require.Equal(t, highest, now)
	exec(t, pool, "select plan from contraflow.migration")
}

func TestANewerSchemaIsRefusedAndLeftAlone(t *testing.T) {
	t.Parallel()
	pool := open(t, pgtest.New(t).DSN, pg.Settings{})
	require.NoError(t, pg.EnsureSchema(t.Context(), pool))
	exec(t, pool, "insert into contraflow.schema_version (version) values (999)")
	require.ErrorIs(t, pg.EnsureSchema(t.Context(), pool), pg.ErrNewerSchema)
}

func TestAFailedInstallationLeavesNothing(t *testing.T) {
	t.Parallel()
	pool := open(t, pgtest.New(t).DSN, pg.Settings{})
	exec(t, pool, "create schema contraflow; create table contraflow.flag_record ()") // in the way of the last file
	require.Error(t, pg.EnsureSchema(t.Context(), pool))
	var audit bool
	require.NoError(t, pool.QueryRow(t.Context(), "select to_regclass('contraflow.audit') is not null").Scan(&audit))
	require.False(t, audit)
}

func TestAMissingGrantIsNamed(t *testing.T) {
	t.Parallel()
	cluster, db := pgtest.Cluster(t), pgtest.New(t)
	role := "grantless worker of " + db.Name // roles outlive the test's database
	require.NoError(t, cluster.CreateRole(t.Context(), role))
	super, worker := open(t, db.SuperDSN, pg.Settings{}), open(t, cluster.DSN(role, db.Name), pg.Settings{})

	err := pg.EnsureSchema(t.Context(), worker)
	require.ErrorIs(t, err, pg.ErrGrant)
	require.ErrorContains(t, err, `GRANT CREATE ON DATABASE "`+db.Name+`" TO "`+role+`"`)
	require.NotContains(t, err.Error(), cluster.Password)

	exec(t, super, `grant create on database "`+db.Name+`" to "`+role+`"`) // what it asked for is enough
	require.NoError(t, pg.EnsureSchema(t.Context(), worker))
	exec(t, worker, "insert into contraflow.audit (event_key, migration, run_id, plan, plan_hash, event) values ('k', 'm', 'r', 'p', 'h', 'e')")
}

func TestAForeignOwnSchemaIsExplained(t *testing.T) {
	t.Parallel()
	cluster, db := pgtest.Cluster(t), pgtest.New(t)
	role := "late_worker_of_" + db.Name
	require.NoError(t, cluster.CreateRole(t.Context(), role))
	require.NoError(t, pg.EnsureSchema(t.Context(), open(t, db.DSN, pg.Settings{})))
	super, worker := open(t, db.SuperDSN, pg.Settings{}), open(t, cluster.DSN(role, db.Name), pg.Settings{})

	err := pg.EnsureSchema(t.Context(), worker)
	require.ErrorIs(t, err, pg.ErrGrant)
	require.ErrorContains(t, err, `GRANT USAGE, CREATE ON SCHEMA contraflow TO "`+role+`"`)

	exec(t, super, `grant usage, create on schema contraflow to `+role+`; grant all on all tables in schema contraflow to `+role+`;
		grant all on all sequences in schema contraflow to `+role)
	require.NoError(t, pg.EnsureSchema(t.Context(), worker))
}

func TestADatabaseThatIsDownIsNoMissingGrant(t *testing.T) {
	t.Parallel()
	pool := open(t, "postgres://me:S3CRET@127.0.0.1:1/db", pg.Settings{})
	err := pg.EnsureSchema(t.Context(), pool)
	require.Error(t, err)
	require.NotErrorIs(t, err, pg.ErrGrant)
	require.NotContains(t, err.Error(), "S3CRET")
}
