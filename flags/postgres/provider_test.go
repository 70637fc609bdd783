package postgres_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/flagstest"
	"github.com/contraflow/contraflow/flags/pgflags"
	"github.com/contraflow/contraflow/flags/postgres"
	"github.com/contraflow/contraflow/internal/devstack/pgtest"
)

func one[T any](t *testing.T, b bundle, sql string, args ...any) (value T) {
	t.Helper()
	require.NoError(t, b.pool.QueryRow(t.Context(), sql, args...).Scan(&value))
	return value
}

// inSQL is an application in another language: it asks the function, as a role with the documented rights and no others.

type inSQL struct {
	t    *testing.T
	conn *pgx.Conn
}

func (a inSQL) Bool(key, kind, contextKey string) (value, ok bool) {
	var served *bool
	require.NoError(a.t, a.conn.QueryRow(a.t.Context(), "select contraflow.flag_is_on($1, $2, $3)", key, kind, contextKey).Scan(&served))
	return served != nil && *served, served != nil
}

func (a inSQL) Bools(key, kind string, contextKeys []string) (values []bool, ok bool) {
	rows, err := a.conn.Query(a.t.Context(), `select contraflow.flag_is_on($1, $2, asked.key)
		from unnest($3::text[]) with ordinality asked (key, n) order by n`, key, kind, contextKeys)
	require.NoError(a.t, err)
	served, err := pgx.CollectRows(rows, pgx.RowTo[*bool])
	require.NoError(a.t, err)
	for _, value := range served {
		if value == nil {
			return nil, false
		}
		values = append(values, *value)
	}
	return values, true
}

// application connects as a role of its own, with these rights and no others.
func (b bundle) application(t *testing.T, grants ...string) string {
	t.Helper()
	role := "app_" + b.db.Name
	cluster := pgtest.Cluster(t)
	require.NoError(t, cluster.CreateRole(t.Context(), role))
	for _, grant := range grants {
		b.exec(t, fmt.Sprintf(grant, role))
	}
	return cluster.DSN(role, b.db.Name)
}

// The rights that docs/flags.md gives to applications.
const (
	grantSchema = "grant usage on schema contraflow to %s"
	grantSQL    = "grant execute on function contraflow.flag_is_on to %s"
	grantReader = "grant execute on function contraflow.flag_list, contraflow.flag_saw to %s"
)

func TestConformanceOverTheSQLFunction(t *testing.T) {
	t.Parallel()
	flagstest.Run(t, func(t *testing.T) flagstest.Fixture {
		b := setup(t)
		dsn := b.application(t, grantSchema, grantSQL)
		return b.fixture(t, func(t *testing.T) flagstest.Reader {
			conn, err := pgx.Connect(t.Context(), dsn)
			require.NoError(t, err)
			t.Cleanup(func() { _ = conn.Close(context.Background()) })
			return inSQL{t, conn}
		})
	})
}

func TestEveryChangeIsAuditedOnceWhoeverMakesIt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.provider.Apply(t.Context(), plain, flags.Change{Percent: 25}, "split-address, step write-new\x00", nil)
	require.NoError(t, err)
	_, err = b.provider.Apply(t.Context(), plain, flags.Change{Percent: 25}, "again", nil)
	require.NoError(t, err)
	b.exec(t, `update contraflow.flag set targets = '{"user": {"true": ["S3CRET"]}}', percent = 12.5`)
	b.exec(t, `update contraflow.flag set description = 'for people', owner = 'team-shop'`)
	require.NoError(t, b.provider.Archive(t.Context(), plain, "retire"))
	b.exec(t, `delete from contraflow.flag`)
	rows, err := b.pool.Query(t.Context(), `select event || ': ' || detail from contraflow.audit where actor = $1 order by id`, pgtest.Role)
	require.NoError(t, err)
	told, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Equal(t, []string{
		"flag made: plain version 1: off",
		"flag changed: plain version 2: on: 25 % true (split-address, step write-new\uFFFD)",
		"flag changed: plain version 3: on: 12.5 % true, other targets",
		"flag changed: plain version 4: archived (retire)",
		"flag deleted: plain version 4: archived",
	}, told)
}

func TestWhatPeopleWriteIsFilledInOrRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, `insert into contraflow.flag (key, version, created_by, changed_at) values ('by-hand', 77, 'mallory', 'epoch')`)
	require.Equal(t, "by-hand 1 migrator", one[string](t, b,
		`select salt || ' ' || version || ' ' || created_by from contraflow.flag where key = 'by-hand' and changed_at > now() - interval '1 hour'`))
	b.exec(t, `update contraflow.flag set version = 99, created_by = 'mallory', changed_by = 'mallory' where key = 'by-hand'`)
	require.Equal(t, "1 migrator migrator", one[string](t, b,
		`select version || ' ' || created_by || ' ' || changed_by from contraflow.flag where key = 'by-hand'`))
	for _, set := range []string{
		`targets = '[]'`, `targets = '{"user": ["a"]}'`, `targets = '{"user": {"true": "a"}}'`, `targets = '{"user": {"true": [1]}}'`,
		`targets = '{"user": {"maybe": ["a"]}}'`, `targets = 'null'`, `targets = '{"user": null}'`,
		`percent = 101`, `percent = -1`, `context_kind = 'multi'`, `context_kind = ''`, `key = 'renamed'`,
	} {
		_, err := b.pool.Exec(t.Context(), `update contraflow.flag set `+set+` where key = 'by-hand'`)
		require.Error(t, err, set)
	}
	for _, key := range []string{"", "two words", "S3CRET\n"} {
		_, err := b.pool.Exec(t.Context(), `insert into contraflow.flag (key) values ($1)`, key)
		require.Error(t, err, key)
	}
	require.Equal(t, 1, one[int](t, b, `select version from contraflow.flag where key = 'by-hand'`))
}

func TestTheOrderOfTargetsMeansNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, `update contraflow.flag set is_on = true, targets = '{"user": {"true": ["b", "a", "a", "c"], "false": ["c"]}, "device": {"true": []}}'`)
	before, err := b.provider.Get(t.Context(), plain)
	require.NoError(t, err)
	require.Equal(t, "on: 100 % true, 3 targets", before.Summary)
	require.Equal(t, []string{"1 target"}, before.Exceptions)
	b.exec(t, `update contraflow.flag set targets = '{"user": {"false": ["c"], "true": ["a", "b"]}}'`)
	after, err := b.provider.Get(t.Context(), plain)
	require.NoError(t, err)
	require.True(t, after.Equal(before))
}

func TestAnotherSaltIsAStrangersChange(t *testing.T) {
	t.Parallel()
	b := setup(t)
	before, err := b.provider.Get(t.Context(), plain)
	require.NoError(t, err)
	ours, err := b.provider.Apply(t.Context(), plain, flags.Change{Percent: 50}, "", nil)
	require.NoError(t, err)
	b.exec(t, `update contraflow.flag set salt = 'other'`)
	_, err = b.provider.Restore(t.Context(), plain, before, ours, "", nil)
	var stranger *flags.Stranger
	require.ErrorAs(t, err, &stranger)
	require.Equal(t, []string{"the salt is another"}, stranger.Differs)
}

func TestARolloutGoesOnByTheSameKindOnly(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.provider.Apply(t.Context(), plain, flags.Change{Percent: 30}, "", nil)
	require.NoError(t, err)
	_, err = b.provider.Apply(t.Context(), plain, flags.Change{Percent: 50, ContextKind: "account"}, "", nil)
	require.ErrorIs(t, err, flags.ErrInvalid)
	require.ErrorContains(t, err, "30 %")
	require.ErrorContains(t, err, "by user, not by account")
	_, err = b.provider.Apply(t.Context(), plain, flags.Change{Percent: 100, ContextKind: "account"}, "", nil)
	require.NoError(t, err)
}

func TestARecordOfAnotherKindIsRefusedWithoutItsValues(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, config := range []string{`{"on": "S3CRET"}`, `{"S3CRET": 1}`, `S3CRET`, ``} {
		_, err := b.provider.Restore(t.Context(), plain, flags.State{Provider: postgres.Name, Key: plain, Config: []byte(config)}, flags.State{}, "", nil)
		require.ErrorIs(t, err, flags.ErrInvalid)
		require.NotContains(t, err.Error(), "S3CRET")
	}
}

func TestStatusIsWhatReadersReport(t *testing.T) {
	t.Parallel()
	b := setup(t)
	status := func() flags.Status {
		s, err := b.provider.Status(t.Context(), plain)
		require.NoError(t, err)
		return s
	}
	apply := func(percent int) {
		_, err := b.provider.Apply(t.Context(), plain, flags.Change{Percent: percent}, "", nil)
		require.NoError(t, err)
	}
	report := func(evaluate func(*pgflags.Reader)) {
		r, err := pgflags.Open(t.Context(), pgflags.Pool(b.pool), pgflags.Options{Instance: "shop-1"})
		require.NoError(t, err)
		evaluate(r)
		require.NoError(t, r.Close())
	}
	report(func(*pgflags.Reader) {})
	require.Equal(t, flags.Status{Activity: flags.Unknown}, status(), "nobody has said that they ask")
	apply(50)
	report(func(r *pgflags.Reader) {
		for i := range 100 {
			r.Bool(plain, "user", fmt.Sprint(i), false)
		}
		r.Bool("no-such-flag", "user", "1", false)
	})
	require.Equal(t, flags.Active, status().Activity)
	require.WithinDuration(t, time.Now(), status().LastRequested, time.Hour)
	require.Equal(t, "shop-1 both", one[string](t, b, "select instance || ' ' || coalesce(value::text, 'both') from contraflow.flag_seen"))
	apply(100)
	report(func(r *pgflags.Reader) { r.Bool(plain, "user", "1", false) })
	require.Equal(t, flags.Launched, status().Activity)
	require.Equal(t, "shop-1 true", one[string](t, b, "select instance || ' ' || value from contraflow.flag_seen"))
	b.exec(t, `update contraflow.flag_seen set at = now() - interval '8 days'`)
	require.Equal(t, flags.Inactive, status().Activity)
	b.exec(t, `update contraflow.flag_seen set at = now() - interval '40 days', instance = 'gone'`)
	report(func(r *pgflags.Reader) { r.Bool(plain, "user", "1", false) })
	require.Equal(t, []string{"shop-1"}, one[[]string](t, b, "select array_agg(instance) from contraflow.flag_seen"))
}

func TestManyWorkersAtOnceLoseNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other := open(t, b.db.DSN)
	reader := b.reader(t, b.pool)
	var all sync.WaitGroup
	for i := range 20 {
		p := []*postgres.Provider{b.provider, other}[i%2]
		all.Go(func() {
			_, err := p.Apply(t.Context(), plain, flags.Change{Percent: i + 1}, "", nil)
			require.NoError(t, err)
		})
	}
	all.Wait()
	end, err := b.provider.Get(t.Context(), plain)
	require.NoError(t, err)
	require.Equal(t, 21, end.Version, "each of 20 changed what it found")
	require.Equal(t, 20, one[int](t, b, "select count(*)::int from contraflow.audit where event = 'flag changed'"))
	require.Eventually(t, func() bool { return reader.Evaluate(plain, "", "x", false).Version == 21 }, 30*time.Second, time.Millisecond)
}
