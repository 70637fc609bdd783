// Package temporaltest gives tests a real Temporal server, one per test binary.
package temporaltest

import (
	"context"
	"crypto/rand"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/contraflow/contraflow/internal/devstack/temporalserver"
)

// dialTimeout is far above any dial; the SDK's own five seconds are not.
const dialTimeout = time.Minute

var (
	once   sync.Once
	server *temporalserver.Server
	failed error
)

// Main runs the package's tests and stops the server afterwards. Call it from TestMain; a package that needs other
// servers too calls m.Run itself, then Stop and theirs.
func Main(m *testing.M) {
	code := m.Run()
	Stop()
	os.Exit(code)
}

// Stop ends the test binary's server if a test has started it. Call it after m.Run.
func Stop() {
	if server != nil {
		server.Stop()
	}
}

// Address of the test binary's server, started at first use.
func Address(t testing.TB) string {
	t.Helper()
	once.Do(func() {
		server, failed = temporalserver.Start(context.Background(), temporalserver.Options{})
	})
	if failed != nil {
		t.Fatalf("no Temporal to test on: %v", failed)
	}
	return server.Address()
}

// Client connects to the test binary's server and is closed when the test ends.
func Client(t testing.TB) client.Client {
	t.Helper()
	c, err := client.DialContext(t.Context(), Options(Address(t)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// Options are a test's own connection to a server that runs: quiet, and dialled with patience, for the machine may do much else.
func Options(address string) client.Options {
	return client.Options{HostPort: address, Logger: temporalserver.Quiet(), ConnectionOptions: client.ConnectionOptions{GetSystemInfoTimeout: dialTimeout}}
}

// TaskQueue is a name no other test uses, also not one that runs a second time.
func TaskQueue(t testing.TB) string {
	return strings.ReplaceAll(t.Name(), "/", "-") + "-" + rand.Text()[:8]
}
