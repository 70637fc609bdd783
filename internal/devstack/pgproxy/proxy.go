// Package pgproxy stands between a client and a real Postgres and breaks connections where a test says: before a statement,
// behind it with its answer lost, or while it runs. Between two statements it lets the test act.
//
// It knows the frames of Postgres's protocol and nothing else; it speaks no TLS. One statement of a connection is let through
// when the one before has been executed, also within a pipelined batch, so that "between two statements" is one moment.
package pgproxy

import (
	"net"
	"net/url"
	"sync"
)

// Statement is one Execute or Query message of a client.
type Statement struct {
	// N counts from 1, over all connections of the proxy.
	N int
	// SQL as the client wrote it, parameters as $1.
	SQL string
}

// When says at which moment of a statement a connection is cut.
type When int

const (
	// Before: the server never sees the statement. Those before it have been executed, and commit or not as the server has it
	// for a client that hangs up.
	Before When = iota
	// Unanswered: the server executes the statement and the rest of its batch and has finished when the client's connection
	// ends; none of the answers arrives.
	Unanswered
	// Orphaned: as Unanswered, but the client's connection ends at once: the server still works while the client is back already.
	Orphaned
)

func (w When) String() string {
	return [...]string{"before", "unanswered", "orphaned"}[w]
}

// Cut of the connection that brings a statement.
type Cut struct {
	When When
	// Hard resets both connections (RST) instead of closing them.
	Hard bool
}

// TB is what a proxy needs of a test; *testing.T and *rapid.T have it.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Cleanup(func())
}

// Proxy in front of one server.
type Proxy struct {
	dsn      *url.URL
	target   string
	listener net.Listener
	links    sync.WaitGroup

	turn    sync.Mutex // held while the test acts between two statements
	mu      sync.Mutex
	n       int
	cuts    map[int]Cut
	act     func(Statement)
	open    map[net.Conn]struct{} // nil once closed
	orphans map[string]bool       // keys of servers whose client was cut off while they work
}

// Start a proxy in front of the server of dsn, a postgres:// URL with one host. It ends with the test.
func Start(t TB, dsn string) *Proxy {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatalf("the connection string is no URL")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen for the proxy: %v", err)
	}
	p := &Proxy{target: u.Host, listener: l, cuts: map[int]Cut{}, open: map[net.Conn]struct{}{}, orphans: map[string]bool{}}
	through := *u
	through.Host = l.Addr().String()
	p.dsn = &through
	p.links.Go(p.accept)
	t.Cleanup(p.Close)
	return p
}

// DSN leads through the proxy.
func (p *Proxy) DSN() string { return p.dsn.String() }

// CutAt cuts the connection that brings statement n. It may be called at any time, also by what OnStatement was given.
func (p *Proxy) CutAt(n int, c Cut) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cuts[n] = c
}

// OnStatement calls act before each statement is let through, one at a time. What act waits for must not come through this proxy.
func (p *Proxy) OnStatement(act func(Statement)) {
	p.turn.Lock()
	defer p.turn.Unlock()
	p.act = act
}

// Statements that have come so far.
func (p *Proxy) Statements() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n
}

// Close cuts everything and waits until nothing of the proxy runs. It may be called twice.
func (p *Proxy) Close() {
	_ = p.listener.Close()
	p.mu.Lock()
	for c := range p.open {
		_ = c.Close()
	}
	p.open = nil
	p.mu.Unlock()
	p.links.Wait()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.links.Go(func() { p.serve(client) })
	}
}

// serve one client's connection to its end.
func (p *Proxy) serve(client net.Conn) {
	defer client.Close()
	if !p.opened(client) {
		return
	}
	defer p.closed(client)
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return // the client sees that nobody is there
	}
	defer server.Close()
	if !p.opened(server) {
		return
	}
	defer p.closed(server)
	newLink(p, client, server).run()
}

func (p *Proxy) opened(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == nil {
		return false
	}
	p.open[c] = struct{}{}
	return true
}

func (p *Proxy) closed(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, c)
}

// count a statement that is let through in any case.
func (p *Proxy) count() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n++
}

func (p *Proxy) orphan(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.orphans[key] = true
}

func (p *Proxy) isOrphan(key string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.orphans[key]
}

// next counts a statement, lets the test act, and tells whether to cut.
func (p *Proxy) next(sql string) (Cut, bool) {
	p.turn.Lock()
	defer p.turn.Unlock()
	p.mu.Lock()
	p.n++
	s := Statement{N: p.n, SQL: sql}
	p.mu.Unlock()
	if p.act != nil {
		p.act(s)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	cut, ok := p.cuts[s.N]
	return cut, ok
}
