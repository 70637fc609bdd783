package pgproxy

import (
	"net"
	"sync"
)

// link is one client's connection and the server's behind it.
type link struct {
	proxy          *Proxy
	client, server net.Conn
	prepared       map[string]string // SQL by the names of prepared statements and of portals
	portals        map[string]string

	mu       sync.Mutex
	key      string // by which the server knows a request to cancel
	changed  *sync.Cond
	executed int  // statements that the server has finished
	ready    int  // batches that it has finished
	failed   bool // it skips all until the end of the batch
	copying  bool // it waits for rows of the client
	muted    bool // answers do not reach the client any more
	ended    bool // no more answers come
}

func newLink(p *Proxy, client, server net.Conn) *link {
	l := &link{proxy: p, client: client, server: server, prepared: map[string]string{}, portals: map[string]string{}}
	l.changed = sync.NewCond(&l.mu)
	return l
}

func (l *link) run() {
	defer func() {
		// Ends the answers, which run waits for.
		_ = l.client.Close()
		_ = l.server.Close()
	}()
	if err := l.start(); err != nil {
		return
	}
	l.proxy.links.Go(l.answers)
	for {
		m, err := readMessage(l.client)
		if err != nil || !l.request(m) {
			return
		}
	}
}

// start passes the first packets on. Encryption is declined.
func (l *link) start() error {
	for {
		packet, err := readPacket(l.client)
		if err != nil {
			return err
		}
		switch packet.code() {
		case codeSSL, codeGSS:
			if _, err := l.client.Write([]byte{'N'}); err != nil {
				return err
			}
		case codeCancel:
			if l.proxy.isOrphan(packet.key()) {
				return errOrphan
			}
			fallthrough
		default:
			_, err := l.server.Write(packet)
			return err
		}
	}
}

// request passes one message of the client on; false ends the connection.
func (l *link) request(m message) bool {
	switch m.kind() {
	case msgParse:
		name, sql := m.names()
		l.prepared[name] = sql
	case msgBind:
		portal, name := m.names()
		l.portals[portal] = l.prepared[name]
	case msgExecute:
		portal, _ := m.names()
		return l.statement(m, l.portals[portal])
	case msgQuery:
		sql, _ := m.names()
		return l.statement(m, sql)
	case msgSync:
		return l.send(m, l.batchEnds())
	}
	return l.send(m, nil)
}

// statement lets one through, or cuts.
func (l *link) statement(m message, sql string) bool {
	cut, found := l.proxy.next(sql)
	if !found {
		if m.kind() == msgQuery {
			return l.send(m, l.batchEnds())
		}
		// Without a flush the server would keep its answer until the end of the batch, and with it the news that it has come so far.
		return l.send(append(m, flush...), l.statementEnds())
	}
	if cut.When != Before {
		l.mute()
		ends := l.batchEnds()
		if !l.deliver(m) {
			return false
		}
		if cut.When == Orphaned {
			// A client asks at once to cancel what it lost. In the break-downs that this stands for, the request is lost too.
			l.proxy.orphan(l.backendKey())
			hangUp(l.client, cut.Hard)
		}
		l.wait(ends)
	}
	hangUp(l.server, cut.Hard)
	hangUp(l.client, cut.Hard)
	return false
}

// deliver the statement and the rest of its batch, which the client sends without waiting for answers.
func (l *link) deliver(m message) bool {
	for {
		if _, err := l.server.Write(m); err != nil {
			return false
		}
		if m.kind() == msgQuery || m.kind() == msgSync {
			return true
		}
		var err error
		if m, err = readMessage(l.client); err != nil {
			return false
		}
		if m.kind() == msgExecute {
			l.proxy.count()
		}
	}
}

// send a message, and wait until it has had its effect.
func (l *link) send(m message, effect func() bool) bool {
	if _, err := l.server.Write(m); err != nil {
		return false
	}
	l.wait(effect)
	return true
}

// answers passes the server's messages on, and takes notice of what they end.
func (l *link) answers() {
	defer func() {
		_ = l.client.Close()
		l.note(func() { l.ended = true })
	}()
	for {
		m, err := readMessage(l.server)
		if err != nil {
			return
		}
		// Passed on first: whoever waits for the news may cut the connection, and the client has then had this answer.
		if !l.isMuted() {
			if _, err := l.client.Write(m); err != nil {
				return
			}
		}
		l.note(func() {
			switch m.kind() {
			case msgCommandComplete, msgEmptyQuery, msgPortalSuspended:
				l.executed++
				l.copying = false
			case msgKey:
				l.key = string(m[5:])
			case msgCopyIn:
				l.copying = true
			case msgError:
				l.failed = true
			case msgReady:
				l.failed, l.copying = false, false
				l.ready++
			}
		})
	}
}

func (l *link) note(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
	l.changed.Broadcast()
}

func (l *link) wait(effect func() bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for effect != nil && !l.ended && !effect() {
		l.changed.Wait()
	}
}

func (l *link) mute() { l.note(func() { l.muted = true }) }

func (l *link) backendKey() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.key
}

func (l *link) isMuted() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.muted
}

// batchEnds is asked for before the message that ends the batch is sent.
func (l *link) batchEnds() func() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.ready
	return func() bool { return l.ready > before || l.copying }
}

// statementEnds also when the statement, or one before it in the batch, has failed.
func (l *link) statementEnds() func() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.executed
	return func() bool { return l.executed > before || l.failed || l.copying }
}

func hangUp(c net.Conn, hard bool) {
	if tcp, ok := c.(*net.TCPConn); ok && hard {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}
