package activities

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/launchdarkly"
	"github.com/contraflow/contraflow/internal/devstack/flagserver"
	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/internal/devstack/temporaltest"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

func TestMain(m *testing.M) {
	code := m.Run()
	temporaltest.Stop()
	pgtest.Stop()
	os.Exit(code)
}

const (
	apiToken = "S3CRET-API-TOKEN"
	// adminToken is of people who may change flags without approval.
	adminToken = "S3CRET-ADMIN-TOKEN"
	sdkKey     = "S3CRET-SDK-KEY"
	slackToken = "xoxb-S3CRET-SLACK-TOKEN"
	// rowMarker stands in rows whose values no text may repeat.
	rowMarker = "S3CRET-ROW"

	writeNew = "customers-write-new"
	readNew  = "customers-read-new"

	// patience is how long a condition may take on a machine busy with other tests.
	patience = time.Minute
	look     = 10 * time.Millisecond
)

// bundle is a worker's activities on a database, a flag service and a plan root of their own.
type bundle struct {
	db    pgtest.Database
	conn  *pgx.Conn // the test's own view of the database
	root  string    // the plan root; the shop's plan lies in folder shop
	flagd *flagserver.Server
	acts  *Activities
}

func setup(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{db: pgtest.New(t), root: t.TempDir()}
	b.conn = b.db.Connect(t)
	require.NoError(t, os.CopyFS(filepath.Join(b.root, "shop", "migrations"), os.DirFS("../examples/shop/migrations")))
	document, err := os.ReadFile("../examples/shop/plan.yaml")
	require.NoError(t, err)
	b.write(t, "shop/plan.yaml", string(document))

	b.flagd = flagserver.New(flagserver.Options{Project: "shop", Environment: "production", APIToken: apiToken, BypassToken: adminToken, SDKKey: sdkKey})
	require.NoError(t, b.flagd.Start("127.0.0.1:0"))
	t.Cleanup(func() { _ = b.flagd.Close() })
	for _, key := range []string{writeNew, readNew} {
		require.NoError(t, b.flagd.CreateFlag(key))
	}
	provider, err := launchdarkly.New(t.Context(), launchdarkly.Config{APIURL: b.flagd.URL(), StreamURL: b.flagd.URL(),
		Token: apiToken, SDKKey: sdkKey, Project: "shop", Environment: "production"})
	require.NoError(t, err)

	plans, err := OpenPlans(b.root)
	require.NoError(t, err)
	b.acts = &Activities{
		Databases: map[string]*Database{"shop": b.open(t, b.db.DSN)}, Plans: plans,
		Flags: func(plan.FlagScope) (flags.Provider, error) { return provider, nil },
		Alive: func(context.Context, string, string) (bool, error) { return true, nil },
	}
	return b
}

func (b *bundle) open(t *testing.T, dsn string) *Database {
	t.Helper()
	db, err := OpenDatabase(t.Context(), dsn)
	require.NoError(t, err)
	t.Cleanup(db.Close)
	return db
}

// write puts a file into the plan root.
func (b *bundle) write(t *testing.T, name, body string) {
	t.Helper()
	path := filepath.Join(b.root, filepath.FromSlash(name))
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(body), 0o600))
}

// edit replaces a part of a file in the plan root that must be there.
func (b *bundle) edit(t *testing.T, name, old, new string) {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(b.root, filepath.FromSlash(name)))
	require.NoError(t, err)
	require.Contains(t, string(body), old)
	b.write(t, name, strings.ReplaceAll(string(body), old, new))
}

func (b *bundle) remove(t *testing.T, name string) {
	t.Helper()
	require.NoError(t, os.RemoveAll(filepath.Join(b.root, filepath.FromSlash(name))))
}

func (b *bundle) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	_, err := b.conn.Exec(t.Context(), sql, args...)
	require.NoError(t, err, sql)
}

// one reads a single value.
func one[T any](t *testing.T, b *bundle, sql string, args ...any) (value T) {
	t.Helper()
	require.NoError(t, b.conn.QueryRow(t.Context(), sql, args...).Scan(&value), sql)
	return value
}

func (b *bundle) has(t *testing.T, relation string) bool {
	t.Helper()
	return one[bool](t, b, "select to_regclass($1) is not null", relation)
}

// stock brings the schema to a version as golang-migrate leaves it, without contraflow.
func (b *bundle) stock(t *testing.T, version int, dirty bool) {
	t.Helper()
	for _, file := range []string{"000001_customers", "000002_add_street", "000003_drop_address"}[:version] {
		body, err := os.ReadFile("../examples/shop/migrations/" + file + ".up.sql")
		require.NoError(t, err)
		b.exec(t, string(body))
	}
	b.exec(t, "create table schema_migrations (version bigint not null primary key, dirty boolean not null)")
	b.exec(t, "insert into schema_migrations values ($1, $2)", version, dirty)
}

