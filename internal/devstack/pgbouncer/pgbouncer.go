// Package pgbouncer runs a real PgBouncer in front of one database, for the tests that prove that we notice one.
package pgbouncer

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Mode is when PgBouncer gives a server connection to the next client.
type Mode string

const (
	// Transaction : after each transaction.
	Transaction Mode = "transaction"
	// Session : when the client has gone.
	Session Mode = "session"
)

// Options of a PgBouncer.
type Options struct {
	Mode Mode
	// Ignore are startup parameters that it swallows. The others that it doesn't know it refuses.
	Ignore []string
}

const (
	startTimeout = 30 * time.Second // it takes milliseconds; a loaded machine may take long
	look         = 10 * time.Millisecond
	// portAttempts is how many ports are tried: anybody may take one before PgBouncer does.
	portAttempts = 3
)

// Start PgBouncer in front of the server of dsn, a postgres:// URL with a password, and return the URL that leads through
// it. It ends with the test.
func Start(t testing.TB, dsn string, o Options) (through string) {
	t.Helper()
	program, err := find()
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(dsn)
	if err != nil {
		t.Fatal("the connection string is no URL")
	}
	config := filepath.Join(t.TempDir(), "pgbouncer.ini")
	args := []string{config}
	if os.Geteuid() == 0 { // which it refuses to run as; it reads its configuration before it becomes another
		name, err := somebody()
		if err != nil {
			t.Fatal(err)
		}
		args = []string{"--user=" + name, config}
	}
	pooled := *target
	for attempt := 1; ; attempt++ {
		port := freePort(t)
		if err := os.WriteFile(config, []byte(settings(target, port, o)), 0o600); err != nil {
			t.Fatal(err)
		}
		pooled.Host = fmt.Sprintf("127.0.0.1:%d", port)
		log, ok := run(t, program, args, pooled.Host)
		if ok {
			return pooled.String()
		}
		if attempt == portAttempts {
			t.Fatalf("PgBouncer doesn't answer:\n%s", log)
		}
	}
}

// run PgBouncer until the test ends, or say what it has said if it doesn't answer.
func run(t testing.TB, program string, args []string, address string) (said string, ok bool) {
	t.Helper()
	var log bytes.Buffer
	cmd, done := exec.Command(program, args...), make(chan struct{})
	cmd.Stderr = &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start PgBouncer: %v", err)
	}
	go func() {
		_ = cmd.Wait() // how it ended is in the log
		close(done)
	}()
	stop := func() {
		_ = cmd.Process.Kill() // an error means that it has ended already
		<-done
	}
	if !answers(address, done) {
		stop()
		return log.String(), false
	}
	t.Cleanup(stop)
	return "", true
}

func settings(target *url.URL, port int, o Options) string {
	password, _ := target.User.Password()
	return fmt.Sprintf(`[databases]
* = host=%s port=%s user=%s password=%s

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = %s
ignore_startup_parameters = %s
`, target.Hostname(), target.Port(), target.User.Username(), password, port, o.Mode, strings.Join(o.Ignore, ","))
}

// find looks on PATH, and where Debian puts programs that are not for everybody.
func find() (string, error) {
	for _, name := range []string{"pgbouncer", "/usr/sbin/pgbouncer"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("no pgbouncer on PATH or in /usr/sbin: run `make pgbouncer` as root, or install it, on Debian with `apt-get install pgbouncer`")
}

func somebody() (string, error) {
	for _, name := range []string{"postgres", "nobody"} {
		if _, err := user.Lookup(name); err == nil {
			return name, nil
		}
	}
	return "", errors.New("PgBouncer refuses to run as root and there is no user postgres or nobody to run it as")
}

func answers(address string, done <-chan struct{}) bool {
	deadline := time.After(startTimeout)
	for {
		if conn, err := net.Dial("tcp", address); err == nil {
			return conn.Close() == nil
		}
		select {
		case <-done:
			return false
		case <-deadline:
			return false
		case <-time.After(look):
		}
	}
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
