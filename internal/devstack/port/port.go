// Package port keeps TCP ports for servers that come and go.
package port

import (
	"fmt"
	"sync"
	"syscall"
)

// Keep takes a free port of 127.0.0.1 until release is called, which may be called twice. Meanwhile nobody gets it who asks for any
// port; a server that names it may listen there, again and again, and while none does, connections are refused.
func Keep() (port int, release func(), err error) {
	// Bound and never listening: Linux then leaves it out of what it chooses from, and lets others bind it who allow reuse as well,
	// as Go's listeners do.
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, nil, fmt.Errorf("keep a port: %w", err)
	}
	release = sync.OnceFunc(func() { _ = syscall.Close(fd) }) // nothing was written to it
	if err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err == nil {
		err = syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	var at syscall.Sockaddr
	if err == nil {
		at, err = syscall.Getsockname(fd)
	}
	if err != nil {
		release()
		return 0, nil, fmt.Errorf("keep a port: %w", err)
	}
	return at.(*syscall.SockaddrInet4).Port, release, nil
}
