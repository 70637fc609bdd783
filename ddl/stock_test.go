package ddl

import (
	"context"
	"database/sql"
	"strings"
	"sync"
	"testing"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database"
	stock "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	"github.com/stretchr/testify/require"
)

// byURL opens the stock driver as golang-migrate's command line does.
func (b bundle) byURL(t *testing.T) database.Driver {
	t.Helper()
	_, rest, _ := strings.Cut(b.db.DSN, "://")
	d, err := database.Open("pgx5://" + rest)
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// byInstance opens the stock driver as a program that embeds golang-migrate does.
func (b bundle) byInstance(t *testing.T) database.Driver {
	t.Helper()
	db, err := sql.Open("pgx/v5", b.db.DSN)
	require.NoError(t, err)
	d, err := stock.WithInstance(db, &stock.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func (b bundle) stock(t *testing.T) *migrate.Migrate {
	t.Helper()
	m, err := migrate.NewWithInstance("files", b.files.Source(), "pgx5", b.byURL(t))
	require.NoError(t, err)
	return m
}

func TestStockGolangMigrateWorksBeforeBetweenAndAfter(t *testing.T) {
	t.Parallel()
	b := setup(t, three)
	e := b.engine("p")

	require.NoError(t, b.stock(t).Steps(1))
	b.requireState(t, at(1))
	require.NoError(t, e.Up(t.Context(), 2, ""))
	version, dirty, err := b.stock(t).Version()
	require.NoError(t, err)
	require.Equal(t, uint(2), version)
	require.False(t, dirty)

	require.NoError(t, b.stock(t).Steps(1))
	require.NoError(t, e.Up(t.Context(), 4, ""), "already there")
	var stranger *StrangerError
	require.ErrorAs(t, e.Down(t.Context(), 2, ""), &stranger)
	require.Equal(t, StrangerError{Version: 2, Found: 4}, *stranger)
	require.ErrorIs(t, e.Down(t.Context(), 1, ""), ErrNotOurs)

	require.NoError(t, b.stock(t).Down())
	b.requireState(t, State{})
	require.NoError(t, e.Down(t.Context(), 2, ""), "stock golang-migrate took it down already")
	applied, err := e.Applied(t.Context())
	require.NoError(t, err)
	require.Empty(t, applied)
}

func TestTheTableIsTheStockDriversOwn(t *testing.T) {
	t.Parallel()
	columns := `select string_agg(concat_ws(' ', attname, format_type(atttypid, atttypmod), attnotnull,
		(select indisprimary from pg_index i where i.indrelid = attrelid and i.indkey[0] = attnum)), ', ' order by attnum)
		from pg_attribute where attrelid = 'schema_migrations'::regclass and attnum > 0`
	ours, theirs := setup(t, three), setup(t, three)
	require.NoError(t, ours.engine("p").Up(t.Context(), 1, ""))
	require.NoError(t, theirs.stock(t).Steps(1))
	require.Equal(t, one[string](t, theirs, columns), one[string](t, ours, columns))
}

func TestWeAndStockGolangMigrateExcludeEachOther(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(bundle, *testing.T) database.Driver{"by URL": bundle.byURL, "by instance": bundle.byInstance} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, three)
			theirs := open(b, t)
			require.NoError(t, theirs.Lock())

			saw := make(chan Waiting, 100)
			e := New(b.pool, b.files, Options{Plan: "p", OnWait: func(w Waiting) { saw <- w }})
			ctx, cancel := context.WithCancel(t.Context())
			result := make(chan error, 1)
			go func() { result <- e.Up(ctx, 1, "") }()
			var w Waiting
			select {
			case w = <-saw:
			case err := <-result:
				require.FailNow(t, "it did not wait", "%v", err)
			}
			require.Equal(t, "the migration lock", w.Lock)
			require.Len(t, w.Blockers, 1)
			cancel()
			require.ErrorIs(t, <-result, context.Canceled)
			b.requireState(t, State{})

			require.NoError(t, theirs.Unlock())
			require.NoError(t, e.Up(t.Context(), 1, ""))
			require.NoError(t, theirs.Lock(), "we have freed both locks")
		})
	}
}

func TestEnginesAtOnceApplyEachVersionOnce(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{
		"1_a.up.sql": "create table a (n int)",
		"2_a.up.sql": "insert into a values (1)",
		"3_a.up.sql": noTransactionHeader + "\ncreate index concurrently a_n on a (n)",
		"4_a.up.sql": "insert into a values (2)",
	})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for _, version := range b.files.Versions() {
				if err := b.engine("p").Up(t.Context(), version, ""); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	b.requireState(t, at(4))
	require.Equal(t, 2, one[int](t, b, "select count(*)::int from a"))
	require.True(t, one[bool](t, b, "select indisvalid from pg_index where indexrelid = 'a_n'::regclass"))
}
