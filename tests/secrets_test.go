package tests

import (
	"bytes"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	querypb "go.temporal.io/api/query/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/proto"

	"github.com/contraflow/contraflow/internal/devstack/temporalserver"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

// marker is in the address of every customer, and nowhere else.
const marker = "S3CRET-ROW"

// marked gives every customer an address that can be searched for.
const marked = `update customers set address = id || ' S3CRET-ROW-' || id || ' Lane'`

// metadataQuery is every workflow's own: its answer holds the current details that Temporal's UI shows.
const metadataQuery = "__temporal_workflow_metadata"

// leaks searches what a bundle has said to the world for what must never be said.
type leaks struct {
	b      *bundle
	server *temporalserver.Server
	folder string            // of Temporal's own database
	never  map[string]string // what it is → its text
	seen   map[string][]byte // where → all that was said there
}

func watchLeaks(b *bundle, server *temporalserver.Server) *leaks {
	dsn, err := url.Parse(b.dsn)
	require.NoError(b.t, err)
	password, _ := dsn.User.Password()
	require.NotEmpty(b.t, password)
	return &leaks{b: b, server: server, folder: filepath.Join(b.folder, "temporal"), seen: map[string][]byte{}, never: map[string]string{
		"a row": marker, "the password": password, "the DSN": b.dsn, "a DSN": "postgres://", "the flag token": b.secrets.flagToken,
		"the SDK key": b.secrets.sdkKey, "the chat token": b.secrets.chatToken, "the signing secret": b.secrets.signing,
	}}
}

// look takes in what Temporal shows of the migration right now, with the heartbeats of what runs.
func (l *leaks) look() {
	b, id := l.b, l.b.plan.Name
	b.t.Helper()
	b.eventually("its activities are shown", func() bool { return l.activities() != nil })
	l.take("history", b.history(""))
	for _, query := range []string{signals.StatusQuery, metadataQuery} {
		b.eventually("the query "+query+" is answered", func() bool {
			answer, err := b.temporal.WorkflowService().QueryWorkflow(b.t.Context(), &workflowservice.QueryWorkflowRequest{
				Namespace: temporalserver.Namespace, Execution: &commonpb.WorkflowExecution{WorkflowId: id},
				Query: &querypb.WorkflowQuery{QueryType: query},
			})
			return err == nil && l.take("query "+query, answer) != nil
		})
	}
	l.seen["status"] = append(l.seen["status"], b.contraflow(0, "status", id)...)
}

// activities takes in what Temporal shows of those that run, with their heartbeats, and returns it; nil when it does not answer.
func (l *leaks) activities() []byte {
	described, err := l.b.temporal.DescribeWorkflowExecution(l.b.t.Context(), l.b.plan.Name, "")
	if err != nil {
		return nil
	}
	return l.take("pending activities", described)
}

// take in what was said somewhere.
func (l *leaks) take(where string, said proto.Message) []byte {
	raw, err := proto.Marshal(said)
	require.NoError(l.b.t, err)
	l.seen[where] = append(l.seen[where], raw...)
	return raw
}

// requireNone stops everything and searches everywhere: nothing secret is found, and what must be there shows that the search works.
func (l *leaks) requireNone(present map[string]string) {
	b, t := l.b, l.b.t
	t.Helper()
	l.look()
	l.seen["worker's log"] = []byte(b.logged("worker"))
	var chat strings.Builder
	for _, m := range b.chat.Messages() {
		chat.WriteString(m.Text)
		chat.Write(must(t, m.Blocks))
	}
	l.seen["chat"] = []byte(chat.String())
	var audit string
	require.NoError(t, b.pool.QueryRow(t.Context(), `select string_agg(a::text, E'\n') from contraflow.audit a`).Scan(&audit))
	l.seen["audit"] = []byte(audit)
	b.stopWorker()
	l.server.Stop()
	files, err := filepath.Glob(filepath.Join(l.folder, "*"))
	require.NoError(t, err)
	for _, file := range files {
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		l.seen["Temporal's database"] = append(l.seen["Temporal's database"], raw...)
	}
	for where, text := range l.seen {
		for what, secret := range l.never {
			require.False(t, bytes.Contains(text, []byte(secret)), "%s stands in the %s", what, where)
		}
	}
	for where, text := range present {
		require.True(t, bytes.Contains(l.seen[where], []byte(text)), "%q is not found in the %s: is it searched at all?", text, where)
	}
}

// leaky is a bundle whose rows are marked and whose Temporal keeps its files where they can be read.
func leaky(t *testing.T, o options) (*bundle, *leaks) {
	t.Helper()
	folder := t.TempDir()
	server := mortal(t, temporalserver.Options{DBFile: filepath.Join(folder, "temporal.db")})
	o.at, o.prepare = server, marked+o.prepare
	b := setup(t, o)
	l := watchLeaks(b, server)
	l.folder = folder
	return b, l
}

func TestAWholeRunTellsNoSecretAndNoValue(t *testing.T) {
	t.Parallel()
	b, l := leaky(t, options{slow: true})
	b.stopAt(0.3)
	b.migrate()
	l.look()
	b.stopped()
	b.eventually("a heartbeat tells progress", func() bool { return bytes.Contains(l.activities(), []byte(`"scanned"`)) })
	l.look()
	b.killWorker() // with a chunk under way, and another worker takes over
	b.startWorker()
	b.stopAt(1)
	b.asks("cutover")
	b.say(signals.Approve, signals.Decision{Step: "cutover", By: "mallory"})
	b.approve("cutover")
	b.approve("contract")
	require.NoError(t, b.ended(nil))
	require.Equal(t, b.rows, b.count(`select count(*) from customers where street like '`+marker+`%'`))
	l.requireNone(map[string]string{
		"pending activities": `"scanned"`, "history": "customers-write-new", "query " + signals.StatusQuery: "cutover",
		"query " + metadataQuery: "cutover", "worker's log": "Started Worker", "chat": "cutover", "audit": "cutover",
		"Temporal's database": "customers-write-new",
	})
}

// What Postgres says of a row that it can't digest quotes the row.
func TestAPoisonousRowTellsNoValue(t *testing.T) {
	t.Parallel()
	b, l := leaky(t, options{edit: func(p *plan.Plan) {
		p.Steps[2].Backfill.Set["street_number"] = "(substr(address, strpos(address, ' ') + 1)::int)::text"
	}})
	b.migrate()
	cause := b.rollsBack().Cause
	require.Contains(t, cause, "step fill")
	require.Contains(t, cause, "22P02") // invalid input syntax for type integer: "S3CRET-ROW…"
	l.requireNone(map[string]string{"history": "22P02", "worker's log": "22P02", "audit": "22P02", "Temporal's database": "22P02"})
}

// A constraint's DETAIL quotes the row as well.
func TestAFailingSchemaChangeTellsNoValue(t *testing.T) {
	t.Parallel()
	b, l := leaky(t, options{})
	file := filepath.Join(b.plans(), b.plan.Name, "migrations", "000002_add_street.up.sql")
	require.NoError(t, os.WriteFile(file, []byte(`alter table customers add column street_number text, add column street text;
insert into customers (id, name, email, address) select id, name, email, address from customers limit 1;
`), 0o600))
	b.migrate()
	cause := b.rollsBack().Cause
	require.Contains(t, cause, "23505") // Key (id)=(1) already exists.
	require.NotContains(t, cause, "(id)=(")
	require.Equal(t, b.before.catalog, b.look().catalog)
	l.requireNone(map[string]string{"history": "23505", "worker's log": "23505", "audit": "23505"})
}

// Proof and guard fail over a value too.
func TestAFailingProofTellsNoValue(t *testing.T) {
	t.Parallel()
	b, l := leaky(t, options{edit: func(p *plan.Plan) {
		p.Steps[3].Verify.Query = "select sum(street::int) from customers"
	}})
	b.migrate()
	require.Contains(t, b.rollsBack().Cause, "step prove")
	l.requireNone(map[string]string{"history": "step prove", "audit": "step prove"})
}

func TestAWrongPasswordIsNotTold(t *testing.T) {
	t.Parallel()
	b, l := leaky(t, options{})
	right, wrong := b.dsn, strings.Replace(b.dsn, l.never["the password"], "wrong-P4SSWORD", 1)
	b.stopWorker()
	b.dsn = wrong
	b.startWorker()
	b.migrate()
	l.seen["status"] = append(l.seen["status"], b.statusSays("it is waited for", "waits", "database")...)
	l.never["the wrong password"] = "wrong-P4SSWORD"
	l.look()
	b.stopWorker()
	b.dsn = right
	b.startWorker()
	b.asks("cutover")
	l.requireNone(map[string]string{"status": "waits", "worker's log": "target database"})
}
