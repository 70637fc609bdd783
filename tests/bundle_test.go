package tests

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"github.com/contraflow/contraflow/examples/shop/app"
	"github.com/contraflow/contraflow/internal/devstack/chatserver"
	"github.com/contraflow/contraflow/internal/devstack/demo"
	"github.com/contraflow/contraflow/internal/devstack/flagserver"
	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/internal/devstack/postgres"
	"github.com/contraflow/contraflow/internal/devstack/temporalserver"
	"github.com/contraflow/contraflow/internal/devstack/temporaltest"
	"github.com/contraflow/contraflow/plan"
)

const example = "../examples/shop"

// options of a bundle; the zero value is the example's plan over a small table, on the servers that all tests share.
type options struct {
	rows    int64             // defaults to 2,000, slow ones to 4,000
	name    string            // of the plan and so of the migration. Defaults to one that no other test uses
	edit    func(*plan.Plan)  // after soaks and intervals have been made short
	prepare string            // SQL that changes the database before the migration. Defaults to none: rows follow package seed
	slow    bool              // the backfill takes some seconds and hundreds of chunks, so that there is a middle of it to meet
	shop    bool              // the shop runs, and the guard watches it instead of a page that answers 200
	own     *postgres.Cluster // defaults to the shared one
	at      *temporalserver.Server
}

// bundle is a worker as a process with everything it talks to.
type bundle struct {
	t       *testing.T
	rows    int64
	plan    *plan.Plan
	queue   string
	folder  string
	dsn     string
	pool    *pgxpool.Pool // as the owner of the database
	witness *demo.Witness
	before  world

	address  string // of Temporal
	temporal client.Client

	flags           *flagserver.Server
	chat            *chatserver.Server
	flagsAt, chatAt *outlet
	guardAt         *outlet
	healthy         atomic.Bool // what the guarded page answers
	shop            *demo.Process
	worker          *demo.Process // nil while none runs

	secrets secrets
}

// secrets are new for every bundle, so that a leak of one can be searched for.
type secrets struct{ flagToken, sdkKey, chatToken, signing string }

const (
	alice = "U0ALICE"
	bob   = "U0BOB"
)

func setup(t *testing.T, o options) *bundle {
	t.Helper()
	b := &bundle{t: t, rows: o.rows, queue: temporaltest.TaskQueue(t), folder: t.TempDir(),
		secrets: secrets{"api-" + rand.Text(), "sdk-" + rand.Text(), "xoxb-" + rand.Text(), rand.Text()}}
	switch {
	case b.rows == 0 && o.slow:
		b.rows = 4_000 // the first 2,000 are gone until the chunks are as short as they shall be
	case b.rows == 0:
		b.rows = 2_000
	}
	t.Cleanup(b.endWorker)
	b.setupDatabase(o)
	b.setupTemporal(o)
	b.setupServers(o)
	b.setupPlan(o)
	b.startWorker()
	return b
}

func (b *bundle) setupDatabase(o options) {
	t := b.t
	if o.own == nil {
		b.dsn = pgtest.New(t).DSN
	} else {
		require.NoError(t, o.own.CreateRole(t.Context(), "shop"))
		require.NoError(t, o.own.CreateDatabase(t.Context(), "shop", "shop"))
		b.dsn = o.own.DSN("shop", "shop")
	}
	var err error
	b.pool, err = pgxpool.New(context.Background(), b.dsn)
	require.NoError(t, err)
	t.Cleanup(b.pool.Close)
	require.NoError(t, demo.Fill(t.Context(), b.pool, b.dsn, example, b.rows))
	if o.prepare != "" {
		b.exec(o.prepare)
	}
	if o.slow {
		b.exec(slowRows)
	}
	b.witness, err = demo.PlaceWitness(t.Context(), b.pool, "customers")
	require.NoError(t, err)
}

func (b *bundle) setupTemporal(o options) {
	b.address = ""
	if o.at != nil {
		b.address = o.at.Address()
	} else {
		b.address = temporaltest.Address(b.t)
	}
	b.connect()
}

// connect the test itself to Temporal.
func (b *bundle) connect() {
	c, err := client.DialContext(b.t.Context(), temporaltest.Options(b.address))
	require.NoError(b.t, err)
	b.temporal = c
	b.t.Cleanup(c.Close)
}