// call is one execution of an activity.
type call struct {
	ctx   context.Context       // of the worker. Defaults to the test's
	stop  chan struct{}         // closed when the worker stops
	onAir func(json.RawMessage) // hears every heartbeat
	heard *[]string             // collects all heartbeats
	// earlier is the last heartbeat of the attempt before; nil for a first attempt.
	earlier any
}

// run executes an activity as a worker does, and searches all that leaves it for secrets.
func run[Out any](t *testing.T, b *bundle, do, in any, c call) (out Out, err error) {
	t.Helper()
	env := new(testsuite.WorkflowTestSuite).NewTestActivityEnvironment()
	env.SetTestTimeout(2 * patience)
	wire := &heartbeats{hear: c.onAir}
	options := worker.Options{Interceptors: []interceptor.WorkerInterceptor{wire}}
	if c.ctx != nil {
		options.BackgroundActivityContext = c.ctx
	}
	env.SetWorkerOptions(options)
	if c.stop != nil {
		env.SetWorkerStopChannel(c.stop)
	}
	if c.earlier != nil {
		env.SetHeartbeatDetails(c.earlier)
	}
	env.RegisterActivity(b.acts)
	value, err := env.ExecuteActivity(do, in)
	left := wire.taken()
	if err != nil {
		left = append(left, err.Error())
	} else if value.HasValue() {
		var raw json.RawMessage
		require.NoError(t, value.Get(&raw))
		left = append(left, string(raw))
		require.NoError(t, value.Get(&out))
	}
	b.requireDiscreet(t, left...)
	if c.heard != nil {
		*c.heard = left
	}
	return out, err
}

// heartbeats hears all of them, also those that the SDK would throttle away.
type heartbeats struct {
	interceptor.WorkerInterceptorBase
	interceptor.ActivityInboundInterceptorBase
	interceptor.ActivityOutboundInterceptorBase
	hear func(json.RawMessage) // the details as a JSON array; nil for nobody

	mu    sync.Mutex
	heard []string
}

func (h *heartbeats) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	h.ActivityInboundInterceptorBase.Next = next
	return h
}

func (h *heartbeats) Init(outbound interceptor.ActivityOutboundInterceptor) error {
	h.ActivityOutboundInterceptorBase.Next = outbound
	return h.ActivityInboundInterceptorBase.Next.Init(h)
}

func (h *heartbeats) RecordHeartbeat(ctx context.Context, details ...any) {
	raw, err := json.Marshal(details)
	if err != nil {
		raw = []byte(err.Error())
	}
	h.mu.Lock()
	h.heard = append(h.heard, string(raw))
	h.mu.Unlock()
	if h.hear != nil {
		h.hear(raw)
	}
	h.ActivityOutboundInterceptorBase.Next.RecordHeartbeat(ctx, details...)
}

func (h *heartbeats) taken() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.heard)
}

func (b *bundle) requireDiscreet(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		for _, secret := range []string{pgtest.Cluster(t).Password, "S3CRET", "postgres://"} {
			require.NotContains(t, text, secret)
		}
	}
}

// requirePermanent checks an error that no retry mends: its type and parts of its text.
func requirePermanent(t *testing.T, err error, kind string, parts ...string) {
	t.Helper()
	var application *temporal.ApplicationError
	require.ErrorAs(t, err, &application)
	require.True(t, application.NonRetryable(), "%v", err)
	require.Equal(t, kind, application.Type(), "%v", err)
	for _, part := range parts {
		require.Contains(t, application.Message(), part)
	}
}

// requireRetryable checks an error that passes, and returns the pause that it asks for.
func requireRetryable(t *testing.T, err error, parts ...string) time.Duration {
	t.Helper()
	var application *temporal.ApplicationError
	require.ErrorAs(t, err, &application)
	require.False(t, application.NonRetryable(), "%v", err)
	for _, part := range parts {
		require.Contains(t, application.Message(), part)
	}
	return application.NextRetryDelay()
}

// begin starts the plan of that name as the migration's first run.
func (b *bundle) begin(t *testing.T, name, firstRun string) (Begun, error) {
	t.Helper()
	return b.beginWith(t, signals.Input{Name: name, StartedBy: "carol"}, firstRun)
}

func (b *bundle) beginWith(t *testing.T, in signals.Input, firstRun string) (Begun, error) {
	t.Helper()
	return run[Begun](t, b, b.acts.Begin, BeginInput{Origin: Origin{Migration: "m", FirstRun: firstRun}, Input: in}, call{})
}

// origin of a step of a begun plan.
func (g Begun) origin(step string) Origin {
	return Origin{Migration: "m", FirstRun: "run-1", Plan: g.Plan.Name, PlanHash: g.Hash, Database: g.Plan.Database, Step: step}
}

// requireOneOf checks that an error is permanent and of one of some types.
func requireOneOf(t *testing.T, err error, kinds []string) {
	t.Helper()
	var application *temporal.ApplicationError
	require.ErrorAs(t, err, &application)
	require.True(t, application.NonRetryable(), "%v", err)
	require.Contains(t, kinds, application.Type(), "%v", err)
}
