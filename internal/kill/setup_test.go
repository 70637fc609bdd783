package kill_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/launchdarkly"
	"github.com/contraflow/contraflow/internal/devstack/flagserver"
	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/internal/kill"
	"github.com/contraflow/contraflow/internal/ledger"
	"github.com/contraflow/contraflow/internal/pg"
	"github.com/contraflow/contraflow/plan"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const (
	token      = "api-token-4711"
	adminToken = "api-token-admin"
	sdkKey     = "sdk-key-0815"

	writeNew = "write-new"
	readNew  = "read-new"
	// acme is a key that stands in the ledger and in the flag service, and nowhere else.
	acme = "S3CRET-acme"
)

var (
	shop = ledger.Holder{Migration: "split", FirstRun: "run-1"}
	// nowhere is a database that nobody answers for.
	nowhere = kill.Database{Name: "nowhere", DSN: "postgres://me:S3CRET@127.0.0.1:1/db?sslmode=disable"}
)

// bundle is a migration that has moved two flags, write-new to everybody and read-new to a quarter, in a database and a flag
// service of their own.
type bundle struct {
	t      *testing.T
	db     pgtest.Database
	pool   *pgxpool.Pool
	ledger *ledger.Ledger
	server *flagserver.Server
	config launchdarkly.Config

	mu    sync.Mutex
	heard []string
	onAir func(text string)
}

func setup(t *testing.T) *bundle {
	t.Helper()
	b := bare(t)
	require.NoError(t, b.ledger.Claim(t.Context(), "p", "h", shop, ledger.Holder{}))
	for _, key := range []string{writeNew, readNew} {
		require.NoError(t, b.ledger.UseFlag(t.Context(), "p", shop, ledger.Scope{Project: "shop", Environment: "production"}, key))
	}
	b.moves(writeNew, flags.Change{Percent: 100})
	b.moves(readNew, flags.Change{Percent: 25})
	return b
}

func bare(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{t: t, db: pgtest.New(t)}
	var err error
	b.pool, err = pg.Open(t.Context(), b.db.DSN, pg.Settings{})
	require.NoError(t, err)
	t.Cleanup(b.pool.Close)
	require.NoError(t, pg.EnsureSchema(t.Context(), b.pool))
	b.ledger = ledger.New(b.pool)
	b.server = flagserver.New(flagserver.Options{Project: "shop", Environment: "production", APIToken: token, BypassToken: adminToken, SDKKey: sdkKey})
	require.NoError(t, b.server.Start("127.0.0.1:0"))
	t.Cleanup(func() { require.NoError(t, b.server.Close()) })
	for _, key := range []string{writeNew, readNew} {
		require.NoError(t, b.server.CreateFlag(key))
	}
	b.config = launchdarkly.Config{APIURL: b.server.URL(), StreamURL: b.server.URL(), Token: token, SDKKey: sdkKey}
	return b
}

func (b *bundle) provider(scope plan.FlagScope) (flags.Provider, error) {
	c := b.config
	c.Project, c.Environment = scope.Project, scope.Environment
	return launchdarkly.New(b.t.Context(), c)
}

// moves a flag as a step of the migration does.
func (b *bundle) moves(key string, c flags.Change) {
	b.t.Helper()
	p, err := b.provider(plan.FlagScope{Project: "shop", Environment: "production"})
	require.NoError(b.t, err)
	_, err = p.Apply(b.t.Context(), key, c, "step", nil)
	require.NoError(b.t, err)
}

// now is what the flags serve, for people.
func (b *bundle) now(keys ...string) (all []string) {
	b.t.Helper()
	p, err := b.provider(plan.FlagScope{Project: "shop", Environment: "production"})
	require.NoError(b.t, err)
	for _, key := range keys {
		state, err := p.Get(b.t.Context(), key)
		require.NoError(b.t, err)
		all = append(all, state.Summary)
	}
	return all
}

func (b *bundle) order(edit ...func(*kill.Order)) kill.Order {
	o := kill.Order{Migration: "split", Databases: []kill.Database{{Name: "shop", DSN: b.db.DSN}}, Provider: b.provider,
		By: "alice", Reason: "orders fail", Patience: time.Minute, Tell: b.hear}
	for _, e := range edit {
		e(&o)
	}
	return o
}

func (b *bundle) hear(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	b.mu.Lock()
	b.heard = append(b.heard, text)
	onAir := b.onAir
	b.mu.Unlock()
	if onAir != nil {
		onAir(text)
	}
}

// press presses the switch and searches all that is told for what may not be told.
func (b *bundle) press(edit ...func(*kill.Order)) (kill.Report, error) {
	b.t.Helper()
	report, err := kill.Press(b.t.Context(), b.order(edit...))
	b.mu.Lock()
	defer b.mu.Unlock()
	said := fmt.Sprintf("%s\n%+v\n%v", strings.Join(b.heard, "\n"), report, err)
	require.NotContains(b.t, said, "S3CRET")
	require.NotContains(b.t, said, token)
	return report, err
}

func (b *bundle) one(sql string) (text string) {
	b.t.Helper()
	require.NoError(b.t, b.pool.QueryRow(b.t.Context(), sql).Scan(&text), sql)
	return text
}

func outcomes(r kill.Report) (all []string) {
	for _, f := range r.Flags {
		all = append(all, f.Key+" "+string(f.Outcome))
	}
	return all
}

// thePlan names the flags, too.
func thePlan(o *kill.Order) {
	o.Plan = &plan.Plan{Name: "p", Database: "nowhere", Flags: &plan.FlagScope{Project: "shop", Environment: "production"}, Steps: []plan.Step{
		{Name: "a", Flag: &plan.Flag{Key: writeNew}}, {Name: "b", Flag: &plan.Flag{Keys: []string{writeNew, readNew}}}}}
}

func silent(o *kill.Order) { o.Databases = []kill.Database{nowhere} }

// quick gives up soon on a stream that shows nothing.
const quick = 200 * time.Millisecond
