package tests

import (
	"io"
	"net"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Temporal takes a worker that is frozen for dead and hands its lane to another one. Then it thaws, hears nothing of that, and
// goes on with its chunk.
func TestAFrozenWorkerComesBackBesideItsSuccessor(t *testing.T) {
	t.Parallel()
	b := setup(t, options{slow: true})
	b.stopWorker()
	direct, through := b.address, newTunnel(t, b.address)
	b.address = through.addr
	b.startWorker()
	b.address = direct
	fence := func() int64 { return b.count(`select fence from contraflow.backfill_lane`) }
	b.stopAt(0.3)
	b.migrate()
	b.stopped()
	frozen := b.worker
	require.NoError(t, syscall.Kill(frozen.Pid(), syscall.SIGSTOP))
	t.Cleanup(frozen.Kill)
	held := fence()
	b.stopAt(0.6)

	successor := b.anotherWorker("successor")
	t.Cleanup(successor.Stop)
	b.eventually("the successor has taken the lane over", func() bool { return fence() != held })
	b.stopped() // far behind the chunk of the frozen one, and not at its end
	through.cut()
	require.NoError(t, syscall.Kill(frozen.Pid(), syscall.SIGCONT))
	b.eventually("the old attempt is told off", func() bool {
		return contains(b.logged("worker"), "another attempt has taken this lane over")
	})
	b.stopAt(1)
	b.approve("cutover")
	b.approve("contract")
	require.Equal(t, b.rows, b.completes().Rows)
}

// tunnel to a server, which can be cut for good.
type tunnel struct {
	addr string

	mu       sync.Mutex
	isCut    bool
	listener net.Listener
	conns    []net.Conn
}

func newTunnel(t *testing.T, to string) *tunnel {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	n := &tunnel{addr: listener.Addr().String(), listener: listener}
	t.Cleanup(n.cut)
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				_ = near.Close()
				continue
			}
			if !n.keep(near, far) {
				return
			}
			go func() { _, _ = io.Copy(near, far); _ = near.Close() }() // until either end hangs up
			go func() { _, _ = io.Copy(far, near); _ = far.Close() }()
		}
	}()
	return n
}

func (n *tunnel) keep(conns ...net.Conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conns = append(n.conns, conns...)
	if n.isCut {
		for _, c := range conns {
			_ = c.Close()
		}
	}
	return !n.isCut
}

func (n *tunnel) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.isCut = true
	_ = n.listener.Close()
	for _, c := range n.conns {
		_ = c.Close()
	}
}
