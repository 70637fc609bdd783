package activities

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/flagfile"
	"github.com/contraflow/contraflow/flags/harness"
	"github.com/contraflow/contraflow/flags/launchdarkly"
	"github.com/contraflow/contraflow/flags/postgres"
	"github.com/contraflow/contraflow/internal/devstack/flagserver"
	"github.com/contraflow/contraflow/internal/devstack/harnessserver"
	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/internal/ledger"
)

// flagService is a provider, and the configuration of a flag as the service itself holds it, without versions and dates.
type flagService struct {
	provider flags.Provider
	document func(t require.TestingT, key string) any
	staged   bool // it knows migration flags
	locks    bool // nobody can come between its look and its change
}

var flagServices = map[string]func(*testing.T, pgtest.Database) flagService{
	"flagfile": inAFile, "postgres": inPostgres, "launchdarkly": inLaunchDarkly, "harness": inHarness,
}

func inAFile(t *testing.T, _ pgtest.Database) flagService {
	path := filepath.Join(t.TempDir(), "flags.json")
	provider, err := flagfile.New(path)
	require.NoError(t, err)
	return flagService{provider, func(t require.TestingT, key string) any {
		raw, err := os.ReadFile(path)
		require.NoError(t, err)
		var file struct {
			Flags map[string]map[string]any `json:"flags"`
		}
		require.NoError(t, json.Unmarshal(raw, &file))
		delete(file.Flags[key], "version")
		return file.Flags[key]
	}, true, true}
}

func inPostgres(t *testing.T, db pgtest.Database) flagService {
	provider, err := postgres.Open(t.Context(), db.DSN)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, provider.Close()) })
	pool, err := pgxpool.New(t.Context(), db.DSN)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return flagService{provider, func(t require.TestingT, key string) (row any) {
		require.NoError(t, pool.QueryRow(context.Background(), `select jsonb_build_object('on', is_on, 'archived', archived, 'percent', percent,
			'kind', context_kind, 'targets', targets, 'salt', salt) from contraflow.flag where key = $1`, key).Scan(&row))
		return row
	}, false, true}
}

func inLaunchDarkly(t *testing.T, _ pgtest.Database) flagService {
	server := flagserver.New(flagserver.Options{Project: "shop", Environment: "production", APIToken: apiToken, SDKKey: sdkKey})
	require.NoError(t, server.Start("127.0.0.1:0"))
	t.Cleanup(func() { _ = server.Close() })
	provider, err := launchdarkly.New(t.Context(), launchdarkly.Config{APIURL: server.URL(), StreamURL: server.URL(),
		Token: apiToken, SDKKey: sdkKey, Project: "shop", Environment: "production"})
	require.NoError(t, err)
	return flagService{provider, func(t require.TestingT, key string) any {
		flag, ok := server.Snapshot(key)
		require.True(t, ok)
		e := *flag.Environments["production"]
		e.Version, e.LastModified = 0, 0
		if r := e.Fallthrough.Rollout; r != nil {
			r.Variations = slices.DeleteFunc(r.Variations, func(w flagserver.Weight) bool { return w.Weight == 0 }) // said or not
		}
		for i := range e.Rules { // a rule of our own that has grown is made anew, by ids that LaunchDarkly gives; others keep theirs
			if rule := &e.Rules[i]; strings.HasPrefix(rule.Description, "contraflow: ") {
				rule.ID = ""
				for c := range rule.Clauses {
					rule.Clauses[c].ID = ""
				}
			}
		}
		return e
	}, true, false}
}

