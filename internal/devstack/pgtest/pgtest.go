// Package pgtest gives each test a database of its own on a real Postgres cluster, one cluster per test binary.
package pgtest

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/contraflow/contraflow/internal/devstack/postgres"
)

// Role owns every test database. It is no superuser, as contraflow's own role need not be.
const Role = "migrator"

var (
	once    sync.Once
	cluster *postgres.Cluster
	failed  error
	serial  atomic.Int64
)

// Database is one test's own database.
type Database struct {
	// DSN connects as Role, the owner.
	DSN string
	// SuperDSN connects as superuser.
	SuperDSN string
	// Name of the database.
	Name string
}

// Main runs the package's tests and stops the cluster afterwards. Call it from TestMain; a package that needs other
// servers too calls m.Run itself, then Stop and theirs.
func Main(m *testing.M) {
	code := m.Run()
	Stop()
	os.Exit(code)
}

// Stop ends the test binary's cluster if a test has started it. Call it after m.Run.
func Stop() {
	if cluster != nil {
		cluster.Stop()
	}
}

// Cluster is the test binary's cluster, started at first use.
func Cluster(t testing.TB) *postgres.Cluster {
	t.Helper()
	once.Do(func() {
		// fsync off: tests kill clients, never the machine. autovacuum off: it would take locks and snapshots whenever it likes.
		cluster, failed = postgres.Start(context.Background(), postgres.Options{
			Settings: map[string]string{"fsync": "off", "autovacuum": "off", "max_connections": "300"}})
		if failed == nil {
			failed = cluster.CreateRole(context.Background(), Role)
		}
	})
	if failed != nil {
		t.Fatalf("no Postgres to test on: %v", failed)
	}
	return cluster
}

// New makes a database for this test and drops it when the test ends.
func New(t testing.TB) Database {
	t.Helper()
	c := Cluster(t)
	name := fmt.Sprintf("test_%d", serial.Add(1))
	if err := c.CreateDatabase(t.Context(), name, Role); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.DropDatabase(context.Background(), name); err != nil {
			t.Error(err)
		}
	})
	return Database{DSN: c.DSN(Role, name), SuperDSN: c.DSN(postgres.Superuser, name), Name: name}
}

// Connect opens a connection as Role and closes it when the test ends.
func (d Database) Connect(t testing.TB) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), d.DSN)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// Exec runs SQL as Role; several statements may stand in one string.
func (d Database) Exec(t testing.TB, sql string, args ...any) {
	t.Helper()
	if _, err := d.Connect(t).Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}