func (b *bundle) setupServers(o options) {
	t := b.t
	b.flags = flagserver.New(flagserver.Options{
		Project: "shop", Environment: "production", APIToken: b.secrets.flagToken, SDKKey: b.secrets.sdkKey,
		Quiet: time.Millisecond, // nobody evaluates the flags where no shop runs, and they may be retired all the same
	})
	t.Cleanup(func() { _ = b.flags.Close() })
	for _, key := range flagKeys {
		require.NoError(t, b.flags.CreateFlag(key))
	}
	b.flagsAt = newOutlet(t, b.flags.Handler())
	b.chat = chatserver.New(chatserver.Options{Token: b.secrets.chatToken, SigningSecret: b.secrets.signing, PressTimeout: limit,
		People: []chatserver.Person{{ID: alice, Name: "alice"}, {ID: bob, Name: "bob"}}})
	b.chatAt = newOutlet(t, b.chat.Handler())
	b.healthy.Store(true)
	b.guardAt = newOutlet(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !b.healthy.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	if o.shop {
		b.shop = b.process("shop", binaries.shop, []string{"serve", "--debug", "--listen", "127.0.0.1:0"},
			"SHOP_DSN="+b.dsn, "SHOP_LD_SDK_KEY="+b.secrets.sdkKey, "SHOP_LD_URL="+b.flagsAt.url())
		t.Cleanup(b.shop.Stop)
	}
}

// setupPlan writes the plan root: the example, made quick, under a name of its own.
func (b *bundle) setupPlan(o options) {
	guarded := b.guardAt.url()
	if o.shop {
		guarded = b.shop.URL
	}
	name := o.name
	if name == "" {
		name = "split-" + strings.ToLower(rand.Text()[:12])
	}
	var err error
	b.plan, err = demo.WritePlans(b.plans(), example, guarded, func(p *plan.Plan) {
		p.Name = name
		drain := short
		p.Guard.Interval, p.Flags.Drain = short, &drain
		for i := range p.Steps {
			if p.Steps[i].Flag != nil {
				p.Steps[i].Flag.Soak = short
				if !o.shop {
					p.Steps[i].Flag.Attest = nil // there is no instance
				}
			}
		}
		if o.shop { // it answers within a second, or it counts as a failure: a machine that stalls shall not look like a fault
			p.Guard.Checks[0].FailureLimit = new(20)
		}
		if o.slow {
			fill := p.Steps[p.StepIndex("fill")].Backfill
			fill.ChunkTime = plan.Duration(slowChunk)
			fill.Where = "" // nothing but cursor and fence keeps a row from being changed twice
		}
		if o.edit != nil {
			o.edit(p)
		}
	})
	require.NoError(b.t, err)
	require.NoError(b.t, os.WriteFile(filepath.Join(b.folder, "worker.yaml"), fmt.Appendf(nil, `taskQueue: %q
plans: %q
databases:
  shop: {dsn: "env:SHOP_DSN"}
flags:
  launchdarkly: {token: "env:LD_TOKEN", sdkKey: "env:LD_SDK_KEY", apiURL: %q, streamURL: %q}
slack:
  channel: C0MIGRATIONS
  token: "env:SLACK_TOKEN"
  signingSecret: "env:SLACK_SIGNING_SECRET"
  apiURL: "%s/api/"
  people: {%s: alice, %s: bob}
listen: 127.0.0.1:0
`, b.queue, b.plans(), b.flagsAt.url(), b.flagsAt.url(), b.chatAt.url(), alice, bob), 0o600))
	b.before = b.look()
}

// short soaks and guard intervals.
const short = plan.Duration(100 * time.Millisecond)

func (b *bundle) plans() string { return filepath.Join(b.folder, "plans") }

var flagKeys = []string{app.WriteNewFlag, app.ReadNewFlag}

// process starts a program whose log is checked when the test ends.
func (b *bundle) process(name, path string, args []string, env ...string) *demo.Process {
	b.t.Helper()
	p, err := demo.Program{
		Name: name, Path: path, Log: b.log(name), Args: args, Env: env,
		Broken: func(err error) { b.t.Error(err) },
	}.Start(b.t.Context())
	require.NoError(b.t, err)
	return p
}

func (b *bundle) log(of string) string { return filepath.Join(b.folder, of+".log") }

// logged is all that a process has logged, over all of its lives.
func (b *bundle) logged(of string) string {
	text, err := os.ReadFile(b.log(of))
	require.NoError(b.t, err)
	return string(text)
}

// startWorker starts the worker and points the chat's buttons at it.
func (b *bundle) startWorker() {
	b.t.Helper()
	b.worker = b.anotherWorker("worker")
	b.chat.SetInteractionsURL(b.worker.URL + "/slack/interactions")
}

// anotherWorker starts one more worker, with a log of its own.
func (b *bundle) anotherWorker(name string) *demo.Process {
	b.t.Helper()
	return b.process(name, binaries.worker, []string{"--config", filepath.Join(b.folder, "worker.yaml")},
		"HOME="+b.folder, "TEMPORAL_ADDRESS="+b.address, "SHOP_DSN="+b.dsn, "LD_TOKEN="+b.secrets.flagToken,
		"LD_SDK_KEY="+b.secrets.sdkKey, "SLACK_TOKEN="+b.secrets.chatToken, "SLACK_SIGNING_SECRET="+b.secrets.signing)
}

// stopWorker ends the worker gracefully; startWorker starts the next one.
func (b *bundle) stopWorker() {
	b.worker.Stop()
	b.worker = nil
}

// killWorker ends the worker as a power cut would; startWorker starts the next one.
func (b *bundle) killWorker() {
	b.worker.Kill()
	b.worker = nil
}

// crashWorker kills the worker and starts another one.
func (b *bundle) crashWorker() {
	b.t.Helper()
	b.killWorker()
	b.startWorker()
}

func (b *bundle) endWorker() {
	if b.worker != nil {
		b.worker.Stop()
	}
	text, err := os.ReadFile(b.log("worker"))
	if err != nil {
		return // it never started, and the test has failed already
	}
	for _, bad := range []string{"DATA RACE", "panic", "nondeterministic"} {
		if strings.Contains(string(text), bad) {
			b.t.Errorf("the worker's log tells of a %s", bad)
		}
	}
	if b.t.Failed() {
		b.t.Logf("the worker's log ends:\n%s", tail(string(text), 6_000))
	}
}

func tail(text string, n int) string { return text[max(0, len(text)-n):] }

// exec runs SQL as the owner of the database.
func (b *bundle) exec(sql string, args ...any) {
	b.t.Helper()
	_, err := b.pool.Exec(b.t.Context(), sql, args...)
	require.NoError(b.t, err, sql)
}

// count is the one number that a query returns.
func (b *bundle) count(query string, args ...any) int64 {
	b.t.Helper()
	var n int64
	require.NoError(b.t, b.pool.QueryRow(b.t.Context(), query, args...).Scan(&n), query)
	return n
}