func inHarness(t *testing.T, _ pgtest.Database) flagService {
	server := harnessserver.New(harnessserver.Options{Project: "shop", APIKey: apiToken, SDKKey: sdkKey})
	require.NoError(t, server.Start("127.0.0.1:0"))
	t.Cleanup(func() { _ = server.Close() })
	provider, err := harness.New(harness.Config{APIURL: server.AdminURL(), SDKURL: server.SDKURL(), APIKey: apiToken, SDKKey: sdkKey,
		Account: "account", Organization: "default", Project: "shop", Environment: "production"})
	require.NoError(t, err)
	return flagService{provider, func(t require.TestingT, key string) any {
		feature, ok := server.Snapshot(key)
		require.True(t, ok)
		feature.ModifiedAt, feature.EnvProperties.ModifiedAt, feature.EnvProperties.Version = 0, 0, 0
		feature.EnvProperties.VariationMap = slices.DeleteFunc(feature.EnvProperties.VariationMap, func(m harnessserver.VariationMap) bool {
			return len(m.Targets)+len(m.TargetSegments) == 0 // which it keeps for variations that had some once
		})
		return feature
	}, true, false}
}

// mishap kills the worker before or behind one of its calls to the flag service, or before one of its statements to the
// ledger: behind a statement is before the next call. The dead do nothing any more.
type mishap struct {
	mu   sync.Mutex
	left int // calls until then; below 0 for never
	dead bool
}

func (m *mishap) in(calls int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.left, m.dead = calls, false
}

// met tells whether the worker is dead by now.
func (m *mishap) met() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead = m.dead || m.left == 0
	m.left--
	return m.dead
}

// TraceQueryStart lets the statements of the dead fail.
func (m *mishap) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return m.context(ctx)
}

func (m *mishap) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (m *mishap) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return m.context(ctx)
}

func (m *mishap) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

func (m *mishap) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

func (m *mishap) context(ctx context.Context) context.Context {
	if !m.met() {
		return ctx
	}
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	return ctx
}

// mortalDatabase is one whose statements the mishap counts.
func mortalDatabase(t *testing.T, dsn string, m *mishap) *Database {
	t.Helper()
	whole, err := OpenDatabase(t.Context(), dsn)
	require.NoError(t, err)
	defer whole.Close()
	open := func(pool *pgxpool.Pool) *pgxpool.Pool {
		config := pool.Config()
		config.ConnConfig.Tracer = m
		traced, err := pgxpool.NewWithConfig(t.Context(), config)
		require.NoError(t, err)
		t.Cleanup(traced.Close)
		return traced
	}
	db := &Database{pool: open(whole.pool), control: open(whole.control)}
	db.ledger = ledger.New(db.control)
	require.NoError(t, db.ready(t.Context()))
	return db
}

// mortalProvider is a flag service whose calls the mishap counts, and in the middle of whose changes somebody else comes.
type mortalProvider struct {
	flags.Provider
	*mishap
	// beforeRead and beforeChange are done once: before a change reads the flag, and before it is made.
	beforeRead, beforeChange func()
}

func calling[Out any](m *mishap, call func() (Out, error)) (out Out, err error) {
	if m.met() {
		return out, errCrash
	}
	if out, err = call(); m.met() {
		var none Out
		return none, errors.Join(err, errCrash)
	}
	return out, err
}

func (p *mortalProvider) Get(ctx context.Context, key string) (flags.State, error) {
	return calling(p.mishap, func() (flags.State, error) { return p.Provider.Get(ctx, key) })
}

func (p *mortalProvider) Preview(ctx context.Context, key string, c flags.Change) (flags.State, error) {
	return calling(p.mishap, func() (flags.State, error) { return p.Provider.Preview(ctx, key, c) })
}

func (p *mortalProvider) Apply(ctx context.Context, key string, c flags.Change, note string, still flags.Still) (flags.State, error) {
	return calling(p.mishap, func() (flags.State, error) {
		once(&p.beforeRead)
		return p.Provider.Apply(ctx, key, c, note, func(ctx context.Context, found flags.State) error {
			if p.met() {
				return errors.Join(errCrash, flags.ErrSuperseded) // so that it is not tried again
			}
			once(&p.beforeChange)
			if err := still(ctx, found); err != nil {
				return errors.Join(err, flags.ErrSuperseded)
			}
			return nil
		})
	})
}

func (p *mortalProvider) Restore(ctx context.Context, key string, before, ours flags.State, note string, still flags.Still) (flags.State, error) {
	return calling(p.mishap, func() (flags.State, error) { return p.Provider.Restore(ctx, key, before, ours, note, still) })
}
