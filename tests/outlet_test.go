package tests

import (
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/port"
)

// outlet is where a server can be reached, and now and then not: while it is down, connections are refused and open ones are
// cut. What the server knows stays.
type outlet struct {
	t       *testing.T
	addr    string
	handler http.Handler
	// meddle, when set, serves a request instead of the handler.
	meddle atomic.Pointer[func(w http.ResponseWriter, r *http.Request, handler http.Handler)]

	mu   sync.Mutex
	http *http.Server // nil while it is down
}

func newOutlet(t *testing.T, handler http.Handler) *outlet {
	t.Helper()
	kept, release, err := port.Keep() // also while it is down, or somebody else might answer there
	require.NoError(t, err)
	t.Cleanup(release)
	o := &outlet{t: t, addr: fmt.Sprintf("127.0.0.1:%d", kept), handler: handler}
	o.up()
	t.Cleanup(o.down)
	return o
}

func (o *outlet) url() string { return "http://" + o.addr }

func (o *outlet) up() {
	o.t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.http != nil {
		return
	}
	listener, err := net.Listen("tcp", o.addr)
	require.NoError(o.t, err)
	o.http = &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if meddle := o.meddle.Load(); meddle != nil {
			(*meddle)(w, r, o.handler)
			return
		}
		o.handler.ServeHTTP(w, r)
	})}
	go func(s *http.Server) { _ = s.Serve(listener) }(o.http) // returns when it is closed
}

func (o *outlet) down() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.http != nil {
		_ = o.http.Close()
		o.http = nil
	}
}
