package app

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/launchdarkly/go-sdk-common/v3/ldvalue"
	"github.com/launchdarkly/go-server-sdk-evaluation/v3/ldbuilders"
	ldclient "github.com/launchdarkly/go-server-sdk/v7"
	"github.com/launchdarkly/go-server-sdk/v7/ldcomponents"
	"github.com/launchdarkly/go-server-sdk/v7/testhelpers/ldtestdata"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// backfill is the plan's.
const backfill = `update customers set street_number = split_part(address, ' ', 1),
	street = substr(address, strpos(address, ' ') + 1) where street is null`

// migrate applies one file of the example's migrations.
func migrate(t testing.TB, db pgtest.Database, name string) {
	t.Helper()
	sql, err := os.ReadFile(filepath.Join("..", "migrations", name+".sql"))
	require.NoError(t, err)
	db.Exec(t, string(sql))
}

// to brings a fresh database to a schema version.
func to(t testing.TB, db pgtest.Database, version int) {
	t.Helper()
	for _, name := range []string{"000001_customers.up", "000002_add_street.up", "000003_drop_address.up"}[:version] {
		migrate(t, db, name)
	}
}

// bundle is a shop on a database of its own, with the real SDK and flags the test sets.
type bundle struct {
	t     testing.TB
	db    pgtest.Database
	pool  *pgxpool.Pool
	data  *ldtestdata.TestDataSource
	flags *ldclient.LDClient
	shop  *Server
	url   string
}

// setup a shop at a schema version, both flags off.
func setup(t testing.TB, version int) *bundle {
	t.Helper()
	b := &bundle{t: t, db: pgtest.New(t), data: ldtestdata.DataSource()}
	to(t, b.db, version)
	var err error
	b.pool, err = pgxpool.New(t.Context(), b.db.DSN)
	require.NoError(t, err)
	t.Cleanup(b.pool.Close)
	b.writeNew(0)
	b.readNew(0)
	b.flags, err = ldclient.MakeCustomClient("sdk-key", ldclient.Config{DataSource: b.data,
		Events: ldcomponents.NoEvents(), Logging: ldcomponents.NoLogging()}, time.Minute)
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.flags.Close() })
	b.shop, b.url = b.instance()
	return b
}

// instance starts one more server on the same database and flags.
func (b *bundle) instance() (*Server, string) {
	b.t.Helper()
	store, err := OpenStore(b.t.Context(), b.pool, b.flags, slog.New(slog.DiscardHandler))
	require.NoError(b.t, err)
	shop := NewServer(store, slog.New(slog.DiscardHandler))
	server := httptest.NewServer(shop.Handler(true))
	b.t.Cleanup(server.Close)
	return shop, server.URL
}

// writeNew and readNew roll a flag out to so many percent of the customers.
func (b *bundle) writeNew(percent int) { b.rollout(WriteNewFlag, percent) }
func (b *bundle) readNew(percent int)  { b.rollout(ReadNewFlag, percent) }

func (b *bundle) call(method, path string, body any) (int, Customer) {
	b.t.Helper()
	return call(b.t, method, b.url+path, body)
}

func call(t testing.TB, method, url string, body any) (int, Customer) {
	t.Helper()
	text, err := json.Marshal(body)
	require.NoError(t, err)
	request, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(text))
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	var c Customer
	if response.StatusCode/100 == 2 && response.ContentLength != 0 {
		require.NoError(t, json.NewDecoder(response.Body).Decode(&c))
	}
	return response.StatusCode, c
}

func (b *bundle) rollout(flag string, percent int) {
	weight := percent * 1000 // thousandths of a percent
	b.data.UsePreconfiguredFlag(ldbuilders.NewFlagBuilder(flag).On(true).Salt("salt").OffVariation(0).
		Variations(ldvalue.Bool(false), ldvalue.Bool(true)).
		Fallthrough(ldbuilders.Rollout(ldbuilders.Bucket(0, 100_000-weight), ldbuilders.Bucket(1, weight))).Build())
}

// column reads one text column of one customer; empty for NULL.
func (b *bundle) column(name string, id int64) string {
	b.t.Helper()
	var value *string
	require.NoError(b.t, b.pool.QueryRow(b.t.Context(), "select "+name+" from customers where id = $1", id).Scan(&value))
	if value == nil {
		return ""
	}
	return *value
}
