package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"github.com/contraflow/contraflow/internal/devstack/demo"
	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/internal/devstack/temporaltest"
	"github.com/contraflow/contraflow/signals"
)

// asWorker set: this process is a child that is the worker itself.
const asWorker = "CONTRAFLOW_EXAMPLE_AS_WORKER"

func TestMain(m *testing.M) {
	if os.Getenv(asWorker) != "" {
		main()
	}
	code := m.Run()
	temporaltest.Stop()
	pgtest.Stop()
	os.Exit(code)
}

const (
	patience = 3 * time.Minute
	look     = 5 * time.Millisecond
)

// contacts have numbers in all kinds of forms, of which two are none.
const contacts = `insert into contacts (name, country, phone)
	select 'contact ' || i, (array['DE', 'GB', 'US', null])[1 + i % 4], case i % 4
		when 0 then '030 / ' || 900000 + i
		when 1 then '+44 (0)20 ' || 7000000 + i || ' ext. 7'
		when 2 then '1-202-' || 5000000 + i
		else '+33 1 ' || 23000000 + i end || case when i % 4000 = 3999 then ' (home)' else '' end
	from generate_series(1, 8000) i; analyze contacts`

const rows, refused = 8_000, 2

type stage struct {
	t      *testing.T
	pool   *pgxpool.Pool
	dsn    string
	folder string
	queue  string
}

// build makes the database as it was before the migration, and a plan root with the example in it.
func build(t *testing.T) stage {
	s := stage{t: t, dsn: pgtest.New(t).DSN, folder: t.TempDir(), queue: temporaltest.TaskQueue(t)}
	var err error
	s.pool, err = pgxpool.New(t.Context(), s.dsn)
	require.NoError(t, err)
	t.Cleanup(s.pool.Close)
	first, err := os.ReadFile("migrations/000001_contacts.up.sql")
	require.NoError(t, err)
	for _, sql := range []string{string(first), contacts,
		"create table schema_migrations (version bigint primary key, dirty boolean not null); insert into schema_migrations values (1, false)"} {
		_, err = s.pool.Exec(t.Context(), sql)
		require.NoError(t, err)
	}

	text, err := os.ReadFile("plan.yaml")
	require.NoError(t, err)
	// Nothing but cursor and fence then keeps a row from being changed twice, and there is time to meet the middle.
	const where = "      where: phone is not null and phone_e164 is null\n"
	slow := strings.Replace(string(text), where, "      lanes: 2\n      rowsPerSecond: 500\n", 1)
	require.NotEqual(t, string(text), slow)
	plans := filepath.Join(s.folder, "plans", "normalise-phones")
	require.NoError(t, os.CopyFS(filepath.Join(plans, "migrations"), os.DirFS("migrations")))
	require.NoError(t, os.WriteFile(filepath.Join(plans, "plan.yaml"), []byte(slow), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(s.folder, "worker.yaml"), fmt.Appendf(nil,
		"taskQueue: %q\nplans: plans\nlisten: 127.0.0.1:0\ndatabases: {contacts: {dsn: \"env:CONTACTS_DSN\"}}\n", s.queue), 0o600))
	return s
}

func (s stage) worker() *demo.Process {
	s.t.Helper()
	w, err := demo.Program{
		Name: "worker", Path: os.Args[0], Log: filepath.Join(s.folder, "worker.log"), Args: []string{"-config", filepath.Join(s.folder, "worker.yaml")},
		Env:    []string{asWorker + "=1", "HOME=" + s.folder, "TEMPORAL_ADDRESS=" + temporaltest.Address(s.t), "CONTACTS_DSN=" + s.dsn},
		Broken: func(err error) { s.t.Error(err) },
	}.Start(s.t.Context())
	require.NoError(s.t, err)
	s.t.Cleanup(w.Stop)
	return w
}

func (s stage) count(query string) (n int) {
	s.t.Helper()
	require.NoError(s.t, s.pool.QueryRow(s.t.Context(), query).Scan(&n), query)
	return n
}

// changed waits until the backfill has committed so many rows.
func (s stage) changed(rows int) {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		var n int
		err := s.pool.QueryRow(s.t.Context(), "select coalesce(sum(rows), 0) from contraflow.backfill_lane").Scan(&n)
		return err == nil && n >= rows // the table is not there from the start
	}, patience, look, "no %d rows have been changed", rows)
}

// The worker is killed, then the next one's connections are cut, and every number is normalised once.
func TestNumbersAreNormalisedOnce(t *testing.T) {
	t.Parallel()
	s := build(t)
	witness, err := demo.PlaceWitness(t.Context(), s.pool, "contacts")
	require.NoError(t, err)
	w := s.worker()
	c := temporaltest.Client(t)
	run, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: s.queue + rand.Text(), TaskQueue: s.queue},
		signals.Workflow, signals.Input{Name: "normalise-phones"})
	require.NoError(t, err)

	s.changed(rows / 4)
	w.Kill()
	s.worker()
	s.changed(rows / 2)
	require.Positive(t, s.count(`select count(*) from (select pg_terminate_backend(pid) from pg_stat_activity
		where application_name = 'contraflow backfill' and datname = current_database()) cut`))
	require.Less(t, s.count("select sum(rows)::int from contraflow.backfill_lane"), rows-refused, "all was over before the connections were cut")

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, run.Get(ctx, nil))
	seen, err := witness.Ask(t.Context())
	require.NoError(t, err)
	require.Equal(t, demo.Testimony{Changes: rows - refused}, seen, "each number changed once")
	require.Equal(t, rows-refused, s.count("select count(*) from contacts where phone_e164 ~ '^[+](49309|44207|12025|33123)[0-9]+$'"))
	said, err := s.pool.Query(t.Context(), "select distinct code || ': ' || message from contraflow.backfill_reject")
	require.NoError(t, err)
	messages, err := pgx.CollectRows(said, pgx.RowTo[string])
	require.NoError(t, err)
	require.Equal(t, []string{"transform: refused by the transform: it holds something that is no part of a phone number"}, messages)
	require.Equal(t, refused, s.count("select count(*) from contraflow.backfill_reject"))
}
