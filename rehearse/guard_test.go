package rehearse

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/internal/devstack/postgres"
)

// blocked waits until somebody waits for a lock in this database.
func blocked(t *testing.T, db pgtest.Database, atLeast int) {
	t.Helper()
	watch := db.Connect(t)
	require.Eventually(t, func() bool {
		var waiting int
		return watch.QueryRow(t.Context(), "select count(distinct pid) from pg_locks where not granted and database = (select oid from pg_database where datname = current_database())").
			Scan(&waiting) == nil && waiting >= atLeast
	}, time.Minute, 5*time.Millisecond)
}

// later runs SQL on a connection of its own; the channel has its end.
func later(t *testing.T, db pgtest.Database, sql string) chan error {
	t.Helper()
	conn, ended := db.Connect(t), make(chan error, 1)
	go func() {
		_, err := conn.Exec(context.WithoutCancel(t.Context()), sql)
		ended <- err
	}()
	return ended
}

func TestTheDumpGivesWayWhenItWaitsForALockThatNobodyLetsGo(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Exec(t, shop+"create view vw as select id from customers")
	held, err := db.Connect(t).Begin(t.Context())
	require.NoError(t, err)
	_, err = held.Exec(t.Context(), "alter view vw set (security_barrier = true)") // which no LOCK TABLE of pg_dump's is for
	require.NoError(t, err)

	bin, err := postgres.ClientsOf(15)
	require.NoError(t, err)
	config, err := parseDSN(db.DSN, "target")
	require.NoError(t, err)
	dumped := make(chan error, 1)
	go func() {
		_, err := clients(bin).dump(t.Context(), config, portions{owners: true, publications: true}, &guard{config: config, end: "pg_terminate_backend", after: 20 * time.Second})
		dumped <- err
	}()
	blocked(t, db, 1)
	change := later(t, db, "alter table customers add zz int") // not related to the view
	blocked(t, db, 2)
	reading := later(t, db, "select count(*) from customers where id = 5") // the application
	require.NoError(t, <-change, "while the view is still locked")
	require.NoError(t, <-reading)
	err = <-dumped
	require.ErrorAs(t, err, new(inTheWay))
	require.ErrorContains(t, err, "holds a lock on vw")
	require.NoError(t, held.Rollback(t.Context()))
}

func TestAReadingOfTheTargetEndsWhenSomebodyWaitsForIt(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"pg_cancel_backend", "pg_terminate_backend"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			db.Exec(t, shop)
			config, err := parseDSN(db.DSN, "target")
			require.NoError(t, err)
			reader := db.Connect(t)
			var change chan error
			err = guard{config: config, end: end}.over(t.Context(), reader.PgConn().PID(), func(context.Context) error {
				return pgx.BeginFunc(t.Context(), reader, func(tx pgx.Tx) error {
					_, err := tx.Exec(t.Context(), "lock table customers in access share mode")
					require.NoError(t, err)
					change = later(t, db, "alter table customers add zz int")
					_, err = tx.Exec(t.Context(), "select pg_sleep(3600)")
					return err
				})
			})
			require.ErrorAs(t, err, new(inTheWay))
			require.ErrorContains(t, err, "a lock on customers")
			require.NoError(t, <-change)
		})
	}
}

func TestAReadingThatIsInNobodysWayIsLeftAlone(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	config, err := parseDSN(db.DSN, "target")
	require.NoError(t, err)
	reader := db.Connect(t)
	require.NoError(t, guard{config: config, end: "pg_cancel_backend"}.over(t.Context(), reader.PgConn().PID(), func(context.Context) error {
		_, err := reader.Exec(t.Context(), "select pg_sleep(1.5)") // longer than its patience
		return err
	}))
}

func TestATableThatSomebodyChangesHoldsNoReadingUp(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Exec(t, shop+"create index on customers (code)")
	held, err := db.Connect(t).Begin(t.Context())
	require.NoError(t, err)
	_, err = held.Exec(t.Context(), "alter table customers add zz int")
	require.NoError(t, err)
	target, err := openTarget(t.Context(), db.DSN, files(t, shopFiles))
	require.NoError(t, err)
	defer target.close(t.Context())
	require.Equal(t, int64(12345), target.sizes[name{"public", "customers"}].Rows)
	require.Positive(t, target.sizes[name{"public", "customers"}].Bytes)

	_, err = held.Exec(t.Context(), "alter table schema_migrations add zz int")
	require.NoError(t, err)
	_, err = openTarget(t.Context(), db.DSN, files(t, shopFiles))
	require.ErrorContains(t, err, "somebody changes a table just now")
	require.NoError(t, held.Rollback(t.Context()))
}
